"""What reaches a cell of the ligands around it: a weighted average over its neighbourhood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.devices import aside_job
from celldyn.jobs import Job, run
from celldyn.simulate.parallel import blocks_job

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

    from celldyn.simulate.regulation import Tissue

Floats: TypeAlias = NDArray[np.float64]
Kernel: TypeAlias = Literal["gaussian", "diffusion"]

CELL_RADIUS_UM = 5.0
"""A ligand is released and met at a cell's surface: nearer than this, diffusion is even."""
DIFFUSION_LENGTHS = 4.0
"""Lengths of screened diffusion within the reach."""
_EDGE_WEIGHT = 0.001
"""Weight of a neighbour at the reach of the Gaussian kernel, relative to the cell itself."""
_PAIRS = 300_000
"""Pairs of cells looked at at once: some 0.1 s and 20 MB."""
_MOST = 1 << 13


def weight(distance_um: Floats, radius_um: float, kernel: Kernel = "gaussian") -> Floats:
    """Return how much a neighbour at a distance up to the reach counts.

    Parameters
    ----------
    distance_um
        Distances d in µm, of any shape.
    radius_um
        Reach r in µm.
    kernel
        "gaussian" is 0.001^((d / r)²), as the estimators assume. "diffusion" is K0(d / l), the
        steady state in a plane of diffusion from a point with uniform decay, with length
        l = r / 4 and d at least a cell's radius of 5 µm, where K0 alone would be infinite.

    Returns
    -------
    Weights in the shape of the distances.
    """
    if kernel == "gaussian":
        gaussian: Floats = _EDGE_WEIGHT ** ((distance_um / radius_um) ** 2)
        return gaussian
    from scipy.special import k0

    diffused: Floats = k0(np.maximum(distance_um, CELL_RADIUS_UM) * DIFFUSION_LENGTHS / radius_um)
    return diffused


def received(
    tissue: Tissue, expression: Floats, radius_um: float, kernel: Kernel = "gaussian"
) -> Floats:
    """Return how much of a ligand reaches each cell; see `received_job`."""
    return run(received_job(tissue, expression, radius_um, kernel), bar=False)


def received_job(
    tissue: Tissue,
    expression: Floats,
    radius_um: float,
    kernel: Kernel = "gaussian",
    *,
    threads: int | None = None,
) -> Job[Floats]:
    """Average ligands over each cell's neighbourhood; progress counts blocks of cells.

    Neighbours up to the reach, the cell itself among them, count by `weight`; the sum is divided
    by the sum of the weights. Sections do not see each other.

    Parameters
    ----------
    tissue
        Where the cells lie.
    expression
        (n_cells,) of one ligand or (n_cells, n_ligands): neighbours are searched once for all.
    radius_um
        Reach in µm.
    kernel
        How a ligand thins out with distance.
    threads
        How many.

    Returns
    -------
    In the shape and unit of `expression`.
    """
    ligands = expression.reshape(len(expression), -1)
    average = np.empty(ligands.shape)
    searches = yield from aside_job(lambda: _searches(tissue, radius_um), "neighbours")

    def work(block: int) -> None:
        search = searches[block]
        weights = search.weights(radius_um, kernel)
        total = weights @ np.ones(weights.shape[1])
        average[search.rows] = (weights @ ligands[search.here]) / total[:, None]

    yield from blocks_job(
        work, len(searches), "received ligands", consume=lambda *_: None, threads=threads
    )
    return average.reshape(expression.shape)


def averaging_job(
    tissue: Tissue, radius_um: float, kernel: Kernel = "gaussian", *, threads: int | None = None
) -> Job[sparse.csr_array]:
    """Return what `received_job` does to any ligand as a matrix, for use again and again.

    Returns
    -------
    (n_cells, n_cells) CSR whose rows sum to 1; 12 bytes per pair of neighbours.
    """
    searches = yield from aside_job(lambda: _searches(tissue, radius_um), "neighbours")
    n = len(tissue.xy)

    def work(block: int) -> tuple[NDArray[np.intp], sparse.csr_array]:
        search = searches[block]
        weights = search.weights(radius_um, kernel)
        total = weights @ np.ones(weights.shape[1])
        share = weights.data / np.repeat(total, np.diff(weights.indptr))
        columns = search.here[weights.indices]
        shape = search.rows.size, n
        return search.rows, sparse.csr_array((share, columns, weights.indptr), shape=shape)

    parts = yield from blocks_job(work, len(searches), "neighbours", threads=threads)
    if not parts:
        return sparse.csr_array((n, n))
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return sparse.csr_array(sparse.vstack([part for _, part in parts], format="csr")[order])


@dataclass(frozen=True, slots=True)
class _Search:
    """Some cells of a section, and the tree of all its cells."""

    rows: NDArray[np.intp]
    here: NDArray[np.intp]
    tree: cKDTree
    xy: Floats

    def weights(self, radius_um: float, kernel: Kernel) -> sparse.csr_array:
        """Return how much each cell of the section counts for each row, (n_rows, n_here) CSR.

        Columns are sorted, so that sums do not depend on how the cells were cut into searches.
        """
        from scipy.spatial import cKDTree

        near = cKDTree(self.xy).sparse_distance_matrix(self.tree, radius_um, output_type="ndarray")
        shape = self.rows.size, self.here.size
        pairs = sparse.coo_array((near["v"], (near["i"], near["j"])), shape=shape).tocsr()
        pairs.sort_indices()
        pairs.data = weight(pairs.data, radius_um, kernel)
        return pairs


def _searches(tissue: Tissue, radius_um: float) -> list[_Search]:
    from scipy.spatial import cKDTree

    searches: list[_Search] = []
    for k in np.unique(tissue.section):
        here = np.flatnonzero(tissue.section == k)
        tree = cKDTree(tissue.xy[here])
        pieces = _pieces(here, tissue.xy, radius_um)
        searches += [_Search(rows, here, tree, tissue.xy[rows]) for rows in pieces]
    return searches


def _pieces(here: NDArray[np.intp], xy: Floats, radius_um: float) -> Iterator[NDArray[np.intp]]:
    """Cut a section's cells so that each piece has about `_PAIRS` neighbours to look at."""
    area = float(np.prod(np.ptp(xy[here], axis=0)))
    crowd = here.size * min(1.0, np.pi * radius_um**2 / area) if area > 0 else here.size
    size = int(np.clip(_PAIRS / max(crowd, 1.0), 1, _MOST))
    for start in range(0, here.size, size):
        yield here[start : start + size]
