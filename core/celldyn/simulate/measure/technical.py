"""Technical noise on molecules: detection, dropout, lateral diffusion, decoding swaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import ndtri

from celldyn.devices import aside_job
from celldyn.errors import DataError
from celldyn.jobs import Job
from celldyn.simulate.measure.diffusion import diffuse_job, spill_job
from celldyn.simulate.measure.entries import CountTable, Entries, map_entries_job, stage_key
from celldyn.simulate.measure.means import MeanBlock
from celldyn.simulate.measure.moving import move_job
from celldyn.simulate.measure.thinning import binomial_quantile
from celldyn.simulate.specs import TechnicalSpec
from celldyn.simulate.streams import hash_bits, name_ids, unit_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TechnicalResult:
    """Counts as they are measured.

    Parameters
    ----------
    counts
        (n, G) CSR after all steps; the very matrix that was given where none is on.
    layers
        With `keep_steps`: "before_technical", and "after_detection", "after_dropout",
        "after_diffusion" and "after_swaps" where those are on.
    truth
        "detection": (G,) share of each gene's molecules that is detected. "spill": (n, n) CSR,
        where the molecules of each cell are counted. "dropout_midpoint", "dropout_slope",
        "diffusion_um", "swap_rate": as asked. "molecules": molecules left after each step.
        Only what is on is there.
    """

    counts: sparse.csr_matrix
    layers: dict[str, sparse.csr_matrix] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)


def technical_job(
    counts: sparse.csr_matrix,
    spec: TechnicalSpec,
    *,
    gene_names: Sequence[str],
    cell_ids: ArrayLike,
    centre: ArrayLike,
    section: ArrayLike,
    seed: int,
    mean: MeanBlock | None = None,
    threads: int | None = None,
) -> Job[TechnicalResult]:
    """Let molecules go undetected, drop out, diffuse, and be decoded wrongly, in this order.

    Parameters
    ----------
    counts
        (n, G) CSR of integers.
    spec
        What is on; each step is off by default.
    gene_names, cell_ids
        (G,) and (n,) identities, which fix the noise.
    centre, section
        (n, 2) µm, and (n,) position of the section: who is whose neighbour.
    seed
        The simulation's seed.
    mean
        The means that the counts were drawn with, for the dropout; without them a gene's mean is
        that of its counts.
    threads
        How many.

    Raises
    ------
    DataError
        If lengths differ, or the diffusion reaches too far to be held in memory.
    """
    table = CountTable.of(counts, cell_ids, gene_names)
    places, sections = np.asarray(centre, dtype=np.float64), np.asarray(section)
    if places.shape != (counts.shape[0], 2) or sections.shape != (counts.shape[0],):
        raise DataError(
            f"centres {places.shape} and sections {sections.shape} for {counts.shape[0]} cells",
            "give x and y in µm and one section per cell",
        )
    layers = {"before_technical": counts} if spec.keep_steps else {}
    truth: dict[str, Any] = {}
    left = {"before": int(counts.sum())}

    def keep(name: str, after: sparse.csr_matrix) -> CountTable:
        left[name] = int(after.sum())
        if spec.keep_steps:
            layers[f"after_{name}"] = after
        return table.replaced(after)

    if spec.detection < 1 or spec.detection_cv > 0:
        truth["detection"] = share = detection(spec, gene_names, seed)
        table = keep("detection", (yield from _detect_job(table, share, seed, threads)))
    if spec.dropout_midpoint is not None:
        truth |= {"dropout_midpoint": spec.dropout_midpoint, "dropout_slope": spec.dropout_slope}
        known = mean or (yield from aside_job(lambda: _mean_of_genes(counts), "dropout"))
        table = keep("dropout", (yield from _drop_job(table, spec, known, seed, threads)))
    if spec.diffusion_um > 0:
        spill = yield from spill_job(places, sections, spec.diffusion_um, threads=threads)
        truth |= {"diffusion_um": spec.diffusion_um, "spill": spill}
        after = yield from diffuse_job(table, spill, seed, threads=threads)
        table = keep("diffusion", after)
    if spec.swap_rate > 0 and len(gene_names) > 1:
        truth["swap_rate"] = spec.swap_rate
        table = keep("swaps", (yield from _swap_job(table, spec.swap_rate, seed, threads)))
    if truth:
        truth["molecules"] = left
    return TechnicalResult(table.counts, layers, truth)


def detection(spec: TechnicalSpec, gene_names: Sequence[str], seed: int) -> Floats:
    """Return (G,) detection probabilities: lognormal of mean `detection`, clipped at 1."""
    spread = float(np.sqrt(np.log1p(spec.detection_cv**2)))
    bits = hash_bits(stage_key(seed, "detection of a gene"), name_ids(gene_names), 0)
    factor = np.exp(spread * ndtri(unit_interval(bits)) - spread**2 / 2)
    share: Floats = np.minimum(spec.detection * factor, 1.0)
    return share


def _detect_job(
    table: CountTable, share: Floats, seed: int, threads: int | None
) -> Job[sparse.csr_matrix]:
    key = stage_key(seed, "detection")

    def work(entries: Entries) -> NDArray[np.int64]:
        return binomial_quantile(entries.uniforms(key), entries.count, share[entries.column])

    return (yield from map_entries_job(table, work, "detection", threads=threads))


def _drop_job(
    table: CountTable, spec: TechnicalSpec, mean: MeanBlock, seed: int, threads: int | None
) -> Job[sparse.csr_matrix]:
    """Lose whole values with probability 1 / (1 + (m / midpoint)^slope)."""
    key, middle = stage_key(seed, "dropout"), spec.dropout_midpoint or 1.0

    def work(entries: Entries) -> NDArray[Any]:
        m = mean(entries.rows)[0][entries.row - entries.rows.start, entries.column]
        lost = 1.0 / (1.0 + (m / middle) ** spec.dropout_slope)
        return np.where(entries.uniforms(key) < lost, 0, entries.count)

    return (yield from map_entries_job(table, work, "dropout", threads=threads))


def _swap_job(
    table: CountTable, rate: float, seed: int, threads: int | None
) -> Job[sparse.csr_matrix]:
    n_genes = table.counts.shape[1]

    def leaving(entries: Entries) -> Floats:
        return np.full(entries.row.size, rate)

    def send(
        row: NDArray[np.intp], column: NDArray[np.int32], chance: Floats
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        other = np.minimum((chance * (n_genes - 1)).astype(np.int64), n_genes - 2)
        return row, (column + 1 + other) % n_genes

    return (yield from move_job(table, leaving, send, seed, "decoding", threads=threads))


def _mean_of_genes(counts: sparse.csr_matrix) -> MeanBlock:
    n_cells, n_genes = counts.shape
    totals = np.bincount(counts.indices, weights=counts.data, minlength=n_genes)
    means = totals[None, :] / max(n_cells, 1)

    def block(rows: slice) -> tuple[Floats, Floats]:
        return np.broadcast_to(means, (rows.stop - rows.start, means.size)), means

    return block
