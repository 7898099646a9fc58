"""Reading one table of a SpatialData .zarr folder, with the centroids of what it annotates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.anndata_files import guarded, read_zarr
from celldyn.data.formats import zarr_attributes
from celldyn.data.hostile import check_zarr
from celldyn.data.sections import set_section_key
from celldyn.data.spatial import OBSM_NAMES
from celldyn.data.words import listed
from celldyn.errors import FileFormatError, MissingKeyError, UnavailableError

if TYPE_CHECKING:
    from anndata import AnnData

_ELEMENTS = ("shapes", "points")
MAIN_TABLE = "table"
"""What spatialdata-io and the simulator call the table of cells, where there are others too."""


def read_spatialdata(folder: Path, *, table: str | None = None, backed: bool = False) -> AnnData:
    """Read a table of a SpatialData folder; see `celldyn.data.read`.

    Coordinates are those of the table, else the centroids of the shapes or points that it
    annotates, in the coordinate system "global". Of several tables the one called "table" is meant
    where none is named. A table over several elements gets their name as
    its section.
    """
    adata = read_zarr(folder / "tables" / _choose(folder, table), backed=backed)
    if any(key in adata.obsm for key in OBSM_NAMES):
        return adata
    attrs = adata.uns.get("spatialdata_attrs")
    if isinstance(attrs, dict) and {"region_key", "instance_key"} <= attrs.keys():
        guarded(folder, lambda: _add_centroids(adata, folder, attrs))
    return adata


def _choose(folder: Path, table: str | None) -> str:
    place = folder / "tables"
    inside = place.iterdir() if place.is_dir() else ()
    names = sorted(item.name for item in inside if item.is_dir() and zarr_attributes(item))
    if not names:
        raise FileFormatError(
            f"{folder.name} is a SpatialData without a table of cells",
            "aggregate its points or images into a table first",
        )
    there = listed(names)
    if table is not None and table not in names:
        raise MissingKeyError(f"{folder.name} has no table {table!r}", f"its tables are: {there}")
    if table is None and MAIN_TABLE in names:
        return MAIN_TABLE
    if table is None and len(names) > 1:
        raise MissingKeyError(
            f"{folder.name} has several tables: {there}", "name one of them as the table"
        )
    return table or names[0]


def _add_centroids(adata: AnnData, folder: Path, attrs: dict[str, Any]) -> None:
    region_key, instance_key = str(attrs["region_key"]), str(attrs["instance_key"])
    regions = adata.obs[region_key].astype(str).to_numpy()
    instances = adata.obs[instance_key]
    elements = _elements(folder, set(regions))
    xy = np.full((adata.n_obs, 2), np.nan)
    for name, element in elements.items():
        here = regions == name
        xy[here] = _centroids(element, instances[here].to_numpy())
    if elements:
        adata.obsm[keys.SPATIAL.name] = xy
    if len(elements) > 1:
        set_section_key(adata, region_key)


def _elements(folder: Path, names: set[str]) -> dict[str, Any]:
    kinds = [kind for kind in _ELEMENTS if any((folder / kind / name).is_dir() for name in names)]
    if not kinds:
        return {}
    for kind in kinds:
        check_zarr(folder / kind)
    try:
        from spatialdata import read_zarr as read_elements
    except ImportError as error:
        raise UnavailableError(
            "the coordinates of a SpatialData need the package spatialdata",
            "install it with pip install spatialdata",
        ) from error
    held = read_elements(folder, selection=tuple(kinds))
    return {name: held[name] for name in sorted(names) if name in held}


def _centroids(element: Any, instances: NDArray[Any]) -> NDArray[np.float64]:  # noqa: ANN401
    from spatialdata import get_centroids
    from spatialdata.transformations import get_transformation

    systems = get_transformation(element, get_all=True)
    system = "global" if "global" in systems else next(iter(systems))
    table = get_centroids(element, coordinate_system=system).compute()
    at = table.index.get_indexer(instances)
    if (at < 0).all():
        at = table.index.astype(str).get_indexer(instances.astype(str))
    xy = table[["x", "y"]].to_numpy(float)
    return np.where((at >= 0)[:, None], xy[at], np.nan)
