"""What the landscape is trained on: expression, counts, library sizes and the neighbour graph.

Shapes: n cells, G genes, m cells that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.data.check import require_whole
from celldyn.data.words import counted
from celldyn.devices import compile_job
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.dispersion import dispersion_job, partners
from celldyn.landscape.graph import Csr
from celldyn.landscape.input_checks import (
    check_names,
    expression_job,
    given_library,
    graph_of,
    matrices,
)
from celldyn.landscape.row_reading import rows_job
from celldyn.landscape.rows import FEW, Cells, Floats32, Rows, SparseRows
from celldyn.landscape.spread import spread_job

if TYPE_CHECKING:
    from anndata import AnnData

_BLOCK = 1 << 18
_ROOM = 0.5
"""Share of a device's free memory that matrices may take as dense ones."""


@dataclass(frozen=True, slots=True, eq=False)
class LSDInputs:
    """All that the landscape needs of a data set.

    Its arrays may be those of the AnnData: while they are used, matrices of it are to be replaced,
    not written into.

    Parameters
    ----------
    genes
        (G,) names.
    connectivities
        (n, n) neighbour graph; None where the data set has none.
    library
        (n,) total of the counts of these genes; 1 where there are none. What the likelihood is
        conditioned on: the shares of these genes sum to 1.
    library_given
        (n,) library sizes as obs has them, which may count other genes, too; the same as
        `library` where obs has none.
    notes
        Sentences for the user.
    """

    genes: tuple[str, ...]
    connectivities: Csr | None
    library: Floats32
    library_given: Floats32
    notes: tuple[str, ...]
    _expression: Rows
    _counts: Rows
    _means: NDArray[np.float64]
    _dispersion: NDArray[np.float64]
    _spread: NDArray[np.float64] | None
    _log_library: Tensor

    @property
    def n_obs(self) -> int:
        """Cells."""
        return len(self.library)

    @property
    def n_vars(self) -> int:
        """Genes."""
        return len(self.genes)

    @property
    def n_bytes(self) -> int:
        """What both matrices take in memory."""
        return self._expression.n_bytes + self._counts.n_bytes

    @property
    def device(self) -> torch.device:
        """Where rows come from."""
        return self._log_library.device

    def expression(self, cells: Cells) -> Tensor:
        """Return rows of X, log-normalised: (m, G) float32 on `device`, a copy."""
        return self._expression.take(cells)

    def counts(self, cells: Cells) -> Tensor:
        """Return rows of the counts, (m, G) float32 on `device`, a copy."""
        return self._counts.take(cells)

    def log_library(self, cells: Cells) -> Tensor:
        """Return log library sizes of cells, (m,) float32 on `device`."""
        at = cells if isinstance(cells, Tensor) else torch.as_tensor(np.asarray(cells))
        return self._log_library[at.to(self.device, torch.int64)]

    def gene_means(self) -> NDArray[np.float64]:
        """Return the mean count of every gene per unit of library, (G,); they sum to 1."""
        return self._means.copy()

    def dispersion_start(self) -> NDArray[np.float64]:
        """Return inverse dispersions by moments, (G,), in [0.05, 100]; see `dispersion_job`."""
        return self._dispersion.copy()

    def spread_start(self) -> NDArray[np.float64] | None:
        """Return how far genes vary on the log scale, (G,); None without neighbours."""
        return None if self._spread is None else self._spread.copy()

    def graph(self) -> Csr:
        """Return the neighbour graph.

        Raises
        ------
        MissingKeyError
            If the data set has none.
        """
        if self.connectivities is None:
            raise MissingKeyError(
                "the data set has no neighbour graph in obsp",
                "run scanpy.pp.neighbors, or celldyn.landscape.prepare, first",
            )
        return self.connectivities

    def to(self, device: torch.device | str) -> LSDInputs:
        """Return the same whose rows come from a device: dense there if there is room."""
        place = torch.device(device)
        if place == self.device:
            return self
        dense = _fits(self, place)

        def put(rows: Rows) -> Rows:
            return (
                rows.dense_on(place)
                if dense and isinstance(rows, SparseRows)
                else (rows.to(place))
            )

        return replace(self, _expression=put(self._expression), _counts=put(self._counts),
                       _log_library=self._log_library.to(place))  # fmt: skip


def _fits(inputs: LSDInputs, device: torch.device) -> bool:
    """Whether both matrices have room on a device as dense ones."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    else:
        return False
    return 2 * 4 * inputs.n_obs * inputs.n_vars < _ROOM * free


def read_inputs(
    adata: AnnData,
    *,
    layer: str = "raw",
    librarysize_key: str = "librarysize",
    connectivities_key: str = "connectivities",
) -> LSDInputs:
    """Take what the landscape needs out of a data set, and look at all of it.

    Parameters
    ----------
    adata
        X is log-normalised expression; dense or sparse. It is left as it is.
    layer
        Layer of raw counts of the same genes.
    librarysize_key
        Column of obs with library sizes. It may be absent: the total of the counts takes its
        place, with a note.
    connectivities_key
        Neighbour graph in obsp; it may be absent where no walk is to be made of it.

    Raises
    ------
    DataError
        If there are fewer than 2 cells or genes, or genes of one name; if X has values below 0 or
        not finite, or holds counts; if the layer holds no counts; if the graph is none of n x n.
    MissingKeyError
        If there is no such layer.
    """
    job = read_inputs_job(adata, layer=layer, librarysize_key=librarysize_key,
                          connectivities_key=connectivities_key)  # fmt: skip
    return run(job, bar=False)


def read_inputs_job(
    adata: AnnData,
    *,
    layer: str = "raw",
    librarysize_key: str = "librarysize",
    connectivities_key: str = "connectivities",
) -> Job[LSDInputs]:
    """Take what the landscape needs out of a data set as a job; see `read_inputs`."""
    check_names(adata)
    X, raw = matrices(adata, layer)
    notes: list[str] = []
    name = f"layers[{layer!r}]"
    expression = yield from expression_job(X, notes)
    counts = yield from rows_job(raw, name, lambda values: require_whole(values, name))
    if isinstance(counts, SparseRows) and adata.n_obs * adata.n_vars > FEW:
        yield from compile_job([_compile])
    totals, per_gene = yield from _totals_job(counts)
    if not totals.any():
        raise DataError(f"{name} holds no counts at all", "check what was written there")
    empty = totals == 0
    if empty.any():
        notes.append(f"{counted(int(empty.sum()), 'cell')} without counts: library size 1 is used")
    library = np.where(empty, 1.0, totals).astype(np.float32)
    given = given_library(adata, librarysize_key, library, notes)
    graph = graph_of(adata, connectivities_key, notes)
    pairs = partners(graph, np.flatnonzero(~empty), adata.n_obs)
    dispersion = yield from dispersion_job(counts.take, library, pairs, adata.n_vars)
    spread = None
    if graph is not None and graph.nnz:
        spread = yield from spread_job(counts.take, library, pairs, adata.n_vars)
    return LSDInputs(
        tuple(map(str, adata.var_names)), graph, library, given, tuple(notes), expression, counts,
        per_gene / totals.sum(), dispersion, spread, torch.from_numpy(np.log(library)),
    )  # fmt: skip


def _compile() -> None:
    from celldyn.landscape.row_kernels import compile_row_kernels

    compile_row_kernels()


def _totals_job(counts: Rows) -> Job[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the totals of cells, (n,), and of genes, (G,)."""
    n, n_vars = counts.shape
    per_cell, per_gene = np.zeros(n), np.zeros(n_vars)
    step = max(_BLOCK // n_vars, 1)
    for start in range(0, n, step):
        yield Progress("totals", start, n)
        block = counts.take(np.arange(start, min(start + step, n)))
        per_cell[start : start + step] = block.sum(1, dtype=torch.float64).numpy()
        per_gene += block.sum(0, dtype=torch.float64).numpy()
    return per_cell, per_gene
