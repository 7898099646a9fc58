"""Sensible first choices where a user brings no network: target gene, regulators."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.genes import matrix_of, single_column
from celldyn.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData


def propose_target(
    adata: AnnData, layer: str | None = None, *, among: Collection[str] = ()
) -> str:
    """Return the gene with the largest variance-to-mean ratio of those seen in 10 % of cells.

    Parameters
    ----------
    adata
        (n_obs, n_vars).
    layer
        The expression; None is X.
    among
        Names in lower case, such as the targets of a network: if any of them was measured, one of
        them is chosen.

    Raises
    ------
    DataError
        If no gene varies.
    """
    matrix = matrix_of(adata, layer)
    mean, second, seen = _moments(matrix)
    named = adata.var_names.astype(str).str.casefold().isin(list(among))
    if named.any():
        seen = np.where(named, seen, 0.0)
    spread = np.where((seen >= 0.1) & (mean > 0), (second - mean**2) / np.maximum(mean, 1e-12), -1)
    if not np.any(spread > 0):
        raise DataError(
            "no gene varies and is seen in a tenth of the cells", "choose a target gene yourself"
        )
    return str(adata.var_names[int(np.argmax(spread))])


def propose_regulators(
    adata: AnnData,
    target: str,
    labels: NDArray[Any],
    *,
    layer: str | None = None,
    n: int = 10,
) -> list[str]:
    """Return the genes that vary most with the target among cells of one type.

    They are candidates read off the data, not known regulators: a stand-in where there is no gene
    regulatory network.

    Parameters
    ----------
    adata
        (n_obs, n_vars).
    target
        One of `adata.var_names`.
    labels
        (n_obs,) cell types; correlation is taken within them, so that markers do not win.
    layer
        The expression; None is X.
    n
        How many, at most.
    """
    from scipy import sparse

    matrix = matrix_of(adata, layer)
    at = int(adata.var_names.get_loc(target))
    y = single_column(matrix, at).astype(float)
    codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)[1]
    size = np.bincount(codes).astype(float)
    residual = y - (np.bincount(codes, y) / size)[codes]
    # The residual sums to 0 within each type, so the product needs no centred matrix.
    shared = np.asarray(matrix.T @ residual).ravel()
    one_hot = sparse.csr_array((np.ones(len(y)), (codes, np.arange(len(y)))))
    held: Any = one_hot @ matrix
    sums = np.asarray(held.toarray() if hasattr(held, "toarray") else held)
    _, second, _ = _moments(matrix)
    within = second * len(y) - (sums**2 / size[:, None]).sum(0)
    scale = np.sqrt(np.maximum(within, 0) * (residual @ residual))
    score = np.divide(np.abs(shared), scale, out=np.zeros_like(shared), where=scale > 1e-12)
    score[at] = 0.0
    best = np.argsort(-score, kind="stable")[:n]
    return [str(adata.var_names[i]) for i in best if score[i] > 0]


def _moments(matrix: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:  # noqa: ANN401
    """Mean, mean square and share of cells above 0, per gene."""
    n_obs = matrix.shape[0]
    square = matrix.multiply(matrix) if hasattr(matrix, "multiply") else np.square(matrix)
    total = np.asarray(matrix.sum(0), float).ravel()
    seen = np.asarray((matrix > 0).sum(0), float).ravel()
    return total / n_obs, np.asarray(square.sum(0), float).ravel() / n_obs, seen / n_obs
