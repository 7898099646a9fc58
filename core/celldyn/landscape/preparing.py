"""From raw counts to what a landscape is learned of: logarithms, variable genes, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.check import require_counts
from celldyn.data.genes import find_gene, matrix_of
from celldyn.data.neighbours import Neighbours, neighbours_job
from celldyn.data.words import counted
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import Job, Progress, run

if TYPE_CHECKING:
    from anndata import AnnData

RAW, LIBRARY = "raw", "librarysize"
"""Layer and column that LSD looks for."""

_USUAL_LAYERS = (RAW, "counts")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A data set that LSD takes.

    Parameters
    ----------
    adata
        With X log-normalised, layers["raw"], obs["librarysize"], obsm["X_pca"],
        obsp["connectivities"] and ["distances"].
    notes
        What was left out, in sentences.
    """

    adata: AnnData
    notes: tuple[str, ...]


def prepare(adata: AnnData, **options: Any) -> AnnData:  # noqa: ANN401
    """Return a data set that LSD takes; see `prepare_job`."""
    return run(prepare_job(adata, **options), bar=False).adata


def prepare_job(
    adata: AnnData,
    *,
    layer: str | None = None,
    n_top_genes: int | None = 2000,
    genes: Sequence[str] = (),
    use_rep: str | None = None,
    target_sum: float = 1e4,
    n_neighbors: int = 15,
    n_components: int = 50,
    seed: int = 0,
) -> Job[Prepared]:
    """Make a data set that LSD takes out of raw counts, as a job.

    Counts of each cell are brought to `target_sum` and log(1 + x) is taken; the most variable
    genes are kept; neighbours are found in principal components of these. The steps and their
    defaults are scanpy's.

    Parameters
    ----------
    adata
        Raw counts in X, in layers["raw"] or ["counts"]; it is left as it is.
    layer
        Layer of the counts; None looks in these places.
    n_top_genes
        How many genes are kept; None is all.
    genes
        Genes that are kept whether they vary or not: those that are to be perturbed.
    use_rep
        Table of obsm in which neighbours are found, as a latent space of the VAE; None is
        principal components.
    target_sum
        Total of each cell before logarithms are taken.
    n_neighbors, n_components, seed
        Neighbours of each cell, principal components, and the seed of both.

    Returns
    -------
    A new data set without cells and genes that have no counts. Library sizes are totals over the
    genes that are kept; tables of obs, var, obsm and uns come along.

    Raises
    ------
    MissingKeyError
        If there is no such layer, table or gene, or there are no counts anywhere.
    DataError
        If the layer holds no counts, or fewer than 3 cells or 2 genes have any.
    ConfigError
        If a number is out of its bounds.
    """
    if not 0 < target_sum < np.inf:
        raise ConfigError(f"target_sum is {target_sum}", "give a number above 0")
    layer = count_layer(adata) if layer is None else layer
    require_counts(adata, layer or None)
    wanted = [find_gene(adata, gene) for gene in genes]
    table = _table(adata, use_rep)
    yield Progress("preparing", 0, 1, "counts")
    counts = _csr(matrix_of(adata, layer or None))
    kept_cells, kept_genes, notes = _having_counts(counts)
    counts = counts[kept_cells][:, kept_genes]
    logs = log_normalised(counts, target_sum)
    names = adata.var_names[kept_genes]
    found = yield from _neighbours_job(
        logs, None if table is None else table[kept_cells], n_top_genes,
        n_neighbors=n_neighbors, n_components=n_components, seed=seed,
    )  # fmt: skip
    chosen = _chosen(found.genes, names.isin(wanted))
    yield Progress("preparing", 1, 1, "the new data set")
    near = found.near
    made = _assemble(adata, np.flatnonzero(kept_cells), np.flatnonzero(kept_genes)[chosen])
    made.X, made.layers[RAW] = logs[:, chosen], counts[:, chosen]
    made.obs[LIBRARY] = np.asarray(counts[:, chosen].sum(axis=1)).ravel()
    if near.components is not None:
        made.obsm["X_pca"] = near.components
    for name in ("connectivities", "distances"):
        made.obsp[name] = getattr(near, name)
    made.uns["neighbors"] = {
        "connectivities_key": "connectivities", "distances_key": "distances",
        "params": {"n_neighbors": n_neighbors, "method": "umap", "random_state": seed,
                   "metric": "euclidean", "use_rep": use_rep or "X_pca"},
    }  # fmt: skip
    left_out = len(names) - int(chosen.sum())
    if left_out:
        notes.append(f"{counted(left_out, 'gene')} that vary least were left out")
    return Prepared(made, tuple(notes))


def count_layer(adata: AnnData) -> str:
    """Return where raw counts are: "" for X, or a layer's name.

    Raises
    ------
    MissingKeyError
        If there are none.
    """
    places = [name for name in _USUAL_LAYERS if name in adata.layers]
    for place in [*places, ""] if adata.X is not None else places:
        try:
            require_counts(adata, place or None)
        except DataError:
            continue
        return place
    raise MissingKeyError(
        'no raw counts are in X, layers["raw"] or layers["counts"]',
        "name the layer that holds them, or use the data before normalisation",
    )


def log_normalised(counts: Any, target_sum: float = 1e4) -> Any:  # noqa: ANN401
    """Return log(1 + x) of counts of which each row was brought to a sum, CSR of float32.

    Parameters
    ----------
    counts
        (n, G) CSR without empty rows.
    target_sum
        Of each row.
    """
    logs = counts.astype(np.float32)
    totals = np.asarray(counts.sum(axis=1), np.float64).ravel()
    factors = np.repeat(target_sum / totals, np.diff(logs.indptr))
    logs.data = np.log1p(logs.data * factors).astype(np.float32)
    return logs


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    near: Neighbours
    genes: NDArray[np.bool_] | None


def _neighbours_job(
    logs: Any,  # noqa: ANN401
    table: NDArray[np.float32] | None,
    n_top_genes: int | None,
    *,
    n_neighbors: int,
    n_components: int,
    seed: int,
) -> Job[_Found]:
    """Find variable genes, and neighbours in their components or in a table of obsm."""
    near, genes = None, None
    if table is None or (n_top_genes is not None and n_top_genes < logs.shape[1]):
        near = yield from neighbours_job(
            logs, n_neighbors=n_neighbors, n_components=n_components, n_top_genes=n_top_genes,
            seed=seed,
        )  # fmt: skip
        genes = near.genes
    if table is not None:
        width = max(table.shape[1], 1)
        near = yield from neighbours_job(
            table, n_neighbors=n_neighbors, n_components=width, seed=seed
        )
    assert near is not None
    return _Found(near, genes)


def _chosen(variable: NDArray[np.bool_] | None, wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.ones(len(wanted), np.bool_) if variable is None else variable | wanted


def _table(adata: AnnData, use_rep: str | None) -> NDArray[np.float32] | None:
    if use_rep is None:
        return None
    if use_rep not in adata.obsm:
        raise MissingKeyError(f"obsm has no table {use_rep!r}", "compute it first")
    table = np.asarray(adata.obsm[use_rep], np.float32)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise DataError(f"obsm[{use_rep!r}] is no table of finite numbers", "give another")
    return table


def _csr(matrix: Any) -> Any:  # noqa: ANN401
    from scipy import sparse

    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    elif not hasattr(matrix, "tocsr"):
        matrix = np.asarray(matrix[:])
    counts = sparse.csr_matrix(matrix, dtype=np.float32)
    counts.sum_duplicates()
    return counts


def _having_counts(counts: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[str]]:  # noqa: ANN401
    """Return which cells and which genes have counts, and notes on the others."""
    cells = np.asarray(counts.sum(axis=1)).ravel() > 0
    genes = np.asarray(counts.sum(axis=0)).ravel() > 0
    if cells.sum() < 3 or genes.sum() < 2:
        raise DataError(
            f"{counted(int(cells.sum()), 'cell')} and {counted(int(genes.sum()), 'gene')} have "
            "counts",
            "give a data set with more",
        )
    notes = [
        f"{counted(int((~kept).sum()), what)} without counts left out"
        for kept, what in ((cells, "cell"), (genes, "gene"))
        if not kept.all()
    ]
    return cells, genes, notes


def _assemble(adata: AnnData, cells: NDArray[np.intp], genes: NDArray[np.intp]) -> AnnData:
    """Return a new data set of some cells and genes, without matrices."""
    from anndata import AnnData as New

    made = New(
        obs=adata.obs.iloc[cells].copy(),
        var=adata.var.iloc[genes].copy(),
        uns=dict(adata.uns),
        shape=None,
    )
    for name, table in adata.obsm.items():
        made.obsm[name] = (table.iloc[cells] if hasattr(table, "iloc") else table[cells]).copy()
    return made
