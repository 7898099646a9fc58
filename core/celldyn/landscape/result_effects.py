"""Perturbations and screens of a landscape on its data set: written, listed, read, deleted.

Shapes: n cells of the data set, m cells that were followed, f fates, q changes of a screen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn import keys
from celldyn.errors import CelldynError, DataError, MissingKeyError
from celldyn.keys import Key
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.effect import PerturbationEffect
from celldyn.landscape.perturbing.screened import Screen
from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    from anndata import AnnData

SCHEMA = 1

_PER_CELL = ("before", "after", "se")
_PER_FATE = ("effect", "low", "high", "p")
_PER_CHANGE_AND_FATE = ("effect", "low", "high", "z", "p", "q")
_PER_CHANGE = ("p_any", "q_any", "size")


def write_effect(adata: AnnData, effect: PerturbationEffect, name: str) -> set[str]:
    """Write a perturbation on its data set; one of the same name is replaced.

    Returns
    -------
    What was written, as "slot/name".

    Raises
    ------
    DataError
        If cells of it are not in the data set, or the name is empty.
    """
    _check(name, effect.cells, adata.n_obs)
    change = np.full((adata.n_obs, len(effect.names)), np.nan, np.float32)
    change[effect.cells] = effect.change
    adata.obsm[keys.LANDSCAPE_EFFECT(name=name)] = change
    clusters, codes = np.unique(np.asarray(effect.clusters).astype(str), return_inverse=True)
    info = {
        "perturbation": effect.perturbation.to_dict(),
        "config": effect.config.model_dump(mode="json"),
        "names": list(effect.names),
        "clusters": clusters.tolist(),
        "p_any": float(effect.p_any),
        "notes": list(effect.notes),
    }
    arrays = {part: getattr(effect, part) for part in (*_PER_CELL, *_PER_FATE, "null", "cells")}
    _put(adata, keys.LANDSCAPE_PERTURBED, name, info, {**arrays, "cluster_codes": codes})
    return {keys.LANDSCAPE_EFFECT.path(name=name), keys.LANDSCAPE_PERTURBED.path(name=name)}


def read_effect(adata: AnnData, name: str) -> PerturbationEffect:
    """Return a perturbation that `write_effect` wrote.

    Raises
    ------
    MissingKeyError
        If there is none of that name.
    DataError
        If it is damaged, or a later version wrote it.
    """
    held = _get(adata, keys.LANDSCAPE_PERTURBED, name)
    try:
        info, a = _opened(held)
        names = tuple(map(str, info["names"]))
        cells, f = np.asarray(a["cells"], np.int64), len(names)
        shapes = dict.fromkeys(_PER_CELL, (len(cells), f)) | dict.fromkeys(_PER_FATE, (f,))
        values = {part: _floats(a, part, shape) for part, shape in shapes.items()}
        codes = np.asarray(a["cluster_codes"], np.int64)
        if cells.ndim != 1 or codes.shape != cells.shape or (cells < 0).any():
            raise ValueError("cells")
        null = np.asarray(a["null"], np.float64).reshape(-1, f)
        found = PerturbationEffect(
            perturbation=Perturbation.from_dict(info["perturbation"]),
            config=PerturbConfig(**info["config"]),
            names=names,
            cells=cells,
            clusters=np.array(info["clusters"], dtype=object)[codes],
            p_any=float(info["p_any"]),
            null=null,
            notes=tuple(map(str, info["notes"])),
            **values,
        )
    except _DAMAGE as error:
        raise _damaged(name) from error
    if not _is_of(adata, found, name):
        raise DataError(
            f"the result {name!r} is of other cells than the data set has now",
            "compute it again",
        )
    return found


def _is_of(adata: AnnData, effect: PerturbationEffect, name: str) -> bool:
    """Whether cells stand where they stood: their own changes tell."""
    if (effect.cells >= adata.n_obs).any():
        return False
    held = adata.obsm.get(keys.LANDSCAPE_EFFECT(name=name))
    if held is None:
        return True
    table = np.asarray(held, np.float64)
    return table.shape[1:] == effect.change.shape[1:] and np.allclose(
        table[effect.cells], effect.change, atol=1e-5
    )


def effect_names(adata: AnnData) -> list[str]:
    """List the perturbations that a data set holds."""
    return _names(adata, keys.LANDSCAPE_PERTURBED)


def delete_effect(adata: AnnData, name: str) -> set[str]:
    """Take a perturbation off its data set; return the keys that are gone."""
    _get(adata, keys.LANDSCAPE_PERTURBED, name)
    gone = {_delete(adata, keys.LANDSCAPE_PERTURBED, name)}
    if adata.obsm.pop(keys.LANDSCAPE_EFFECT(name=name), None) is not None:
        gone.add(keys.LANDSCAPE_EFFECT.path(name=name))
    return gone


def write_screen(adata: AnnData, screen: Screen, name: str = "genes") -> set[str]:
    """Write a screen on its data set; one of the same name is replaced.

    Returns
    -------
    What was written, as "slot/name".

    Raises
    ------
    DataError
        If cells of it are not in the data set, or the name is empty.
    """
    _check(name, screen.cells, adata.n_obs)
    info = {
        "genes": list(screen.genes),
        "changes": list(screen.changes),
        "names": list(screen.names),
        "config": screen.config.model_dump(mode="json"),
        "n_null": int(screen.n_null),
        "seconds": float(screen.seconds),
        "notes": list(screen.notes),
    }
    parts = (*_PER_CHANGE_AND_FATE, *_PER_CHANGE, "before", "cells")
    arrays = {part: getattr(screen, part) for part in parts}
    _put(adata, keys.LANDSCAPE_SCREEN, name, info, arrays)
    return {keys.LANDSCAPE_SCREEN.path(name=name)}


def read_screen(adata: AnnData, name: str = "genes") -> Screen:
    """Return a screen that `write_screen` wrote; raises as `read_effect` does."""
    held = _get(adata, keys.LANDSCAPE_SCREEN, name)
    try:
        info, a = _opened(held)
        genes, names = tuple(map(str, info["genes"])), tuple(map(str, info["names"]))
        q, f = len(genes), len(names)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_PER_CHANGE_AND_FATE, (q, f))
        shapes |= dict.fromkeys(_PER_CHANGE, (q,)) | {"before": (f,)}
        if len(info["changes"]) != q:
            raise ValueError("changes")
        return Screen(
            genes=genes,
            changes=tuple(map(str, info["changes"])),
            names=names,
            cells=np.asarray(a["cells"], np.int64),
            n_null=int(info["n_null"]),
            config=PerturbConfig(**info["config"]),
            seconds=float(info["seconds"]),
            notes=tuple(map(str, info["notes"])),
            **{part: _floats(a, part, shape) for part, shape in shapes.items()},
        )
    except _DAMAGE as error:
        raise _damaged(name) from error


def screen_names(adata: AnnData) -> list[str]:
    """List the screens that a data set holds."""
    return _names(adata, keys.LANDSCAPE_SCREEN)


def delete_screen(adata: AnnData, name: str) -> set[str]:
    """Take a screen off its data set; return the keys that are gone."""
    _get(adata, keys.LANDSCAPE_SCREEN, name)
    return {_delete(adata, keys.LANDSCAPE_SCREEN, name)}


# --- parts --------------------------------------------------------------------------------------

_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError,
           OverflowError, MemoryError, CelldynError)  # fmt: skip


def _check(name: str, cells: Any, n_obs: int) -> None:  # noqa: ANN401
    if not name:
        raise DataError("the result has no name", "give one")
    if len(cells) and (np.min(cells) < 0 or np.max(cells) >= n_obs):
        raise DataError(
            "the result is of cells that the data set does not have",
            "write it on the data set that it was computed on",
        )


def _put(
    adata: AnnData,
    key: Key,
    name: str,
    info: Mapping[str, Any],
    arrays: Mapping[str, Any],
) -> None:
    home = dict(adata.uns.get(keys.CELLDYN.name, {}))
    home[key(name=name)] = {
        "schema": SCHEMA,
        "name": name,
        "info": json.dumps(info),
        **{f"array_{part}": np.array(values) for part, values in arrays.items()},
    }
    adata.uns[keys.CELLDYN.name] = home


def _home(adata: AnnData) -> Mapping[str, Any]:
    home = adata.uns.get(keys.CELLDYN.name)
    return home if isinstance(home, Mapping) else {}


def _get(adata: AnnData, key: Key, name: str) -> Any:  # noqa: ANN401
    home = _home(adata)
    if key(name=name) not in home:
        there = ", ".join(_names(adata, key)) or "none"
        raise MissingKeyError(f"there is no result {name!r}", f"there are: {there}")
    return home[key(name=name)]


def _names(adata: AnnData, key: Key) -> list[str]:
    prefix = key(name="")
    found = []
    for place, held in _home(adata).items():
        if str(place).startswith(prefix):
            said = held.get("name") if isinstance(held, Mapping) else None
            found.append(str(said) if said is not None else str(place).removeprefix(prefix))
    return sorted(found)


def _delete(adata: AnnData, key: Key, name: str) -> str:
    home = dict(_home(adata))
    del home[key(name=name)]
    adata.uns[keys.CELLDYN.name] = home
    return key.path(name=name)


def _opened(held: Any) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ANN401
    """Return the plain values and the arrays of a result."""
    if int(held["schema"]) > SCHEMA:
        raise DataError("it was written by a later version", "install that version")
    arrays = {str(k)[6:]: v for k, v in held.items() if str(k).startswith("array_")}
    return json.loads(str(held["info"])), arrays


def _floats(arrays: Mapping[str, Any], part: str, shape: tuple[int, ...]) -> Any:  # noqa: ANN401
    values = np.asarray(arrays[part], np.float64)
    if values.shape != shape:
        raise ValueError(part)
    return values


def _damaged(name: str) -> DataError:
    return DataError(
        f"the result {name!r} is damaged, or a later version wrote it", "compute it again"
    )
