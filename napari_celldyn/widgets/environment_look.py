"""How agents are shown: where, which of both, and by what they are coloured. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_celldyn.layers.colours import CONTINUOUS, DIVERGING, Limits

if TYPE_CHECKING:
    from napari_celldyn.widgets.environment_live import LiveCells, Shot, View

TISSUE, SPACE = "on the tissue", "in their own space"
AS_TISSUE, SHIFT, SPEED = "as on the tissue", "how far they were shifted", "how fast they are"
GENE, CHANGE = "a gene, as told", "change of a gene, as told"
COLOURS = (AS_TISSUE, SHIFT, SPEED, GENE, CHANGE)
OF_GENE = (GENE, CHANGE)

PERCENTILE = 98.0
"""Of the values, that the end of the colours is at, at least."""

SHORTEST = 1e-6


@dataclass(frozen=True, slots=True)
class Look:
    """How agents are shown.

    Parameters
    ----------
    where
        `TISSUE` or `SPACE`.
    colour
        One of `COLOURS`.
    gene, modality
        Which gene, of which modality that positions tell; of `GENE` and `CHANGE` only.
    trails, velocities
        Whether cells have them.
    """

    where: str = TISSUE
    colour: str = AS_TISSUE
    gene: str = ""
    modality: int = 0
    trails: bool = True
    velocities: bool = False

    @property
    def has_values(self) -> bool:
        """Whether cells are coloured by values, rather than as the tissue is."""
        return self.colour in (SHIFT, SPEED) or (self.colour in OF_GENE and bool(self.gene))

    @property
    def diverging(self) -> bool:
        """Whether values have a middle at 0."""
        return self.colour == CHANGE

    @property
    def colormap(self) -> str:
        """Name of the colours for values."""
        return DIVERGING if self.diverging else CONTINUOUS


def values_of(
    look: Look, shot: Shot, view: View, cells: LiveCells, per_unit: float
) -> NDArray[np.floating]:
    """Return the values that cells are coloured by, (n,).

    Parameters
    ----------
    look
        By what.
    shot, view
        All cells at a time, and those of both that are shown.
    cells
        Tell genes of positions.
    per_unit
        Units of the canvas in one of the tissue, for shifts on it.
    """
    if look.colour == SHIFT:
        return shot.shift() * (per_unit if view.place is not None else 1.0)
    if look.colour == SPEED:
        return np.linalg.norm(view.velocity, axis=1)
    if look.colour == GENE:
        return cells.told(view.position, look.modality, look.gene)
    if shot.changed is None:
        return np.zeros(len(view.position), np.float32)
    before = cells.told(shot.plain.position, look.modality, look.gene)
    return cells.told(shot.changed.position, look.modality, look.gene) - before


class GrowingLimits:
    """Ends of the colours that only ever move outwards: what grows is seen to grow."""

    def __init__(self) -> None:
        self._of: object = None
        self._reach: Limits = (0.0, 0.0)

    def take(self, values: NDArray[np.floating], of: object, *, diverging: bool) -> Limits:
        """Return the ends for values; those of something else begin anew.

        Parameters
        ----------
        values
            (n,).
        of
            What they are of.
        diverging
            Whether 0 is in the middle.
        """
        if of != self._of:
            self._of, self._reach = of, (0.0, 0.0)
        finite = values[np.isfinite(values)]
        if finite.size:
            high = float(np.percentile(np.abs(finite) if diverging else finite, PERCENTILE))
            low = -high if diverging else min(float(finite.min()), 0.0)
            self._reach = (
                min(self._reach[0], -_round_up(-low)),
                max(self._reach[1], _round_up(high)),
            )
        low, high = self._reach
        if diverging:
            low = -high
        return (low, high) if high - low > SHORTEST else (low, low + 1.0)

    def forget(self) -> None:
        """Begin anew with the next values."""
        self._of = None


def _round_up(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the smallest not below; 0 of what is not above 0."""
    if value <= SHORTEST:
        return 0.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(min(step for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)) * power)
