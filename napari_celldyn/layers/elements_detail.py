"""Every molecule of what one zooms in on, where of the whole only a sample could be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from celldyn.data import MoleculeTable
from celldyn.data.elements_molecules import LIMIT
from napari_celldyn.layers.molecules import MoleculeMarks
from napari_celldyn.layers.view_region import Region

MARGIN = 0.5
"""What is read beyond the edges of the window, in widths of it."""


@dataclass(eq=False)
class Detail:
    """The sample of the whole, and where all molecules are known.

    Parameters
    ----------
    whole
        The sample.
    read
        Starts to read a region, as drawn.
    limit
        Molecules that are read at most.
    """

    whole: MoleculeMarks
    read: Callable[[Region], object]
    limit: int = LIMIT
    part: MoleculeMarks | None = None
    region: Region | None = None
    _asked: Region | None = None

    @property
    def words(self) -> str:
        """How many of how many are shown, in words."""
        if self.part is None:
            return self.whole.table.words
        return f"showing all {len(self.part.table):,} near here, of {self.whole.table.total:,}"

    def look(self, view: Region) -> MoleculeMarks:
        """Return what to draw of a view now, and read it in full if that is worth it."""
        if self.region is not None and self.region.contains(view):
            return self.part or self.whole
        self.part, self.region = None, None
        wide = view.grown(MARGIN)
        wanted = next((r for r in (wide, view) if self._expected(r) <= self.limit), None)
        if wanted is not None and (self._asked is None or not self._asked.contains(view)):
            self._asked = wanted
            self.read(wanted)
        return self.part or self.whole  # there at once where nothing runs beside the window

    def take(self, part: MoleculeMarks, region: Region) -> None:
        """Keep what was read of a region; a sample of it is no gain."""
        table: MoleculeTable = part.table
        self._asked = None
        if len(table) == table.total:
            self.part, self.region = part, region

    def _expected(self, region: Region) -> float:
        """About how many molecules a region holds, by the sample."""
        table = self.whole.table
        return len(self.whole.index.rows(region)) * table.total / max(len(table), 1)
