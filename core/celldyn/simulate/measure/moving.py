"""Molecules that are counted in another cell or as another gene; none is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.devices import aside_job
from celldyn.jobs import Job
from celldyn.simulate.measure.entries import CountTable, Entries, map_entries_job, stage_key
from celldyn.simulate.measure.tally import Tally
from celldyn.simulate.measure.thinning import binomial_quantile
from celldyn.simulate.streams import mix_in_place, spread, unit_interval

Floats = NDArray[np.float64]
Send: TypeAlias = Callable[
    [NDArray[np.intp], NDArray[np.int32], Floats], tuple[NDArray[Any], NDArray[Any]]
]
"""(row, column, chance) of molecules that leave -> row and column where they are counted."""


def move_job(
    table: CountTable,
    leaving: Callable[[Entries], Floats],
    send: Send,
    seed: int,
    stage: str,
    *,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Move molecules between entries; each decides by its own random number.

    Parameters
    ----------
    table
        The counts.
    leaving
        Entries -> (k,) probability that one of their molecules leaves.
    send
        Where those go.
    seed, stage
        Fix the noise; `stage` is also what `Progress` says.
    threads
        How many.
    """
    who, where = stage_key(seed, f"{stage}/who"), stage_key(seed, f"{stage}/where")
    arrivals = Tally(table.counts.shape[1])

    def work(entries: Entries) -> NDArray[Any]:
        gone = binomial_quantile(entries.uniforms(who), entries.count, leaving(entries))
        entry = np.repeat(np.arange(gone.size), gone)
        number = np.arange(entry.size) - np.repeat(np.cumsum(gone) - gone, gone)
        bits = entries.bits(where)[entry] + spread(number)
        mix_in_place(bits, np.empty_like(bits))
        row, column = send(entries.row[entry], entries.column[entry], unit_interval(bits))
        # Appending is one step for the interpreter, and merging does not mind the order.
        arrivals.parts.append(arrivals.part(row, column))
        return entries.count - gone

    stayed = yield from map_entries_job(table, work, stage, threads=threads)
    arrived = (yield from arrivals.rows_job(stage, threads=threads)).csr(*stayed.shape)
    moved: sparse.csr_matrix = yield from aside_job(
        lambda: (stayed + arrived).astype(stayed.dtype, copy=False), stage
    )
    return moved
