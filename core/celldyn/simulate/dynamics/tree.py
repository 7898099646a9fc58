"""A tree of valleys that fork one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celldyn.simulate.dynamics.potentials import EXTRA_STIFFNESS, Floats, Potential

if TYPE_CHECKING:
    from celldyn.simulate.specs import DynamicsSpec

_TRUNK, _CROWN = 0.7, 1.3
"""Length of the trunk, and distance from its end to every fate."""
_SPACING = 1.2
"""Widths between a valley's points: its floor is smooth to 1e-5."""
_EACH = 2
"""A landmark for genes and states at every second point of a valley."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """A straight piece of valley from one point to another, and the fates beyond it."""

    begin: Floats
    end: Floats
    begins_at: float
    fates: tuple[int, ...]
    name: str

    @property
    def length(self) -> float:
        return float(np.linalg.norm(self.end - self.begin))


class Tree(Potential):
    """A binary tree of valleys: a trunk along x, then fork after fork, out to fates on an arc.

    V(z) = -τ log Σ_j exp((g s_j - h_j - ½ κ |z - c_j|²) / τ) over points c_j densely along the
    valleys, s_j their way from the root: a soft minimum of equal bowls whose floor goes down by g
    per length. Its Hessian is κ less the spread of the points, so that κ bounds it everywhere.
    Raising fate k adds h_k from half-way along its last branch on, rising to that from the fork.
    """

    def __init__(self, spec: DynamicsSpec) -> None:
        super().__init__(spec)
        branches = _branches(self.n_fates)
        levels = int(np.ceil(np.log2(self.n_fates)))
        self._kappa = 2.5 * self.depth * max(levels, 2)
        width = 0.24 / max(levels, 2)
        self._tau = self._kappa * width**2
        points, way, along, raised = [], [], [], np.zeros((0, self.n_fates))
        for branch in branches:
            n = max(int(np.ceil(branch.length / (_SPACING * width))), 2)
            share = (np.arange(n) + 0.5) / n
            points.append(branch.begin + share[:, None] * (branch.end - branch.begin))
            way.append(branch.begins_at + share * branch.length)
            along.append((branch.name, points[-1][:: _EACH if n > _EACH else 1]))
            mine = np.zeros((n, self.n_fates))
            if len(branch.fates) == 1:
                mine[:, branch.fates[0]] = np.minimum(2.0 * share, 1.0)
            raised = np.vstack([raised, mine])
        self._points, self._way, self._raised = np.vstack(points).T, np.concatenate(way), raised
        self._slope = self.depth / float(self._way.max())
        self._pull = (self._kappa / self._tau * self._points)[:, :, None]
        floor = self._slope * self._way - 0.5 * self._kappa * (self._points**2).sum(axis=0)
        self._offset = floor[:, None] / self._tau
        self.core_start = np.zeros(2)
        ends = [branch.end for branch in branches if len(branch.fates) == 1]
        last = {branch.fates[0]: branch.end for branch in branches if len(branch.fates) == 1}
        self.core_terminals = np.array([last[k] for k in range(self.n_fates)])
        corners = np.vstack([self.core_start, *ends])
        self.core_box = np.array([corners.min(axis=0) - 0.6, corners.max(axis=0) + 0.6])
        self.core_terminals = self._settled(self.core_terminals)
        root, trunk = along[0][1][:1], along[0][1][1:]
        fates = sorted((item for item in along if item[0].startswith("fate")), key=_number)
        inner = [item for item in along[1:] if item[0].startswith("branch")]
        self._set_landmarks([("root", root), ("trunk", trunk), *inner, *fates])

    @property
    def curvature(self) -> float:
        """Bound on the eigenvalues of the Hessian: κ, or that of the harmonic dimensions."""
        return max(self._kappa, EXTRA_STIFFNESS)

    def _exponents(self, z: Floats, raised: Floats) -> tuple[Floats, Floats]:
        """Return each point's exponent, (n_points, n), less the largest, which follows.

        What all points share, -½ κ |z|² / τ, is left out of both.
        """
        exponent = self._pull[0] * z[0]
        exponent += self._pull[1] * z[1]
        exponent += self._offset
        for along, height in zip(self._raised.T, raised, strict=True):
            if height.any():
                exponent -= along[:, None] * (height / self._tau)
        top = exponent.max(axis=0)
        exponent -= top
        return exponent, top

    def core_value(self, z: Floats, raised: Floats) -> Floats:
        """Return V; see `Potential.core_value`."""
        exponent, top = self._exponents(z, raised)
        bowl = 0.5 * self._kappa * (z[0] ** 2 + z[1] ** 2)
        value: Floats = bowl - self._tau * (top + np.log(np.exp(exponent).sum(axis=0)))
        return value

    def core_gradient(self, z: Floats, raised: Floats) -> Floats:
        """Return ∇V; see `Potential.core_gradient`."""
        share = self._exponents(z, raised)[0]
        np.exp(share, out=share)
        total = share.sum(axis=0)
        gradient = np.empty((2, z.shape[1]))
        for k, axis in enumerate(self._points):
            np.einsum("jn,j->n", share, axis, out=gradient[k])
        gradient /= -total
        gradient += z
        gradient *= self._kappa
        return gradient


def _branches(n_fates: int) -> list[_Branch]:
    """Return the trunk and the branches, each after the one that it comes from."""
    levels = int(np.ceil(np.log2(n_fates)))
    fan = np.deg2rad(min(90.0 + 50.0 * (levels - 1), 240.0))
    angles = np.linspace(-0.5 * fan, 0.5 * fan, n_fates)
    fork = np.array([_TRUNK, 0.0])
    branches = [_Branch(np.zeros(2), fork, 0.0, tuple(range(n_fates)), "trunk")]
    growing, n_inner = [branches[0]], 0
    for level in range(levels):
        new: list[_Branch] = []
        for branch in growing:
            middle = (len(branch.fates) + 1) // 2
            for fates in filter(None, (branch.fates[:middle], branch.fates[middle:])):
                angle, reach = angles[list(fates)].mean(), _CROWN * (level + 1) / levels
                if len(fates) == 1:
                    reach, name = _CROWN, f"fate_{fates[0]}"
                else:
                    name, n_inner = f"branch_{n_inner}", n_inner + 1
                end = fork + reach * np.array([np.cos(angle), np.sin(angle)])
                at = branch.begins_at + branch.length
                new.append(_Branch(branch.end, end, at, fates, name))
        branches += new
        growing = [branch for branch in new if len(branch.fates) > 1]
    return branches


def _number(item: tuple[str, Floats]) -> int:
    return int(item[0].split("_")[1])
