"""Where a platform's spots, beads and bins lie, and which of them a molecule falls into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HexSpots:
    """Discs on a hexagonal lattice, in each of several sections.

    Beads leave their sites by chance, but stay within the lattice's own discs, so that they never
    overlap.

    Parameters
    ----------
    n_rows, n_columns, n_sections
        Sites: those of odd rows lie half a pitch to the right.
    origin
        (x, y) of the first site, µm.
    pitch, radius
        Distance of neighbouring sites, and radius of a disc, µm.
    centre
        (n_sections n_rows n_columns, 2) centres of the discs, µm.
    """

    n_rows: int
    n_columns: int
    n_sections: int
    origin: tuple[float, float]
    pitch: float
    radius: float
    centre: Floats

    @classmethod
    def on(
        cls,
        canvas_um: tuple[float, float],
        n_sections: int,
        *,
        pitch: float,
        diameter: float,
        scattered_by: tuple[int, str] | None = None,
    ) -> HexSpots:
        """Cover a canvas, the lattice in its middle.

        Parameters
        ----------
        canvas_um
            Width and height of a section.
        n_sections
            How many.
        pitch, diameter
            Distance of the sites, at least the diameter of the discs.
        scattered_by
            Seed and stage of the beads' places within the gaps; None leaves them on the lattice.
        """
        width, height = canvas_um
        rise = pitch * np.sqrt(0.75)
        n_rows = int(height / rise) + 1
        n_columns = int(max(width - pitch / 2, 0.0) / pitch) + 1
        # Odd rows end half a pitch further right; a canvas without room for that has even ones.
        used = (n_columns - 0.5) * pitch if width >= pitch / 2 else 0.0
        origin = ((width - used) / 2, (height - (n_rows - 1) * rise) / 2)
        row, column = np.divmod(np.arange(n_rows * n_columns), n_columns)
        x = origin[0] + (column + 0.5 * (row % 2)) * pitch
        centre = np.tile(np.column_stack([x, origin[1] + row * rise]), (n_sections, 1))
        if scattered_by is not None:
            centre += _in_disc(len(centre), (pitch - diameter) / 2, *scattered_by)
        return cls(n_rows, n_columns, n_sections, origin, pitch, diameter / 2, centre)

    @property
    def n_sites(self) -> int:
        """Sites in all sections together."""
        return len(self.centre)

    def array_position(self, site: Ints) -> tuple[Ints, Ints]:
        """Return row and column of sites; columns count half pitches, as Visium's do."""
        row, column = np.divmod(site % (self.n_rows * self.n_columns), self.n_columns)
        return row, 2 * column + row % 2

    def section_of(self, site: Ints) -> Ints:
        """Return the section of each site."""
        return site // (self.n_rows * self.n_columns)

    def centres(self, site: Ints) -> Floats:
        """Return (m, 2) centres of sites in µm."""
        centre: Floats = self.centre[site]
        return centre

    def locate(self, x: NDArray[Any], y: NDArray[Any], section: NDArray[Any]) -> Ints:
        """Return the site whose disc holds each molecule; -1 for none."""
        rise = self.pitch * np.sqrt(0.75)
        found = np.full(len(x), -1, dtype=np.int64)
        across = (np.asarray(x, dtype=np.float64) - self.origin[0]) / self.pitch
        # A disc may reach past the middle between two rows, so both are asked; it cannot reach
        # past the middle between two columns.
        below = np.floor((np.asarray(y, dtype=np.float64) - self.origin[1]) / rise)
        below = below.astype(np.int64)
        for row in (below, below + 1):
            column = np.rint(across - 0.5 * (row % 2)).astype(np.int64)
            there = (row >= 0) & (row < self.n_rows) & (column >= 0) & (column < self.n_columns)
            near = np.flatnonzero(there)
            site = (
                np.asarray(section)[near].astype(np.int64) * self.n_rows + row[near]
            ) * self.n_columns + column[near]
            apart = (x[near] - self.centre[site, 0]) ** 2 + (y[near] - self.centre[site, 1]) ** 2
            inside = apart <= self.radius**2
            found[near[inside]] = site[inside]
        return found


@dataclass(frozen=True, slots=True)
class SquareBins:
    """Square bins that cover the canvas of each of several sections without gaps."""

    n_rows: int
    n_columns: int
    n_sections: int
    side: float

    @classmethod
    def on(cls, canvas_um: tuple[float, float], n_sections: int, side: float) -> SquareBins:
        """Cover a canvas with bins of this side in µm; the last ones may reach beyond it."""
        n_columns, n_rows = (max(int(np.ceil(length / side)), 1) for length in canvas_um)
        return cls(n_rows, n_columns, n_sections, side)

    @property
    def n_sites(self) -> int:
        """Bins in all sections together."""
        return self.n_rows * self.n_columns * self.n_sections

    @property
    def radius(self) -> float:
        """Half the side of a bin, µm."""
        return self.side / 2

    def array_position(self, site: Ints) -> tuple[Ints, Ints]:
        """Return row and column of bins."""
        row, column = np.divmod(site % (self.n_rows * self.n_columns), self.n_columns)
        return row, column

    def section_of(self, site: Ints) -> Ints:
        """Return the section of each bin."""
        return site // (self.n_rows * self.n_columns)

    def centres(self, site: Ints) -> Floats:
        """Return (m, 2) centres of bins in µm."""
        row, column = self.array_position(site)
        return np.column_stack([column + 0.5, row + 0.5]) * self.side

    def locate(self, x: NDArray[Any], y: NDArray[Any], section: NDArray[Any]) -> Ints:
        """Return the bin of each molecule; -1 for one beyond the bins."""
        column = np.floor(np.asarray(x, dtype=np.float64) / self.side).astype(np.int64)
        row = np.floor(np.asarray(y, dtype=np.float64) / self.side).astype(np.int64)
        there = (row >= 0) & (row < self.n_rows) & (column >= 0) & (column < self.n_columns)
        site = (np.asarray(section, dtype=np.int64) * self.n_rows + row) * self.n_columns + column
        return np.where(there, site, -1)


def _in_disc(n: int, radius: float, seed: int, stage: str) -> Floats:
    """Return n points, uniform in a disc about 0."""
    bits = hash_bits(stream_key(seed, stage), np.arange(n)[:, None], np.arange(2))
    chance = unit_interval(bits)
    reach, angle = radius * np.sqrt(chance[:, 0]), 2 * np.pi * chance[:, 1]
    return np.column_stack([reach * np.cos(angle), reach * np.sin(angle)])
