"""Trains sclsd for some CPU seconds and writes what it says, and its way there.

`python peer_sclsd_truth.py JOB.json RESULT.json`, in the environment that `peer_sclsd.py` tells
how to make; `bench_landscape_truth.py` starts it. The job holds `adata`, an .h5ad of
`tree_data.py`; `seed`; `marks`, CPU seconds of training at which it is measured, the last of them
the end; `path_len`, `batch_size`, `num_walks`; `lr`; `time_range`; `n_housekeeping`. Measuring is
not counted. Beside the result stands an .npz with the fates and potential of its end.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import anndata as ad  # noqa: E402
import numpy as np  # noqa: E402
import sclsd  # noqa: E402
import torch  # noqa: E402
import tqdm  # noqa: E402
from landscape_measures import effect, housekeeping, measure  # noqa: E402
from sclsd.train import trainer  # noqa: E402
from tree_truth import Truth  # noqa: E402


class Enough(Exception):
    """The last mark is reached."""


def quiet() -> None:
    """Let its bars be silent; what they cost is its own."""
    for name in ("tqdm", "trange"):
        if hasattr(trainer, name):
            bar = getattr(tqdm, name)
            setattr(trainer, name, lambda *a, bar=bar, **k: bar(*a, **{**k, "disable": True}))


def model_of(job, adata):
    cfg = sclsd.LSDConfig()
    for name in ("num_walks", "path_len", "batch_size"):
        setattr(cfg.walks, name, int(job[name]))
    cfg.optimizer.adam.lr = job["lr"]
    trainer.set_all_seeds(job["seed"])
    lsd = sclsd.LSD(adata, cfg, device=torch.device("cpu"))
    lsd.set_prior_transition(prior_time_key="dpt_pseudotime")
    lsd.prepare_walks()
    return lsd


def told_by(lsd, time_range):
    """Return what it says now: its AnnData with fates."""
    return lsd.get_cell_fates(lsd.get_adata(), time_range, cluster_key="clusters")


def trained(lsd, job, adata):
    """Train to the last mark; return the rows of every mark."""
    rows, marks = [], list(job["marks"])
    state = {"from": 0.0, "aside": 0.0, "steps": 0}
    factor = lsd._calculate_W_factor

    def counted():
        now = time.process_time()
        if state["steps"] == 0:
            state["from"] = now
        spent = now - state["from"] - state["aside"]
        if spent >= marks[0]:
            found = told_by(lsd, job["time_range"])
            row = measure(
                adata, found.obs["lsd_pseudotime"], found.obs["fate"], found.obs["potential"]
            )
            row |= {"cpu_s": spent, "steps": state["steps"]}
            rows.append(row)
            print(json.dumps({k: round(v, 3) for k, v in row.items()}), flush=True)
            while marks and marks[0] <= spent:
                marks.pop(0)
            if not marks:
                raise Enough
            lsd.lsd.train()
            state["aside"] += time.process_time() - now
        state["steps"] += 1
        return factor()

    lsd._calculate_W_factor = counted
    with contextlib.suppress(Enough):
        lsd.train(num_epochs=10**6, plot_loss=False, random_state=job["seed"])
    return rows


def perturbed(lsd, job, adata):
    """Return the effect of every intervention, and how many cells housekeeping genes move."""
    truth, found = Truth.read(adata), lsd.get_adata()
    clusters = np.asarray(adata.obs["clusters"].astype(str))
    rows = {}
    for one in truth.interventions:
        x = torch.from_numpy(adata.X[np.isin(clusters, one.among)].toarray()).float()
        after, before = lsd.perturb(found, x, one.gene, "clusters", perturbation_level=one.level)
        rows[one.name] = effect(before, after, one.fates) * one.sign
    among = np.isin(clusters, (truth.stem, truth.inner))
    x = torch.from_numpy(adata.X[among].toarray()).float()
    moved = {}
    for gene in housekeeping(adata, job["n_housekeeping"]):
        after, before = lsd.perturb(found, x, gene, "clusters", perturbation_level=0)
        moved[gene] = float((np.asarray(before) != np.asarray(after)).mean())
    return rows, moved


def main(job_path: str, result_path: str) -> None:
    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    quiet()
    adata = ad.read_h5ad(job["adata"])
    lsd = model_of(job, adata)
    curve = trained(lsd, job, adata)
    found = told_by(lsd, job["time_range"])
    signs, moved = perturbed(lsd, job, adata) if job.get("asks", True) else ({}, {})
    result = {
        "version": sclsd.__version__,
        "curve": curve,
        "interventions": signs,
        "housekeeping": moved,
    }
    np.savez(
        Path(result_path).with_suffix(".npz"),
        fate=np.asarray(found.obs["fate"].astype(str)).astype("U"),
        potential=found.obs["potential"].to_numpy(),
    )
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
