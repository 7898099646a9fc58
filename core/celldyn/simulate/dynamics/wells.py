"""Potentials of separate wells: a double well, and several wells around a hill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celldyn.simulate.dynamics.potentials import Floats, Potential

if TYPE_CHECKING:
    from celldyn.simulate.specs import DynamicsSpec

_CAP = 1.4
_SIDE = 0.5
_RADIUS = 1.5
_WALL = 10.0


class Quartic(Potential):
    """The double well V = depth (x² - 1)², with cells that start on the barrier at x = 0.

    Beyond |x| = 1.4 it goes on as the parabola that fits there, so that its curvature is bounded.
    Raising fate k adds its height times ½ (1 ± tanh(2x) / tanh(2)), which is 1 at its well and 0
    at the other.
    """

    n_core = 1

    def __init__(self, spec: DynamicsSpec) -> None:
        super().__init__(spec)
        self.core_start = np.zeros(1)
        self.core_terminals = np.array([[-1.0], [1.0]])
        self.core_box = np.array([[-2.0], [2.0]])
        line = np.linspace(-1.2, 1.2, 13)[:, None]
        near = np.abs(line[:, 0]) < 0.5
        self._set_landmarks(
            [
                ("root", line[near]),
                ("fate_0", line[~near & (line[:, 0] < 0)]),
                ("fate_1", line[~near & (line[:, 0] > 0)]),
            ]
        )

    def core_value(self, z: Floats, raised: Floats) -> Floats:
        """Return V; see `Potential.core_value`."""
        x = z[0]
        inside = np.clip(x, -_CAP, _CAP)
        over = x - inside
        slope = 4.0 * inside * (inside**2 - 1.0)
        well = (inside**2 - 1.0) ** 2 + slope * over + 0.5 * (12 * _CAP**2 - 4) * over**2
        side = two_sides(x, _SIDE, 1.0)[0]
        value: Floats = self.depth * well + raised[0] * (1.0 - side) + raised[1] * side
        return value

    def core_gradient(self, z: Floats, raised: Floats) -> Floats:
        """Return ∇V; see `Potential.core_gradient`."""
        inside = np.clip(z[0], -_CAP, _CAP)
        slope = 4.0 * inside * (inside**2 - 1.0) + (12 * _CAP**2 - 4) * (z[0] - inside)
        side = two_sides(z[0], _SIDE, 1.0)[1]
        gradient: Floats = (self.depth * slope + (raised[1] - raised[0]) * side)[None]
        return gradient


class Wells(Potential):
    """Wells evenly on a circle around a hill, each a Gaussian, within harmonic walls.

    V = Σ a_i exp(-|z - c_i|² / 2 s_i²) + ½ · 10 (|x| - x₀)²₊ + ½ · 10 (|y| - y₀)²₊: the hill at
    the root has a = depth / 2 and s = 0.75; the wells have a = -depth / 2, lie 1.5 away and are as
    wide as keeps them apart; walls stand one width behind them. Raising a fate makes its well
    shallower.
    """

    def __init__(self, spec: DynamicsSpec) -> None:
        super().__init__(spec)
        angle = 2 * np.pi * np.arange(self.n_fates) / self.n_fates
        self._centres = _RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        spacing = 2 * _RADIUS * np.sin(np.pi / self.n_fates)
        self._width = spacing / 4
        self._edge = (np.abs(self._centres).max(axis=0) + self._width)[:, None]
        self.core_start = np.zeros(2)
        self.core_box = np.array([[-1.0], [1.0]]) * (self._edge[:, 0] + 0.5)
        self.core_terminals = self._centres
        self.core_terminals = self._settled(self._centres)
        along = np.linspace(0.25, 1.1, 5)[:, None]
        fates = [(f"fate_{k}", along * c) for k, c in enumerate(self.core_terminals)]
        early = [("root", points[:1]) for _, points in fates]
        late = [(name, points[1:]) for name, points in fates]
        self._set_landmarks([("root", np.zeros((1, 2))), *early, *late])

    def _gaussians(self, z: Floats, raised: Floats) -> tuple[Floats, Floats]:
        """Return heights (1 + n_fates, n) and offsets over width² (1 + n_fates, 2, n)."""
        wide = np.array([_RADIUS / 2, *[self._width] * self.n_fates])[:, None]
        centres = np.vstack([self.core_start, self._centres])
        gap = z[None] - centres[:, :, None]
        bell = np.exp(-0.5 * (gap**2).sum(axis=1) / wide**2)
        bell[0] *= 0.5 * self.depth
        bell[1:] *= raised - 0.5 * self.depth
        return bell, gap / wide[:, None] ** 2

    def core_value(self, z: Floats, raised: Floats) -> Floats:
        """Return V; see `Potential.core_value`."""
        over = np.maximum(np.abs(z) - self._edge, 0.0)
        wall = 0.5 * _WALL * (over**2).sum(axis=0)
        value: Floats = self._gaussians(z, raised)[0].sum(axis=0) + wall
        return value

    def core_gradient(self, z: Floats, raised: Floats) -> Floats:
        """Return ∇V; see `Potential.core_gradient`."""
        bell, gap = self._gaussians(z, raised)
        wall = _WALL * (z - np.clip(z, -self._edge, self._edge))
        gradient: Floats = wall - (bell[:, None] * gap).sum(axis=0)
        return gradient


def two_sides(x: Floats, width: float, at: float) -> tuple[Floats, Floats]:
    """Return a smooth step that is 0 at -at and 1 at +at, and its derivative."""
    turn = np.tanh(x / width)
    whole = np.tanh(at / width)
    return 0.5 * (1.0 + turn / whole), 0.5 * (1.0 - turn**2) / (width * whole)
