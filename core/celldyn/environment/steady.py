"""Whether cells have come to rest.

Speed is the mean over cells of |v|, in units of the environment's space per second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celldyn.errors import ConfigError

TOLERANCE = 0.01
"""Mean speed below which cells are at rest."""
PATIENCE = 50
"""Steps in a row that they must be."""


@dataclass(frozen=True, slots=True)
class SteadyReport:
    """How a run ended.

    Parameters
    ----------
    reached
        Whether cells came to rest.
    time
        Seconds that were simulated.
    speed
        Mean speed at the end, of the fastest environment where there are several.
    tolerance, patience
        What counted as rest: a speed below this, for so many steps in a row.
    steps
        Steps that were made.
    """

    reached: bool
    time: float
    speed: float
    tolerance: float = TOLERANCE
    patience: int = PATIENCE
    steps: int = 0

    def __str__(self) -> str:
        if self.reached:
            return (
                f"Cells came to rest after {self.time:g} s: their mean speed stayed under "
                f"{self.tolerance:g} for {self.patience} steps."
            )
        return (
            f"Cells still move after {self.time:g} s, at a mean speed of {self.speed:.3g} "
            f"(rest is under {self.tolerance:g} for {self.patience} steps)."
        )

    def to_dict(self) -> dict[str, float | bool | int]:
        """Return plain values that JSON holds."""
        return {
            "reached": self.reached, "time": self.time, "speed": self.speed,
            "tolerance": self.tolerance, "patience": self.patience, "steps": self.steps,
        }  # fmt: skip


class SteadyTest:
    """Counts steps at rest (specs/environment.md, Decision 4).

    Parameters
    ----------
    tolerance
        Mean speed below which cells are at rest.
    patience
        Steps in a row that they must be.

    Raises
    ------
    ConfigError
        If either is not positive.
    """

    def __init__(self, tolerance: float = TOLERANCE, patience: int = PATIENCE) -> None:
        if not 0 < tolerance < np.inf:
            raise ConfigError(f"the tolerance of rest is {tolerance!r}", "give a speed above 0")
        if patience < 1:
            raise ConfigError(f"rest is to last {patience!r} steps", "give at least 1")
        self.tolerance, self.patience = float(tolerance), int(patience)
        self.count = 0

    def update(self, speed: float) -> bool:
        """Take the mean speed after a step; return whether cells are at rest."""
        self.count = self.count + 1 if speed < self.tolerance else 0
        return self.count >= self.patience

    def report(self, *, reached: bool, time: float, speed: float, steps: int) -> SteadyReport:
        """Say how a run ended."""
        return SteadyReport(reached, time, speed, self.tolerance, self.patience, steps)
