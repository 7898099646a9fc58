"""Principal components and neighbours of cells by scanpy, in a Python of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.check import require_counts
from celldyn.data.child import child_job, get_matrix, put_matrix, say_stages
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job

_STAGES = ("variable genes", "principal components", "neighbours")
_LEAST = 3
_FEW = 4000
"""Fewer cells are done sooner without compiling: umap's kernels take longer to compile."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """What scanpy found.

    Parameters
    ----------
    connectivities, distances
        (n, n) CSR.
    components
        (n, n_components) float32; None where the matrix was narrow enough as it was.
    genes
        (n_columns,) whether a column is variable; None where all were taken.
    """

    connectivities: Any
    distances: Any
    components: NDArray[np.float32] | None
    genes: NDArray[np.bool_] | None


def neighbours_job(
    matrix: Any,  # noqa: ANN401
    *,
    n_neighbors: int = 15,
    n_components: int = 50,
    n_top_genes: int | None = None,
    seed: int = 0,
) -> Job[Neighbours]:
    """Find the neighbours of cells; progress counts stages.

    Parameters
    ----------
    matrix
        (n, n_columns), dense or sparse: a latent space, or expression, of which `n_components`
        principal components are taken if it has more columns. Counts are brought to a common
        depth and logarithms first.
    n_neighbors
        Of each cell, itself among them.
    n_components
        Principal components, at most.
    n_top_genes
        How many of the columns are taken, the most variable; None is all.
    seed
        Of everything random.

    Raises
    ------
    ConfigError
        If a number is too small.
    DataError
        If there are fewer than 3 cells, or the library cannot do it; says what it said.
    """
    for value, name, least in ((n_neighbors, "n_neighbors", 2), (n_components, "n_components", 1),
                               (n_top_genes, "n_top_genes", 1)):  # fmt: skip
        if value is not None and value < least:
            raise ConfigError(f"{name} is {value}", f"give {least} or more")
    if matrix.shape[0] < _LEAST:
        raise DataError(f"{matrix.shape[0]} cells have no neighbourhoods", "open more cells")
    with TemporaryDirectory(prefix="celldyn-neighbours-") as folder:
        given, made = put_matrix(matrix, Path(folder)), Path(folder, "neighbours.npz")
        numbers = (n_neighbors, n_components, n_top_genes or 0, seed)
        arguments = [str(given), str(made), *map(str, numbers)]
        few = {"NUMBA_DISABLE_JIT": "1"} if matrix.shape[0] < _FEW else None
        yield from child_job(
            f"{__name__}:neighbours_file", arguments, _STAGES, made, "neighbour graph", few
        )
        return _read(made, matrix.shape[0])


def _read(path: Path, n: int) -> Neighbours:
    from scipy import sparse

    with np.load(path) as held:
        graphs = [
            sparse.csr_matrix(tuple(held[f"{name}_{part}"] for part in _CSR), shape=(n, n))
            for name in _GRAPHS
        ]
        return Neighbours(graphs[0], graphs[1], held.get("components"), held.get("genes"))


_GRAPHS, _CSR = ("connectivities", "distances"), ("data", "indices", "indptr")


def neighbours_file(matrix: str, result: str, *numbers: str) -> None:
    """Do the work of `neighbours_job` from file to file; each stage is written as a line."""
    from anndata import AnnData

    adata = AnnData(get_matrix(Path(matrix)))
    say_stages(_stages(adata, *map(int, numbers)))
    made = {f"{name}_{part}": getattr(adata.obsp[name], part) for name in _GRAPHS for part in _CSR}
    if "X_pca" in adata.obsm:
        made["components"] = np.asarray(adata.obsm["X_pca"], np.float32)
    if "highly_variable" in adata.var:
        made["genes"] = adata.var["highly_variable"].to_numpy(np.bool_)
    draft = Path(result).with_suffix(".draft.npz")
    np.savez(draft, **made)
    draft.replace(result)


def _stages(
    adata: Any,  # noqa: ANN401
    n_neighbors: int,
    n_components: int,
    n_top_genes: int,
    seed: int,
) -> Iterator[str]:
    """Name each stage, then do it."""
    import scanpy

    if adata.n_vars > n_components:
        with suppress(DataError):  # logarithms and the like stay as they are
            require_counts(adata)
            scanpy.pp.normalize_total(adata, target_sum=1e4)
            scanpy.pp.log1p(adata)
    if n_top_genes and n_top_genes < adata.n_vars:
        yield _STAGES[0]
        scanpy.pp.highly_variable_genes(adata, n_top_genes=n_top_genes)
    use = "X"
    if adata.n_vars > n_components or "highly_variable" in adata.var:
        yield _STAGES[1]
        n_used = int(adata.var.get("highly_variable", np.ones(adata.n_vars)).sum())
        most = min(n_components, adata.n_obs - 1, n_used - 1)
        scanpy.pp.pca(adata, n_comps=max(most, 1), random_state=seed)
        use = "X_pca"
    yield _STAGES[2]
    scanpy.pp.neighbors(
        adata, n_neighbors=min(n_neighbors, adata.n_obs - 1), use_rep=use, random_state=seed
    )
