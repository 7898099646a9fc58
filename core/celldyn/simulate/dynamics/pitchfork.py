"""A valley that forks in two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celldyn.simulate.dynamics.potentials import Floats, Potential
from celldyn.simulate.dynamics.wells import two_sides

if TYPE_CHECKING:
    from celldyn.simulate.specs import DynamicsSpec

_LENGTH = 2.0
_WALL = 10.0
_SPACING = 0.2


class Pitchfork(Potential):
    """A progenitor valley along x that forks in two: the normal form of the pitchfork.

    V = -g x + k (q(y) - r(x) y² / 2), with q = y⁴ / 4 (a parabola beyond |y| = 0.8) and r from
    -½ to 0.36, so that the valley at y = 0 becomes a ridge between valleys at y = ±√r, up to
    ±0.6. Past x = 2 a wall of ½ · 10 (x - 2)² ends the valleys. Raising a fate adds its height on
    its side of y = 0.
    """

    _FORK = (0.4, 1.6)
    _BEFORE, _AFTER, _CAP = -0.5, 0.36, 0.8

    def __init__(self, spec: DynamicsSpec) -> None:
        super().__init__(spec)
        # The fork itself is a sixth of the way down, the slope along x the rest.
        self._stiffness = 4.0 * self.depth / (6.0 * self._AFTER**2)
        self._slope = (5.0 / 6.0) * self.depth / _LENGTH
        side, end = self._AFTER**0.5, _LENGTH + self._slope / _WALL
        self.core_start = np.zeros(2)
        self.core_terminals = np.array([[end, -side], [end, side]])
        self.core_box = np.array([[-1.0, -1.4], [end + 0.6, 1.4]])
        x = np.arange(0.0, end + 0.01, _SPACING)
        y = np.sqrt(np.maximum(self._order(x)[0], 0.0))
        split = y > 0.3
        straight = np.stack([x, 0 * x], axis=1)
        self._set_landmarks(
            [
                ("root", straight[x < 0.3]),
                ("trunk", straight[(x >= 0.3) & ~split]),
                ("fate_0", np.stack([x, -y], axis=1)[split]),
                ("fate_1", np.stack([x, y], axis=1)[split]),
            ]
        )

    def _order(self, x: Floats) -> tuple[Floats, Floats]:
        """Return r(x) and its derivative."""
        low, high = self._FORK
        step, slope = ramp((x - low) / (high - low))
        rise = self._AFTER - self._BEFORE
        return self._BEFORE + rise * step, rise * slope / (high - low)

    def core_value(self, z: Floats, raised: Floats) -> Floats:
        """Return V; see `Potential.core_value`."""
        x, y = z
        cap, order = self._CAP, self._order(x)[0]
        inside = np.clip(y, -cap, cap)
        over = y - inside
        bowl = 0.25 * inside**4 + inside**3 * over + 1.5 * cap**2 * over**2
        side = two_sides(y, 0.3, self._AFTER**0.5)[0]
        value: Floats = (
            self._stiffness * (bowl - 0.5 * order * y**2)
            - self._slope * x
            + 0.5 * _WALL * np.maximum(x - _LENGTH, 0.0) ** 2
            + raised[0] * (1.0 - side)
            + raised[1] * side
        )
        return value

    def core_gradient(self, z: Floats, raised: Floats) -> Floats:
        """Return ∇V; see `Potential.core_gradient`."""
        x, y = z
        order, change = self._order(x)
        inside = np.clip(y, -self._CAP, self._CAP)
        bowl = inside**3 + 3.0 * self._CAP**2 * (y - inside)
        side = two_sides(y, 0.3, self._AFTER**0.5)[1]
        along = _WALL * np.maximum(x - _LENGTH, 0.0) - self._slope
        along -= 0.5 * self._stiffness * change * y**2
        across = self._stiffness * (bowl - order * y) + (raised[1] - raised[0]) * side
        return np.stack([along, across])


def ramp(u: Floats) -> tuple[Floats, Floats]:
    """Return a step from 0 at u = 0 to 1 at u = 1, smooth to its second derivative, and its slope.

    Both are (n,).
    """
    u = np.minimum(np.maximum(u, 0.0), 1.0)
    square = u * u
    rest = u - square
    return square * u * (10.0 + u * (6.0 * u - 15.0)), 30.0 * rest * rest
