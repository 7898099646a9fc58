"""What a panel keeps of one gene: a result without its cells, and their betas where they vary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.results import BetasResult, ClusterFit


@dataclass(frozen=True, slots=True, eq=False)
class GeneRecord:
    """One gene of a panel, fitted.

    Parameters
    ----------
    result
        The result of no cells: coefficients, scores, states.
    digest
        What it was fitted on (`gene_digest`).
    dense
        (n_obs, 1 + n_modulators) float32 betas of every cell where they vary inside a cluster;
        None where each cell has those of its fit.
    """

    result: BetasResult
    digest: str
    dense: NDArray[np.float32] | None = None

    @property
    def gene(self) -> str:
        """The target."""
        return self.result.gene

    @property
    def metrics(self) -> dict[str, float]:
        """Means over cells: "r2/<gene>" and, where blocks were held out, "heldout/<gene>"."""
        r2, heldout = mean_scores(self.result.fits)
        found = {f"r2/{self.gene}": r2, f"heldout/{self.gene}": heldout}
        return {name: value for name, value in found.items() if np.isfinite(value)}


def mean_scores(fits: Iterable[ClusterFit]) -> tuple[float, float]:
    """Return R² and held-out R² over all models, each weighted by its cells; NaN if none has it.

    Clusters that were skipped or had nothing held out are left out of the mean.
    """
    rows = np.array([[fit.n_cells, fit.r2, fit.heldout_r2] for fit in fits]).reshape(-1, 3)
    means = []
    for scores in rows[:, 1:].T:
        known = np.isfinite(scores)
        weight = rows[known, 0]
        means.append(float(weight @ scores[known] / weight.sum()) if weight.any() else np.nan)
    return means[0], means[1]
