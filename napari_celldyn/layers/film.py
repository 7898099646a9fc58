"""Places of cells over time, and between two frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Frames(Protocol):
    """Places of cells over time: `times` (t,), `places` (t, n, 2), NaN for one without."""

    @property
    def times(self) -> NDArray[np.floating]:
        """(t,) increasing."""

    @property
    def places(self) -> NDArray[np.floating]:
        """(t, n, 2) in the coordinates of an embedding."""


@dataclass(frozen=True, slots=True)
class Film:
    """Frames of some cells, to be looked at anywhere between two of them.

    Parameters
    ----------
    times
        (t,).
    places
        (t, n, 2) float32.
    """

    times: NDArray[np.float64]
    places: NDArray[np.float32]

    def at(self, time: float) -> NDArray[np.float32]:
        """Return where the cells are at a time, (n, 2): between frames, on a straight line."""
        if len(self.times) == 1:
            return np.asarray(self.places[0])
        time = float(np.clip(time, self.times[0], self.times[-1]))
        after = int(np.clip(np.searchsorted(self.times, time), 1, len(self.times) - 1))
        first, last = self.times[after - 1], self.times[after]
        share = np.float32((time - first) / (last - first))
        before = self.places[after - 1]
        return np.asarray(before + share * (self.places[after] - before))
