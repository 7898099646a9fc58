"""What reaches a cell from its neighbours: received ligands and counts of cell types."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from celldyn.betas.kernels import Kernel, KernelRule, Normalisation, kernel_reach
from celldyn.betas.neighbours import PAIRS_PER_BLOCK, Floats, NeighbourFinder, encode
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run

if TYPE_CHECKING:
    import pandas as pd

PRODUCTS_PER_BLOCK = 15_000_000
"""Multiplications between two yields: some 30 ms."""


def received_ligands(
    xy: ArrayLike,
    expression: ArrayLike,
    radii: ArrayLike,
    *,
    kernel: Kernel = "truncated",
    normalisation: Normalisation = "weights",
    scale_factor: float = 1.0,
    include_self: bool = True,
    sections: Sequence[Any] | NDArray[Any] | None = None,
    graph: csr_array | None = None,
) -> Floats:
    """Return how much of each ligand reaches each cell from the cells around it.

    R_il = scale_factor / Z_i * sum_j w(d_ij, r_l) L_jl over the cells j of the same section.

    Parameters
    ----------
    xy
        (n_cells, 2 or 3) coordinates.
    expression
        (n_cells, n_ligands) expression of the ligands in the sending cells.
    radii
        One radius for all ligands, or (n_ligands,); in the unit of `xy`.
    kernel
        "truncated": w = 0.001^((d/r)²) for d <= r, else 0. "gaussian": w = exp(-d²/(2r²)), cut
        to 0 where it falls under 1e-6, which is beyond 5.26 r; it sees about 28 times as many
        cells as the truncated kernel and costs accordingly.
    normalisation
        Z_i. "weights": the sum of the weights, so that R is an average over the neighbourhood and
        means the same in a section and in a crop of it; a cell without neighbours (possible
        without self) gets 0. "n_cells": the number of cells of the section. "none": 1.
    scale_factor
        Multiplies the kernel; since "weights" divides by the unscaled kernel, it multiplies the
        result under every normalisation.
    include_self
        Whether a cell receives what it expresses itself (weight 1).
    sections
        (n_cells,) section of each cell; cells receive from their own section only.
    graph
        Distances from `radius_graph`, at least as far as the kernel reaches
        (`kernel_reach(kernel, radius)`) and made with the same sections; saves the search.

    Returns
    -------
    (n_cells, n_ligands) float64. Beside it and the expression (copied once if it is not float64 or
    if radii differ), memory is that of one block of neighbours, some 10 MB, whatever the radius:
    no graph is stored and no n_cells² array made.

    Raises
    ------
    DataError, ConfigError
        If arrays do not fit each other or a parameter is out of its bounds.
    """
    job = received_ligands_job(
        xy,
        expression,
        radii,
        kernel=kernel,
        normalisation=normalisation,
        scale_factor=scale_factor,
        include_self=include_self,
        sections=sections,
        graph=graph,
    )
    return run(job, bar=False)


def received_ligands_job(
    xy: ArrayLike,
    expression: ArrayLike,
    radii: ArrayLike,
    *,
    kernel: Kernel = "truncated",
    normalisation: Normalisation = "weights",
    scale_factor: float = 1.0,
    include_self: bool = True,
    sections: Sequence[Any] | NDArray[Any] | None = None,
    graph: csr_array | None = None,
) -> Job[Floats]:
    """Compute `received_ligands` block by block of cells, yielding between blocks.

    All ligands of one radius are one sparse product per block; a block is small enough for some
    30 ms, however many ligands there are and however far they reach.
    """
    finder = NeighbourFinder.build(xy, sections)
    levels = _check_expression(expression, finder.n_cells)
    reach = _check_radii(radii, levels.shape[1])
    rule = KernelRule(kernel, normalisation, float(scale_factor), include_self)
    section_size = np.bincount(finder.codes)[finder.codes].astype(np.float64)
    # A column block per radius, contiguous, so that each product reads memory in order.
    parts = [(r, np.flatnonzero(reach == r)) for r in np.unique(reach)]
    sent = [levels if len(parts) == 1 else levels[:, columns] for _, columns in parts]
    received = np.zeros(levels.shape)
    start = 0
    with closing(_blocks(finder, graph, parts, kernel, levels.shape[1])) as blocks:
        for stop, block in blocks:
            for (radius, columns), part in zip(parts, sent, strict=True):
                weights = rule.weights(block, radius, start, section_size[start:stop])
                received[start:stop, columns] = weights @ part
            start = stop
            yield Progress("received ligands", stop, finder.n_cells)
    return received


def kernel_matrix(
    graph: csr_array,
    radius: float,
    *,
    kernel: Kernel = "truncated",
    normalisation: Normalisation = "weights",
    scale_factor: float = 1.0,
    include_self: bool = True,
    sections: Sequence[Any] | NDArray[Any] | None = None,
) -> csr_array:
    """Return the matrix whose product with expression is `received_ligands` at one radius.

    For repeated use on changing expression (propagating a perturbation). `graph` are distances
    from `radius_graph` that reach `kernel_reach(kernel, radius)`.
    """
    finder = NeighbourFinder.build(np.zeros((graph.shape[0], 2)), sections)
    size = np.bincount(finder.codes)[finder.codes].astype(np.float64)
    rule = KernelRule(kernel, normalisation, float(scale_factor), include_self)
    return rule.weights(graph, radius, 0, size)


def neighbour_counts(
    xy: ArrayLike,
    labels: ArrayLike,
    radius: float,
    *,
    sections: Sequence[Any] | NDArray[Any] | None = None,
) -> pd.DataFrame:
    """Count, for each cell, the cells of each type within a radius, the cell itself included.

    Parameters
    ----------
    xy
        (n_cells, 2 or 3) coordinates.
    labels
        (n_cells,) cell type of each cell; a Categorical keeps its unused categories.
    radius
        In the unit of `xy`; cells at exactly this distance count.
    sections
        (n_cells,) section of each cell; other sections are not seen.

    Returns
    -------
    (n_cells, n_types) DataFrame of float64 counts, columns "{type}_within" in sorted order; its
    index is that of `labels` if that is a Series.
    """
    return run(neighbour_counts_job(xy, labels, radius, sections=sections), bar=False)


def neighbour_counts_job(
    xy: ArrayLike,
    labels: ArrayLike,
    radius: float,
    *,
    sections: Sequence[Any] | NDArray[Any] | None = None,
) -> Job[pd.DataFrame]:
    """Compute `neighbour_counts` block by block of cells, yielding between blocks."""
    import pandas as pd

    finder = NeighbourFinder.build(xy, sections)
    codes, names = encode(labels)
    if len(codes) != finder.n_cells:
        raise DataError(f"{len(codes)} labels for {finder.n_cells} cells", "give one per cell")
    counts = np.zeros((finder.n_cells, len(names)))
    start = 0
    with closing(finder.blocks(radius)) as blocks:
        for stop, block in blocks:
            rows = np.repeat(np.arange(stop - start), np.diff(block.indptr))
            place = rows * len(names) + codes[block.indices]
            flat = np.bincount(place, minlength=(stop - start) * len(names))
            counts[start:stop] = flat.reshape(stop - start, len(names))
            start = stop
            yield Progress("neighbour counts", stop, finder.n_cells)
    index = labels.index if isinstance(labels, pd.Series) else None
    return pd.DataFrame(counts, columns=[f"{name}_within" for name in names], index=index)


def _blocks(
    finder: NeighbourFinder,
    graph: csr_array | None,
    parts: list[tuple[Any, NDArray[np.intp]]],
    kernel: Kernel,
    n_ligands: int,
) -> Generator[tuple[int, csr_array], None, None]:
    """Yield (stop, distances) of consecutive blocks of cells, searched or cut from a graph."""
    pairs = min(PAIRS_PER_BLOCK, max(PRODUCTS_PER_BLOCK // max(n_ligands, 1), 1))
    if graph is None:
        widest = max((float(radius) for radius, _ in parts), default=1.0)
        yield from finder.blocks(kernel_reach(kernel, widest), pairs)
        return
    n_cells = finder.n_cells
    if graph.shape != (n_cells, n_cells):
        raise DataError(f"the graph is {graph.shape} for {n_cells} cells", "build it anew")
    n_rows = max(int(pairs * n_cells / max(graph.nnz, 1)), 1)
    for start in range(0, n_cells, n_rows):
        stop = min(start + n_rows, n_cells)
        yield stop, graph[start:stop]


def _check_expression(expression: ArrayLike, n_cells: int) -> Floats:
    levels = np.ascontiguousarray(expression, dtype=np.float64)
    if levels.ndim != 2 or len(levels) != n_cells:
        raise DataError(
            f"expression has shape {levels.shape} for {n_cells} cells",
            "give one row per cell and one column per ligand",
        )
    if not np.isfinite(levels).all():
        raise DataError("some expression of the ligands is not finite", "mend it")
    return levels


def _check_radii(radii: ArrayLike, n_ligands: int) -> Floats:
    reach = np.asarray(radii, dtype=np.float64)
    if reach.ndim > 1 or (reach.ndim == 1 and len(reach) != n_ligands):
        raise ConfigError(
            f"radii has shape {reach.shape} for {n_ligands} ligands", "give one, or one per ligand"
        )
    if not (np.isfinite(reach).all() and (reach > 0).all()):
        raise ConfigError("some radius is not a positive number", "give positive, finite radii")
    return np.broadcast_to(reach, (n_ligands,))
