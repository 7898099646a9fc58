"""The landscape beside sclsd: a step, an epoch, memory, the flow alone, walks, fates.

Run with `OMP_NUM_THREADS=1 python benchmarks/bench_landscape.py`. A tree of 2,500 cells x 1,500
genes, 1,024 walks of 20 cells in batches of 256; CPU seconds of one thread, each model in a
process of its own, medians over epochs without the first. Bars: with a quarter of the rows looked
at 8 times faster a step; the flow of a training step on a trained potential 9 times; a quarter of
the memory. Then 100,000 cells: prior, walks and transitions in less than 10 s and 1 GB, and with
`--fates` the fates of all by 32 noisy runs each in less than 1 GB.

sclsd has an environment of its own, named by CELLDYN_SCLSD_PYTHON; see `peer_sclsd.py`. Without
it, this project's figures stand alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

N_WALKS, PATH_LEN, BATCH, N_STEPS, N_FATES = 1024, 20, 256, 4, 600
EPOCHS = {0.25: 30, 1.0: 3}
"""By share of the rows whose counts are looked at; after the first the potential is steep."""
STEP_BAR, FLOW_BAR, MEMORY_BAR = 8.0, 9.0, 4.0
N_LARGE, N_RUNS = 100_000, 32
VARIABLE = "CELLDYN_SCLSD_PYTHON"


def cpu(work: Any, times: int = 1) -> tuple[Any, float]:
    """Return what work returns, and its fewest CPU seconds."""
    taken = []
    for _ in range(times):
        started = time.process_time()
        found = work()
        taken.append(time.process_time() - started)
    return found, min(taken)


def peak_gb() -> float:
    """Return the largest resident size so far."""
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def ours(job_path: str, result_path: str) -> None:
    """Train in this process, and write what it took and what was learned."""
    import anndata as ad
    import torch

    from celldyn.landscape import LSD, LSDConfig

    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    adata = ad.read_h5ad(job["adata"])
    result: dict[str, Any] = {}
    for share, epochs in EPOCHS.items():
        cfg = LSDConfig()
        cfg.walks.num_walks, cfg.walks.path_len = N_WALKS, PATH_LEN
        cfg.walks.batch_size, cfg.optimizer.likelihood_rows = BATCH, share
        cfg.optimizer.adam.lr, cfg.optimizer.adam.T_0 = 2e-3, epochs
        lsd = LSD(adata, cfg, device="cpu")
        before = peak_gb()
        _, prior = cpu(lambda lsd=lsd: lsd.set_prior_transition(prior_time_key="dpt_pseudotime"))
        _, walks = cpu(lambda lsd=lsd: lsd.prepare_walks())
        job_ = lsd.train_job(epochs)
        stamps = [time.process_time() for step in job_ if "loss/loss" in step.metrics]
        seconds = statistics.median(b - a for a, b in pairwise(stamps))
        result[str(share)] = {"epoch": seconds, "before_gb": before, "peak_gb": peak_gb()}
        if share < 1:
            result |= {"prior": prior, "walks": walks} | used(lsd)
            learned = lsd
    weights = {"gamma": learned.potential.gamma.detach().numpy()}
    for k, layer in enumerate(learned.potential.layers):
        weights |= {f"weight{k}": layer.weight.detach().numpy()}
        weights |= {f"bias{k}": layer.bias.detach().numpy()}
    z = learned.get_adata().obsm["X_cell_state"]
    np.savez(job["weights"], z0=np.asarray(z[:BATCH], np.float32), **weights)
    result["moves"] = moved(learned, z)
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")


def used(lsd: Any) -> dict[str, float]:
    """Time what a trained model is asked for."""
    import torch

    from celldyn.landscape.fating import cell_fates
    from celldyn.landscape.walk_flow import walk_flow

    found, get_adata = cpu(lsd.get_adata)
    z = torch.tensor(np.asarray(found.obsm["X_cell_state"]))
    labels = np.asarray(lsd.adata.obs["clusters"])
    start = z[:BATCH].clone().requires_grad_()

    def sweep() -> None:
        lsd.potential.zero_grad()
        flow = walk_flow(lsd.potential, start, PATH_LEN, lsd.cfg.ode, 1)
        flow.square().sum().backward()

    sweep()
    _, seconds = cpu(sweep, 5)
    before = peak_gb()
    _, fates = cpu(
        lambda: cell_fates(lsd.potential, z, labels, z_start=z[:N_FATES], time_range=15.0)
    )
    fates_gb = peak_gb() - before
    return {"get_adata": get_adata, "sweep": seconds, "fates": fates, "fates_gb": fates_gb}


def moved(lsd: Any, z: np.ndarray) -> float:
    """Return how far cells flow in a walk's time, over how far they are from each other."""
    from celldyn.landscape import flow

    end = flow(lsd.potential, z, [0.0, 1.0], differentiable=False)[-1].numpy()
    return float(
        np.linalg.norm(end - z, axis=1).mean() / np.linalg.norm(z - z.mean(0), axis=1).mean()
    )


def many_fates() -> None:
    """Say what the fates of 100,000 cells take, by 32 noisy runs each."""
    import torch
    from bench_landscape_numerics import landscape, states, tissue

    from celldyn.landscape.fating import cell_fates

    _, when, branch = tissue(N_LARGE)
    potential, z = landscape(confinement=0.5), states(when, branch)
    torch.set_num_threads(1)
    how = {"sigma": 0.3, "n_runs": N_RUNS, "time_range": 15.0}
    cell_fates(potential, z[:500], branch[:500], **how)
    before = peak_gb()
    _, seconds = cpu(lambda: cell_fates(potential, z, branch, **how))
    print(f"  fates of {N_LARGE:,} cells, {N_RUNS} noisy runs each: {seconds:.0f} s, "
          f"{peak_gb() - before:.2f} GB more")  # fmt: skip


def in_process(command: list[str], job: Path, told: Path) -> dict[str, Any]:
    """Run a script in a process of one thread."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, "1")}
    done = subprocess.run(
        [*command, str(job), str(told)], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[-1]} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return found


def peer_epoch(stamps: list[float]) -> float:
    """Return CPU seconds an epoch, the first left out."""
    begins = stamps[::N_STEPS]
    return statistics.median(b - a for a, b in list(pairwise(begins))[1:])


def report(found: dict[str, Any], peer: dict[str, Any] | None) -> bool:
    """Print figures side by side; return whether all bars are met."""
    of_peer = {} if peer is None else dict(peer)
    if peer is not None:
        of_peer |= {"epoch": peer_epoch(peer["stamps"])}
        print(f"  sclsd {peer['version']}")
    rows = [
        ("epoch, all rows", "epoch", found["1.0"]["epoch"]),
        ("epoch, a quarter of the rows", "epoch", found["0.25"]["epoch"]),
        ("flow of a training step, trained potential", "sweep", found["sweep"]),
        ("prior", "prior", found["prior"]),
        ("walks", "walks", found["walks"]),
        ("get_adata", "get_adata", found["get_adata"]),
        (f"fates of {N_FATES} cells at T = 15", "fates", found["fates"]),
    ]
    ratio: dict[str, float] = {}
    for name, key, seconds in rows:
        line = f"  {name:<45} {seconds:8.4f} s"
        if key in of_peer:
            ratio[name] = of_peer[key] / seconds
            line += f"   sclsd {of_peer[key]:8.4f} s   ratio {ratio[name]:.1f}"
        print(line)
    print(f"  a step is a fourth of an epoch; cells move {found['moves']:.2f} of their spread")
    for share in EPOCHS:
        part = found[str(share)]
        print(f"  resident with {share:.0%} of the rows: {part['peak_gb']:.2f} GB, "
              f"{part['before_gb']:.2f} GB before training")  # fmt: skip
    print(f"  memory of fates: {found['fates_gb']:.3f} GB more")
    if peer is None:
        return True
    print(f"  sclsd: {peer['peak_gb']:.2f} GB, {peer['before_gb']:.2f} GB before training; "
          f"fates {peer['fates_gb']:.2f} GB more")  # fmt: skip
    return (
        ratio["epoch, a quarter of the rows"] >= STEP_BAR
        and ratio["flow of a training step, trained potential"] >= FLOW_BAR
        and peer["peak_gb"] / found["0.25"]["peak_gb"] >= MEMORY_BAR
    )


def train(room: Path, epochs: int) -> bool:
    """Train both; return whether all bars are met."""
    from tree_data import tree

    adata = room / "tree.h5ad"
    tree("bench").write_h5ad(adata)
    job = {
        "adata": str(adata), "weights": str(room / "weights.npz"), "n_walks": N_WALKS,
        "path_len": PATH_LEN, "batch_size": BATCH, "epochs": epochs, "n_fates": N_FATES,
    }  # fmt: skip
    asked = room / "job.json"
    asked.write_text(json.dumps(job), encoding="utf-8")
    found = in_process([sys.executable, __file__, "--ours"], asked, room / "ours.json")
    python = os.environ.get(VARIABLE)
    peer = None
    if python and Path(python).exists():
        script = str(Path(__file__).with_name("peer_sclsd_speed.py"))
        peer = in_process([python, script], asked, room / "peer.json")
    else:
        print(f"sclsd stands aside: {VARIABLE} names no Python; see benchmarks/peer_sclsd.py")
    return report(found, peer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", nargs=2, metavar=("JOB", "RESULT"), help=argparse.SUPPRESS)
    parser.add_argument("--peer-epochs", type=int, default=4)
    parser.add_argument("--fates", action="store_true", help="fates of 100,000 cells, too")
    given = parser.parse_args()
    if given.ours:
        ours(*given.ours)
        return
    with tempfile.TemporaryDirectory() as room:
        met = train(Path(room), given.peer_epochs)
    from bench_landscape_numerics import LIMIT_GB, LIMIT_S, sparse_part

    sparse_part(600, 1)  # kernels are compiled
    large = sparse_part(N_LARGE, 1)
    if given.fates:
        many_fates()
    if not met or large["sum"] > LIMIT_S or large["gb"] > LIMIT_GB:
        sys.exit("a bar is missed")


if __name__ == "__main__":
    main()
