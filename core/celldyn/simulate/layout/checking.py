"""What must hold between the parameters of a layout; one sentence for what does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.layout.density import FORMATS
from celldyn.simulate.layout.place import room

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

_SUM_TOLERANCE = 1e-3
_FEASIBLE = 0.01
"""How far a feasible target may lie from the one that was asked for: rounding of two digits."""
_STRONGEST = 10.0


def check_layout(config: SimulationConfig) -> None:
    """Refuse a layout that cannot be made, before any work.

    Raises
    ------
    ValueError
        One sentence that names the parameter and its bound.
    """
    _room(config)
    _density(config)
    _polygons(config)
    _compositions(config)
    if config.interaction is not None and config.neighbour_target is not None:
        raise ValueError("give interaction or neighbour_target, not both")
    _interaction(config)
    _neighbour_target(config)


def _room(config: SimulationConfig) -> None:
    places, wanted = room(config), max(config.section_sizes)
    if places < wanted:
        width, height = config.canvas_um
        raise ValueError(
            f"canvas_size {width:g} × {height:g} µm has room for {places} cells at "
            f"min_distance_um = {config.min_distance_um:g}, not for {wanted}"
        )


def _density(config: SimulationConfig) -> None:
    if config.density_image is None:
        return
    path = Path(config.density_image)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"density_image must be one of {', '.join(FORMATS)} (given: {path.name})")
    if not path.is_file():
        raise ValueError(f"density_image: there is no file {path}")


def _polygons(config: SimulationConfig) -> None:
    if not config.domain_polygons:
        return
    if config.domain_pattern != "drawn":
        raise ValueError(
            f"domain_polygons needs domain_pattern = 'drawn' (given: {config.domain_pattern!r})"
        )
    _known("domain_polygons", list(config.domain_polygons), config.domain_names, "domain")
    from shapely import Polygon
    from shapely.validation import explain_validity

    for name, drawn in config.domain_polygons.items():
        for k, corners in enumerate(drawn):
            if len(set(corners)) < 3 or not np.isfinite(corners).all():
                raise ValueError(
                    f"domain_polygons.{name}: polygon {k} must have at least 3 different corners"
                )
            polygon = Polygon(corners)
            if not polygon.is_valid or polygon.area == 0:
                why = explain_validity(polygon) if not polygon.is_valid else "it has no area"
                raise ValueError(f"domain_polygons.{name}: polygon {k} is not valid ({why})")


def _compositions(config: SimulationConfig) -> None:
    if config.domain_composition and config.domain_pattern == "gradient" and config.n_domains == 1:
        raise ValueError("domain_composition needs n_domains of at least 2 along a gradient")
    _known("domain_composition", list(config.domain_composition), config.domain_names, "domain")
    for name, shares in config.domain_composition.items():
        field = f"domain_composition.{name}"
        _known(field, list(shares), config.celltype_names, "cell type")
        if not shares or min(shares.values()) < 0 or not sum(shares.values()) > 0:
            raise ValueError(f"{field} must hold shares of at least 0 with a sum above 0")


def _interaction(config: SimulationConfig) -> None:
    if config.interaction is None:
        return
    table = _square("interaction", config.interaction, config.n_celltype)
    if not np.allclose(table, table.T):
        a, b = _worst(np.abs(table - table.T))
        names = config.celltype_names
        raise ValueError(
            f"interaction must be symmetric: {names[a]} with {names[b]} is {table[a, b]:g}, "
            f"{names[b]} with {names[a]} is {table[b, a]:g}"
        )
    if np.abs(table).max() > _STRONGEST:
        raise ValueError(f"interaction must lie between -{_STRONGEST:g} and {_STRONGEST:g}")


def _neighbour_target(config: SimulationConfig) -> None:
    if config.neighbour_target is None:
        return
    names, shares = config.celltype_names, config.proportions
    table = _square("neighbour_target", config.neighbour_target, config.n_celltype)
    if table.min() < 0:
        raise ValueError("neighbour_target must hold shares of at least 0")
    for name, total in zip(names, table.sum(axis=1), strict=True):
        if abs(total - 1) > _SUM_TOLERANCE:
            raise ValueError(
                f"neighbour_target: the row of {name} must sum to 1, not to {total:.4g}"
            )
    pairs = shares[:, None] * table
    # How far both types of a pair would be from what they want, half-way between the two.
    rarer = np.minimum.outer(shares, shares)
    rarer = np.where(rarer > 0, rarer, np.maximum.outer(shares, shares))
    off = np.abs(pairs - pairs.T) / (2 * np.where(rarer > 0, rarer, 1.0))
    a, b = _worst(off)
    if off[a, b] > _FEASIBLE:
        raise ValueError(
            f"neighbour_target is not feasible with celltype_proportion: type {names[a]} wants "
            f"{table[a, b]:.3g} of {names[b]}, {names[b]} {table[b, a]:.3g} of {names[a]}; "
            f"{shares[a]:.3g} * {table[a, b]:.3g} must equal {shares[b]:.3g} * {table[b, a]:.3g}"
        )


def _worst(off: NDArray[np.float64]) -> tuple[int, int]:
    a, b = np.unravel_index(int(off.argmax()), off.shape)
    return int(a), int(b)


def _square(field: str, given: list[list[float]], n: int) -> NDArray[np.float64]:
    if len(given) != n or any(len(row) != n for row in given):
        shape = (
            f"{len(given)} rows of {', '.join(str(s) for s in sorted({len(r) for r in given}))}"
        )
        raise ValueError(f"{field} must hold n_celltype = {n} rows of {n} (given: {shape})")
    return np.array(given, dtype=np.float64)


def _known(field: str, given: list[str], known: list[str], what: str) -> None:
    for name in given:
        if name not in known:
            some = ", ".join(known[:8])
            raise ValueError(f"{field}: {name!r} is no {what} (there are {some})")
