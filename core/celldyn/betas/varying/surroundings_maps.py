"""The images of a cluster's cells: what is around them, or where in the tissue they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.maps import DensityMapper
from celldyn.betas.varying.cluster import Surroundings
from celldyn.betas.varying.images import DistanceImages, PointImages, Source
from celldyn.jobs import Job, Pace, Progress

MAX_BYTES = 200_000_000
"""Most that is kept of the images of a cluster; beyond, they are made batch by batch."""

_POINTS_PER_BLOCK = 100_000
_SAMPLE = 200


def n_channels(n_types: int, config: ModelConfig) -> int:
    """Return how many images a network sees of each cell."""
    return n_types if _sees_all(config) else 1


def source_job(around: Surroundings, cells: Ints, code: int, config: ModelConfig) -> Job[Source]:
    """Return what makes the images of some cells.

    Parameters
    ----------
    around
        The section.
    cells
        (n_cells,) positions in it.
    code
        The cells' own type.
    config
        `maps`, `map_extent`, `channels` and `spatial_dim` are read.
    """
    if config.maps == "distance":
        return _Distances.of(around, cells, config)
    drawn = _Drawn.of(around, cells, code, config)
    kept = yield from _kept_job(drawn)
    return drawn if kept is None else _Kept(kept)


def _sees_all(config: ModelConfig) -> bool:
    if config.channels == "auto":
        return config.maps == "density"
    return config.channels == "all"


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Images that were made once for all batches."""

    images: PointImages

    def batch(self, cells: Ints, turns: Ints | None = None) -> PointImages:
        images = self.images.take(cells)
        return images if turns is None else images.turned(turns)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Images that are made for each batch anew; `own` is the only type that is seen, or −1."""

    mapper: DensityMapper
    cells: Ints
    own: int

    @classmethod
    def of(cls, around: Surroundings, cells: Ints, code: int, config: ModelConfig) -> _Drawn:
        import pandas as pd

        types = pd.Categorical.from_codes(around.types, categories=pd.RangeIndex(around.n_types))
        extent = 2 * around.radius if config.map_extent is None else config.map_extent
        mapper = DensityMapper.build(
            around.xy, types, extent=extent, spatial_dim=config.spatial_dim
        )
        return cls(mapper, cells, -1 if _sees_all(config) else code)

    @property
    def n_channels(self) -> int:
        return len(self.mapper.names) if self.own < 0 else 1

    def batch(self, cells: Ints, turns: Ints | None = None) -> PointImages:
        image, place = self.mapper.points(self.cells[cells])
        side = self.mapper.spatial_dim
        if self.own >= 0:
            place = place - self.own * side**2
            mine = (place >= 0) & (place < side**2)
            image, place = image[mine], place[mine].astype(np.int32)
        start = np.searchsorted(image, np.arange(len(cells) + 1))
        images = PointImages(start, place, self.n_channels, side)
        return images if turns is None else images.turned(turns)


def _kept_job(drawn: _Drawn) -> Job[PointImages | None]:
    """Return the images of all cells; None if they would take too much memory."""
    n = len(drawn.cells)
    sample = np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.intp)
    per_cell = len(drawn.batch(sample).place) / max(len(sample), 1)
    if per_cell * n * np.dtype(np.int32).itemsize > MAX_BYTES:
        return None
    step, pace = max(int(_POINTS_PER_BLOCK / max(per_cell, 1.0)), 1), Pace()
    starts, places = [np.zeros(1, np.intp)], [np.empty(0, np.int32)]
    for first in range(0, n, step):
        images = drawn.batch(np.arange(first, min(first + step, n)))
        starts.append(starts[-1][-1] + images.start[1:])
        places.append(images.place)
        if pace.due():
            yield Progress("surroundings", first, n)
    start, place = np.concatenate(starts), np.concatenate(places)
    return PointImages(start, place, drawn.n_channels, drawn.mapper.spatial_dim)


@dataclass(frozen=True, slots=True, eq=False)
class _Distances:
    """Images of the distance to every pixel of the section's bounding box."""

    down: Floats
    across: Floats
    n_channels: int

    @classmethod
    def of(cls, around: Surroundings, cells: Ints, config: ModelConfig) -> _Distances:
        side = config.spatial_dim
        low, high = around.xy.min(axis=0), around.xy.max(axis=0)
        centres = (np.arange(side) + 0.5) / side
        x, y = around.xy[cells].T[:, :, None]
        across = (x - (low[0] + centres * (high[0] - low[0]))) ** 2
        down = (y - (high[1] - centres * (high[1] - low[1]))) ** 2
        return cls(down, across, n_channels(around.n_types, config))

    def batch(self, cells: Ints, turns: Ints | None = None) -> DistanceImages:
        images = DistanceImages(self.down[cells], self.across[cells], self.n_channels)
        return images if turns is None else images.turned(turns)
