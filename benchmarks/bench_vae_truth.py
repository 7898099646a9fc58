"""How close latent models come to the truth that the simulator wrote: both presets beside scVI.

`OMP_NUM_THREADS=1 python benchmarks/bench_vae_truth.py` trains each on the tissue of
`vae_tissue.py`, dense and sparse: the same cells, the same tenth of them held out, 60 epochs in
minibatches of 128, a warm-up of 20. scVI with its defaults, told the batch; its environment is
named by CELLDYN_SCVI_PYTHON (see `peer_scvi.py`); without it this project's figures stand alone.
`--strong` adds a tissue whose batches differ in their genes by a third, where the choice of keys
matters.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from vae_measures import Fit, measure, types_of
from vae_tissue import AMBIENT_SHARES, tissue

from celldyn.jobs import run
from celldyn.vae.building import build_job
from celldyn.vae.config import KeysConfig, ModelConfig, TrainConfig
from celldyn.vae.inputs import Batch, Ints, VAEInputs
from celldyn.vae.loader import Minibatches
from celldyn.vae.module import VAEModule
from celldyn.vae.preparing import prepare
from celldyn.vae.train import split, train_job

VARIABLE = "CELLDYN_SCVI_PYTHON"
SAMPLES, BLOCK = 5, 500
TERMS = {"elbo": "elbo", "reconstruction": "recon", "kl_z": "kl_z", "kl_library": "kl_l"}


@dataclass(frozen=True)
class Variant:
    """A way to train: what differs from the defaults."""

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)


VARIANTS = (
    Variant("recommended"),
    Variant("seed", {"preset": "seed"}),
)
OF_STRONG = (
    Variant("recommended"),
    Variant("told the batch", keys={"nn_conditioning_covariate_keys": ["batch"]}),
    Variant("genes scaled", keys={"feature_scaling_covariate_keys": ["batch"]}),
)
COLUMNS: tuple[tuple[str, float, int], ...] = (
    ("elbo", 0, 1), ("recon", 0, 1), ("kl_z", 0, 2), ("kl_l", 0, 2), ("purity", np.inf, 3),
    ("mixing", 1, 3), ("ARI", np.inf, 3), ("NMI", np.inf, 3), ("profile", 0, 3), ("off", 0, 2),
    ("share", 0, 3), ("in order", np.inf, 0), ("theta rank", np.inf, 3), ("theta ratio", 1, 2),
    ("CPU s", 0, 0),
)  # fmt: skip
"""What is measured, its best value, and digits."""
LEGEND = """\
elbo     held-out -ELBO in nats a cell: recon + KL of z + KL of the library, which scVI observes
purity   share of the 15 nearest neighbours that are of the cell's type
mixing   entropy of batches among them, over that of batches dealt out by chance; 1 is best
ARI, NMI k-means in the latent space, as many clusters as types
profile  mean |log(denoised / true)| of the types' profiles over all genes
off      mean log(denoised / true) of genes in types that do not express them; 0 is best
share    largest error of a batch's share of background; true .05 .10 .20 .30
theta    rank correlation with the true inverse dispersions; median over truth"""


def fit(adata: AnnData, variant: Variant, epochs: int, seed: int) -> Fit:
    """Train this project's model and read off what it says."""
    keys = KeysConfig(**{"layer": "counts", "batch_key": "batch", **variant.keys})
    inputs = prepare(adata, keys)
    config = TrainConfig(
        max_epochs=epochs, n_epochs_kl_warmup=epochs // 3, check_val_every_n_epoch=epochs,
        seed=seed, device="cpu",
    )  # fmt: skip
    started = time.process_time()
    module = run(build_job(inputs, ModelConfig(**variant.model), seed=seed), bar=False).module
    run(train_job(module, inputs, config), bar=False)
    cpu_s = time.process_time() - started
    heldout = terms(module, inputs, split(inputs.n_obs, config)[1])
    log_theta = module.part(0).features.log_theta_mean.detach().numpy().astype(np.float64)
    latent, profiles, share = states(module, inputs, types_of(adata))
    theta = np.exp(log_theta.mean(axis=0))
    return Fit(variant.name, latent, profiles, theta, share, heldout, cpu_s)


def minibatches(inputs: VAEInputs, cells: Ints) -> Iterator[Batch]:
    return iter(Minibatches(inputs, cells, BLOCK, shuffle=False))


def terms(module: VAEModule, inputs: VAEInputs, cells: Ints) -> dict[str, float]:
    """Return the terms of -ELBO, means over cells and draws of the states."""
    module.generator = torch.Generator().manual_seed(1)
    sums = dict.fromkeys(TERMS.values(), 0.0)
    with torch.no_grad():
        for _ in range(SAMPLES):
            for batch in minibatches(inputs, cells):
                found = module.loss_terms(batch)
                for name, short in TERMS.items():
                    sums[short] += float(found[name]) * len(batch) / SAMPLES / len(cells)
    module.generator = None
    return sums


@torch.no_grad()
def states(
    module: VAEModule, inputs: VAEInputs, types: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return latent states, denoised profiles of the types, and each batch's background."""
    n_genes = len(inputs.modalities[0].features)
    profiles = np.zeros((types.max() + 1, n_genes))
    ambient, whole = np.zeros((2, len(AMBIENT_SHARES)))
    latent: list[np.ndarray] = []
    at = 0
    for batch in minibatches(inputs, np.arange(inputs.n_obs)):
        posterior = module.encode(batch)
        z, library = module.latent(posterior, batch), posterior.library[0][0]
        mean = module.mean(0, z, library, batch)
        native = module.mean(0, z, library, batch, background=False)
        rho = module.native(0, z, batch)
        np.add.at(profiles, types[at : at + len(batch)], (rho / rho.sum(1, keepdim=True)).numpy())
        codes = batch.ambient[:, 0].numpy()
        np.add.at(ambient, codes, (mean - native).sum(1).numpy())
        np.add.at(whole, codes, mean.sum(1).numpy())
        latent.append(z.numpy())
        at += len(batch)
    return np.concatenate(latent), profiles / profiles.sum(1, keepdims=True), ambient / whole


def fit_peer(python: str, adata: AnnData, epochs: int, seed: int) -> Fit:
    """Train scVI in its own environment; its cells held out are the same."""
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        plain = AnnData(adata.layers["counts"], obs=adata.obs)
        plain.write_h5ad(room / "tissue.h5ad")
        job = {
            "adata": str(room / "tissue.h5ad"),
            "epochs": epochs,
            "warmup": epochs // 3,
            "seed": seed,
        }
        (room / "job.json").write_text(json.dumps(job), encoding="utf-8")
        script = str(Path(__file__).with_name("peer_scvi_truth.py"))
        command = [python, script, str(room / "job.json"), str(room / "result.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"scVI failed:\n{done.stderr[-3000:]}")
        with np.load(room / "result.npz") as told:
            if not np.array_equal(told["cells"], split(adata.n_obs, TrainConfig(seed=seed))[1]):
                raise RuntimeError("scVI held out other cells")
            heldout = json.loads(str(told["heldout"]))
            theta = told["theta"].astype(np.float64)
            latent, profiles = told["latent"], told["profiles"]
            return Fit("scVI", latent, profiles, theta, None, heldout, float(told["cpu_s"]))


def report(rows: dict[str, dict[str, float]]) -> None:
    """Print one column per model; "!" where scVI is better than this project's default."""
    names = list(rows)
    print(f"{'':<12}" + "".join(f"{name:>16}" for name in names))
    for what, aim, digits in COLUMNS:
        told = [rows[name].get(what, np.nan) for name in names]
        cells = ["" if np.isnan(value) else f"{value:.{digits}f}" for value in told]
        line = f"{what:<12}" + "".join(f"{cell:>16}" for cell in cells)
        if "scVI" in rows and what in rows["scVI"] and what not in ("recon", "kl_z"):
            own, peer = (
                value if np.isinf(aim) else -abs(value - aim)
                for value in (told[0], rows["scVI"][what])
            )
            line += "  !" if peer > own else ""
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strong", action="store_true", help="add batches that differ in genes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    python = os.environ.get(VARIABLE)
    if python is None:
        print(f"scVI stands aside: {VARIABLE} names no Python; see benchmarks/peer_scvi.py")
    tissues: list[tuple[str, dict[str, Any], tuple[Variant, ...]]] = [
        ("dense", {}, VARIANTS),
        ("sparse", {"sparse": True}, VARIANTS),
    ]
    if given.strong:
        strong = {"sparse": True, "batch_shape": 10.0}
        tissues.append(("sparse, genes of batches differ by a third", strong, OF_STRONG))
    for name, parameters, variants in tissues:
        adata = tissue(given.cells, seed=given.seed, **parameters)
        density = adata.X.nnz / adata.n_obs / adata.n_vars
        print(f"\n{name}: {adata.n_obs} cells, {adata.n_vars} genes, {density:.0%} above 0")
        fits = [fit(adata, variant, given.epochs, given.seed) for variant in variants]
        if python is not None:
            fits.append(fit_peer(python, adata, given.epochs, given.seed))
        report({one.name: measure(one, adata) for one in fits})
    print(f"\n{LEGEND}")


if __name__ == "__main__":
    main()
