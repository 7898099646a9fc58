"""Outlines as radii on common rays: sectors, their corners, and exact tests of containment.

A point of sector k is s e_k + t e_{k+1}, with e the rays' unit vectors. It lies within an outline
of radii r if s / r_k + t / r_{k+1} <= 1, exactly, since an outline is straight between two rays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import DataError
from celldyn.simulate.parameters.measurement import Compartment
from celldyn.simulate.shapes.outlines import rays as directions

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

COMPARTMENTS: tuple[str, ...] = (*get_args(Compartment), "outside")
"""Where a molecule lies, by code; one that leaked, or belongs to no cell, is outside."""
OUTSIDE = len(COMPARTMENTS) - 1

PERINUCLEAR_REACH = 1.3
"""How far a perinuclear molecule lies from the centre, in radii of the nucleus."""
MEMBRANE_FROM = 0.9
"""Where the membrane's molecules begin, in radii of the cell."""

EDGE = 1e-9
"""Share of its radius by which a molecule keeps off an outline, far above float64's rounding."""


@dataclass(frozen=True, slots=True)
class Rays:
    """Unit vectors at angles 2 pi k / n, the first repeated at the end.

    Parameters
    ----------
    cos, sin
        (n + 1,) their coordinates.
    """

    cos: Floats
    sin: Floats

    @property
    def n(self) -> int:
        """Number of rays."""
        return self.cos.size - 1

    @property
    def cross(self) -> float:
        """Sine of the angle between neighbouring rays."""
        return float(np.sin(2.0 * np.pi / self.n))


@cache
def rays(n: int) -> Rays:
    """Return the n common rays.

    Raises
    ------
    DataError
        If there are fewer than 3: nothing lies between them.
    """
    if n < 3:
        raise DataError(f"the outlines have {n} radii", "give at least 3 per cell")
    cos, sin = directions(n)
    return Rays(np.append(cos, cos[0]), np.append(sin, sin[0]))


def sector(dx: Floats, dy: Floats, common: Rays) -> Ints:
    """Return which sector points lie in; the angle only guesses, the rays decide."""
    step = 2.0 * np.pi / common.n
    k = np.floor(np.arctan2(dy, dx) / step).astype(np.intp) % common.n
    k = np.where(_turn(dx, dy, k, common) < 0.0, k - 1, k) % common.n
    return np.where(_turn(dx, dy, k + 1, common) >= 0.0, k + 1, k) % common.n


def ray_coordinates(dx: Floats, dy: Floats, k: Ints, common: Rays) -> tuple[Floats, Floats]:
    """Return (s, t) of points in sectors `k`, relative to the cell's centre."""
    s = (dx * common.sin[k + 1] - dy * common.cos[k + 1]) / common.cross
    t = (dy * common.cos[k] - dx * common.sin[k]) / common.cross
    return s, t


def inside(
    dx: Floats,
    dy: Floats,
    radii: NDArray[np.float32],
    row: NDArray[np.integer],
    common: Rays,
) -> NDArray[np.bool_]:
    """Whether points lie within outlines.

    Parameters
    ----------
    dx, dy
        (m,) relative to the centre of each point's outline.
    radii
        (n, R) outlines.
    row
        (m,) which of them.
    common
        The R rays.
    """
    k = sector(dx, dy, common)
    s, t = ray_coordinates(dx, dy, k, common)
    r0 = radii[row, k].astype(np.float64)
    r1 = radii[row, (k + 1) % common.n].astype(np.float64)
    within: NDArray[np.bool_] = s * r1 + t * r0 <= r0 * r1
    return within


def region(
    nucleus: NDArray[np.float32], cell: NDArray[np.float32], compartment: int
) -> tuple[Floats, Floats]:
    """Return inner and outer radii of a compartment.

    Parameters
    ----------
    nucleus, cell
        (m, R) outlines.
    compartment
        Its code, not `OUTSIDE`.

    Returns
    -------
    Two of (m, R + 1), the first ray repeated at the end.
    """
    n, c = (np.append(r, r[:, :1], axis=1).astype(np.float64) for r in (nucleus, cell))
    match COMPARTMENTS[compartment]:
        case "uniform":
            return np.zeros_like(c), c
        case "nuclear":
            return np.zeros_like(n), n
        case "perinuclear":
            return n, np.minimum(PERINUCLEAR_REACH * n, c)
        case "cytoplasmic":
            return n, c
        case _:
            return np.maximum(MEMBRANE_FROM * c, n), c


def _turn(dx: Floats, dy: Floats, k: Ints, common: Rays) -> Floats:
    """Return the cross product of ray k and the point: at least 0 on its left."""
    turn: Floats = common.cos[k] * dy - common.sin[k] * dx
    return turn
