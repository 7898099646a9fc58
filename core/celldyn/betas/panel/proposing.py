"""Candidate regulators of many genes, where there is no gene regulatory network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.data.genes import columns_of, matrix_of

if TYPE_CHECKING:
    from anndata import AnnData

_VALUES_AT_ONCE = 1 << 24


def propose_for_all(
    adata: AnnData,
    targets: Sequence[str],
    labels: NDArray[Any],
    *,
    layer: str | None = None,
    n: int = 10,
) -> dict[str, list[str]]:
    """Return for each gene what `propose_regulators` proposes for it, in a few passes for all.

    Parameters
    ----------
    adata
        (n_obs, n_vars).
    targets
        Some of `adata.var_names`.
    labels
        (n_obs,) cell types; correlation is taken within them.
    layer
        The expression; None is X.
    n
        How many for each, at most.
    """
    matrix: Any = matrix_of(adata, layer)
    if not (isinstance(matrix, np.ndarray) or sparse.issparse(matrix)):
        matrix = columns_of(matrix, np.arange(adata.n_vars))  # a file on disk
    codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)[1]
    size = np.bincount(codes).astype(float)
    members = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    sums = _dense(members @ matrix)
    squares: Any = matrix.multiply(matrix) if hasattr(matrix, "multiply") else np.square(matrix)
    total = np.asarray(squares.sum(0), float).ravel()
    within = np.maximum(total - (sums**2 / size[:, None]).sum(0), 0.0)
    places = adata.var_names.get_indexer(list(targets))
    step = max(_VALUES_AT_ONCE // max(adata.n_obs, adata.n_vars, 1), 1)
    found: dict[str, list[str]] = {}
    for start in range(0, len(places), step):
        at = places[start : start + step]
        residual = columns_of(matrix, at) - (sums[:, at] / size[:, None])[codes]
        # Residuals sum to 0 within each type, so the product needs no centred matrix.
        shared = np.abs(_dense(matrix.T @ residual))
        scale = np.sqrt(np.outer(within, np.einsum("ij,ij->j", residual, residual)))
        score = np.divide(shared, scale, out=np.zeros_like(shared), where=scale > 1e-12)
        score[at, np.arange(len(at))] = 0.0
        for column, gene in enumerate(at):
            best = np.argsort(-score[:, column], kind="stable")[:n]
            names = [str(adata.var_names[i]) for i in best if score[i, column] > 0]
            found[str(adata.var_names[gene])] = names
    return found


def _dense(matrix: Any) -> NDArray[np.float64]:  # noqa: ANN401
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, np.float64)
