"""A cell's surroundings as small images: distance to every place, or cells of each type around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from celldyn.betas.neighbours import Floats, Ints, NeighbourFinder, check_coordinates, encode
from celldyn.errors import ConfigError, DataError

Images = NDArray[np.float32]

_CHUNK = 256
_SLACK = 1 + 1e-9


def distance_maps(
    xy: ArrayLike, shape: tuple[int, int], *, cells: ArrayLike | None = None
) -> Images:
    """Return, for each cell, an image of how far every place of the tissue is from it.

    The pixels divide the bounding box of all cells; row 0 is the top (largest y). Each image is
    scaled to 0 at its nearest and 1 at its farthest pixel centre.

    Parameters
    ----------
    xy
        (n_cells, 2) coordinates of all cells.
    shape
        (rows, columns) of an image.
    cells
        Indices of the cells to draw, for batches; all of them by default.

    Returns
    -------
    (n_cells or len(cells), rows, columns) float32. Its memory is 4 * rows * columns bytes a cell,
    so draw batches of cells rather than all of a large tissue.

    Notes
    -----
    With d_ij the distance to the centre of pixel ij, M_ij = (d_ij - min d) / max(max d - min d,
    1e-15). An image shows where its cell is, not what is around it.
    """
    points = _plane(xy)
    n_rows, n_columns = (_check_dimension(size) for size in shape)
    chosen = _check_cells(cells, len(points))
    if not len(points):
        return np.zeros((0, n_rows, n_columns), dtype=np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    columns = low[0] + (np.arange(n_columns) + 0.5) * ((high[0] - low[0]) / n_columns)
    rows = high[1] - (np.arange(n_rows) + 0.5) * ((high[1] - low[1]) / n_rows)
    images = np.empty((len(chosen), n_rows, n_columns), dtype=np.float32)
    for start in range(0, len(chosen), _CHUNK):
        here = points[chosen[start : start + _CHUNK]]
        across = (here[:, 0, None] - columns) ** 2
        down = (here[:, 1, None] - rows) ** 2
        distance = np.sqrt(down[:, :, None] + across[:, None, :])
        distance -= distance.min(axis=(1, 2), keepdims=True)
        distance /= np.maximum(distance.max(axis=(1, 2), keepdims=True), 1e-15)
        images[start : start + _CHUNK] = distance
    return images


def density_maps(
    xy: ArrayLike,
    labels: ArrayLike,
    cells: ArrayLike,
    *,
    extent: float,
    spatial_dim: int,
    sections: Sequence[Any] | NDArray[Any] | None = None,
) -> Images:
    """Return, for some cells, an image per cell type of the cells around them.

    For many batches of one tissue, make a `DensityMapper` once and draw from it.

    Parameters
    ----------
    xy
        (n_cells, 2) coordinates of all cells.
    labels
        (n_cells,) cell type of each cell.
    cells
        Indices of the cells to draw.
    extent
        Side of the square window centred on the cell, in the unit of `xy`.
    spatial_dim
        D, pixels along a side.
    sections
        (n_cells,) section of each cell; other sections are not seen.

    Returns
    -------
    (len(cells), n_types, D, D) float32: number of cells of each type (in sorted order) per pixel,
    the cell itself included; row 0 is the top (largest y). Pixels are half open: a cell on the
    left or upper edge of a pixel belongs to it.
    """
    mapper = DensityMapper.build(
        xy, labels, extent=extent, spatial_dim=spatial_dim, sections=sections
    )
    return mapper.draw(cells)


@dataclass(frozen=True, slots=True, eq=False)
class DensityMapper:
    """Draws the images of `density_maps` for batch after batch of cells.

    Parameters
    ----------
    xy, codes, names
        Coordinates, cell type codes, and the types they stand for, in channel order.
    tree
        kd-tree of the cells, sections apart.
    extent, spatial_dim
        Side of the window and pixels along it.
    """

    xy: Floats
    codes: Ints
    names: tuple[Any, ...]
    tree: cKDTree
    extent: float
    spatial_dim: int

    @classmethod
    def build(
        cls,
        xy: ArrayLike,
        labels: ArrayLike,
        *,
        extent: float,
        spatial_dim: int,
        sections: Sequence[Any] | NDArray[Any] | None = None,
    ) -> DensityMapper:
        """Check the arrays and build the tree; parameters as in `density_maps`."""
        points = _plane(xy)
        codes, names = encode(labels)
        if len(codes) != len(points):
            raise DataError(f"{len(codes)} labels for {len(points)} cells", "give one per cell")
        if not (np.isfinite(extent) and extent > 0):
            raise ConfigError(f"an extent of {extent} was given", "give a positive, finite one")
        tree = NeighbourFinder.build(points, sections).tree(float(extent))
        return cls(points, codes, tuple(names), tree, float(extent), _check_dimension(spatial_dim))

    def draw(self, cells: ArrayLike) -> Images:
        """Return the (len(cells), n_types, D, D) float32 images of some cells."""
        image, pixel = self.points(cells)
        side, n_types = self.spatial_dim, len(self.names)
        images = np.zeros((len(np.asarray(cells)), n_types, side, side), dtype=np.float32)
        place = image.astype(np.int64) * (n_types * side**2) + pixel
        np.add.at(images.reshape(-1), place, np.float32(1))
        return images

    def points(self, cells: ArrayLike) -> tuple[Ints, NDArray[np.int32]]:
        """Return what the images of some cells are made from, one entry for each cell in a window.

        Returns
        -------
        image
            (n_points,) which of `cells` has it in its window, ascending.
        place
            (n_points,) its pixel there, (type · D + row) · D + column.
        """
        chosen = _check_cells(cells, len(self.xy))
        side = self.spatial_dim
        if not len(chosen):
            return np.empty(0, np.intp), np.empty(0, np.int32)
        # The square window is a ball of the maximum norm.
        window = cKDTree(np.asarray(self.tree.data)[chosen])
        found = window.sparse_distance_matrix(
            self.tree, self.extent / 2 * _SLACK, p=np.inf, output_type="ndarray"
        )
        image, seen = found["i"], found["j"]
        offset = self.xy[seen] - self.xy[chosen[image]]
        pixel = self.extent / side
        column = np.floor((offset[:, 0] + self.extent / 2) / pixel).astype(np.intp)
        row = np.floor((self.extent / 2 - offset[:, 1]) / pixel).astype(np.intp)
        inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        place = (self.codes[seen] * side + row) * side + column
        order = np.lexsort((place[inside], image[inside]))
        return image[inside][order], place[inside][order].astype(np.int32)


def _plane(xy: ArrayLike) -> Floats:
    points = check_coordinates(xy)
    if points.shape[1] != 2:
        raise DataError("the coordinates have three axes", "give x and y only for images")
    return points


def _check_dimension(size: int) -> int:
    if size < 1:
        raise ConfigError(f"an image of {size} pixels was asked for", "give at least 1")
    return int(size)


def _check_cells(cells: ArrayLike | None, n_cells: int) -> Ints:
    if cells is None:
        return np.arange(n_cells)
    chosen = np.asarray(cells)
    if chosen.size == 0:
        return np.zeros(0, dtype=np.intp)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise DataError("cells are not a list of indices", "give whole numbers from 0")
    if chosen.min() < 0 or chosen.max() >= n_cells:
        raise DataError(f"cells names a cell outside 0 .. {n_cells - 1}", "give indices of rows")
    return chosen.astype(np.intp)
