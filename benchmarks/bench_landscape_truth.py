"""How close landscapes come to the truth, beside sclsd on the same data and CPU time, by seeds.

`OMP_NUM_THREADS=1 python benchmarks/bench_landscape_truth.py --sets S krumsiek11 sde` trains
`LSDConfig.preset("recommended")` for the CPU seconds of `SETS` on three seeds of each set of
`tree_data.py`, and sclsd 0.3.0 for as long or longer with its own defaults on walks of the length
that its authors use. Its environment is named by CELLDYN_SCLSD_PYTHON (see `peer_sclsd.py`);
without it this project's figures stand alone. `--pool 3` pools three models (`LSDEnsemble`) in
place of each. `--kept FOLDER` keeps what sclsd found, and reads it
from there the next time. All seconds are CPU seconds of one thread in training; what compiles
kernels, and measuring, are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anndata import AnnData, read_h5ad
from landscape_measures import Rows, agreement, housekeeping, measure
from numpy.typing import NDArray
from tree_data import MAKERS
from tree_truth import Truth

from celldyn.devices import compile_job
from celldyn.jobs import run
from celldyn.landscape import (
    LSD,
    LSDConfig,
    LSDEnsemble,
    PerturbConfig,
    consensus_pseudotime,
)
from celldyn.landscape.count_likelihood import compile_kernels
from celldyn.landscape.walk_sweep import compile_sweep
from celldyn.perturbation import Perturbation

VARIABLE = "CELLDYN_SCLSD_PYTHON"
N_HOUSEKEEPING, SIGNIFICANT, HORIZON = 10, 0.05, 15.0


@dataclass(frozen=True)
class Setting:
    """CPU seconds at which each is measured, the last of them the end, and the walks of each.

    Walks of a fourth of the hops from the root to an end, four at least: 16, 10, 16 and 23.
    """

    ours: tuple[float, ...]
    peer: tuple[float, ...]
    path_len: int = 4
    peer_walks: tuple[int, int, int] = (12, 64, 1024)
    """path_len, batch_size, num_walks."""


SETS = {
    "S": Setting((5, 10, 20, 40), (10, 20, 40, 67, 120, 240, 450)),
    "bench": Setting((10, 20, 30, 45, 60), (60, 300), peer_walks=(20, 256, 1024)),
    "krumsiek11": Setting((10, 20, 40), (10, 20, 40, 80, 120)),
    "sde": Setting((10, 20, 40), (10, 20, 40, 80, 120), path_len=6),
}
LINES = (
    ("pseudotime", "time, all cells"), ("within runs", "time, within ways to a fate"),
    ("potential", "potential"), ("terminal", "terminal cells at their own fate"),
    ("inner", "inner cells at an open fate"), ("inner right", "inner cells at the true fate"),
    ("signs", "interventions of the right sign"), ("ties", "interventions without effect"),
    ("within null", "housekeeping knock-outs within the null"),
    ("moved", "cells moved by housekeeping knock-outs"),
)  # fmt: skip


@dataclass
class Found:
    """What one seed of one model says."""

    curve: list[Rows]
    fate: NDArray[Any]
    certain: NDArray[np.bool_] | None
    rows: Rows

    @property
    def end(self) -> Rows:
        """All that is measured of its end."""
        return {**self.curve[-1], **self.rows}


def fit(adata: AnnData, setting: Setting, seed: int, *, asks: bool = True) -> Found:
    """Train this project's model, measuring it on the way, and perturb it."""
    cfg = LSDConfig.preset("recommended")
    cfg.walks.random_state, cfg.walks.path_len = seed, setting.path_len
    started = time.process_time()
    lsd = LSD(adata, cfg, device="cpu")
    lsd.set_prior_transition(prior_time_key="dpt_pseudotime")
    lsd.prepare_walks()
    spent, curve = time.process_time() - started, []
    run(compile_job([compile_kernels, compile_sweep]), bar=False)
    for mark in setting.ours:
        while spent < mark and lsd.epoch < cfg.training.num_epochs:
            started = time.process_time()
            lsd.train(1)
            spent += time.process_time() - started
        curve.append({**measured(lsd, adata), "cpu_s": spent})
        print(f"    seed {seed}: {spent:.0f} s, time {curve[-1]['pseudotime']:.3f}", flush=True)
    lsd.get_cell_fates(time_range=HORIZON, cluster_key="clusters")
    assert lsd.fates is not None
    rows = perturbed(lsd, adata) if asks else {}
    return Found(curve, np.asarray(lsd.fates.fate), lsd.fates.certain, rows)


def fit_pooled(adata: AnnData, setting: Setting, seed: int, n_models: int) -> Found:
    """Train several models, and measure what they say together."""
    cfg = LSDConfig.preset("recommended")
    cfg.walks.random_state, cfg.walks.path_len = seed * n_models, setting.path_len
    run(compile_job([compile_kernels, compile_sweep]), bar=False)
    started = time.process_time()
    models = LSDEnsemble(adata, cfg, device="cpu", seeds=n_models)
    models.set_prior_transition(prior_time_key="dpt_pseudotime")
    models.prepare_walks()
    models.train()
    spent = time.process_time() - started
    states = [run(model.states_job(), bar=False) for model in models.models]
    when = consensus_pseudotime([one.pseudotime for one in states]).value
    height = consensus_pseudotime([one.V for one in states]).value
    found = models.get_cell_fates(
        time_range=HORIZON, cluster_key="clusters", method="vote", n_runs=0, k=15
    )
    row = {**measure(adata, when, found.obs["fate"], height), "cpu_s": spent}
    print(f"    pool {seed}: {spent:.0f} s, time {row['pseudotime']:.3f}", flush=True)
    models.get_cell_fates(time_range=HORIZON, cluster_key="clusters")
    fates = models.fates.fates
    return Found([row], np.asarray(fates.fate), fates.certain, perturbed(models, adata))


def measured(lsd: LSD, adata: AnnData) -> Rows:
    """Measure what the model says now: fates without noise, by a vote of 15 cells."""
    states = run(lsd.states_job(), bar=False)
    found = lsd.get_cell_fates(
        time_range=HORIZON, cluster_key="clusters", method="vote", n_runs=0, k=15
    )
    return measure(adata, states.pseudotime, found.obs["fate"], states.V)


def perturbed(lsd: LSD | LSDEnsemble, adata: AnnData) -> Rows:
    """Return how many interventions have the right sign, and what housekeeping genes do."""
    truth, clusters = Truth.read(adata), adata.obs["clusters"].astype(str).to_numpy()
    config = PerturbConfig(time=HORIZON)
    genes = list(adata.var_names[adata.var["role"] == "housekeeping"])

    def effect(gene: str, level: float, among: tuple[str, ...]) -> Any:
        return lsd.perturb_effects(
            Perturbation.set_to({gene: level}), "clusters",
            cells=np.flatnonzero(np.isin(clusters, among)), config=config, housekeeping=genes,
        )  # fmt: skip

    signed = []
    for one in truth.interventions:
        found = effect(one.gene, one.level, one.among)
        of = np.isin(np.asarray(found.names, dtype=str), one.fates)
        signed.append(float(found.effect[of].sum()) * one.sign)
    calm = [
        effect(gene, 0.0, (truth.stem, truth.inner))
        for gene in housekeeping(adata, N_HOUSEKEEPING)
    ]
    if isinstance(lsd, LSDEnsemble):
        within = [found.p.min() * len(found.p) >= SIGNIFICANT for found in calm]
        moved = [np.mean([one.moved for one in found.by_seed]) for found in calm]
    else:
        within = [found.p_any >= SIGNIFICANT for found in calm]
        moved = [found.moved for found in calm]
    return {
        **signs(signed), "within null": float(np.mean(within)), "moved": float(np.mean(moved)),
    }  # fmt: skip


def signs(signed: list[float]) -> Rows:
    """Return the shares of interventions that go the right way, and of those that do nothing."""
    all_of = np.asarray(signed)
    return {"signs": float((all_of > 0).mean()), "ties": float((all_of == 0).mean())}


def fit_peer(
    python: str, file: Path, setting: Setting, seed: int, kept: Path, *, asks: bool
) -> Found:
    """Train sclsd in its environment, or read what it found before."""
    made = kept / f"{file.stem}_{seed}.json"
    if not made.exists():
        path_len, batch_size, num_walks = setting.peer_walks
        job = {
            "adata": str(file), "seed": seed, "marks": setting.peer, "lr": 1e-3,
            "path_len": path_len, "batch_size": batch_size, "num_walks": num_walks,
            "time_range": HORIZON, "n_housekeeping": N_HOUSEKEEPING, "asks": asks,
        }  # fmt: skip
        asked = made.with_suffix(".job")
        asked.write_text(json.dumps(job), encoding="utf-8")
        script = str(Path(__file__).with_name("peer_sclsd_truth.py"))
        done = subprocess.run(
            [python, script, str(asked), str(made)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"sclsd failed:\n{done.stderr[-3000:]}")
    told = json.loads(made.read_text(encoding="utf-8"))
    with np.load(made.with_suffix(".npz")) as arrays:
        fate = arrays["fate"]
    if not told["interventions"]:
        return Found(told["curve"], fate, None, {})
    moved = {"moved": float(np.mean(list(told["housekeeping"].values())))}
    return Found(
        told["curve"], fate, None, {**signs(list(told["interventions"].values())), **moved}
    )


def report(adata: AnnData, models: dict[str, list[Found]]) -> None:
    """Print the lines of one set: mean and range over seeds, then the curves."""
    rank = adata.obs[["dpt_pseudotime", "true_time"]].corr("spearman").iloc[0, 1]
    print(f"\n  given time with true time {rank:.3f}")
    print(f"  {'':<42}" + "".join(f"{name:>26}" for name in models))
    for key, what in LINES:
        told = [[one.end[key] for one in found if key in one.end] for found in models.values()]
        if any(told):
            print(f"  {what:<42}" + "".join(f"{spread(values):>26}" for values in told))
    for name, found in models.items():
        fates = [one.fate for one in found]
        agreed = agreement(adata, fates)
        print(f"  {name}: " + ", ".join(f"{key} {value:.2f}" for key, value in agreed.items()))
        if found[0].certain is not None:
            sure = agreement(
                adata, fates, [one.certain for one in found if one.certain is not None]
            )
            print("    certain: " + ", ".join(f"{k} {value:.2f}" for k, value in sure.items()))
    for name, found in models.items():
        for seed, one in enumerate(found):
            way = [f"{row['cpu_s']:.0f} s {row['pseudotime']:.3f}/{row['inner']:.2f}"
                   for row in one.curve]  # fmt: skip
            print(f"  {name} {seed}, CPU s time/inner: " + "  ".join(way))


def spread(values: list[float]) -> str:
    """Return mean and range."""
    if not values:
        return ""
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sets", nargs="+", choices=list(SETS), default=["S", "krumsiek11", "sde"]
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=0, metavar="MODELS",
                        help="pool so many models of as many seeds each time")  # fmt: skip
    parser.add_argument("--curves", action="store_true", help="leave perturbations out")
    parser.add_argument("--kept", type=Path, default=None)
    parser.add_argument("--data", type=Path, default=None, help="a folder with sets made before")
    given = parser.parse_args()
    torch.set_num_threads(1)
    python = os.environ.get(VARIABLE)
    if python is None:
        print(f"sclsd stands aside: {VARIABLE} names no Python; see benchmarks/peer_sclsd.py")
    with tempfile.TemporaryDirectory() as room:
        folder = given.data or Path(room)
        kept = given.kept or Path(room)
        for name in given.sets:
            file = folder / f"{name}.h5ad"
            if not file.exists():
                MAKERS[name](0).write_h5ad(file)
            compare(name, file, given, python, kept)


def compare(
    name: str, file: Path, given: argparse.Namespace, python: str | None, kept: Path
) -> None:
    """Fit all seeds of both to one set, and report them."""
    adata: AnnData = read_h5ad(file)
    print(f"\n{name}: {adata.n_obs} cells, {adata.n_vars} genes", flush=True)
    n_seeds, n_models = given.seeds, given.pool
    if n_models:
        fitted = [fit_pooled(adata, SETS[name], seed, n_models) for seed in range(n_seeds)]
        models = {f"this project, {n_models} models": fitted}
    else:
        fitted = [fit(adata, SETS[name], seed, asks=not given.curves) for seed in range(n_seeds)]
        models = {"this project": fitted}
    if python is not None:
        peers = [
            fit_peer(python, file, SETS[name], seed, kept, asks=not given.curves)
            for seed in range(n_seeds)
        ]
        models["sclsd"] = peers
    report(adata, models)


if __name__ == "__main__":
    main()
