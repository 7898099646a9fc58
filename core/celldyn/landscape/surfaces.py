"""The landscape as a surface: heights of the potential over a plane, and what lies on it.

Shapes: n points, m vertices, k triangles; nx and ny nodes of the grid that the mesh is cut from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.graph import Floats, Ints, per_cell
from celldyn.landscape.kernel_sums import KernelSums, grid_axes, kernel_width
from celldyn.landscape.meshing import clipped_mesh
from celldyn.landscape.places import Mask, as_places, has_place
from celldyn.landscape.streams import Streamlines

if TYPE_CHECKING:
    from celldyn.landscape.networks import Networks

Kind: TypeAlias = Literal["decoded", "smoothed"]

_WIDER = 1.6
"""Kernel of surfaces, over that of arrows: hills are smoother than streams."""
_BLOCK = 4096
"""Nodes that are decoded at once."""
_FEWEST = 2.0
"""Cells within the kernel without which there is no surface."""
_ISLAND = 0.005
"""Share of the cells that an island of the surface has at least."""


@dataclass(frozen=True, slots=True)
class PotentialSurface:
    """A mesh of V over a plane, where there are cells.

    Parameters
    ----------
    vertices
        (m, 3) the plane's two axes, then the height: `scale` times V.
    faces
        (k, 3) vertices of each triangle, counter-clockwise as seen from above.
    values
        (m,) V at the vertices.
    axes
        (nx,) and (ny,) coordinates of the grid's nodes, evenly spaced.
    grid
        (nx, ny) V at the nodes; where there are no cells, that of the nearest node where there
        are.
    scale
        Height of one unit of V, in the plane's units.
    kind
        "decoded": V of the state that a place decodes to; "smoothed": V of the cells near it.
    """

    vertices: Floats
    faces: Ints
    values: Floats
    axes: tuple[Floats, Floats]
    grid: Floats
    scale: float = 1.0
    kind: Kind = "decoded"

    def potential_at(self, points: ArrayLike) -> Floats:
        """Return V on the surface, (n,), at points (n, 2); beyond its edge that at the edge."""
        at = np.asarray(points, np.float64)
        if at.ndim != 2 or at.shape[1] != 2:
            raise DataError(
                f"points of shape {at.shape} have no place on a surface", "give two axes each"
            )
        low, share = [], []
        for axis, x in zip(self.axes, at.T, strict=True):
            place = np.clip((x - axis[0]) / (axis[1] - axis[0]), 0.0, len(axis) - 1)
            place = np.nan_to_num(place)
            low.append(np.minimum(place.astype(np.int64), len(axis) - 2))
            share.append(place - low[-1])
        (i, j), (u, v) = low, share
        V = self.grid
        # As the two triangles of the box have it, not bilinear: points then lie in the mesh.
        first = V[i, j] + u * (V[i + 1, j] - V[i, j]) + v * (V[i + 1, j + 1] - V[i + 1, j])
        second = V[i, j] + v * (V[i, j + 1] - V[i, j]) + u * (V[i + 1, j + 1] - V[i, j + 1])
        return np.asarray(np.where(u >= v, first, second))

    def heights(self, points: ArrayLike) -> Floats:
        """Return the height of the surface, (n,), at points (n, 2) of the plane."""
        return self.scale * self.potential_at(points)

    def explained(self, places: ArrayLike, potential: ArrayLike) -> float:
        """Return which share of the variance of cells' own V the surface under them tells.

        A decoded surface that tells little, as where the differentiation state carries little,
        is no picture of these cells: smooth their V instead.

        Parameters
        ----------
        places, potential
            (n, 2) and (n,) of the cells; those without a place are left out.
        """
        at, V = np.asarray(places, np.float64), np.asarray(potential, np.float64)
        there = np.isfinite(at).all(axis=1) & np.isfinite(V)
        left = np.square(V[there] - self.potential_at(at[there])).sum()
        total = np.square(V[there] - V[there].mean()).sum()
        return float(1.0 - left / total) if total > 0 else float(left == 0)

    def lift(self, points: ArrayLike, *, above: float = 0.0) -> Floats:
        """Return points of the plane, (n, 2), on the surface, (n, 3), or `above` it."""
        at = np.asarray(points, np.float64)
        return np.column_stack([at, self.heights(at) + above])


def potential_surface(
    networks: Networks | None,
    places: ArrayLike,
    potential: ArrayLike | None = None,
    *,
    kind: Kind = "decoded",
    resolution: int = 120,
    relief: float | None = 0.4,
    smooth: float = 1.0,
    min_mass: float = 0.25,
) -> PotentialSurface:
    """Return the potential as a surface over the differentiation state, or an embedding.

    There is a surface only where there are cells.

    Parameters
    ----------
    networks
        In evaluation mode; needed for "decoded" alone.
    places
        (n, 2) differentiation state of the cells, or, for "smoothed", any embedding of two axes;
        of more the first two are taken. Cells without a place are left out.
    potential
        (n,) V of the cells; needed for "smoothed" alone.
    kind
        "decoded": V(z) at the mean state z that each place of B decodes to, which is the learned
        landscape. "smoothed": V of the cells, by local linear regression, which any embedding has.
    resolution
        Nodes along the longest side.
    relief
        Height between the lowest and the highest point, over the longest side; None has V itself
        as heights.
    smooth
        Width of the kernel, over what the density of cells asks for: of the regression, and of
        what counts as near a cell.
    min_mass
        Cells within the kernel, over what a middling cell has about it, below which there is no
        surface; never less than two.

    Raises
    ------
    DataError
        If arrays do not fit each other, V is not finite, or cells are too few or at one place.
    ConfigError
        If a parameter is out of its bounds, or networks are missing.
    """
    job = potential_surface_job(
        networks, places, potential, kind=kind, resolution=resolution, relief=relief,
        smooth=smooth, min_mass=min_mass,
    )  # fmt: skip
    return run(job, bar=False)


def potential_surface_job(
    networks: Networks | None,
    places: ArrayLike,
    potential: ArrayLike | None = None,
    *,
    kind: Kind = "decoded",
    resolution: int = 120,
    relief: float | None = 0.4,
    smooth: float = 1.0,
    min_mass: float = 0.25,
) -> Job[PotentialSurface]:
    """Make the surface as a job; see `potential_surface`."""
    _check(networks, kind, resolution, relief, smooth, min_mass)
    at = as_places(_first_two(places), None)
    kept = has_place(at)
    if kept.sum() < 3:
        raise DataError("fewer than 3 cells have a place", "give more cells")
    at = at[kept]
    yield Progress("surface", 0.0, 1.0)
    width = smooth * _WIDER * kernel_width(at)
    axes = grid_axes(at, width, resolution)
    sums = KernelSums(at, axes, width)
    level = _support(sums, min_mass)
    if kind == "decoded":
        assert networks is not None
        V = yield from _decoded_job(networks, axes)
    else:
        V_cells = () if potential is None else potential
        values = per_cell(V_cells, len(kept), "potential")[kept]
        V = (yield from sums.regression_job(values[:, None]))[..., 0]
    V = _filled(V, level >= 0)
    vertices, values, faces = clipped_mesh((axes[0], axes[1]), V, level)
    scale = 1.0
    rise = float(np.ptp(values))
    if relief is not None and rise > 0:
        scale = relief * float(np.ptp(vertices, axis=0).max()) / rise
    vertices = np.column_stack([vertices, scale * values])
    return PotentialSurface(vertices, faces, values, (axes[0], axes[1]), V, scale, kind)


def lift_streamlines(
    streams: Streamlines, surface: PotentialSurface, *, above: float = 0.0
) -> Streamlines:
    """Return streamlines of the plane on the surface, (m_i, 3) each, or `above` it.

    Speeds and times stay those in the plane.

    Raises
    ------
    DataError
        If lines have three axes already.
    """
    return replace(streams, lines=[surface.lift(line, above=above) for line in streams.lines])


def _check(
    networks: Networks | None,
    kind: str,
    resolution: int,
    relief: float | None,
    smooth: float,
    min_mass: float,
) -> None:
    if kind not in get_args(Kind):
        raise ConfigError(f"kind {kind!r} is not known", f"use {', '.join(get_args(Kind))}")
    if kind == "decoded" and networks is None:
        raise ConfigError(
            "a decoded surface was asked for without networks", "give them, or use kind='smoothed'"
        )
    if not 4 <= resolution <= 2000:
        raise ConfigError(f"resolution is {resolution}", "give 4 to 2000")
    for name, value in (("relief", relief), ("smooth", smooth)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}", "give a number above 0")
    if not 0 <= min_mass < math.inf:
        raise ConfigError(f"min_mass is {min_mass}", "give 0 or more")


def _first_two(places: ArrayLike) -> Any:  # noqa: ANN401
    found = places.detach().cpu().numpy() if hasattr(places, "detach") else np.asarray(places)
    return found[:, :2] if found.ndim == 2 else found


def _support(sums: KernelSums, min_mass: float) -> Floats:
    """Return a number per node that is 0 or more where there are cells, (nx, ny)."""
    from scipy import ndimage

    at = sums.nearest_node()
    fewest = max(min_mass * float(np.median(sums.mass[at])), _FEWEST)
    level = np.log(np.maximum(sums.mass, 1e-9) / fewest)
    island, n_islands = ndimage.label(level >= 0, structure=np.ones((3, 3)))
    cells = np.bincount(island[at], minlength=n_islands + 1)
    cells[0] = 0
    small = cells < _ISLAND * len(at[0])
    if small.all():
        raise DataError("no place has as many cells about it as a surface asks for",
                        "give a smaller min_mass, or a larger smooth")  # fmt: skip
    level[small[island]] = np.minimum(level, -1e-3)[small[island]]
    return np.asarray(level)


def _decoded_job(networks: Networks, axes: tuple[Floats, ...]) -> Job[Floats]:
    """Return V of what the nodes decode to, (nx, ny)."""
    import torch

    shape = tuple(len(axis) for axis in axes)
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    n_axes = networks.B_decoder.linear[0].in_features
    if n_axes != 2:
        raise ConfigError(
            f"the differentiation state has {n_axes} dimensions",
            "use kind='smoothed' with an embedding of two axes",
        )
    like = next(networks.parameters())
    parts = []
    for first in range(0, len(nodes), _BLOCK):
        yield Progress("surface", first, len(nodes))
        B = torch.as_tensor(nodes[first : first + _BLOCK], dtype=like.dtype, device=like.device)
        with torch.no_grad():
            parts.append(networks.potential(networks.decode_B(B)[0]).double().cpu())
    return np.asarray(torch.cat(parts).numpy().reshape(shape))


def _filled(V: Floats, there: Mask) -> Floats:
    """Return V with that of the nearest node where there are cells, but for the rim's next."""
    from scipy import ndimage

    known = ndimage.binary_dilation(there, np.ones((3, 3), dtype=bool)) & np.isfinite(V)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(V[tuple(nearest)])
