"""Where the cells are: coordinates and their unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.words import counted, listed
from celldyn.errors import ConfigError, DataError, MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData

OBSM_NAMES = ("spatial", "X_spatial", "spatial_xy", "X_spatial_coords", "coordinates")
"""Keys of obsm that hold coordinates, the first that is there counts."""

PAIRS = (
    ("x_um", "y_um"),
    ("x", "y"),
    ("x_centroid", "y_centroid"),
    ("center_x", "center_y"),
    ("centroid_x", "centroid_y"),
    ("x_location", "y_location"),
    ("global_x", "global_y"),
    ("x_coord", "y_coord"),
    ("coord_x", "coord_y"),
    ("spatial_x", "spatial_y"),
    ("spatial1", "spatial2"),
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    ("imagecol", "imagerow"),
)
"""Pairs of columns that hold coordinates whatever their case, the first that is there counts."""


def coordinates(adata: AnnData) -> NDArray[np.float64]:
    """Return where every cell is, in the unit of the data set (see `um_per_unit`).

    `obsm["spatial"]` is used; where it is missing, the usual other names of obsm and of pairs of
    obs columns are.

    Returns
    -------
    (n_obs, 2) float64, x then y; a third axis is left out.

    Raises
    ------
    DataError
        If there are none, or some are not finite.
    """
    found = locate(adata)
    if found is None:
        raise DataError(_missing(adata), 'put (n_obs, 2) numbers into adata.obsm["spatial"]')
    name, values = found
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        first = str(adata.obs_names[int(np.argmin(finite))])
        raise DataError(
            f"{name} is not finite for {counted(int((~finite).sum()), 'cell')}, first {first!r}",
            "give every cell coordinates or leave it out",
        )
    return values


def locate(adata: AnnData) -> tuple[str, NDArray[np.float64]] | None:
    """Return the name and values of the coordinates, not yet checked to be finite; None if none.

    Raises
    ------
    DataError
        If `obsm["spatial"]` is there but is no table of numbers with two or three columns.
    """
    for key in OBSM_NAMES:
        if key in adata.obsm:
            return f"obsm[{key!r}]", _numbers(adata.obsm[key], f"obsm[{key!r}]")
    pair = pair_of(adata.obs)
    if pair is None:
        return None
    x, y = pair
    values = np.column_stack([adata.obs[x].to_numpy(float), adata.obs[y].to_numpy(float)])
    return f"obs[{x!r}] and obs[{y!r}]", values


def _numbers(table: Any, name: str) -> NDArray[np.float64]:  # noqa: ANN401
    try:
        values = np.asarray(table, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} does not hold numbers", "write it as float64") from error
    if values.ndim != 2 or values.shape[1] not in (2, 3):
        raise DataError(
            f"{name} has the shape {values.shape}, not (n_obs, 2) or (n_obs, 3)",
            "keep its x and y columns only",
        )
    return np.ascontiguousarray(values[:, :2])


def pair_of(table: pd.DataFrame) -> tuple[str, str] | None:
    """Return the two numeric columns of a table that hold coordinates; None if there are none."""
    by_name = {str(name).lower(): name for name in table.columns}
    for x, y in PAIRS:
        pair = (by_name.get(x), by_name.get(y))
        if all(name is not None and _is_number(table[name]) for name in pair):
            return str(pair[0]), str(pair[1])
    return None


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _missing(adata: AnnData) -> str:
    return (
        "the data set has no coordinates: looked for obsm['spatial'], obsm['X_spatial'] and pairs "
        f"of obs columns such as x, y, but the keys of obsm are {listed(adata.obsm)} and the "
        f"columns of obs are {listed(adata.obs.columns)}"
    )


def adopt_coordinates(adata: AnnData) -> None:
    """Put coordinates that are held under another name into `obsm["spatial"]` as well."""
    if keys.SPATIAL.name in adata.obsm:
        return
    found = locate(adata)
    if found is not None:
        adata.obsm[keys.SPATIAL.name] = found[1]
        pair = pair_of(adata.obs)
        if found[0].startswith("obs[") and pair is not None and pair[0].lower() == PAIRS[0][0]:
            set_unit(adata, 1.0)


def coordinate_candidates(adata: AnnData) -> list[str]:
    """Return the keys of obsm that could stand in for coordinates; none where it has some.

    A key can if its first two columns are finite numbers: an embedding can be looked at as if it
    were a tissue.
    """

    def can(table: Any) -> bool:  # noqa: ANN401
        try:
            values = np.asarray(table, np.float64)
        except (TypeError, ValueError):
            return False
        return values.ndim == 2 and values.shape[1] >= 2 and bool(np.isfinite(values[:, :2]).all())

    if locate(adata) is not None:
        return []
    return [str(key) for key in adata.obsm if can(adata.obsm[key])]


def use_coordinates(adata: AnnData, key: str) -> None:
    """Take the first two columns of `obsm[key]` as coordinates, of unknown unit.

    Raises
    ------
    MissingKeyError
        If obsm has no such key.
    """
    if key not in adata.obsm:
        raise MissingKeyError(f"obsm has no {key!r}", f"its keys are: {listed(adata.obsm)}")
    adata.obsm[keys.SPATIAL.name] = np.array(adata.obsm[key], np.float64)[:, :2]


# --- the unit ---------------------------------------------------------------------------------


def um_per_unit(adata: AnnData) -> float | None:
    """Return how many µm one unit of the coordinates is; None where nobody has said so."""
    held = described(adata)
    value = held.get(keys.UM_PER_UNIT.name)
    if value is None:
        return 1.0 if str(held.get(keys.UNIT.name)) == "um" else None
    try:
        number = float(np.asarray(value).item())
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def set_unit(adata: AnnData, um_per_unit: float | None) -> None:
    """Say how many µm one unit of the coordinates is; None forgets it.

    Raises
    ------
    ConfigError
        If it is not a positive number.
    """
    held = dict(described(adata))
    held.pop(keys.UM_PER_UNIT.name, None)
    if um_per_unit is not None:
        if not (np.isfinite(um_per_unit) and um_per_unit > 0):
            raise ConfigError(
                f"um_per_unit must be a positive number of µm (given: {um_per_unit!r})",
                "give None if it is not known",
            )
        held[keys.UM_PER_UNIT.name] = float(um_per_unit)
    held[keys.UNIT.name] = "um" if um_per_unit == 1 else "unknown"
    adata.uns[keys.CELLDYN.name] = held


def described(adata: AnnData) -> dict[str, Any]:
    """Return what `uns["celldyn"]` says; empty where it is not there."""
    held = adata.uns.get(keys.CELLDYN.name)
    return held if isinstance(held, dict) else {}
