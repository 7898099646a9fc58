"""What a data set must be for a landscape, in a sentence where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import counted, listed
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job
from celldyn.landscape.graph import Csr, neighbour_graph
from celldyn.landscape.row_reading import rows_job
from celldyn.landscape.rows import DenseRows, Floats32, SparseRows

if TYPE_CHECKING:
    from anndata import AnnData

_ROUNDING = 1e-3
"""How far a library size may be from the total of the counts before it is said, relative."""
_BEYOND_LOGS = 30.0
"""Logarithms of expression stay below it: e^30 molecules of a gene are in no cell."""


def check_names(adata: AnnData) -> None:
    """Refuse fewer than 2 cells or genes, and genes of one name."""
    for n, what in ((adata.n_obs, "cell"), (adata.n_vars, "gene")):
        if n < 2:
            raise DataError(
                f"the data set has {counted(n, what)}, and a landscape needs 2 or more",
                "check what was filtered out",
            )
    names = adata.var_names
    if not names.is_unique:
        twice = str(names[names.duplicated()][0])
        raise DataError(
            f"the gene name {twice!r} stands more than once", "call adata.var_names_make_unique()"
        )


def matrices(adata: AnnData, layer: str) -> tuple[Any, Any]:
    """Return X and the layer of counts, as they are held."""
    if adata.X is None:
        raise DataError(
            "the data set has no X", "put log-normalised expression there, or use prepare"
        )
    if layer not in adata.layers:
        there = f"the layers are {listed(adata.layers)}" if len(adata.layers) else "there are none"
        raise MissingKeyError(
            f"layer {layer!r} with the raw counts is not there",
            f"{there}; copy the counts there before normalising, or use "
            "celldyn.landscape.prepare on the counts",
        )
    return adata.X, adata.layers[layer]


def expression_job(matrix: Any, notes: list[str]) -> Job[DenseRows | SparseRows]:  # noqa: ANN401
    """Take X, which must look as if it was log-normalised."""
    highest, whole = 0.0, True

    def check(values: NDArray[Any]) -> None:
        nonlocal highest, whole
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise DataError("X has values that are not finite", "normalise it again")
        if low < 0:
            raise DataError(
                f"X has values below 0 ({low:.3g}), as if it was scaled",
                "give log-normalised expression, before scaling",
            )
        highest = max(highest, high)
        whole = whole and (values.dtype.kind in "bui" or bool((values == np.floor(values)).all()))

    rows = yield from rows_job(matrix, "X", check)
    if not highest:
        raise DataError("X is 0 everywhere", "put log-normalised expression there")
    if whole:
        raise DataError(
            "X holds whole numbers, as counts are, and no log-normalised expression",
            "use celldyn.landscape.prepare, or scanpy's normalize_total and log1p",
        )
    if highest > _BEYOND_LOGS:
        notes.append(f"X goes up to {highest:.3g}: it does not seem to be on a log scale")
    return rows


def given_library(adata: AnnData, key: str, totals: Floats32, notes: list[str]) -> Floats32:
    """Return library sizes as obs has them, (n,); those that were counted where it has none."""
    if key not in adata.obs.columns:
        notes.append(f"obs has no {key!r}: library sizes are the totals of the counts")
        return totals
    try:
        given = np.asarray(adata.obs[key], np.float64)
    except (TypeError, ValueError):
        raise DataError(f"obs[{key!r}] is not numeric", "give a library size per cell") from None
    if not np.isfinite(given).all() or (given < 0).any():
        raise DataError(
            f"obs[{key!r}] has library sizes below 0 or not finite", "drop the column to have "
            "them computed",
        )  # fmt: skip
    ratio = given / totals
    has_counts = (given > 0) | (totals > 1)
    if (np.abs(ratio - 1) > _ROUNDING)[has_counts].any():
        notes.append(
            f"obs[{key!r}] is {np.median(ratio):.3g} times the total of the "
            f"{counted(adata.n_vars, 'gene')} of the model (median); the model goes by the total"
        )
    return given.astype(np.float32)


def graph_of(adata: AnnData, key: str, notes: list[str]) -> Csr | None:
    """Return the neighbour graph, with a note on cells and parts that no walk leaves."""
    from scipy.sparse.csgraph import connected_components

    if key not in adata.obsp:
        return None
    graph = neighbour_graph(adata.obsp[key], adata.n_obs)
    alone = int((np.diff(graph.indptr) == 0).sum())
    if alone:
        notes.append(f"{counted(alone, 'cell')} without a neighbour: no walk can leave them")
    n_parts = connected_components(graph, directed=False)[0] - alone
    if n_parts > 1:
        notes.append(f"the neighbour graph falls into {n_parts} parts: no walk goes from one to "
                     "another, so that their heights cannot be compared")  # fmt: skip
    return graph
