"""What a network sees of a batch of cells: images, as the few numbers that they are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.betas.neighbours import Floats, Ints

Places = NDArray[np.int32]
Singles = NDArray[np.float32]


class Images(Protocol):
    """Images of a batch of cells."""

    @property
    def n_channels(self) -> int:
        """Images of each cell."""
        ...

    @property
    def side(self) -> int:
        """D, pixels along a side."""
        ...

    def __len__(self) -> int:
        """Return the number of cells."""
        ...

    def part(self, start: int, stop: int) -> Images:
        """Return the images of some consecutive cells."""
        ...

    def dense(self, device: torch.device) -> torch.Tensor:
        """Return the (n_cells, n_channels, D, D) float32 images."""
        ...


class Source(Protocol):
    """Makes the images of a batch."""

    def batch(self, cells: Ints, turns: Ints | None = None) -> Images:
        """Return the images of some cells, each turned by so many quarters (as np.rot90)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PointImages:
    """Images that count points: one channel for each cell type around a cell.

    Parameters
    ----------
    start
        (n_cells + 1,): cell i has the points `start[i] : start[i + 1]`.
    place
        (n_points,) pixel of each point, (channel · D + row) · D + column.
    n_channels, side
        Images of each cell, and pixels along their side.
    """

    start: Ints
    place: Places
    n_channels: int
    side: int

    def __len__(self) -> int:
        return len(self.start) - 1

    def part(self, start: int, stop: int) -> PointImages:
        """Return the images of some consecutive cells."""
        bounds = self.start[start : stop + 1]
        place = self.place[bounds[0] : bounds[-1]]
        return PointImages(bounds - bounds[0], place, self.n_channels, self.side)

    def take(self, cells: Ints) -> PointImages:
        """Return the images of some cells."""
        n_points = self.start[cells + 1] - self.start[cells]
        start = np.concatenate(([0], np.cumsum(n_points)))
        at = np.arange(start[-1]) + np.repeat(self.start[cells] - start[:-1], n_points)
        return PointImages(start, self.place[at], self.n_channels, self.side)

    def turned(self, turns: Ints) -> PointImages:
        """Return the images, each turned by so many quarters counter-clockwise."""
        last = self.side - 1
        channel, pixel = np.divmod(self.place, self.side**2)
        row, column = np.divmod(pixel, self.side)
        quarter = np.repeat(turns % 4, np.diff(self.start))
        rows = np.choose(quarter, [row, last - column, last - row, column])
        columns = np.choose(quarter, [column, row, last - column, last - row])
        place = ((channel * self.side + rows) * self.side + columns).astype(np.int32)
        return PointImages(self.start, place, self.n_channels, self.side)

    def dense(self, device: torch.device) -> torch.Tensor:
        """Return the (n_cells, n_channels, D, D) float32 images."""
        size = self.n_channels * self.side**2
        image = np.repeat(np.arange(len(self)), np.diff(self.start))
        at = torch.from_numpy(image * size + self.place).to(device)
        flat = torch.zeros(len(self) * size, device=device)
        # Whole numbers add up to the same in any order.
        flat.index_add_(0, at, torch.ones((), device=device).expand(len(at)))
        return flat.view(len(self), self.n_channels, self.side, self.side)


@dataclass(frozen=True, slots=True, eq=False)
class DistanceImages:
    """Images of the distance to every pixel of the tissue, all channels alike.

    Parameters
    ----------
    down, across
        (n_cells, D) squared distances to the rows and to the columns of pixels.
    n_channels
        Images of each cell.
    """

    down: Floats
    across: Floats
    n_channels: int

    @property
    def side(self) -> int:
        """Pixels along a side."""
        return int(self.down.shape[1])

    def __len__(self) -> int:
        return len(self.down)

    def part(self, start: int, stop: int) -> DistanceImages:
        """Return the images of some consecutive cells."""
        return DistanceImages(self.down[start:stop], self.across[start:stop], self.n_channels)

    def turned(self, turns: Ints) -> DistanceImages:
        """Return the images, each turned by so many quarters counter-clockwise."""
        quarter = (turns % 4)[:, None]
        down, across = self.down, self.across
        downs = [down, across[:, ::-1], down[:, ::-1], across]
        acrosses = [across, down, across[:, ::-1], down[:, ::-1]]
        return DistanceImages(
            np.choose(quarter, downs), np.choose(quarter, acrosses), self.n_channels
        )

    def parts(self) -> tuple[Singles, Singles, Singles, Singles]:
        """Return what an image (√(down + across) − low) · per_unit is made from, as float32.

        `low`, `per_unit` are (n_cells,): the image is 0 at the nearest pixel, 1 at the farthest.
        """
        low = np.sqrt(self.down.min(axis=1) + self.across.min(axis=1))
        high = np.sqrt(self.down.max(axis=1) + self.across.max(axis=1))
        per_unit = 1.0 / np.maximum(high - low, 1e-15)
        return (
            self.down.astype(np.float32),
            self.across.astype(np.float32),
            low.astype(np.float32),
            per_unit.astype(np.float32),
        )

    def dense(self, device: torch.device) -> torch.Tensor:
        """Return the (n_cells, n_channels, D, D) float32 images."""
        down, across, low, per_unit = (torch.from_numpy(a).to(device) for a in self.parts())
        image = (down[:, :, None] + across[:, None, :]).sqrt_()
        image.sub_(low[:, None, None]).mul_(per_unit[:, None, None])
        return image[:, None].expand(-1, self.n_channels, -1, -1)
