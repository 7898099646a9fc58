"""Trains scvi-tools' SCVI and writes what it says; `bench_vae_truth.py` starts it.

`python peer_scvi_truth.py JOB.json RESULT.npz`, in the environment that `peer_scvi.py` tells how
to make. The job holds `adata` (.h5ad with counts in X, obs["batch"] and obs["cell_type"]),
`epochs`, `warmup` and `seed`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import anndata as ad  # noqa: E402
import numpy as np  # noqa: E402
import scvi  # noqa: E402
import torch  # noqa: E402

SAMPLES = 5
BLOCK = 500


def heldout(model) -> dict[str, float]:
    """Return the terms of -ELBO of the cells not trained on, each a mean over cells and draws."""
    cells = np.asarray(model.validation_indices)
    sums = np.zeros(2)
    for _ in range(SAMPLES):
        loader = model._make_data_loader(adata=model.adata, indices=cells, batch_size=BLOCK)
        for tensors in loader:
            with torch.no_grad():
                _, _, loss = model.module(tensors, loss_kwargs={"kl_weight": 1.0})
            kl = loss.kl_local
            kl = sum(v.sum() for v in kl.values()) if isinstance(kl, dict) else kl.sum()
            recon = loss.reconstruction_loss
            recon = (
                sum(v.sum() for v in recon.values()) if isinstance(recon, dict) else recon.sum()
            )
            sums += [float(recon), float(kl)]
    recon, kl = sums / SAMPLES / len(cells)
    return {"elbo": recon + kl, "recon": recon, "kl_z": kl}


def profiles(model, adata) -> np.ndarray:
    """Return (n_types, n_genes) mean denoised expression, in the batches that the cells are of."""
    types = adata.obs["cell_type"].cat.codes.to_numpy()
    sums = np.zeros((types.max() + 1, adata.n_vars))
    for start in range(0, adata.n_obs, BLOCK):
        cells = np.arange(start, min(start + BLOCK, adata.n_obs))
        shares = model.get_normalized_expression(indices=cells, return_numpy=True)
        np.add.at(sums, types[cells], shares)
    return sums / sums.sum(axis=1, keepdims=True)


def main(job_path: str, result_path: str) -> None:
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    for name in ("lightning", "lightning.pytorch", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    adata = ad.read_h5ad(job["adata"])
    scvi.settings.seed = job["seed"]
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
    model = scvi.model.SCVI(adata)
    started = time.process_time()
    model.train(
        max_epochs=job["epochs"],
        accelerator="cpu",
        train_size=0.9,
        batch_size=128,
        plan_kwargs={"n_epochs_kl_warmup": job["warmup"]},
        enable_progress_bar=False,
    )
    cpu_s = time.process_time() - started
    np.savez(
        result_path,
        latent=model.get_latent_representation(),
        theta=np.exp(model.module.px_r.detach().numpy()),
        profiles=profiles(model, adata),
        heldout=json.dumps(heldout(model)),
        cells=np.sort(model.validation_indices),
        cpu_s=cpu_s,
        version=scvi.__version__,
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
