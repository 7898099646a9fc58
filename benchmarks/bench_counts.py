"""Counts of 1M cells x 300 genes beside numpy's dense gamma-Poisson, in one run.

Default priors, 3 cell types, lognormal size factors of cv 0.25. numpy draws chunk by chunk and
keeps uint16; ours fills a CSR matrix. CPU seconds of one thread, once compiled; prints the ratio,
the time per value, the longest silence of the job and the memory that it takes at its peak.
`bench_counts.py 100000` takes fewer cells.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np

from celldyn.jobs import run
from celldyn.simulate import SimulationConfig, generate_gene_parameters
from celldyn.simulate.counts import sample_counts_job

LIMIT_S = 5.0
CHUNK = 10_000
SIZE_CV = 0.25


def tissue(n_cells):
    """Return the gene table, the types and the size factors."""
    config = SimulationConfig(n_cells=1, n_celltype=3, n_genes=300, n_markers=50, seed=42)
    rng = np.random.default_rng(0)
    spread = np.sqrt(np.log1p(SIZE_CV**2))
    scale = rng.lognormal(-(spread**2) / 2, spread, n_cells)
    return generate_gene_parameters(config), rng.integers(0, 3, n_cells), scale


def dense(table, celltype, scale):
    """Draw a gamma rate and a Poisson count for every cell and gene."""
    rng = np.random.default_rng(1)
    mu, theta = (
        table[[f"ct_{k}_{what}" for k in range(3)]].to_numpy().T for what in ("mu", "theta")
    )
    counts = np.empty((celltype.size, len(table)), dtype=np.uint16)
    for start in range(0, celltype.size, CHUNK):
        rows = slice(start, start + CHUNK)
        shape = theta[celltype[rows]]
        rate = rng.standard_gamma(shape)
        rate *= mu[celltype[rows]] * scale[rows, None] / shape
        counts[rows] = rng.poisson(rate)
    return counts


def ours(table, celltype, scale):
    """Run the shipped job; return the counts and the longest silence in seconds."""
    job, silence = sample_counts_job(table, celltype, scale, 1, threads=1), 0.0
    while True:
        last = time.perf_counter()
        try:
            next(job)
        except StopIteration as end:
            return end.value, max(silence, time.perf_counter() - last)
        silence = max(silence, time.perf_counter() - last)


def resident_mb():
    """Return the memory of this process in MB; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 / 1e6 if status.exists() else 0.0


def peak_mb(work, *arguments):
    """Return the most memory that a call adds in MB, and its result."""
    before, highest, done = resident_mb(), 0.0, threading.Event()

    def watch():
        nonlocal highest
        while not done.wait(0.02):
            highest = max(highest, resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = work(*arguments)
    done.set()
    watcher.join()
    return highest - before, result


def main(n_cells):
    table, celltype, scale = tissue(n_cells)
    # Beyond this many cells a kernel is compiled, or read from where it was kept.
    started = time.process_time()
    run(sample_counts_job(table, celltype[:70_000], scale[:70_000], 0), bar=False)
    print(f"first call: {time.process_time() - started:.2f} CPU s")
    values = n_cells * len(table)
    started = time.process_time()
    memory, (counts, silence) = peak_mb(ours, table, celltype, scale)
    fast = time.process_time() - started
    started = time.process_time()
    other = dense(table, celltype, scale)
    slow = time.process_time() - started
    difference = counts.sum() / other.sum(dtype=np.int64) - 1
    assert abs(difference) < 0.01, f"totals differ by {difference:.2%}"
    print(
        f"counts {n_cells} cells x {len(table)} genes: numpy gamma-Poisson {slow:.2f} CPU s "
        f"({slow / values * 1e9:.1f} ns/value), ours {fast:.2f} CPU s "
        f"({fast / values * 1e9:.1f} ns/value); ratio {slow / fast:.1f}"
    )
    limit = LIMIT_S * values / 3e8
    verdict = "held" if fast <= limit else "MISSED"
    print(
        f"limit {limit:.2f} CPU s: {verdict}; longest silence {silence * 1e3:.0f} ms; peak "
        f"+{memory:.0f} MB; totals differ by {difference:+.3%}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
