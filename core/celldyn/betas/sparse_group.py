"""The sparse group lasso in Gram form: its objective, proximal map and optimality conditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import eigsh

from celldyn.betas.neighbours import Floats, Ints

_DENSE = 100


@dataclass(frozen=True, slots=True, eq=False)
class SparseGroupProblem:
    """Minimise ½ b'Gb − c'b + Σ_g w_g ‖b_g‖ + Σ_j l_j |b_j|.

    A group of one column is an absolute value: its w_g is moved into l_j when the problem is made,
    so that w_g > 0 only where ‖b_g‖ curves.

    Parameters
    ----------
    G
        (p, p) positive semi-definite.
    c
        (p,) linear term.
    codes
        (p,) group of each column as 0 .. n_groups − 1.
    group_weight
        (n_groups,) w_g.
    l1
        (p,) l_j.
    """

    G: Floats
    c: Floats
    codes: Ints
    group_weight: Floats
    l1: Floats

    @classmethod
    def build(
        cls, G: Floats, c: Floats, codes: Ints, group_weight: Floats, l1_reg: float | Floats
    ) -> SparseGroupProblem:
        """Make the problem with one l1 penalty for all columns, or (p,) of them."""
        single = np.bincount(codes, minlength=len(group_weight)) == 1
        l1 = l1_reg + np.where(single, group_weight, 0.0)[codes]
        return cls(G, c, codes, np.where(single, 0.0, group_weight), l1)

    def norms(self, b: Floats) -> Floats:
        """Return (n_groups,) norms of b within each group."""
        return np.sqrt(np.bincount(self.codes, b * b, minlength=len(self.group_weight)))

    def gradient(self, b: Floats) -> Floats:
        """Return the gradient of the smooth part."""
        return self.G @ b - self.c

    def objective(self, b: Floats, gradient: Floats | None = None) -> float:
        """Return the value to be minimised; `gradient` at b saves a product."""
        grad = self.gradient(b) if gradient is None else gradient
        penalty = self.group_weight @ self.norms(b) + self.l1 @ np.abs(b)
        return float(0.5 * b @ (grad - self.c) + penalty)

    def prox(self, v: Floats, step: float) -> Floats:
        """Return the proximal map of `step` times the penalty: shrink columns, then groups."""
        shrunk = np.sign(v) * np.maximum(np.abs(v) - step * self.l1, 0.0)
        norms = self.norms(shrunk)
        weight = step * self.group_weight
        factor = np.where(norms > weight, 1.0 - weight / np.where(norms > 0, norms, 1.0), 0.0)
        return shrunk * factor[self.codes]

    def slope(self, b: Floats, gradient: Floats) -> Floats:
        """Return the smallest subgradient of the objective, column by column; 0 at a minimum.

        In a group that is 0 it is what is left of the soft-thresholded gradient beyond w_g.
        """
        norms = self.norms(b)
        curved = self.group_weight > 0
        pull = np.where(norms > 0, self.group_weight / np.where(norms > 0, norms, 1.0), 0.0)
        total = gradient + pull[self.codes] * b
        at_zero = np.sign(total) * np.maximum(np.abs(total) - self.l1, 0.0)
        slope = np.where(b != 0, total + self.l1 * np.sign(b), at_zero)
        excess = self.norms(slope)
        short = np.where(excess > 0, self.group_weight / np.where(excess > 0, excess, 1.0), 1.0)
        asleep = (curved & (norms == 0))[self.codes]
        return np.where(asleep, slope * np.maximum(1.0 - short, 0.0)[self.codes], slope)

    def residual(self, b: Floats, gradient: Floats) -> float:
        """Return the relative KKT residual: max |slope| / max |c|, 0 when c is 0."""
        top = np.abs(self.c).max(initial=0.0)
        return float(np.abs(self.slope(b, gradient)).max(initial=0.0) / top) if top > 0 else 0.0

    def newton_system(self, b: Floats, gradient: Floats) -> tuple[Floats, Ints, Floats]:
        """Return slope, free columns and Hessian of the objective on them.

        Free are the columns that are not 0, and those of a group that is awake whose own penalty
        no longer holds them at 0. There the objective is smooth: the Hessian is
        G + Σ_g w_g / ‖b_g‖ (I − u_g u_g'), with u_g = b_g / ‖b_g‖.
        """
        norms = self.norms(b)
        slope = self.slope(b, gradient)
        awake = ((norms > 0) | (self.group_weight == 0))[self.codes]
        free = np.flatnonzero(awake & ((b != 0) | (slope != 0)))
        bend = np.where(norms > 0, self.group_weight / np.where(norms > 0, norms, 1.0), 0.0)
        hessian = self.G[np.ix_(free, free)]
        group = self.codes[free]
        hessian[np.diag_indices(len(free))] += bend[group]
        for k in np.unique(group[bend[group] > 0]):
            inside = np.flatnonzero(group == k)
            unit = b[free[inside]] / norms[k]
            hessian[np.ix_(inside, inside)] -= bend[k] * np.outer(unit, unit)
        return slope, free, hessian


def spectral_bound(G: Floats) -> float:
    """Return the largest eigenvalue of a positive semi-definite matrix, or a hair above it."""
    p = len(G)
    if p == 0 or not G.any():
        return 0.0
    if p <= _DENSE:
        return float(eigvalsh(G, subset_by_index=[p - 1, p - 1])[0]) * (1 + 1e-12)
    # A start that no design makes orthogonal to the first eigenvector, the same in every run.
    start = np.random.default_rng(0).standard_normal(p)
    top = eigsh(G, k=1, v0=start, tol=1e-3, return_eigenvectors=False)
    return float(top[0]) * 1.01


def group_codes(groups: NDArray[np.generic]) -> tuple[Ints, Floats]:
    """Return the group of each column as 0, 1, ... and the size of each group."""
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return codes.astype(np.intp), sizes.astype(np.float64)
