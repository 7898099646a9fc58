"""A whole tissue, simulated and written: seconds per stage, memory and bytes on disk.

Run with `python benchmarks/bench_simulate.py --cells 1000000 --genes 300`. The bar is that of the
specification: one million cells with 300 genes, outlines and all molecules streamed to Parquet in
60 s on two cores and 3 GB of memory. Kernels that were never compiled add some seconds once.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TypeVar

from celldyn.jobs import Job
from celldyn.simulate import SimulationConfig, simulate_job
from celldyn.simulate.output import write_simulation_job

BAR_S, BAR_GB, BAR_CELLS = 60.0, 3.0, 1_000_000
T = TypeVar("T")


def timed(job: Job[T], spent: dict[str, float], silence: dict[str, float]) -> T:
    """Drain a job; adds the seconds of each stage, and keeps the longest wait within each."""
    last, stage = time.perf_counter(), ""
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            spent[stage] += time.perf_counter() - last
            return end.value
        now = time.perf_counter()
        stage = step.stage
        spent[stage] += now - last
        silence[stage] = max(silence[stage], now - last)
        last = now


def peak_gb() -> float:
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def megabytes(folder: Path) -> dict[str, float]:
    files = sorted(item for item in folder.rglob("*") if item.is_file())
    return {str(item.relative_to(folder)): item.stat().st_size / 1e6 for item in files}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=BAR_CELLS)
    parser.add_argument("--genes", type=int, default=300)
    parser.add_argument("--types", type=int, default=3)
    parser.add_argument("--leakage", type=float, default=0.0, help="of every cell type")
    parser.add_argument("--continuity", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None, help="kept; else a temporary folder")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    config = SimulationConfig(
        n_cells=given.cells,
        n_celltype=given.types,
        n_genes=given.genes,
        leakage_by_celltype=given.leakage,
        continuity=given.continuity,
    )
    print(config.summary())
    spent: dict[str, float] = defaultdict(float)
    silence: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as room:
        out = given.out or Path(room) / "tissue"
        wall, cpu = time.perf_counter(), time.process_time()
        simulation = timed(simulate_job(config, threads=given.threads), spent, silence)
        made, made_gb = time.perf_counter() - wall, peak_gb()
        timed(write_simulation_job(simulation, out, threads=given.threads), spent, silence)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        sizes = megabytes(out)
    for stage, seconds in spent.items():
        print(f"  {stage:24s} {seconds:8.2f} s   longest silence {silence[stage]:.2f} s")
    for name, size in sizes.items():
        print(f"  {name:24s} {size:8.1f} MB")
    share = given.cells / BAR_CELLS
    n = int(simulation.counts.sum())
    print(f"{n:,} molecules of {given.cells:,} cells, {sum(sizes.values()):.0f} MB on disk")
    print(
        f"made {made:.1f} s (peak {made_gb:.2f} GB), written {wall - made:.1f} s, cpu {cpu:.1f} s"
    )
    print(f"wall {wall:.1f} s, {wall / (BAR_S * share):.2f} of the bar ({BAR_S * share:.0f} s)")
    print(f"peak {peak_gb():.2f} GB, {peak_gb() / BAR_GB:.2f} of the bar ({BAR_GB:.0f} GB)")


if __name__ == "__main__":
    main()
