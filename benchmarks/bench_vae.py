"""Training the regularised VAE beside scvi-tools: CPU seconds an epoch, loss, memory, import.

Run with `OMP_NUM_THREADS=1 python benchmarks/bench_vae.py`. 5,000 cells with 2,000 genes, at about
40 and 15 % density; every process has one thread, and each figure is the median over epochs
without the first. Bars: the default model takes at most half of scVI's time. For 512 hidden and
128 latent in minibatches of 1,024 they are 0.5 and 0.3 of regularizedvi's in single and low
precision; regularizedvi is not on the package index, so what it takes is scVI's time here,
times `REFERENCE_TO_SCVI`, which was measured once with both installed.

The peer has an environment of its own, named by CELLDYN_SCVI_PYTHON; see `peer_scvi.py`. Without
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

VARIABLE = "CELLDYN_SCVI_PYTHON"
REFERENCE_TO_SCVI = 1.58 / 1.81
"""CPU seconds an epoch, 512/128 in minibatches of 1,024: regularizedvi 1.52-1.64, scVI 1.81."""
DEFAULT = {"n_hidden": 128, "n_latent": 10, "batch_size": 128}
LARGE = {"n_hidden": 512, "n_latent": 128, "batch_size": 1024}
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def runs_of_ours(epochs: int) -> list[dict[str, Any]]:
    return [
        {"name": f"{name}, {precision}", "epochs": epochs, "precision": precision, **size}
        for name, size in (("default", DEFAULT), ("512/128", LARGE))
        for precision in ("float32", "bfloat16")
    ]


def runs_of_peer(epochs: int) -> list[dict[str, Any]]:
    return [
        {"name": "default", "epochs": epochs, "gene_likelihood": "zinb", **DEFAULT},
        {"name": "512/128", "epochs": epochs, "gene_likelihood": "nb", **LARGE},
    ]


def peak_gb() -> float:
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def train_ours(job_path: str, result_path: str) -> None:
    """Do what `peer_scvi.py` does, in this process."""
    started = time.process_time()
    from celldyn.vae import AmbientRegularizedSCVI
    from celldyn.vae.config import TrainConfig

    imported = time.process_time() - started
    import anndata as ad
    import torch

    import celldyn

    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    adata = ad.read_h5ad(job["adata"])
    AmbientRegularizedSCVI.setup_anndata(adata, batch_key="batch")
    before, runs = peak_gb(), []
    for run in job["runs"]:
        built = time.process_time()
        model = AmbientRegularizedSCVI(adata, n_hidden=run["n_hidden"], n_latent=run["n_latent"])
        built = time.process_time() - built
        config = TrainConfig(
            max_epochs=run["epochs"],
            batch_size=run["batch_size"],
            precision=run["precision"],
            train_size=1.0,
            device="cpu",
        )
        ends = (step for step in model.train_job(config) if "loss/elbo" in step.metrics)
        stamps = [time.process_time() for _ in ends]
        table = model.history_table
        loss = {
            name: float(table[f"{name}_train"].iloc[-1]) for name in ("elbo", "reconstruction")
        }
        runs.append(
            {
                "name": run["name"],
                "stamps": stamps,
                "loss": loss,
                "build_s": built,
            }
        )
    result = {
        "version": celldyn.__version__,
        "import_s": imported,
        "before_gb": before,
        "peak_gb": peak_gb(),
        "runs": runs,
    }
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")


def in_process(command: list[str], job: dict[str, Any], room: Path) -> dict[str, Any]:
    """Run a script on a job in a process of one thread."""
    asked, told = room / "job.json", room / "result.json"
    asked.write_text(json.dumps(job), encoding="utf-8")
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(
        [*command, str(asked), str(told)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[-1]} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return found


def peer_command() -> list[str] | None:
    given = os.environ.get(VARIABLE)
    if given and Path(given).exists():
        return [given, str(Path(__file__).with_name("peer_scvi.py"))]
    print(f"scVI stands aside: {VARIABLE} names no Python; see benchmarks/peer_scvi.py")
    return None


def seconds(run: dict[str, Any]) -> float:
    """Return CPU seconds an epoch: the median without the first."""
    return statistics.median(b - a for a, b in pairwise(run["stamps"]))


def report(ours: dict[str, Any], peer: dict[str, Any] | None) -> None:
    of_peer = {} if peer is None else {run["name"]: run for run in peer["runs"]}
    for name, run in of_peer.items():
        print(f"  scVI {name:<18} {seconds(run):6.3f} s an epoch{told(run)}")
    for run in ours["runs"]:
        print(f"  ours {run['name']:<18} {seconds(run):6.3f} s an epoch{told(run)}", end="")
        print(f", built in {run['build_s']:.2f} s")
        name, precision = run["name"].split(", ")
        if name in of_peer:
            against(seconds(run), seconds(of_peer[name]), name, precision)
    for who, found in (("scVI", peer), ("ours", ours)):
        if found is not None:
            spent, before, peak = found["import_s"], found["before_gb"], found["peak_gb"]
            print(f"  {who} import {spent:.2f} s, memory {before:.2f}, peak {peak:.2f} GB")


def told(run: dict[str, Any]) -> str:
    return "".join(f", {name} {value:.2f}" for name, value in run["loss"].items())


def against(own: float, other: float, name: str, precision: str) -> None:
    if name == "default":
        ratio, bar, what = own / other, 0.5, "scVI"
    else:
        other *= REFERENCE_TO_SCVI
        ratio, bar = own / other, 0.5 if precision == "float32" else 0.3
        what = f"regularizedvi (taken as {other:.2f} s)"
    verdict = "met" if ratio <= bar else "missed"
    print(f"       {ratio:.2f} x {what}; bar {bar} {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--train", nargs=2, metavar=("JOB", "RESULT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train_ours(*given.train)
        return
    from vae_tissue import tissue

    command = peer_command()
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        for sparse in (False, True):
            adata = tissue(given.cells, sparse=sparse)
            density = adata.X.nnz / adata.n_obs / adata.n_vars
            print(f"{adata.n_obs} cells x {adata.n_vars} genes, {density:.0%} above 0")
            path = room / "tissue.h5ad"
            adata.X = adata.layers["counts"]
            adata.layers.clear()
            adata.write_h5ad(path)
            own = [sys.executable, __file__, "--train"]
            job = {"adata": str(path)}
            ours = in_process(own, {**job, "runs": runs_of_ours(given.epochs)}, room)
            peer = None
            if command is not None:
                peer = in_process(command, {**job, "runs": runs_of_peer(given.epochs)}, room)
            report(ours, peer)


if __name__ == "__main__":
    main()
