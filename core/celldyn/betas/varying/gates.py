"""The regression behind smooth betas: its columns, and their cross products without the columns.

In a cell of cluster c at place s the residual of the linear model, over its spread σ_c, is

    Σ_j φ_j(s) [ u_c (w_0j + v_c0j) + Σ_k a_ck x_k (w_1j + v_c1j + w_kj) ] / σ_c,

with a_c the linear coefficients and u_c the spread of the target: gates on the intercept, on all
modulators together and on each of some, the same for all clusters, and the first two (v) once
more for each cluster alone, by broad functions only. The columns are products of carriers
(1, x_k) and functions; their cross products are summed once for every cluster and fold, and what
the coefficients of a fold make of them is small linear algebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.evidence import Moments
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.seed_model import Linear
from celldyn.betas.varying.basis import BROAD, FINE, LEVEL, Basis
from celldyn.betas.varying.cluster import Cluster

N_SHARED_GROUPS = 10
N_GROUPS = 16
"""Penalties: of what all clusters share (10), and of what each has alone (6)."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which columns there are.

    Parameters
    ----------
    basis
        The functions.
    own
        (n_own,) modulators that have a gate of their own.
    n_alone
        Clusters that have gates for themselves; 0 for none, else all.
    """

    basis: Basis
    own: NDArray[np.intp]
    n_alone: int

    @property
    def broad(self) -> NDArray[np.intp]:
        """Functions that a cluster alone may follow: all but the level and fine waves."""
        kinds = self.basis.kinds
        return np.flatnonzero((kinds != LEVEL) & (kinds != FINE))

    @property
    def n_roles(self) -> int:
        """Gates that all clusters share: intercept, all modulators, and each of `own`."""
        return 2 + len(self.own)

    @property
    def n_shared(self) -> int:
        """Columns that all clusters share."""
        return self.n_roles * len(self.basis.kinds)

    @property
    def groups(self) -> Ints:
        """(n_columns,) the penalty of each column."""
        kinds = self.basis.kinds
        role = np.minimum(np.arange(self.n_roles), 2)
        shared = np.where(kinds == LEVEL, 0, 1 + 3 * role[:, None] + (kinds - BROAD))
        alone = N_SHARED_GROUPS + 3 * np.arange(2)[:, None] + (kinds[self.broad] - BROAD)
        return np.concatenate([shared.ravel(), np.tile(alone.ravel(), self.n_alone)])

    def weights_of(self, weights: Floats, cluster: int) -> Floats:
        """Return the (n_roles, n_functions) weights that hold in one cluster."""
        here = weights[: self.n_shared].reshape(self.n_roles, -1).copy()
        if self.n_alone:
            size = 2 * len(self.broad)
            start = self.n_shared + cluster * size
            here[:2, self.broad] += weights[start : start + size].reshape(2, -1)
        return here


@dataclass(frozen=True, slots=True, eq=False)
class Carriers:
    """One cluster's part of the regression.

    Parameters
    ----------
    cluster
        The cells and their linear models.
    layout
        The columns.
    values
        (n_cells, n_functions) of the basis.
    parts
        (n_parts, 1 + n_own, n_functions, 1 + n_own, n_functions) cross products of the carriers
        times the functions, fold by fold; all cells in one part without folds.
    """

    cluster: Cluster
    layout: Layout
    values: Floats
    parts: Floats

    @classmethod
    def of(cls, cluster: Cluster, layout: Layout) -> Carriers:
        """Sum the cross products of a cluster."""
        values = layout.basis.at(cluster.xy, cluster.around.counts[cluster.cells])
        raw = np.column_stack((np.ones(len(values)), cluster.X[:, layout.own]))
        pieces = cluster.folds or [np.arange(len(values))]
        n_carriers, n_functions = raw.shape[1], values.shape[1]
        parts = np.empty((len(pieces), n_carriers * n_functions, n_carriers * n_functions))
        for k, rows in enumerate(pieces):
            Z = (raw[rows, :, None] * values[rows, None, :]).reshape(len(rows), -1)
            parts[k] = Z.T @ Z
        shape = (len(pieces), n_carriers, n_functions, n_carriers, n_functions)
        return cls(cluster, layout, values, parts.reshape(shape))

    @property
    def spread(self) -> float:
        """Spread of the target in the cluster."""
        return float(self.cluster.y.std())

    def moments(self, fold: int | None) -> tuple[Floats, Floats, float, int]:
        """Return Z'Z and Z'r over shared gates, r'r and the number of cells, without a fold."""
        cluster = self.cluster
        linear = linear_of(cluster, fold)
        kept = np.ones(len(cluster.y), bool)
        products = self.parts.sum(axis=0)
        if fold is not None:
            kept[cluster.folds[fold]] = False
            products = products - self.parts[fold]
        left = cluster.y - linear[0] - cluster.X @ linear[1]
        noise = max(float(np.sqrt(np.mean(left[kept] ** 2))), 1e-9 * self.spread)
        role = self._roles(linear) / noise
        gram = np.einsum("ia,ijkl,kb->ajbl", role, products, role, optimize=True)
        raw = np.column_stack((np.ones(len(left)), cluster.X[:, self.layout.own]))
        r = np.where(kept, left / noise, 0.0)
        cross = role.T @ (raw.T @ (self.values * r[:, None]))
        return gram, cross, float(r @ r), int(kept.sum())

    def _roles(self, linear: Linear) -> Floats:
        """Return (1 + n_own, n_roles): what each gate multiplies, in terms of the carriers."""
        coef = linear[1][self.layout.own]
        role = np.zeros((1 + len(coef), 2 + len(coef)))
        role[0, 0] = self.spread
        role[1:, 1] = coef
        role[1:, 2:] = np.diag(coef)
        return role

    def betas(self, weights: Floats, fold: int | None, rows: Ints | None = None) -> Floats:
        """Return the (n_rows, 1 + n_modulators) betas by one cluster's weights."""
        values = self.values if rows is None else self.values[rows]
        linear = linear_of(self.cluster, fold)
        return gated(values, linear, self.spread, self.layout.own, weights)


def linear_of(cluster: Cluster, fold: int | None) -> Linear:
    """Return the linear model of all cells, or of all but a fold."""
    seed = cluster.seed
    return (seed.intercept, seed.coef) if fold is None else seed.fold_linear[fold]


def gated(
    values: Floats, linear: Linear, spread: float, own: NDArray[np.intp], weights: Floats
) -> Floats:
    """Return the betas where the basis has these values.

    Parameters
    ----------
    values
        (n_cells, n_functions).
    linear
        Intercept and (n_modulators,) coefficients.
    spread
        Unit of the intercept's gate.
    own
        Modulators that are gated.
    weights
        (2 + n_own, n_functions).
    """
    intercept, coef = linear
    gate = values @ weights.T
    betas = np.empty((len(values), 1 + len(coef)))
    betas[:, 0] = intercept + spread * gate[:, 0]
    betas[:, 1:] = coef
    betas[:, 1 + own] *= 1.0 + gate[:, 1:2] + gate[:, 2:]
    return betas


def together(carriers: list[Carriers], fold: int | None) -> Moments:
    """Return the moments of the regression over all clusters, without a fold."""
    layout = carriers[0].layout
    n_shared, broad = layout.n_shared, layout.broad
    size = 2 * len(broad)
    n_columns = n_shared + layout.n_alone * size
    gram, cross = np.zeros((n_columns, n_columns)), np.zeros(n_columns)
    power, n = 0.0, 0
    for k, each in enumerate(carriers):
        own_gram, own_cross, own_power, own_n = each.moments(fold)
        gram[:n_shared, :n_shared] += own_gram.reshape(n_shared, n_shared)
        cross[:n_shared] += own_cross.ravel()
        power, n = power + own_power, n + own_n
        if layout.n_alone:
            at = slice(n_shared + k * size, n_shared + (k + 1) * size)
            alone = own_gram[:2][:, broad]
            gram[at, :n_shared] = alone.reshape(size, n_shared)
            gram[:n_shared, at] = gram[at, :n_shared].T
            gram[at, at] = alone[:, :, :2][..., broad].reshape(size, size)
            cross[at] = own_cross[:2, broad].ravel()
    return Moments(gram, cross, power, n)
