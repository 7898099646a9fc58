"""What time of biology a moment of a simulation stands for, told by how fast cells move.

Between two stages cells hurry first and rest later. The share of the way that is covered at time t
is taken to be the gamma distribution function whose density fits their mean speed
(specs/environment.md C).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError

Floats = NDArray[np.float64]

_FIRST_GUESS = (1.0, 0.0, 30.0, 0.1)
_FREE = ([0, 1, 2, 3], [0, 2, 3], [2, 3])
"""Which of shape, delay, scale and height are fitted; the others are at 1 and 0.

The density leaps at the first moment where shape or delay just leave these, so that a fit cannot
come back to them.
"""


@dataclass(frozen=True, slots=True)
class BiologicalClock:
    """Biological time start + (end − start) · Γ((t − delay) / scale; shape).

    Parameters
    ----------
    shape, delay, scale
        Of the gamma distribution; delay and scale in seconds of the simulation.
    height
        What the density is multiplied by to be a speed.
    start, end
        Biological times of both stages, in any unit.
    last
        Last simulated time that was fitted, in seconds.
    explained
        Share of the variance of the speed that the fit explains, at most 1.
    """

    shape: float
    delay: float
    scale: float
    height: float
    start: float
    end: float
    last: float
    explained: float

    def speed(self, time: ArrayLike) -> Floats:
        """Return the fitted mean speed at simulated times."""
        at = np.asarray(time, np.float64)
        return _density(at, self.shape, self.delay, self.scale, self.height)

    def at(self, time: ArrayLike) -> Floats:
        """Return the biological time at simulated times, in seconds."""
        from scipy.stats import gamma

        share = gamma.cdf(np.asarray(time, np.float64), self.shape, self.delay, self.scale)
        return np.asarray(self.start + (self.end - self.start) * share)

    def inverse(self, biological: ArrayLike) -> Floats:
        """Return the simulated times, in seconds, at which biological times are reached.

        Raises
        ------
        DataError
            If one is before the start, or not before the end, which is only ever approached.
        """
        from scipy.stats import gamma

        wanted = np.asarray(biological, np.float64)
        share = (wanted - self.start) / (self.end - self.start)
        if not bool(np.all((share >= 0) & (share < 1))):
            wrong = wanted.ravel()[~((share >= 0) & (share < 1)).ravel()][0]
            raise DataError(
                f"biological time {wrong:g} is not from {self.start:g} up to, without, "
                f"{self.end:g}",
                "ask for a time between both stages",
            )
        return np.asarray(gamma.ppf(share, self.shape, self.delay, self.scale))

    @property
    def covered(self) -> float:
        """Share of the way that was covered when the simulation ended, in [0, 1]."""
        return float((self.at(self.last) - self.start) / (self.end - self.start))


def biological_time(
    times: ArrayLike, speed: ArrayLike, *, start: float = 0.0, end: float = 1.0
) -> BiologicalClock:
    """Fit the clock of a simulation from one stage to another.

    Parameters
    ----------
    times
        (T,) simulated times, in seconds, rising from when the modalities were exchanged.
    speed
        (T,) mean over cells and dimensions of |v| at those; see `mean_speed`.
    start, end
        Biological times of both stages.

    Raises
    ------
    DataError
        If there are fewer than five times, they do not rise, speeds are not finite or negative,
        cells never moved, or start and end are the same.
    """
    t, g = np.asarray(times, np.float64).ravel(), np.asarray(speed, np.float64).ravel()
    _check(t, g, start, end)
    best, error = None, np.inf
    for guess, free in product(_guesses(t, g), _FREE):
        found = _fit(t, g, guess, free)
        if found is None:
            continue
        left = float(np.square(_density(t, *found) - g).sum())
        if left < error:
            best, error = found, left
    if best is None:
        raise DataError("no clock fits these speeds", "record more often, or for longer")
    spread = float(np.square(g - g.mean()).sum())
    explained = 1.0 - error / spread if spread > 0 else 0.0
    shape, delay, scale, height = map(float, best)
    return BiologicalClock(
        shape, delay, scale, height, float(start), float(end), float(t[-1]), explained
    )


def mean_speed(velocities: ArrayLike) -> Floats:
    """Return (T,) mean |v| over cells and dimensions of (T, n, d) velocities."""
    return np.asarray(np.abs(np.asarray(velocities, np.float64)).mean(axis=(-2, -1)))


def _check(t: Floats, g: Floats, start: float, end: float) -> None:
    if len(t) != len(g) or len(t) < 5:
        raise DataError(
            f"a clock cannot be fitted to {len(t)} times and {len(g)} speeds",
            "give one speed per time, at least five",
        )
    if not (np.isfinite(t).all() and np.isfinite(g).all()) or (np.diff(t) <= 0).any():
        raise DataError("times do not rise, or a value is not finite", "give times in order")
    if (g < 0).any() or not g.any():
        raise DataError(
            "speeds are negative, or cells never moved", "give the mean of |v| while cells move"
        )
    if not (np.isfinite(start) and np.isfinite(end)) or start == end:
        raise DataError("both stages have the same biological time", "give start and end")


def _density(t: Floats, shape: float, delay: float, scale: float, height: float) -> Floats:
    from scipy.stats import gamma

    return np.asarray(height * scale * gamma.pdf(t, shape, delay, scale))


def _guesses(t: Floats, g: Floats) -> list[tuple[float, ...]]:
    """Return where fits begin: that of the reference, and that of the moments of the speed."""
    weight = g / g.sum()
    mean = float(weight @ t) - t[0]
    variance = max(float(weight @ np.square(t - t[0] - mean)), 1e-12)
    scale = max(variance / max(mean, 1e-9), 1e-6)
    shape = max(mean / scale, 1.0)
    return [_FIRST_GUESS, (shape, 0.0, scale, max(float(g.max()), 1e-9))]


def _fit(t: Floats, g: Floats, guess: tuple[float, ...], free: list[int]) -> Floats | None:
    """Return the least squares fit from a guess; None where there is none.

    Speeds are finite at the start, where a gamma density of shape below 1 is not.
    """
    from scipy.optimize import curve_fit

    low = np.array([1.0, 0.0, 1e-9, 0.0])
    high = np.array([np.inf, max(t[-1], 1e-9), np.inf, np.inf])
    whole = np.array([1.0, 0.0, 1.0, 1.0])
    whole[free] = np.clip(guess, low, high)[free]

    def density(at: Floats, *values: float) -> Floats:
        full = whole.copy()
        full[free] = values
        return _density(at, *full)

    try:
        found, _ = curve_fit(
            density, t, g, p0=whole[free], bounds=(low[free], high[free]), maxfev=5000
        )
    except (RuntimeError, ValueError):
        return None
    whole[free] = found
    return whole
