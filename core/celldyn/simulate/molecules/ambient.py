"""Molecules of no cell: a homogeneous Poisson process over every section's canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from celldyn.jobs import Job, Progress
from celldyn.simulate.molecules import noise
from celldyn.simulate.molecules.sources import Sources
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval


@dataclass(frozen=True, slots=True)
class Ambient:
    """How many molecules of no cell there are, and what decides the gene of each.

    Parameters
    ----------
    number
        Per section that has cells: its code and its molecules.
    share
        (G,) cumulative shares of the genes: those of all counts together.
    """

    number: dict[int, int]
    share: NDArray[np.float64]

    @property
    def total(self) -> int:
        """Molecules of all sections."""
        return sum(self.number.values())


NO_AMBIENT = Ambient({}, np.zeros(0))
_CHUNK = 1 << 22
"""Counts added up at once."""


def plan_ambient_job(sources: Sources) -> Job[Ambient]:
    """Draw how many ambient molecules each section has: Poisson(rate times area)."""
    config, n_genes = sources.config, sources.counts.shape[1]
    if not config.ambient_rate_per_um2 or not n_genes:
        return NO_AMBIENT
    weight = np.zeros(n_genes)
    for first in range(0, sources.counts.nnz, _CHUNK):
        part = slice(first, first + _CHUNK)
        weight += np.bincount(
            sources.counts.indices[part], sources.counts.data[part], minlength=n_genes
        )
        yield Progress("molecules")
    share = np.cumsum(weight if weight.any() else np.ones(n_genes))
    width, height = config.canvas_um
    mean = config.ambient_rate_per_um2 * width * height
    number: dict[int, int] = {}
    for section in np.unique(sources.section).tolist():
        u = unit_interval(hash_bits(_key(sources, section, "number"), 0, 0))
        number[section] = int(poisson.ppf(u, mean).item())
    return Ambient(number, share / share[-1])


def draw_ambient(
    sources: Sources, ambient: Ambient, section: int, first: int, last: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Draw the ambient molecules `first` to `last` - 1 of a section.

    Returns
    -------
    (m,) gene, x, y and z in µm; each depends on seed, section and its number alone.
    """
    config = sources.config
    number = np.arange(first, last)
    entry = hash_bits(_key(sources, section, "place"), 0, 0)

    def column(which: int) -> NDArray[np.float64]:
        return noise.uniform(entry, number, which)

    gene = np.searchsorted(ambient.share, column(noise.LEAK), side="right")
    gene = np.minimum(gene, ambient.share.size - 1)
    width, height = config.canvas_um
    z = noise.depth(noise.draw(entry, number, noise.DEPTH)) * config.depth_um
    return (
        gene.astype(np.int32),
        _below(column(noise.PLACE) * width, width),
        _below(column(noise.WITHIN) * height, height),
        z.astype(np.float32),
    )


def _below(values: NDArray[np.float64], limit: float) -> NDArray[np.float32]:
    """Round to float32 without leaving the canvas."""
    highest = np.float32(limit)
    if highest > limit:
        highest = np.nextafter(highest, np.float32(0.0))
    return np.minimum(values.astype(np.float32), highest)


def _key(sources: Sources, section: int, what: str) -> np.uint64:
    return stream_key(sources.config.seed, f"{noise.STAGE}/ambient/{section}/{what}")
