"""Trains scvi-tools' SCVI and times each epoch; `bench_vae.py` starts it where it is installed.

`python peer_scvi.py JOB.json RESULT.json`. The job holds `adata` (.h5ad with counts in X and
obs["batch"]) and `runs`: each a name, n_hidden, n_latent, batch_size, epochs, gene_likelihood.
To make that environment (some 2 GB, most of it PyTorch):

    python3.11 -m venv scvi
    scvi/bin/pip install torch "scvi-tools==1.4.2"
    export CELLDYN_SCVI_PYTHON=$PWD/scvi/bin/python
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

started = time.process_time()
warnings.filterwarnings("ignore")

import scvi  # noqa: E402

IMPORTED = time.process_time() - started

import anndata as ad  # noqa: E402
import torch  # noqa: E402
from lightning.pytorch.callbacks import Callback  # noqa: E402


class Stamps(Callback):
    """CPU seconds of this process at the end of each epoch."""

    def __init__(self):
        self.at: list[float] = []

    def on_train_epoch_end(self, *_):
        self.at.append(time.process_time())


def peak_gb() -> float:
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def one_run(adata, run: SimpleNamespace) -> dict:
    """Train as `SCVI.train` does on a CPU, with all cells."""
    scvi.settings.seed = 0
    model = scvi.model.SCVI(
        adata,
        n_hidden=run.n_hidden,
        n_latent=run.n_latent,
        gene_likelihood=run.gene_likelihood,
    )
    stamps = Stamps()
    model.train(
        max_epochs=run.epochs,
        accelerator="cpu",
        train_size=1.0,
        batch_size=run.batch_size,
        callbacks=[stamps],
        enable_progress_bar=False,
    )
    last = {
        name: float(model.history[name].iloc[-1, 0])
        for name in ("elbo_train", "reconstruction_loss_train", "kl_local_train")
    }
    return {"name": run.name, "stamps": stamps.at, "loss": last}


def main(job_path: str, result_path: str) -> None:
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    for name in ("lightning", "lightning.pytorch", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    adata = ad.read_h5ad(job["adata"])
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
    before = peak_gb()
    runs = [one_run(adata, SimpleNamespace(**run)) for run in job["runs"]]
    result = {
        "version": scvi.__version__,
        "import_s": IMPORTED,
        "before_gb": before,
        "peak_gb": peak_gb(),
        "runs": runs,
    }
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
