"""Training of the networks beside SpaceTravLR and beside the same layers in plain torch.nn.

`python benchmarks/bench_betas_networks.py --cells 2000`. CPU milliseconds of one thread per cell
and epoch; ours and the peer's with all that belongs to the training of a gene: images, batches,
optimiser, and ours also evaluation and the betas of every cell.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import anndata as ad
import torch
from betas_tissue import TissueFiles, write_tissue
from peer import Job, run_peer
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from celldyn.betas import RegulatoryFactory, SpatialCellularProgramsEstimator
from celldyn.betas.varying import network
from celldyn.jobs import run

GENE = "Target1"
EPOCHS = {32: 20, 64: 6}
REPEATS = 2
"""The best of so many counts: other work on the machine slows all of them down."""
BATCH = 512
PEER_GATE = 0.15


class Stopwatch:
    """Stands for `vary_job`: the same job, and how long it took for how many cells."""

    def __init__(self) -> None:
        self.job, self.seconds, self.cells = network.vary_job, 0.0, 0

    def __call__(self, cluster, config):
        started = time.process_time()
        varied = yield from self.job(cluster, config)
        self.seconds += time.process_time() - started
        self.cells += len(cluster.y)
        return varied


def ours(adata: ad.AnnData, files: TissueFiles, pixels: int, epochs: int, **options) -> float:
    """Return milliseconds per cell and epoch of our fit of one gene."""
    estimator = SpatialCellularProgramsEstimator(
        adata,
        GENE,
        spatial_dim=pixels,
        grn=RegulatoryFactory(colinks_path=files.grn),
        lr=files.lr,
        ligand_target=files.ligand_target,
    )
    watch = network.vary_job = Stopwatch()
    try:
        options = {"vision_model": "cnn", "score_threshold": PEER_GATE} | options
        job = estimator.fit_job(num_epochs=epochs, network_folds=0, device="cpu", **options)
        run(job, bar=False)
    finally:
        network.vary_job = watch.job
    return 1e3 * watch.seconds / (watch.cells * epochs)


def peers(files: TissueFiles, pixels: int, epochs: int) -> float | None:
    """Return the same of SpaceTravLR; None where it is not installed."""
    found = run_peer(
        Job(
            adata=str(files.adata),
            grn=str(files.grn),
            lr=str(files.lr),
            ligand_target=str(files.ligand_target),
            genes=(GENE,),
            epochs=epochs,
            spatial_dim=pixels,
        )
    )
    if found is None:
        return None
    return 1e3 * found.genes[GENE]["seconds"]["network per cell and epoch"]


def plain_layers(n_channels: int, n_clusters: int, p: int) -> tuple[nn.Module, ...]:
    """Return the network as anyone would write it down: images, features, head."""

    def block(n_in: int, n_out: int) -> list[nn.Module]:
        convolution = weight_norm(nn.Conv2d(n_in, n_out, 3, padding="same"))
        return [convolution, nn.BatchNorm2d(n_out), nn.PReLU(init=0.1), nn.MaxPool2d(2)]

    def mlp(*sizes: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.PReLU(init=0.1)]
        return nn.Sequential(*layers[:-1])

    seen = nn.Sequential(
        *block(n_channels, 16),
        *block(16, 32),
        *block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return seen, mlp(n_clusters, 16, 32, 64), mlp(64, 64, 1 + p)


def plain(pixels: int, n_channels: int, n_batches: int = 3, p: int = 40) -> float:
    """Return the same of plain layers on images that are there already."""
    seen, context, head = plain_layers(n_channels, 6, p)
    parameters = [*seen.parameters(), *context.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=5e-3)
    images, features = torch.rand(BATCH, n_channels, pixels, pixels), torch.rand(BATCH, 6)
    X, y = torch.rand(BATCH, 1 + p), torch.rand(BATCH)

    def step() -> None:
        optimiser.zero_grad()
        betas = torch.sigmoid(head(seen(images) + context(features)))
        ((betas * X).sum(dim=1) - y).square().mean().backward()
        nn.utils.clip_grad_norm_(parameters, 2.0)
        optimiser.step()

    step()
    started = time.process_time()
    for _ in range(n_batches):
        step()
    return 1e3 * (time.process_time() - started) / (n_batches * BATCH)


def compare(adata: ad.AnnData, files: TissueFiles, pixels: int, epochs: int) -> None:
    """Time all that see images of so many pixels, in turns."""
    models = {
        "cnn, distance": {"maps": "distance"},
        "cnn, density": {"maps": "density"},
        "transformer, distance": {"maps": "distance", "vision_model": "transformer"},
    }
    mine: dict[str, list[float]] = {name: [] for name in models}
    rivals: dict[str, list[float | None]] = {"SpaceTravLR": [], "torch.nn": []}
    for _ in range(REPEATS):
        for name, options in models.items():
            mine[name].append(ours(adata, files, pixels, epochs, **options))
        rivals["SpaceTravLR"].append(peers(files, pixels, epochs))
        rivals["torch.nn"].append(plain(pixels, 1))
    best = {
        rival: min(ms for ms in found if ms is not None) if found[0] is not None else None
        for rival, found in rivals.items()
    }
    for name, found in mine.items():
        report(f"{name}, {pixels} pixels", min(found), best if name.startswith("cnn") else {})


def report(name: str, mine: float, rivals: dict[str, float | None]) -> None:
    """Print one line: ours, and each rival with its ratio."""
    others = [
        f"{rival} {ms:.3f} ms, ratio {ms / mine:.1f}"
        for rival, ms in rivals.items()
        if ms is not None
    ]
    print("; ".join([f"{name}: ours {mine:.3f} ms", *others]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--pixels", type=int, nargs="*", default=list(EPOCHS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as room:
        files = write_tissue(Path(room), given.cells)
        adata = ad.read_h5ad(files.adata)
        ours(adata, files, 8, 1)  # compiles
        ours(adata, files, 8, 1, maps="distance")
        print(f"{given.cells} cells, CPU ms per cell and epoch")
        for pixels in given.pixels:
            compare(adata, files, pixels, EPOCHS.get(pixels, 5))


if __name__ == "__main__":
    main()
