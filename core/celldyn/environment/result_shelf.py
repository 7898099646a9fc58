"""Named results in uns["celldyn"]: plain values and arrays that any file can hold.

Shapes: n cells of the data set, m cells of a result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.words import counted
from celldyn.errors import CelldynError, DataError, MissingKeyError
from celldyn.keys import Key

if TYPE_CHECKING:
    from anndata import AnnData

SCHEMA = 1
DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError,
          OverflowError, MemoryError, CelldynError)  # fmt: skip
"""What reading a damaged result can end in."""


def home_of(adata: AnnData) -> Mapping[str, Any]:
    """Return uns["celldyn"], or nothing."""
    home = adata.uns.get(keys.CELLDYN.name)
    return home if isinstance(home, Mapping) else {}


def put_home(adata: AnnData, name: str, held: Any) -> None:  # noqa: ANN401
    """Put a value into uns["celldyn"]."""
    adata.uns[keys.CELLDYN.name] = {**home_of(adata), name: held}


def put(
    adata: AnnData, key: Key, name: str, info: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Put a result under its name; one of the same name is replaced."""
    held = {
        "schema": SCHEMA, "name": name, "info": json.dumps(info),
        **{f"array_{part}": np.array(values) for part, values in arrays.items()},
    }  # fmt: skip
    put_home(adata, key(name=name), held)


def get(adata: AnnData, key: Key, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the plain values and the arrays of a result.

    Raises
    ------
    MissingKeyError
        If there is none of that name.
    DataError
        If it is damaged, or a later version wrote it.
    """
    home = home_of(adata)
    if key(name=name) not in home:
        there = ", ".join(names_of(adata, key)) or "none"
        raise MissingKeyError(f"there is no result {name!r}", f"there are: {there}")
    held = home[key(name=name)]
    try:
        if int(held["schema"]) > SCHEMA:
            raise ValueError("schema")
        arrays = {str(k)[6:]: v for k, v in held.items() if str(k).startswith("array_")}
        return dict(json.loads(str(held["info"]))), arrays
    except DAMAGE as error:
        raise damaged(name) from error


def names_of(adata: AnnData, key: Key) -> list[str]:
    """List the results of a kind."""
    prefix, found = key(name=""), []
    for place, held in home_of(adata).items():
        if str(place).startswith(prefix):
            said = held.get("name") if isinstance(held, Mapping) else None
            found.append(str(said) if said is not None else str(place).removeprefix(prefix))
    return sorted(found)


def delete(adata: AnnData, key: Key, name: str) -> str:
    """Take a result off; return its key."""
    home = dict(home_of(adata))
    if key(name=name) not in home:
        there = ", ".join(names_of(adata, key)) or "none"
        raise MissingKeyError(f"there is no result {name!r}", f"there are: {there}")
    del home[key(name=name)]
    adata.uns[keys.CELLDYN.name] = home
    return key.path(name=name)


def damaged(name: str) -> DataError:
    """Return what to say of a result that cannot be read."""
    return DataError(
        f"the result {name!r} is damaged, or a later version wrote it", "compute it again"
    )


def checked_name(name: str) -> str:
    """Refuse a name that is none."""
    if not str(name).strip():
        raise DataError("the result has no name", "give one")
    return str(name)


def rows_in(adata: AnnData, obs_names: Sequence[str]) -> NDArray[np.intp]:
    """Return where the cells of a result are in a data set, (m,).

    Raises
    ------
    DataError
        If some are not there.
    """
    at = adata.obs_names.get_indexer(list(obs_names))
    missing = int((at < 0).sum())
    if missing:
        raise DataError(
            f"the data set has not {counted(missing, 'cell')} of the "
            f"{len(obs_names):,} of the result",
            "write it on the data set that it was computed on",
        )
    found: NDArray[np.intp] = at.astype(np.intp)
    return found


def spread_out(values: Any, rows: NDArray[np.intp], n_obs: int) -> NDArray[np.float32]:  # noqa: ANN401
    """Return values of some cells as values of all, NaN elsewhere, (n, ...)."""
    given = np.asarray(values, np.float32)
    if len(rows) == n_obs and np.array_equal(rows, np.arange(n_obs)):
        return given.copy()
    found = np.full((n_obs, *given.shape[1:]), np.nan, np.float32)
    found[rows] = given
    return found
