"""What is added to the negative ELBO: high ground, and long steps along a walk.

Shapes: W walks of L cells, m cells, d dimensions of the cell state.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

PUBLISHED_GENES, PUBLISHED_WALKS = 2000, 256
"""The setting of the published models: there both scales of the penalties agree."""


def high_ground(V: Tensor) -> Tensor:
    """Return the largest V² of the cells, V (m,)."""
    return V.square().amax()


def steps_along_walks(loc: Tensor, scale: Tensor, index: Tensor) -> Tensor:
    """Return Σ_s |Δloc|² + |Δscale|², the squared W2 distance of neighbours in a walk, (W,).

    Parameters
    ----------
    loc, scale
        (m, d) of every cell.
    index
        (W, L) which cell each row is.
    """
    return sum(
        (part[index].diff(dim=1).square().sum((1, 2)) for part in (loc, scale)),
        start=loc.new_zeros(index.shape[0]),
    )


def penalty_weights(
    penalty_scale: Literal["mean", "reference"], n_genes: int, n_walks: int
) -> tuple[float, float]:
    """Return what V_coeff · max V² and W_coeff · (mean over walks of steps) are multiplied by.

    The loss is in nats per count (a row's nats over G). "reference" is sclsd's: 1 / G, and W / G,
    since it sums over the walks of a batch. "mean" has the constants of 2,000 genes and 256 walks
    for all data and batches.
    """
    if penalty_scale == "reference":
        return 1.0 / n_genes, n_walks / n_genes
    return 1.0 / PUBLISHED_GENES, PUBLISHED_WALKS / PUBLISHED_GENES
