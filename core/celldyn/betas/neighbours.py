"""Who is near whom: sparse neighbour graphs within a radius, section by section."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]

MAX_PAIRS = 100_000_000
"""Most pairs that a stored graph may have: 1.2 GB kept, about 2.5 GB while it is built."""

PAIRS_PER_BLOCK = 150_000
"""Pairs searched at once between two yields: some 30 ms and 10 MB."""

_SAMPLE = 1000
_SLACK = 1 + 1e-9


def radius_graph(
    xy: ArrayLike,
    radius: float,
    *,
    sections: Sequence[Any] | NDArray[Any] | None = None,
    max_pairs: int = MAX_PAIRS,
) -> csr_array:
    """Return the distances between all cells that lie within a radius of one another.

    Parameters
    ----------
    xy
        (n_cells, 2 or 3) coordinates.
    radius
        In the unit of `xy`; cells at exactly this distance are neighbours.
    sections
        (n_cells,) section of each cell. Cells of different sections never see each other, even
        where their coordinates overlap. None for a single section.
    max_pairs
        Refuse, before anything is allocated, a graph that would have more stored pairs.

    Returns
    -------
    (n_cells, n_cells) float64 CSR matrix of distances with sorted columns, symmetric, each cell's
    distance 0 to itself stored explicitly. About 12 bytes per stored pair.

    Raises
    ------
    DataError
        If the coordinates are not finite or do not fit the sections.
    ConfigError
        If the radius is not positive or the graph would be too large.
    """
    return run(radius_graph_job(xy, radius, sections=sections, max_pairs=max_pairs), bar=False)


def radius_graph_job(
    xy: ArrayLike,
    radius: float,
    *,
    sections: Sequence[Any] | NDArray[Any] | None = None,
    max_pairs: int = MAX_PAIRS,
) -> Job[csr_array]:
    """Build the graph of `radius_graph` block by block of cells, yielding between blocks."""
    finder = NeighbourFinder.build(xy, sections)
    estimate = finder.estimate_pairs(radius)
    if estimate > max_pairs:
        raise ConfigError(
            f"radius {radius:g} gives about {estimate / finder.n_cells:.0f} neighbours per cell "
            f"and {estimate / 1e6:.3g} million pairs (the limit is {max_pairs / 1e6:g} million)",
            "choose a smaller radius or fewer cells",
        )
    blocks: list[csr_array] = []
    try:
        for stop, block in finder.blocks(radius):
            blocks.append(block)
            yield Progress("neighbours", stop, finder.n_cells)
        return _stack(blocks, finder.n_cells)
    finally:
        blocks.clear()


def within(graph: csr_array, radius: float) -> csr_array:
    """Return the part of a distance graph that lies within a smaller radius.

    Parameters
    ----------
    graph
        CSR matrix of distances from `radius_graph`.
    radius
        At most the radius the graph was built with; in the unit of the coordinates.
    """
    keep = graph.data <= radius
    kept_before = np.concatenate(([0], np.cumsum(keep)))
    indptr = kept_before[graph.indptr].astype(graph.indptr.dtype)
    return csr_array((graph.data[keep], graph.indices[keep], indptr), shape=graph.shape)


@dataclass(frozen=True, slots=True)
class NeighbourFinder:
    """A kd-tree of the cells in which sections are far apart.

    Parameters
    ----------
    xy
        (n_cells, 2 or 3) float64 coordinates.
    codes
        (n_cells,) section of each cell as 0, 1, ...
    """

    xy: Floats
    codes: Ints

    @classmethod
    def build(cls, xy: ArrayLike, sections: ArrayLike | None) -> NeighbourFinder:
        """Check coordinates and sections."""
        coordinates = check_coordinates(xy)
        return cls(coordinates, section_codes(sections, len(coordinates)))

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.xy)

    def tree(self, reach: float) -> cKDTree:
        """Return a tree whose sections are further apart than `reach`, along one more axis."""
        _check_radius(reach)
        return cKDTree(self._lifted(reach))

    def _lifted(self, reach: float) -> Floats:
        if not self.codes.any():
            return self.xy
        return np.column_stack((self.xy, self.codes * (2.0 * reach)))

    def estimate_pairs(self, radius: float) -> float:
        """Estimate the number of ordered pairs within the radius, self included, from a sample."""
        if self.n_cells == 0:
            return 0.0
        tree = self.tree(radius)
        picked = np.linspace(0, self.n_cells - 1, min(self.n_cells, _SAMPLE)).astype(np.intp)
        sample = cKDTree(np.asarray(tree.data)[picked])
        return float(tree.count_neighbors(sample, radius)) * self.n_cells / len(picked)

    def blocks(
        self, radius: float, pairs_per_block: int = PAIRS_PER_BLOCK
    ) -> Generator[tuple[int, csr_array], None, None]:
        """Yield (stop, distances) for consecutive blocks of cells.

        Each block is a CSR matrix (stop - start, n_cells) with sorted columns; no more than one
        block, of about `pairs_per_block` pairs, is alive at a time.
        """
        if self.n_cells == 0:
            return
        tree = self.tree(radius)
        points = np.asarray(tree.data)
        per_cell = max(self.estimate_pairs(radius) / self.n_cells, 1.0)
        n_rows = max(int(pairs_per_block / per_cell), 1)
        for start in range(0, self.n_cells, n_rows):
            stop = min(start + n_rows, self.n_cells)
            # The search is a hair wider than the radius, so that the distance itself decides.
            found = cKDTree(points[start:stop]).sparse_distance_matrix(
                tree, radius * _SLACK, output_type="ndarray"
            )
            yield stop, self._block(found["i"], found["j"], start, stop, radius)

    def _block(self, rows: Ints, columns: Ints, start: int, stop: int, radius: float) -> csr_array:
        difference = self.xy[rows + start] - self.xy[columns]
        distance = np.sqrt(sum(axis**2 for axis in difference.T))
        inside = distance <= radius
        rows, columns, distance = rows[inside], columns[inside], distance[inside]
        block = csr_array((distance, (rows, columns)), shape=(stop - start, self.n_cells))
        block.sort_indices()
        return block


def section_codes(sections: ArrayLike | None, n_cells: int) -> Ints:
    """Return the section of each cell as 0, 1, ...; all 0 when there are none."""
    if sections is None:
        return np.zeros(n_cells, dtype=np.intp)
    codes, _ = encode(sections, "sections")
    if len(codes) != n_cells:
        raise DataError(
            f"sections has {len(codes)} entries for {n_cells} cells", "give one section per cell"
        )
    return codes


def encode(labels: ArrayLike, what: str = "labels") -> tuple[Ints, list[Any]]:
    """Return the code of each cell and the sorted names that the codes stand for.

    A pandas Categorical keeps its unused categories, so that a crop has the columns of the whole.

    Raises
    ------
    DataError
        If some cell has no label.
    """
    import pandas as pd

    category: Any = pd.Categorical(labels)  # type: ignore[arg-type]  # takes any array-like
    if (category.codes < 0).any():
        raise DataError(
            f"{what}: {int((category.codes < 0).sum())} cells have none",
            "label every cell or leave those cells out",
        )
    names = sorted(category.categories, key=_by_value_then_text)
    return category.set_categories(names).codes.astype(np.intp), names


def _by_value_then_text(name: Any) -> tuple[bool, float, str]:  # noqa: ANN401
    number = isinstance(name, int | float | np.number)
    return not number, float(name) if number else 0.0, str(name)


def check_coordinates(xy: ArrayLike) -> Floats:
    """Return coordinates as a finite (n_cells, 2 or 3) float64 array."""
    coordinates = np.asarray(xy, dtype=np.float64)
    if coordinates.ndim != 2 or coordinates.shape[1] not in (2, 3):
        raise DataError(
            f"coordinates have shape {coordinates.shape}", "give one row of x, y (, z) per cell"
        )
    if not np.isfinite(coordinates).all():
        n_bad = int((~np.isfinite(coordinates)).any(axis=1).sum())
        raise DataError(f"{n_bad} cells have no finite coordinates", "leave those cells out")
    return coordinates


def _check_radius(radius: float) -> None:
    if not (np.isfinite(radius) and radius > 0):
        raise ConfigError(f"a radius of {radius} was given", "give a positive, finite radius")


def _stack(blocks: list[csr_array], n_cells: int) -> csr_array:
    """Put blocks of rows under one another without going through COO, which would double them."""
    if not blocks:
        return csr_array((n_cells, n_cells), dtype=np.float64)
    counts = np.concatenate([np.diff(block.indptr) for block in blocks])
    nnz = int(counts.sum(dtype=np.int64))
    kind = np.int32 if max(nnz, n_cells) < np.iinfo(np.int32).max else np.int64
    indptr = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(kind)
    indices = np.concatenate([block.indices for block in blocks]).astype(kind, copy=False)
    data = np.concatenate([block.data for block in blocks])
    return csr_array((data, indices, indptr), shape=(n_cells, n_cells))
