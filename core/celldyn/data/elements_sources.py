"""What outlines, molecules and domains a tissue comes with, and how each is read and placed."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.anndata_files import guarded
from celldyn.data.elements import Polygons, RadialPolygons
from celldyn.data.elements_parquet import holds_outlines, read_polygons_job
from celldyn.data.elements_transform import global_affine
from celldyn.data.formats import zarr_attributes
from celldyn.data.hostile import check_zarr
from celldyn.errors import CelldynError, FileFormatError, UnavailableError
from celldyn.jobs import Job, Progress, run

if TYPE_CHECKING:
    from anndata import AnnData

T = TypeVar("T")
Kind = Literal["outlines", "molecules", "domains"]
OUTLINE_FILES = ("cells", "nuclei", "cell_boundaries", "nucleus_boundaries")
MOLECULE_FILE, DOMAIN_FILE, TABLE_FILE = "transcripts", "domains", "table.h5ad"
_RADII = {"cells": keys.CELL_RADII, "nuclei": keys.NUCLEUS_RADII}


@dataclass(frozen=True, slots=True)
class ElementSource:
    """Something that can be drawn on a tissue.

    Parameters
    ----------
    name
        What it is called where it is stored; "cells" and "nuclei" for the radii of the AnnData.
    kind
        "outlines", "molecules" or "domains".
    path
        The SpatialData folder, or the file; None where the AnnData itself holds it.
    """

    name: str
    kind: Kind
    path: Path | None = None

    @property
    def is_nuclei(self) -> bool:
        """Whether it outlines nuclei, by its name."""
        return "nucle" in self.name.casefold()


def table_of(path: Path) -> Path:
    """Return the table of a folder as the simulator writes it; any other path as it is."""
    table = path / TABLE_FILE
    return table if path.is_dir() and table.is_file() else path


def element_sources(adata: AnnData, path: Path | None) -> list[ElementSource]:
    """List what can be drawn on a tissue, looking at names and headers only.

    Parameters
    ----------
    adata
        The tissue.
    path
        Where it was read from: an .h5ad, with what the simulator writes beside it, or a
        SpatialData folder.

    Returns
    -------
    Outlines (cells, then nuclei), molecules, domains. What a file calls as the AnnData does
    comes once, from the AnnData.
    """
    found = [ElementSource(name, "outlines") for name, k in _RADII.items() if k.name in adata.obsm]
    if path is not None:
        more = _stored(path)
        known = {item.name for item in found}
        found += [item for item in more if item.name not in known]
    order = {"outlines": 0, "molecules": 1, "domains": 2}
    return sorted(found, key=lambda source: (order[source.kind], source.is_nuclei))


def outline_sources(adata: AnnData, path: Path | None) -> list[str]:
    """Return the names of the outlines that `element_sources` finds."""
    return [item.name for item in element_sources(adata, path) if item.kind == "outlines"]


def _stored(path: Path) -> list[ElementSource]:
    try:
        return _of_spatialdata(path) if path.is_dir() else _beside(path)
    except OSError:  # a folder that may not be looked into holds nothing for us
        return []


def _of_spatialdata(folder: Path) -> list[ElementSource]:
    found = []
    for part, kind in (("shapes", "outlines"), ("points", "molecules")):
        place = folder / part
        inside = sorted(place.iterdir()) if place.is_dir() else []
        for item in inside:
            if item.is_dir() and _is_group(item):
                named = "domains" if DOMAIN_FILE in item.name.casefold() else kind
                found.append(ElementSource(item.name, named, folder))  # type: ignore[arg-type]
    return found


def _is_group(folder: Path) -> bool:
    try:
        return zarr_attributes(folder) is not None
    except FileFormatError:
        return False


def _beside(path: Path) -> list[ElementSource]:
    folder, found = path.parent, []
    for name in OUTLINE_FILES:
        file = folder / f"{name}.parquet"
        if file.is_file() and holds_outlines(file):
            found.append(ElementSource(name, "outlines", file))
    if (file := folder / f"{MOLECULE_FILE}.parquet").exists():
        found.append(ElementSource(MOLECULE_FILE, "molecules", file))
    if (file := folder / f"{DOMAIN_FILE}.geojson").is_file():
        found.append(ElementSource(DOMAIN_FILE, "domains", file))
    return found


# --- reading ----------------------------------------------------------------------------------


def read_outlines(source: ElementSource) -> Polygons:
    """Read outlines at once; see `read_outlines_job`."""
    return run(read_outlines_job(source), bar=False)


def read_outlines_job(source: ElementSource) -> Job[Polygons]:
    """Read the outlines of a file or SpatialData folder, in the coordinate system "global".

    Holes are left out, and each part of a multipolygon is one polygon.

    Raises
    ------
    FileFormatError
        If they are damaged or not there.
    UnavailableError
        If their transformation is not affine.
    """
    path = source.path
    if path is None:
        raise FileFormatError(f"{source.name} is part of the table", "draw it from its radii")
    if path.is_file():
        return (yield from _watched(path, read_polygons_job(path)))
    folder = path / "shapes" / source.name
    check_zarr(folder)
    file = folder / "shapes.parquet"
    yield Progress("reading outlines")
    if not file.is_file():
        return guarded(folder, lambda: _read_with_spatialdata(path, source.name))
    affine = global_affine(zarr_attributes(folder) or {}, source.name)
    held = yield from _watched(file, read_polygons_job(file))
    if np.array_equal(affine, np.eye(3)):
        return held
    return held.transformed(affine)


def _watched(path: Path, job: Job[T]) -> Job[T]:
    """Run a job of reading, with whatever a reader raises turned into one sentence."""
    with closing(job):
        while True:
            progress, result = guarded(path, lambda: _step(job))
            if progress is None:
                return cast("T", result)
            yield progress


def _step(job: Job[T]) -> tuple[Progress | None, T | None]:
    try:
        return next(job), None
    except StopIteration as end:
        return None, end.value


def _read_with_spatialdata(folder: Path, name: str) -> Polygons:
    """Read outlines in a layout older than GeoParquet."""
    check_zarr(folder / "shapes")
    try:
        from spatialdata import read_zarr, transform
    except ImportError as error:
        raise UnavailableError(
            f"{name} is stored in an old layout that needs the package spatialdata",
            "install it with pip install spatialdata",
        ) from error
    held = transform(read_zarr(folder, selection=("shapes",))[name], to_coordinate_system="global")
    if "radius" in held:
        xy = np.column_stack([held.geometry.x, held.geometry.y])
        return Polygons.from_circles(xy, held["radius"], held.index.to_numpy())
    return Polygons.from_shapely(held.geometry.to_numpy(), held.index.to_numpy())


def read_domains(source: ElementSource) -> dict[str, Any]:
    """Read named outlines, a few, as shapely geometries.

    Parameters
    ----------
    source
        A GeoJSON file whose features carry `name` (and `section`), or shapes of a SpatialData.

    Returns
    -------
    Name to geometry; a section stands in brackets behind the name.

    Raises
    ------
    FileFormatError
        If it is damaged.
    """
    import shapely

    path = source.path
    if path is not None and path.is_file():
        return guarded(path, lambda: _from_geojson(path))
    held = read_outlines(source)
    shapes, names = held.to_shapely(), [str(name) for name in held.ids]
    return {
        name: shapely.union_all([s for s, n in zip(shapes, names, strict=True) if n == name])
        for name in dict.fromkeys(names)
    }


def _from_geojson(path: Path) -> dict[str, Any]:
    from shapely.geometry import shape

    found = {}
    for i, feature in enumerate(json.loads(path.read_text(encoding="utf-8"))["features"]):
        held = feature.get("properties") or {}
        name = str(held.get("name", held.get("domain", i)))
        if (section := held.get("section")) is not None:
            name = f"{name} [{section}]"
        found[name] = shape(feature["geometry"])
    return found


def radial_outlines(adata: AnnData, name: str, drawn_xy: NDArray[np.float64]) -> RadialPolygons:
    """Return the outlines that a tissue holds itself, where its cells are drawn.

    Parameters
    ----------
    adata
        The tissue.
    name
        "cells" or "nuclei".
    drawn_xy
        (n_obs, 2) where the cells are drawn, in µm where the unit is known.

    Raises
    ------
    FileFormatError
        If they are no table of numbers.
    """
    key = _RADII[name].name
    try:
        radii = np.asarray(adata.obsm[key], np.float32)
    except (TypeError, ValueError, KeyError) as error:
        raise _no_radii(key) from error
    if radii.ndim != 2:
        raise _no_radii(key)
    return RadialPolygons.of(drawn_xy, np.nan_to_num(radii, nan=0.0, posinf=0.0, neginf=0.0))


def _no_radii(name: str) -> CelldynError:
    return FileFormatError(
        f"obsm[{name!r}] holds no radii", "write (n_obs, n_rays) numbers in µm there"
    )
