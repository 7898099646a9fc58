"""Betas as smooth functions of place and neighbourhood, in closed form.

b_k(s) = a_k (1 + g(s) + h_k(s)): the linear model's coefficient a_k, a gate g that all modulators
share, and for the strongest a gate h_k of their own; the intercept varies too. Gates are sums of
the waves and neighbour counts of `basis`, with ridge penalties at their evidence maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.results import Tensors
from celldyn.betas.seed_model import Linear, r_squared
from celldyn.betas.varying.basis import BROAD, LEVEL, Basis
from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied
from celldyn.betas.varying.evidence import N_UPDATES, Evidence, evidence_job
from celldyn.jobs import Job, Progress, scaled

MOST_OWN = 12
"""Modulators that may have a gate of their own."""

MOST_COLUMNS = 480
"""Columns of the regression, which decide its cost: some 10 ms an update."""

_OWN_SHARE = 1e-3
_N_GROUPS = 10
_FOLD_UPDATES = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Gates:
    """The columns of the regression: what varies (intercept, all together, some), how (basis)."""

    basis: Basis
    values: Floats
    own: NDArray[np.intp]

    @property
    def groups(self) -> Ints:
        """(n_columns,) which penalty each column shares."""
        kinds = self.basis.kinds
        role = np.repeat([0, 1, 2], [1, 1, len(self.own)])
        group = 1 + 3 * role[:, None] + (kinds[None] - BROAD)
        return np.where(kinds[None] == LEVEL, 0, group).ravel()

    def columns(self, X: Floats, linear: Linear, unit: float, rows: Ints) -> Floats:
        """Return the (n_rows, n_columns) regressors of the residuals of a linear model."""
        _, coef = linear
        parts = X[np.ix_(rows, self.own)] * coef[self.own]
        carrier = np.column_stack((np.full(len(rows), unit), X[rows] @ coef, parts)) / unit
        return (carrier[:, :, None] * self.values[rows][:, None, :]).reshape(len(rows), -1)

    def betas(self, values: Floats, linear: Linear, unit: float, weights: Floats) -> Floats:
        """Return the (n_cells, 1 + n_modulators) betas where the basis has these values."""
        intercept, coef = linear
        gate = values @ weights.reshape(-1, values.shape[1]).T
        betas = np.empty((len(values), 1 + len(coef)))
        betas[:, 0] = intercept + unit * gate[:, 0]
        betas[:, 1:] = coef * (1.0 + gate[:, 1:2])
        betas[:, 1 + self.own] += gate[:, 2:] * coef[self.own]
        return betas


def vary_job(cluster: Cluster, config: ModelConfig) -> Job[Varied]:
    """Let the betas of a cluster follow place and neighbourhood as far as that is borne out.

    With held-out blocks, the smooth field is kept unless it predicts them worse than the linear
    model does, by more than a standard error over the blocks; then the linear model's betas are
    returned.

    Yields
    ------
    Progress over the field and one field per fold.
    """
    seed, y = cluster.seed, cluster.y
    linear = (seed.intercept, seed.coef)
    constant = np.concatenate(([seed.intercept], seed.coef))
    plain = Varied(np.tile(constant, (len(y), 1)), seed.r2, seed.heldout_r2)
    unit = float(y.std())
    if not unit > 0 or not seed.coef.any():
        return plain
    gates = _gates(cluster, config)
    every = np.arange(len(y))
    job = _fit_job(gates, cluster, linear, unit, every, None)
    found = yield from scaled(job, 0, 1 + len(cluster.folds))
    heldout = float("nan")
    if cluster.folds:
        scoring = _heldout_job(gates, cluster, unit, found)
        ours, theirs = yield from scaled(scoring, 1, 1 + len(cluster.folds))
        worse = ours - theirs
        if worse.mean() > worse.std(ddof=1) / np.sqrt(len(worse)):
            return plain
        heldout = 1.0 - float(ours.sum()) / float(np.sum((y - y.mean()) ** 2))
    betas = gates.betas(gates.values, linear, unit, found.weights)
    state = {
        **gates.basis.state(),
        "own": gates.own.astype(np.int64),
        "weights": found.weights,
        "linear": constant,
        "unit": np.array([unit]),
    }
    return Varied(betas, r_squared(y, _predicted(betas, cluster.X)), heldout, (), state)


def _predicted(betas: Floats, X: Floats) -> Floats:
    prediction: Floats = betas[:, 0] + np.einsum("ij,ij->i", betas[:, 1:], X)
    return prediction


def apply_varied(
    state: Tensors,
    row: Floats,
    xy: Floats,
    cells: Ints,
    around: Surroundings,
    code: int,
    config: ModelConfig,
) -> Floats:
    """Return the betas of other cells; see `Varier`.

    Waves belong to the tissue that they were fitted on: a cell outside its box follows its
    neighbourhood alone.
    """
    del row, code, config
    basis = Basis.from_state(state)
    values = basis.at(xy, around.counts[cells])
    gates = _Gates(basis, values, np.asarray(state["own"], np.intp))
    constant = np.asarray(state["linear"], np.float64)
    linear = (float(constant[0]), constant[1:])
    return gates.betas(values, linear, float(state["unit"][0]), np.asarray(state["weights"]))


def _gates(cluster: Cluster, config: ModelConfig) -> _Gates:
    strength = np.abs(cluster.seed.coef) * cluster.X.std(axis=0)
    order = np.argsort(-strength, kind="stable")[:MOST_OWN]
    own = np.sort(order[strength[order] > _OWN_SHARE * strength.max()])
    around = cluster.around
    n_waves = min(config.max_basis, MOST_COLUMNS // (len(own) + 2), len(cluster.y) // 4)
    basis = Basis.over(around.xy, around.counts, cluster.cells, max(n_waves, 0))
    return _Gates(basis, basis.at(cluster.xy, around.counts[cluster.cells]), own)


def _fit_job(
    gates: _Gates,
    cluster: Cluster,
    linear: Linear,
    unit: float,
    rows: Ints,
    start: Evidence | None,
) -> Job[Evidence]:
    """Fit the gates to what a linear model leaves over in some cells."""
    yield Progress("smooth field", 0, 1)
    Z = gates.columns(cluster.X, linear, unit, rows)
    left = (cluster.y[rows] - linear[0] - cluster.X[rows] @ linear[1]) / unit
    n_updates = N_UPDATES if start is None else _FOLD_UPDATES
    found = yield from evidence_job(
        Z, left, gates.groups, _N_GROUPS, start=start, n_updates=n_updates
    )
    return found


def _heldout_job(
    gates: _Gates, cluster: Cluster, unit: float, found: Evidence
) -> Job[tuple[Floats, Floats]]:
    """Return the squared errors on each fold of a field without it, and of the linear model."""
    n_folds = len(cluster.folds)
    ours, theirs = np.empty(n_folds), np.empty(n_folds)
    for k, fold in enumerate(cluster.folds):
        linear = cluster.seed.fold_linear[k]
        kept = np.setdiff1d(np.arange(len(cluster.y)), fold)
        job = _fit_job(gates, cluster, linear, unit, kept, found)
        without = yield from scaled(job, k, n_folds)
        X, y = cluster.X[fold], cluster.y[fold]
        betas = gates.betas(gates.values[fold], linear, unit, without.weights)
        ours[k] = np.sum((y - _predicted(betas, X)) ** 2)
        theirs[k] = np.sum((y - linear[0] - X @ linear[1]) ** 2)
    return ours, theirs
