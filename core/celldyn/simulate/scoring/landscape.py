"""A landscape beside the known potential, velocity and fates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn import keys
from celldyn.errors import MissingKeyError
from celldyn.simulate.scoring import metrics

if TYPE_CHECKING:
    from anndata import AnnData

Row = tuple[str, str, float]


def score_landscape(
    adata: AnnData,
    *,
    potential: str = keys.POTENTIAL.name,
    pseudotime: str = keys.PSEUDOTIME.name,
    entropy: str = keys.ENTROPY.name,
    fate: str = keys.FATE.name,
    transitions: str = keys.TRANSITIONS.name,
) -> Iterator[Row]:
    """Compare what is there of a landscape with the truth.

    Parameters
    ----------
    adata
        With a truth of dynamics.
    potential, pseudotime, entropy, fate
        Columns of obs.
    transitions
        Key of obsp: (n_obs, n_obs) transition probabilities.

    Yields
    ------
    (what, metric, value). Potential, time and entropy by ranks, since their scale is free; fates
    up to a renaming; the direction of the transitions in the true state space against -∇V.
    """
    found = False
    for column, true in (
        (potential, keys.TRUTH_POTENTIAL()),
        (pseudotime, keys.TRUTH_TIME()),
        (entropy, keys.TRUTH_FATE_ENTROPY()),
    ):
        if column in adata.obs:
            found = True
            value = metrics.spearman(adata.obs[true], adata.obs[column])
            yield column, "rank correlation", value
    if fate in adata.obs:
        found = True
        value = metrics.matched_accuracy(adata.obs[keys.TRUTH_FATE()], adata.obs[fate])
        yield fate, "share of right fates", value
    if transitions in adata.obsp:
        found = True
        moved = _displacement(adata.obsp[transitions], adata.obsm[keys.TRUTH_LATENT()])
        value = metrics.mean_cosine(np.asarray(adata.obsm[keys.TRUTH_VELOCITY()]), moved)
        yield transitions, "mean cosine with the true velocity", value
    if not found:
        raise MissingKeyError(
            "there is no landscape on this data set",
            f"fit one, or name its columns ({potential}, {pseudotime}, {entropy}, {fate})",
        )


def _displacement(transitions: Any, z: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ANN401
    """Return the expected step of each cell, (n, d)."""
    matrix = sparse.csr_matrix(transitions)
    total = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-300)
    z = np.asarray(z, dtype=np.float64)
    step: NDArray[np.float64] = (matrix @ z) / total[:, None] - z
    return step
