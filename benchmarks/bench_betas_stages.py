"""What a model of betas reads, beside the peer: received ligands, spatial features, maps, memory.

`python benchmarks/bench_betas_stages.py --cells 20000`. CPU seconds of one thread, each the best
of three. The peer makes four tables of received ligands (secreted and contact, gated and not);
here all of them are one product over one neighbour graph, twice.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from betas_tissue import LIGANDS, RADIUS, REACH, write_tissue
from peer import Job, run_peer
from threadpoolctl import threadpool_limits

from celldyn.betas import neighbour_counts, received_ligands
from celldyn.betas.maps import DensityMapper

PIXELS, BATCH = 64, 512

_WHOLE_FIT = """
import resource, sys, time
import celldyn
from celldyn.betas import SpatialCellularProgramsEstimator
folder = sys.argv[1]
adata = celldyn.read(folder + "/tissue.h5ad")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = SpatialCellularProgramsEstimator(
    adata, "Target1", spatial_dim=64, colinks_path=folder + "/grn.csv", lr=folder + "/lr.csv"
)
start = time.process_time()
model.fit(num_epochs=1, vision_model=sys.argv[2], network_folds=0, pbar=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.process_time() - start, peak / 1e6, (peak - before) / 1e6)
"""


def measured(work: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """Return the best CPU seconds of a few runs, and the peak of newly allocated MB."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(taken), peak / 1e6


def stages(path: Path) -> dict[str, tuple[float, float]]:
    """Return seconds and MB of each stage."""
    adata = ad.read_h5ad(path)
    xy, types = adata.obsm["spatial"], pd.Categorical(adata.obs["cell_type_int"])
    levels = np.ascontiguousarray(adata[:, LIGANDS].to_df("imputed_count").to_numpy(float))
    reach = np.array([REACH[name] for name in LIGANDS])
    mapper = DensityMapper.build(xy, types, extent=2 * RADIUS, spatial_dim=PIXELS)

    def ligands() -> None:
        received_ligands(xy, levels, reach, normalisation="n_cells")
        received_ligands(xy, levels, reach, normalisation="n_cells")

    def maps() -> None:
        for start in range(0, len(xy), BATCH):
            mapper.draw(np.arange(start, min(start + BATCH, len(xy))))

    return {
        "received ligands": measured(ligands),
        "spatial features": measured(lambda: neighbour_counts(xy, types, RADIUS)),
        "spatial maps": measured(maps, 1),
    }


def main() -> None:
    """Print a line a stage, and the memory of a whole fit in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--keep", type=Path, help="folder of what the peer found")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        files = write_tissue(Path(folder), given.cells)
        peer = run_peer(
            Job(str(files.adata), str(files.grn), str(files.lr), spatial_dim=PIXELS), given.keep
        )
        print(f"{given.cells} cells, {len(LIGANDS)} ligands; peer: SpaceTravLR 0.1.18")
        for name, (seconds, megabytes) in stages(files.adata).items():
            line = f"{name:18s} {seconds:8.3f} s {megabytes:8.0f} MB"
            if peer is not None:
                theirs = peer.seconds[name]
                line += f"   peer {theirs:8.2f} s   ratio {theirs / seconds:7.0f}"
            print(line)
        if peer is not None:
            print(f"peer's process at most {peer.peak_gb:.2f} GB")
        for model in ("smooth", "cnn"):
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _WHOLE_FIT, folder, model],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            seconds, peak, more = map(float, done.stdout.split())
            print(
                f"whole fit, {model}, one epoch, {PIXELS} pixels: {seconds:.1f} s, process at "
                f"most {peak:.2f} GB, {more:.2f} GB of it the fit (bar 1.5 GB)"
            )


if __name__ == "__main__":
    main()
