"""When a training has nothing more to gain: it stops, and says why."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from celldyn.errors import ConfigError, FileFormatError


class EarlyStopping:
    """Watch the reward of each update, and say when it no longer grows.

    The mean of the last `average` rewards is held against the best such mean. Where it was not
    better by more than `delta` for `patience` updates in a row, training is over.

    Parameters
    ----------
    average
        Rewards that are averaged, ≥ 1; nothing is judged before there are as many.
    delta
        What counts as better, in units of the reward, ≥ 0.
    patience
        Updates without anything better until training stops, ≥ 1.

    Raises
    ------
    ConfigError
        If one of them is out of its bounds.

    Notes
    -----
    The figures are the seed's, whose training fired and went on (specs/environment.md, D1.16).
    """

    def __init__(self, average: int = 3, delta: float = 0.01, patience: int = 6) -> None:
        if average < 1 or patience < 1:
            raise ConfigError(
                f"early stopping over {average} rewards with a patience of {patience} is none",
                "give at least 1 of each",
            )
        if not (math.isfinite(delta) and delta >= 0):
            raise ConfigError(f"delta of early stopping is {delta}", "give 0 or more")
        self.average, self.delta, self.patience = average, delta, patience
        self._last: deque[float] = deque(maxlen=average)
        self._best = -math.inf
        self._waited = 0

    @property
    def best(self) -> float:
        """The best mean so far; -inf before there is one."""
        return self._best

    @property
    def waited(self) -> int:
        """Updates since the best mean."""
        return self._waited

    @property
    def stops(self) -> bool:
        """Whether training is over."""
        return self._waited >= self.patience

    def update(self, reward: float) -> bool:
        """Take the reward of one update, and return whether training is over.

        A reward that is not finite counts as one that is no better, and enters no mean.
        """
        if math.isfinite(reward):
            self._last.append(reward)
            if len(self._last) < self.average:
                return self.stops
            mean = sum(self._last) / self.average
            if mean > self._best + self.delta:
                self._best, self._waited = mean, 0
                return False
        self._waited += 1
        return self.stops

    def sentence(self) -> str:
        """Return why training is over."""
        return (
            f"the reward, averaged over {self.average} updates, was no better than "
            f"{self._best:.4g} by more than {self.delta:g} for {self._waited} updates"
        )

    def to_state(self) -> dict[str, Any]:
        """Return where it stands as plain values, so that a resumed training stops where it would.

        `best` is None before there is one: JSON has no infinity.
        """
        return {
            "average": self.average,
            "delta": self.delta,
            "patience": self.patience,
            "last": list(self._last),
            "best": None if math.isinf(self._best) else self._best,
            "waited": self._waited,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_state` described.

        Raises
        ------
        FileFormatError
            If it is something else.
        """
        try:
            made = cls(int(state["average"]), float(state["delta"]), int(state["patience"]))
            last = [float(value) for value in state["last"]]
            if len(last) > made.average or not all(map(math.isfinite, last)):
                raise ValueError("last")
            made._last.extend(last)
            best = state["best"]
            made._best = -math.inf if best is None else float(best)
            made._waited = int(state["waited"])
            if math.isnan(made._best) or made._waited < 0:
                raise ValueError("best")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(
                "the state of early stopping is damaged", "start the training afresh"
            ) from error
        return made
