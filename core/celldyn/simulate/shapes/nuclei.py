"""Nuclei: an ellipse of a random area, with bumps, as radii on common rays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from celldyn.errors import ConfigError
from celldyn.simulate.shapes.orientation import MODES
from celldyn.simulate.shapes.outlines import Floats, rays
from celldyn.simulate.specs.shapes import MorphologySpec
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

_HARMONICS = 5
"""Highest Fourier harmonic of a bumpy outline."""
_DEEPEST_DENT = 0.3
"""No bump takes the radius below this share of the ellipse's."""


@dataclass(frozen=True, slots=True)
class Morphologies:
    """The morphologies of a tissue as arrays: one entry per prototype and cell type.

    Parameters
    ----------
    n_rays
        Corners of every outline.
    mean_area, cv_area, elongation, boundary_noise
        As in `MorphologySpec`; (n_specs,) each.
    mode
        (n_specs,) positions in `orientation.MODES`.
    orientation_noise, orientation_angle
        (n_specs,) rad.
    """

    n_rays: int
    mean_area: Floats
    cv_area: Floats
    elongation: Floats
    boundary_noise: Floats
    mode: NDArray[np.intp]
    orientation_noise: Floats
    orientation_angle: Floats

    @classmethod
    def of(cls, specs: Sequence[MorphologySpec]) -> Morphologies:
        """Gather specs of one number of corners.

        Raises
        ------
        ConfigError
            If their numbers of corners differ.
        """
        if len({spec.n_vertices for spec in specs}) != 1:
            raise ConfigError(
                "morphologies have different n_vertices", "give all of them the same number"
            )

        def column(name: str) -> Floats:
            return np.array([getattr(spec, name) for spec in specs], dtype=np.float64)

        return cls(
            specs[0].n_vertices,
            column("mean_area"),
            column("cv_area"),
            column("elongation"),
            column("boundary_noise_apt"),
            np.array([MODES.index(spec.orientation_mode) for spec in specs], dtype=np.intp),
            column("orientation_noise"),
            np.deg2rad(column("orientation_angle")),
        )

    def drawn_areas(
        self, of: NDArray[np.intp], seed: int, stage: str, cell_ids: NDArray[np.integer]
    ) -> Floats:
        """Draw the areas of nuclei: lognormal, with the mean and the cv of each cell's spec.

        Parameters
        ----------
        of
            (n,) which spec each cell has.
        seed, stage, cell_ids
            The random stream.

        Returns
        -------
        (n,) µm².
        """
        variance = np.log1p(self.cv_area**2)
        middle = np.log(self.mean_area) - 0.5 * variance
        draw = ndtri(unit_interval(hash_bits(stream_key(seed, f"{stage}/area"), cell_ids, 0)))
        areas: Floats = np.exp(middle[of] + np.sqrt(variance)[of] * draw)
        return areas

    def radii(
        self,
        of: NDArray[np.intp],
        areas: Floats,
        orientation: Floats,
        seed: int,
        stage: str,
        cell_ids: NDArray[np.integer],
    ) -> Floats:
        """Draw the outlines of nuclei.

        Parameters
        ----------
        of
            (n,) which spec each cell has.
        areas
            (n,) µm²: the exact area of each polygon.
        orientation
            (n,) direction of the long axes, rad.
        seed, stage, cell_ids
            The random stream.

        Returns
        -------
        (n_rays, n) radii in µm, above 0: an ellipse times 1 + Σ a_k cos kt + b_k sin kt over
        k = 2, 3, ..., with a_k and b_k normal of sd boundary_noise_apt / k.
        """
        radius = _ellipses(self.elongation[of], orientation, self.n_rays)
        noise = self.boundary_noise[of]
        if np.any(noise > 0):
            key = stream_key(seed, f"{stage}/outline")
            radius *= np.maximum(_bumps(noise, key, cell_ids, self.n_rays), _DEEPEST_DENT)
        radius *= np.sqrt(areas / column_areas(radius))
        return radius


def nucleus_radii(
    morphology: MorphologySpec,
    n_cells: int,
    *,
    orientation: ArrayLike = 0.0,
    seed: int,
    stage: str = "shapes",
    cell_ids: ArrayLike | None = None,
) -> Floats:
    """Draw nuclei of one morphology.

    Parameters
    ----------
    morphology
        Their size and outline.
    n_cells
        How many.
    orientation
        Direction of the long axes from the x axis, rad; a number or (n_cells,).
    seed, stage
        The random stream.
    cell_ids
        (n_cells,) integers, by default 0 to n_cells - 1.

    Returns
    -------
    (n_cells, n_vertices) radii in µm on rays at angles 2 π k / n_vertices. The polygon's area,
    bumps and all, is lognormal with the morphology's mean and cv.
    """
    table, of = Morphologies.of([morphology]), np.zeros(n_cells, dtype=np.intp)
    ids = np.arange(n_cells) if cell_ids is None else np.asarray(cell_ids)
    angle = np.broadcast_to(np.asarray(orientation, dtype=np.float64), (n_cells,))
    areas = table.drawn_areas(of, seed, stage, ids)
    return np.ascontiguousarray(table.radii(of, areas, angle, seed, stage, ids).T)


def column_areas(radius: Floats) -> Floats:
    """Return the (n,) polygon areas of (n_rays, n) radii: one outline per column."""
    products = radius[-1] * radius[0]
    for k in range(len(radius) - 1):
        products += radius[k] * radius[k + 1]
    products *= 0.5 * np.sin(2.0 * np.pi / len(radius))
    areas: Floats = products
    return areas


def _ellipses(elongation: Floats, orientation: Floats, n_rays: int) -> Floats:
    """Return (n_rays, n) radii of ellipses of area π, long axis over short axis as given."""
    if np.all(elongation == 1.0):
        return np.ones((n_rays, len(elongation)))
    cosine, sine = rays(n_rays)
    # 1 / r² = cos² / a² + sin² / b² with a² = elongation = 1 / b², by the double angle.
    mean, half = 0.5 * (elongation + 1.0 / elongation), 0.5 * (elongation - 1.0 / elongation)
    along, across = half * np.cos(2.0 * orientation), half * np.sin(2.0 * orientation)
    squared = (
        mean - (cosine**2 - sine**2)[:, None] * along - (2.0 * sine * cosine)[:, None] * across
    )
    radius: Floats = 1.0 / np.sqrt(squared)
    return radius


def _bumps(noise: Floats, key: np.uint64, cell_ids: NDArray[np.integer], n_rays: int) -> Floats:
    """Return the (n_rays, n) factors 1 + Σ a_k cos kt + b_k sin kt."""
    harmonics = range(2, min(_HARMONICS, (n_rays - 1) // 2) + 1)
    columns = np.arange(2 * len(harmonics))[:, None]
    draw = ndtri(unit_interval(hash_bits(key, cell_ids[None, :], columns)))
    draw *= noise
    angle = 2.0 * np.pi * np.arange(n_rays) / n_rays
    factor = np.ones((n_rays, len(noise)))
    term = np.empty_like(factor)
    # Not a matrix product: its last bit would depend on how many cells are asked for.
    for j, k in enumerate(harmonics):
        for column, wave in ((2 * j, np.cos(k * angle)), (2 * j + 1, np.sin(k * angle))):
            np.multiply(wave[:, None] / k, draw[column], out=term)
            factor += term
    return factor
