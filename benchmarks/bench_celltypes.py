"""Cell types with wanted shares among neighbours, beside Spider (PyPI `st-spider`).

    python benchmarks/bench_celltypes.py [--cells 10000 100000] [--spider VENV/bin/python]

The same positions, shares and targets for both, in one run; Spider runs in an environment of its
own, after a small run that compiles its kernels (ours are compiled likewise). Its `simulate_10X`
is what it has for many cells, `simulate_cells` what its documentation begins with. Wall seconds
include the neighbour graphs. The deviation max |T - T*| is taken on Spider's graph (the 8 nearest)
and on ours (the 6 nearest, made mutual).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from celldyn.jobs import run
from celldyn.simulate import SimulationConfig
from celldyn.simulate.layout.celltypes import celltypes
from celldyn.simulate.layout.gibbs_kernels import compile_kernels
from celldyn.simulate.layout.graph import neighbours_job
from celldyn.simulate.layout.place import place
from celldyn.simulate.layout.potts import neighbour_shares, pair_counts

N_TYPES, LIMIT_S = 5, 300
TARGETS = {
    "attraction": np.full((N_TYPES, N_TYPES), 0.05) + 0.75 * np.eye(N_TYPES),
    "repulsion": (1 - np.eye(N_TYPES)) / (N_TYPES - 1),
}

SPIDER = """
import sys, time, io, contextlib, warnings
import numpy as np, spider
warnings.simplefilter("ignore")
folder, method = sys.argv[1:]
target = np.load(folder + "/target.npy")
prior = np.full(len(target), 1 / len(target))

def labels(xy, method):
    np.random.seed(0)
    if method == "simulate_cells":
        return spider.simulate_cells(
            len(xy), len(target), prior, target, coordinates=xy, random_state=0
        ).labels
    width, height = xy.max(axis=0)
    return spider.simulate_10X(
        cell_num=len(xy), Num_celltype=len(target), prior=prior, target_trans=target,
        image_width=width, image_height=height, cell_location=xy,
    )[0]

xy = np.load(folder + "/xy.npy")
with contextlib.redirect_stdout(io.StringIO()):
    labels(np.random.default_rng(0).uniform(0, 1000, (12_000, 2)), method)
    start = time.perf_counter()
    found = labels(xy, method)
    took = time.perf_counter() - start
np.save(folder + "/labels.npy", np.asarray(found))
print(took)
"""


def nearest_graph(xy, k=8):
    """Return the graph on which Spider measures its target."""
    near = cKDTree(xy).query(xy, k + 1)[1][:, 1:]
    starts = np.arange(len(xy) + 1) * k
    return sparse.csr_matrix((np.ones(near.size), near.ravel(), starts), shape=(len(xy),) * 2)


def ours(xy, target):
    config = SimulationConfig(
        n_cells=len(xy), n_celltype=N_TYPES, n_genes=100, neighbour_target=target.tolist()
    )
    start = time.perf_counter()
    labels = celltypes(config, xy, np.zeros(len(xy), dtype=np.intp), 0)
    return labels, time.perf_counter() - start


def spider(python, xy, target, method):
    """Return labels and seconds, or the reason why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "xy.npy", xy)
        np.save(Path(folder) / "target.npy", target)
        command = [python, "-c", SPIDER, folder, method]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return None, f"not done after {LIMIT_S} s"
        if done.returncode:
            return None, (done.stderr.strip().splitlines() or ["failed"])[-1]
        return np.load(Path(folder) / "labels.npy").ravel(), float(done.stdout.split()[-1])


def described(labels, graphs, target):
    """Return the deviations in words, and those of the shares."""
    off = [
        np.abs(neighbour_shares(pair_counts(graph, labels, N_TYPES)) - target).max()
        for graph in graphs
    ]
    shares = np.bincount(labels, minlength=N_TYPES) / labels.size
    return (
        f"max |T - T*| {off[0]:.3f} on 8 nearest, {off[1]:.3f} on 6 mutual, "
        f"shares off by {np.abs(shares - 1 / N_TYPES).max():.4f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--spider", help="Python of an environment with st-spider")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    compile_kernels()
    why = None if options.spider else "no --spider given"
    if options.spider and subprocess.run([options.spider, "-c", "import spider"]).returncode:
        why = f"{options.spider} has no st-spider"
    for n_cells in options.cells:
        config = SimulationConfig(n_cells=n_cells, n_celltype=N_TYPES, n_genes=100)
        xy = place(config, n_cells, 0)
        graphs = nearest_graph(xy), run(neighbours_job(xy), bar=False)
        for name, target in TARGETS.items():
            title = f"{n_cells} cells, {name}"
            labels, mine = ours(xy, target)
            print(f"{title}: ours {mine:.2f} s, {described(labels, graphs, target)}", flush=True)
            for method in ("simulate_10X", "simulate_cells"):
                if why:
                    print(f"{title}: Spider {method} skipped: {why}", flush=True)
                    continue
                labels, took = spider(options.spider, xy, target, method)
                if labels is None:
                    print(f"{title}: Spider {method} {took}", flush=True)
                    continue
                print(
                    f"{title}: Spider {method} {took:.2f} s, {described(labels, graphs, target)}; "
                    f"ratio {took / mine:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
