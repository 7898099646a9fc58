"""Domains of a tissue: patches, layers, rings, bands of a gradient, or drawn polygons."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job, run
from celldyn.simulate.fields import BLOCK, smooth_field
from celldyn.simulate.layout.tables import celltype_codes
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.streams import uniforms

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

__all__ = ["celltype_codes", "depth_job", "domain_codes", "domains", "domains_job"]

Codes = NDArray[np.intp]
Floats = NDArray[np.float64]
A = TypeVar("A", bound=NDArray[Any])
Pattern = Literal["voronoi", "layers", "rings", "gradient"]

_WAVE = 0.05
"""How far borders wander, as a share of the canvas."""
_LENGTH = 0.15
"""Over which length they do, as a share of the canvas."""
_CANDIDATES = 64
_RASTER = 256
"""Points per axis from which the radii of rings of equal area are found."""


def domains(config: SimulationConfig, xy: Floats, section: int) -> Codes:
    """Return the domain of every cell of a section; see `domains_job`."""
    return run(domains_job(config, xy, section), bar=False)


def domains_job(config: SimulationConfig, xy: Floats, section: int) -> Job[Codes]:
    """Find the domain of every cell of a section; progress counts blocks of cells.

    Parameters
    ----------
    config
        Its `domain_pattern`, `n_domains`, `domain_polygons` and `canvas_um`.
    xy
        (n_cells, 2) positions in µm.
    section
        Which one; each has borders of its own, unless they are drawn.

    Returns
    -------
    (n_cells,) codes into `config.domain_names`.
    """
    if config.domain_pattern == "drawn":
        from celldyn.simulate.layout.drawn import drawn_codes

        return (yield from _blocks_of_job(drawn_codes(config), xy))
    stage = f"layout/{section}/domain"
    classify = _classifier(
        config.canvas_um, config.n_domains, config.domain_pattern, config.seed, stage
    )
    return (yield from _blocks_of_job(classify, xy))


def domain_codes(
    xy: Floats,
    canvas_um: tuple[float, float],
    n_domains: int,
    pattern: Pattern,
    seed: int,
    stage: str,
) -> Codes:
    """Return the domain of every cell, with wavy borders between domains.

    Parameters
    ----------
    xy
        (n_cells, 2) positions in µm.
    canvas_um
        Width and height.
    n_domains
        How many.
    pattern
        "voronoi": patches around a few centres; "layers": bands of equal depth, from y = 0 on;
        "rings": ellipses about the middle, all rings of the same area, from the inside out;
        "gradient": bands of equal width, from x = 0 on.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells,) codes in 0 .. n_domains - 1.
    """
    classify = _classifier(canvas_um, n_domains, pattern, seed, stage)
    return run(_blocks_of_job(classify, xy), bar=False)


def depth_job(config: SimulationConfig, xy: Floats, section: int) -> Job[Floats]:
    """Find how far along the gradient every cell lies; progress counts blocks of cells.

    Returns
    -------
    (n_cells,) in [0, 1]; domain k holds the depths from k / n_domains on.
    """
    canvas, seed, stage = config.canvas_um, config.seed, f"layout/{section}/domain"

    def along(block: Floats) -> Floats:
        depth: Floats = np.clip(_warped(block, canvas, seed, stage, "x") / canvas[0], 0.0, 1.0)
        return depth

    return (yield from _blocks_of_job(along, xy))


def _blocks_of_job(work: Callable[[Floats], A], xy: Floats) -> Job[A]:
    """Do the work on blocks of cells, on several threads."""
    n_blocks = max(-(-len(xy) // BLOCK), 1)
    parts = yield from blocks_job(
        lambda k: work(xy[k * BLOCK : (k + 1) * BLOCK]), n_blocks, "domains"
    )
    joined: A = np.concatenate(parts)  # type: ignore[assignment]
    return joined


def _warped(
    xy: Floats, canvas_um: tuple[float, float], seed: int, stage: str, axis: Literal["x", "y"]
) -> Floats:
    """Return one coordinate, shifted by a smooth field: what makes borders wavy."""
    least = min(canvas_um)
    field = smooth_field(xy, _LENGTH * least, seed, f"{stage}/{axis}")
    warped: Floats = xy[:, "xy".index(axis)] + _WAVE * least * field
    return warped


def _classifier(
    canvas_um: tuple[float, float], n_domains: int, pattern: Pattern, seed: int, stage: str
) -> Callable[[Floats], Codes]:
    """Return the function from positions to domains."""
    if n_domains == 1:
        return lambda xy: np.zeros(len(xy), dtype=np.intp)
    warped = partial(_warped, canvas_um=canvas_um, seed=seed, stage=stage)
    if pattern in ("layers", "gradient"):
        axis: Literal["x", "y"] = "y" if pattern == "layers" else "x"
        extent = canvas_um["xy".index(axis)]
        return lambda xy: _bands(warped(xy, axis=axis) / extent, n_domains)
    if pattern == "rings":
        borders = _ring_borders(n_domains)
        return lambda xy: np.searchsorted(
            borders, _elliptic(warped(xy, axis="x"), warped(xy, axis="y"), canvas_um), "right"
        )
    from scipy.spatial import cKDTree

    tree = cKDTree(_centres(np.array(canvas_um), n_domains, seed, stage))

    def nearest(xy: Floats) -> Codes:
        place = np.stack([warped(xy, axis="x"), warped(xy, axis="y")], axis=1)
        codes: Codes = np.asarray(tree.query(place)[1], dtype=np.intp)
        return codes

    return nearest


def _bands(depth: Floats, n_domains: int) -> Codes:
    band: Codes = np.clip(np.floor(depth * n_domains), 0, n_domains - 1).astype(np.intp)
    return band


def _elliptic(x: Floats, y: Floats, canvas_um: tuple[float, float]) -> Floats:
    """Return squared distances from the middle; 1 on the ellipse that touches the sides."""
    width, height = canvas_um
    squared: Floats = (2 * x / width - 1) ** 2 + (2 * y / height - 1) ** 2
    return squared


def _ring_borders(n_domains: int) -> Floats:
    """Return the squared radii between rings of equal area on a square."""
    axis = (np.arange(_RASTER) + 0.5) / _RASTER
    x, y = np.meshgrid(axis, axis)
    levels = np.arange(1, n_domains) / n_domains
    borders: Floats = np.quantile(_elliptic(x, y, (1.0, 1.0)), levels)
    return borders


def _centres(size: Floats, n_domains: int, seed: int, stage: str) -> Floats:
    """Choose centres that keep apart: each the best of many candidates."""
    candidates = (
        0.1 + 0.8 * uniforms(seed, f"{stage}/centres", _CANDIDATES * n_domains, 2)
    ) * size
    chosen = [0]
    distance = np.full(len(candidates), np.inf)
    for _ in range(n_domains - 1):
        latest = candidates[chosen[-1]]
        distance = np.minimum(distance, ((candidates - latest) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return candidates[chosen]
