"""Functions that betas may follow over a tissue: waves across it, and who is around a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.results import Tensors

LEVEL, BROAD, FINE, NICHE = range(4)
"""What a function is: the constant, a long wave, a short wave, a count of neighbours."""

_BROAD_SHARE = 0.3
_FARTHEST = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """A constant, waves over a box, and standardised counts of neighbours.

    The waves are the eigenfunctions of the Laplacian on the box with reflecting walls,
    cos(π a x/L_x) cos(π b y/L_y), longest first: a Gaussian process of any length scale is a sum
    of them (Solin and Särkkä 2020, Stat. Comput. 30:419).

    Parameters
    ----------
    origin, size
        (2,) corner and sides of the box.
    waves
        (n_waves, 2) whole numbers a and b.
    means, spreads
        (n_types,) mean and standard deviation of the counts of neighbours; a spread of 0 leaves
        the type out.
    """

    origin: Floats
    size: Floats
    waves: Ints
    means: Floats
    spreads: Floats

    @classmethod
    def over(cls, xy: Floats, counts: Floats, n_waves: int) -> Basis:
        """Return the basis of a section.

        Parameters
        ----------
        xy
            (n_section, 2) all its cells: they span the box.
        counts
            (n_section, n_types) neighbours of each type.
        n_waves
            How many waves, at most.
        """
        low, size = xy.min(axis=0), np.ptp(xy, axis=0)
        size = np.where(size > 0, size, 1.0)
        spreads = counts.std(axis=0)
        spreads = np.where(spreads > 1e-9, spreads, 0.0)
        return cls(low, size, _longest_waves(size, n_waves), counts.mean(axis=0), spreads)

    @property
    def kinds(self) -> Ints:
        """(n_functions,) what each function is: `LEVEL`, `BROAD`, `FINE` or `NICHE`."""
        n_waves = len(self.waves)
        n_broad = int(np.ceil(_BROAD_SHARE * n_waves))
        n_niche = int((self.spreads > 0).sum())
        return np.repeat([LEVEL, BROAD, FINE, NICHE], [1, n_broad, n_waves - n_broad, n_niche])

    def at(self, xy: Floats, counts: Floats) -> Floats:
        """Return the (n_cells, n_functions) values; waves are 0 outside the box.

        Counts further than three standard deviations from their mean are held there: what was
        not seen in the tissue of the fit is not extrapolated.
        """
        place = (xy - self.origin) / self.size
        inside = np.all((place > -1e-6) & (place < 1 + 1e-6), axis=1)
        across = np.cos(np.pi * place[:, :1] * self.waves[:, 0])
        down = np.cos(np.pi * place[:, 1:] * self.waves[:, 1])
        norm = np.sqrt(np.where(self.waves > 0, 2.0, 1.0).prod(axis=1))
        waves = np.where(inside[:, None], across * down * norm, 0.0)
        shown = self.spreads > 0
        niche = (counts[:, shown] - self.means[shown]) / self.spreads[shown]
        return np.hstack([np.ones((len(xy), 1)), waves, np.clip(niche, -_FARTHEST, _FARTHEST)])

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the tensors that `from_state` reads."""
        return {
            "origin": self.origin,
            "size": self.size,
            "waves": self.waves.astype(np.int64),
            "means": self.means,
            "spreads": self.spreads,
        }

    @classmethod
    def from_state(cls, state: Tensors) -> Basis:
        """Return the basis that `state` described."""
        return cls(*(np.asarray(state[name]) for name in cls.__slots__))


def _longest_waves(size: Floats, n_waves: int) -> Ints:
    """Return the n waves of lowest frequency, by their numbers of half periods along x and y."""
    most = int(np.ceil(2 * np.sqrt(n_waves * max(size) / min(size)))) + 1
    a, b = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    pairs = np.column_stack((a.ravel(), b.ravel()))[1:]
    frequency = ((pairs / size) ** 2).sum(axis=1)
    order = np.lexsort((pairs[:, 0], frequency))[:n_waves]
    return pairs[order].astype(np.intp)
