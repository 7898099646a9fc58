"""What fates are asked for, checked: the way, the times, the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from celldyn.errors import ConfigError
from celldyn.landscape.crowd import Noise
from celldyn.landscape.voters import Terminal

Way: TypeAlias = Literal["vote", "nearest", "reference", "committor"]

NO_CLUSTERS = 'name their column, or use terminal="found"'


@dataclass(frozen=True, slots=True)
class Asked:
    """Parameters that are passed on together."""

    time_range: float
    dt: float
    method: Way
    k: int
    n_runs: int
    sigma: float | None
    seed: int
    threads: int

    def check(self, *, labels: bool, terminal: Terminal, transition: bool) -> None:
        """Raise ConfigError for what cannot be; `labels`, `transition` say that there are none."""
        if self.method not in get_args(Way):
            raise ConfigError(
                f"method {self.method!r} is not known", f"use {', '.join(get_args(Way))}"
            )
        for value, name in ((self.time_range, "time_range"), (self.dt, "dt")):
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}", "give a time above 0")
        if self.n_runs < 0 or self.n_runs != int(self.n_runs):
            raise ConfigError(f"n_runs is {self.n_runs}", "give a whole number, 0 or more")
        if self.n_runs and (self.sigma is None or not 0 <= self.sigma < math.inf):
            raise ConfigError(
                f"runs with noise were asked for with sigma {self.sigma}",
                "give the sigma that sigma_of_walks_job finds, or another of 0 or more",
            )
        if self.method == "reference" and (self.n_runs or terminal is not None):
            raise ConfigError(
                "the reference knows neither noise nor terminal states", 'use method="vote"'
            )
        if self.method == "reference" and self.time_range < self.dt:
            raise ConfigError(
                f"a time_range of {self.time_range:g} has no point of time {self.dt:g} apart",
                "give a longer time_range, or a shorter dt",
            )
        if labels and terminal != "found":
            raise ConfigError(
                "there are no clusters", 'name their column, or use terminal="found"'
            )
        if self.method == "committor" and (
            terminal is None or isinstance(terminal, str) or transition
        ):
            raise ConfigError(
                "a committor needs terminal clusters and a transition matrix",
                "name the clusters and give the chances",
            )

    @property
    def times(self) -> list[float]:
        """Points of time; the reference's are dt · n / (n − 1) apart, not dt."""
        if self.method == "reference":
            n_points = int(self.time_range / self.dt)
        else:
            n_points = max(round(self.time_range / self.dt), 1) + 1
        return [float(at) for at in np.linspace(0.0, self.time_range, n_points)]

    @property
    def noise(self) -> Noise | None:
        """Runs with noise, if there are any."""
        if not self.n_runs or self.sigma is None:
            return None
        return Noise(self.time_range, self.dt, self.sigma, self.n_runs, self.seed)

    @property
    def near(self) -> int:
        """How many cells vote on an end."""
        return self.k if self.method == "vote" else 1
