"""What the cell types of a section lend each other: which modulators count, and how much.

Each cell type alone has few cells, and most regulation is shared. So a lasso of all cell types
together says how lightly a modulator may be penalised in each, and a type's coefficients are drawn
to those of all together, by as much as the data let them (partial pooling).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celldyn.betas.evidence import Moments, evidence_job
from celldyn.betas.gram import Gram
from celldyn.betas.neighbours import Floats, Ints
from celldyn.betas.penalty_path import (
    Linear,
    Penalties,
    best_of_path_job,
    factors_of,
    importance_of,
)
from celldyn.jobs import Job, scaled

_STRONGEST_SHARE = 3.0
_N_UPDATES = 15
_GENEROUS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Lent:
    """What all cell types of a section know together.

    Parameters
    ----------
    importance
        (n_folds + 1, p) how much each modulator counts, in 0 .. 1: from all cells, then from all
        but each fold.
    coef
        (n_folds + 1, p) its coefficient.
    """

    importance: Floats
    coef: Floats

    def select(self, columns: Ints) -> Lent:
        """Return the same of some modulators."""
        return Lent(self.importance[:, columns], self.coef[:, columns])


def lent_job(pooled: list[Gram], penalties: Penalties, *, target: int = 0) -> Job[Lent]:
    """Find what counts in all cell types of a section together.

    Parameters
    ----------
    pooled
        The statistics of each fold, summed over cell types about the means of each (`pool`).
    penalties, target
        As in `choose_penalty_job`.
    """
    ones = np.ones((len(pooled) + 1, pooled[0].n_columns))
    first = best_of_path_job(pooled, penalties, ones, target, generous=_GENEROUS)
    plain = yield from scaled(first, 0, 2)
    importance = importance_of(pooled, plain, penalties)
    factors = factors_of(penalties.inherited(importance))
    second = best_of_path_job(pooled, penalties, factors, target, generous=_GENEROUS)
    found = yield from scaled(second, 1, 2)
    coef = np.array([model[1] for model in (found.whole, *found.folds)])
    return Lent(np.maximum(importance, importance_of(pooled, found, penalties)), coef)


def pool(into: list[Gram], parts: list[Gram]) -> list[Gram]:
    """Add the statistics of one cell type's folds to those of others, about its own means."""
    centred = [
        Gram(g.n, np.zeros_like(g.means), np.zeros_like(g.y_means), g.XtX, g.Xty, g.yty)
        for g in parts
    ]
    if not into:
        return centred
    return [one + other for one, other in zip(into, centred, strict=True)]


def pooled_fit_job(gram: Gram, own: Linear, lent: Floats, *, target: int = 0) -> Job[Linear]:
    """Fit one cell type so that its coefficients are drawn to those of all together.

    b = ρ m + d on the modulators that the cell type's own lasso or the common one left: m are the
    common coefficients, ρ ≥ 0 the share of them that fits best, and d ~ N(0, τ²) on columns of
    variance 1, with τ, one for modulators that m has and one for the others, and the noise at
    their evidence maximum.

    Parameters
    ----------
    gram
        Statistics of the cells.
    own
        The cell type's own model.
    lent
        (p,) m.
    target
        Which target of the statistics.
    """
    support = np.flatnonzero(((own[1] != 0) | (lent != 0)) & (gram.scale > 0))
    power = float(gram.yty[target])
    if not len(support) or not power > 0:
        return own
    scale = gram.scale[support]
    G = gram.XtX[np.ix_(support, support)] / np.outer(scale, scale)
    c = gram.Xty[support, target] / scale
    common = lent[support] * scale
    explained = float(common @ G @ common)
    share = float(common @ c) / explained if explained > 0 else 0.0
    common *= np.clip(share, 0.0, _STRONGEST_SHARE)
    unit = np.sqrt(power / gram.n)
    left = power - 2 * common @ c + common @ (G @ common)
    moments = Moments(G, (c - G @ common) / unit, float(max(left, 0.0)) / unit**2, gram.n)
    groups = np.where(common != 0, 0, 1)
    found = yield from evidence_job(moments, groups, 2, n_updates=_N_UPDATES)
    coef = np.zeros(gram.n_columns)
    coef[support] = (common + unit * found.weights) / scale
    return float(gram.y_means[target] - gram.means @ coef), coef
