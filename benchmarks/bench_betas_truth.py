"""How close betas come to the truth that the simulator wrote: every mode beside SpaceTravLR.

`python benchmarks/bench_betas_truth.py --whole` runs all modes on 5,000 cells and six targets,
which takes the peer some 12 minutes; without it 2,000 cells and the short modes. Accuracy is that
of the coefficients in every cell, not of predictions; `betas_tissue.py` tells what varies how.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from betas_measures import Fits, ceiling, measure, within_types
from betas_tissue import FIRST_SEED, KINDS, REACH, TissueFiles, write_tissue
from peer import Job, PeerResult, on_average_scale, run_peer
from threadpoolctl import threadpool_limits

from celldyn.betas import RegulatoryFactory, SpatialCellularProgramsEstimator
from celldyn.betas.folds import spatial_folds
from celldyn.errors import CelldynError
from celldyn.jobs import run

PIXELS, FOLDS, SEED = 32, 5, 0


@dataclass(frozen=True)
class Mode:
    """A way to fit betas: the parameters of `fit`."""

    name: str
    parameters: dict[str, Any]
    beside: str = "seed"  # the peer's model whose seconds are compared
    short: bool = True


MODES = (
    Mode("lasso", {"num_epochs": 0, "penalty": "heldout"}),
    Mode("lasso, penalty given", {"num_epochs": 0, "penalty": "given"}),
    Mode("Bayesian ridge", {"num_epochs": 0, "estimator": "bayesian"}, short=False),
    Mode("smooth", {"vision_model": "smooth", "penalty": "heldout"}, "network"),
    Mode("smooth, penalty given", {"vision_model": "smooth", "penalty": "given"}, "network"),
    Mode("cnn", {"vision_model": "cnn", "penalty": "heldout"}, "network"),
    Mode(
        "cnn, penalty given",
        {"vision_model": "cnn", "penalty": "given"},
        "network",
        short=False,
    ),
    Mode(
        "cnn, distance maps",
        {"vision_model": "cnn", "penalty": "heldout", "maps": "distance"},
        "network",
        short=False,
    ),
    Mode(
        "cnn, stops early",
        {"vision_model": "cnn", "penalty": "heldout", "early_stopping": True},
        "network",
        short=False,
    ),
    Mode(
        "transformer",
        {"vision_model": "transformer", "penalty": "heldout"},
        "network",
        short=False,
    ),
)


@dataclass(frozen=True)
class Column:
    """A column of the table, and how values are ranked; `aim` is the best value."""

    title: str
    aim: float
    width: int = 8
    digits: int = 3

    def distance(self, value: float) -> float:
        return abs(self.aim - value) if np.isfinite(value) else np.inf


COLUMNS = (
    Column("corr", 1),
    Column("within", 1),
    Column("sign", 1),
    Column("slope", 1),
    Column("error", 0),
    Column("AP", 1),
    Column("false+", 0),
    Column("heldout", 1),
    Column("nothing", 1),
    Column("CPU s", 0, digits=2),
)
LEGEND = """\
corr     correlation with the true beta over the cells, mean over the edges; 0 where it is 0
within   the same within cell types, over the targets whose betas vary there
sign     share of the cells in which a true beta has its sign
slope    of the estimate over the truth, through 0; 1 is calibrated
error    root mean square error over that of 0, mean over the edges; 1 is as good as nothing
AP       average precision when modulators are called edges by their mean |beta|
false+   share of the non-edges above 5 % of the strongest true beta
heldout  R² on blocks of tissue held out, in cell types where the target is regulated
nothing  the same where nothing regulates it; far below 0 is noise that was fitted
CPU s    per gene, one thread; the peer's without held-out blocks and what its genes share
!        worse than the better of the peer's models; in CPU s, than its model of that kind"""


def fit_mode(
    mode: Mode, adata: ad.AnnData, files: TissueFiles, genes: Sequence[str], epochs: int
) -> Fits:
    """Fit the genes one by one; a mode that is not available says so in `failure`."""
    import torch

    torch.set_num_threads(1)
    fits = Fits(mode.name, mode.beside)
    parameters = {"num_epochs": epochs, "heldout_folds": FOLDS, "seed": SEED, **mode.parameters}
    grn = RegulatoryFactory(colinks_path=files.grn)
    try:
        for gene in genes:
            started = time.process_time()
            estimator = SpatialCellularProgramsEstimator(
                adata,
                gene,
                spatial_dim=PIXELS,
                grn=grn,
                lr=files.lr,
                ligand_target=files.ligand_target,
            )
            run(estimator.fit_job(**parameters), bar=False)
            table = estimator.get_betas()
            fits.seconds[gene] = time.process_time() - started
            fits.betas[gene] = list(table.columns), table.to_numpy()
            fits.heldout[gene] = {int(k): r2 for k, r2 in estimator.heldout_scores.items()}
    except (CelldynError, ImportError) as error:
        fits.failure = f"{type(error).__name__}: {error}"
    return fits


def fit_peer(
    adata: ad.AnnData,
    files: TissueFiles,
    genes: Sequence[str],
    epochs: int,
    kept: Path | None,
) -> PeerResult | None:
    """Run the peer on the same genes and the same held-out blocks."""
    folds = files.adata.with_name("folds.npy")
    codes = adata.obs["cell_type_int"].to_numpy()
    fold = np.zeros(adata.n_obs, np.int64)
    for code in np.unique(codes):
        cells = np.flatnonzero(codes == code)
        for k, out in enumerate(spatial_folds(adata.obsm["spatial"][cells], FOLDS, SEED)):
            fold[cells[out]] = k
    np.save(folds, fold)
    paths = {name: str(getattr(files, name)) for name in ("adata", "grn", "lr", "ligand_target")}
    return run_peer(
        Job(
            **paths,
            genes=tuple(genes),
            epochs=epochs,
            spatial_dim=PIXELS,
            folds=str(folds),
        ),
        kept,
    )


def peer_fits(peer: PeerResult, adata: ad.AnnData, epochs: int) -> Iterator[Fits]:
    """Return the peer's linear model and its network, with betas on the truth's scale."""
    codes, xy = adata.obs["cell_type_int"].to_numpy(), adata.obsm["spatial"]
    seed = Fits("SpaceTravLR, lasso", "seed")
    network = Fits(f"SpaceTravLR, cnn {epochs} epochs", "network")
    for gene, found in peer.genes.items():
        columns = [str(name) for name in peer.arrays[f"{gene}/columns"]]
        spent = found["seconds"]
        linear = spent["constructor"] + spent["design"] + spent["seed"]
        # The peer divides received ligands by N, the truth by the sum of the weights.
        for fits, betas, seconds in (
            (seed, peer.arrays[f"{gene}/seed"][codes], linear),
            (
                network,
                peer.arrays[f"{gene}/network"],
                linear + spent["network"] + spent["get_betas"],
            ),
        ):
            fits.betas[gene] = columns, on_average_scale(columns, betas, xy, REACH)
            fits.seconds[gene] = seconds
        seed.heldout[gene] = {int(k): r2 for k, r2 in found["heldout_scores"].items()}
    yield from (seed, network)


def report(fits: Fits, values: dict[str, float], peers: dict[str, dict[str, float]]) -> None:
    """Print one line of the table; a figure that is worse than the peer's is marked.

    `peers` holds the values of the peer's models, "seed" and "network".
    """
    if fits.failure:
        print(f"{fits.name:28s}  {fits.failure}", flush=True)
        return
    line, worse = "", []
    for column in COLUMNS:
        value = values[column.title]
        text = "-" if np.isnan(value) else f"{value:.{column.digits}f}"
        beside = [fits.beside] if column.title == "CPU s" else list(peers)
        theirs = [peers[model][column.title] for model in beside if model in peers]
        is_worse = column.distance(value) > min(map(column.distance, theirs), default=np.inf)
        if is_worse:
            worse.append(column.title)
        line += f"{text:>{column.width}s}{'!' if is_worse else ' '}"
    told = f"  worse: {', '.join(worse)}" if worse else ""
    print(f"{fits.name:28s}{line}{told}", flush=True)


def report_targets(fitted: list[Fits], adata: ad.AnnData) -> None:
    """Print the correlation within cell types by target."""
    table = {}
    for fits in fitted:
        found = pd.DataFrame(within_types(fits, adata), columns=["gene", "r"])
        if not fits.failure and len(found):
            table[fits.name] = found.groupby("gene")["r"].mean()
    print("\ncorrelation with the true betas within cell types")
    frame = pd.DataFrame(table).T.round(3)
    names = {kind.gene: f"{kind.gene}: {kind.what}" for kind in KINDS}
    print("  " + "\n  ".join(names[gene] for gene in frame.columns))
    print(frame.to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", action="store_true", help="5,000 cells, all targets and modes")
    parser.add_argument("--cells", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of another tissue")
    parser.add_argument("--modes", nargs="+", default=None, help="only modes that begin so")
    parser.add_argument("--targets", nargs="+", default=None)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--keep", type=Path, default=None, help="folder of what the peer found")
    given = parser.parse_args()
    n_cells = given.cells or (5000 if given.whole else 2000)
    everything = [kind.gene for kind in KINDS]
    genes = given.targets or (everything if given.whole else ["Target1", "Target3", "Target6"])
    modes = [mode for mode in MODES if given.whole or mode.short]
    if given.modes:
        modes = [mode for mode in MODES if mode.name.startswith(tuple(given.modes))]
    with tempfile.TemporaryDirectory() as name, threadpool_limits(limits=1):
        files = write_tissue(Path(name), n_cells, seed=given.seed)
        adata = ad.read_h5ad(files.adata)
        print(
            f"{n_cells} cells, {', '.join(genes)}; networks: {given.epochs} epochs, {PIXELS} "
            f"pixels; R² of the truth itself {ceiling(adata):.3f}"
        )
        kept = given.keep and given.keep / f"{n_cells}_cells_{given.epochs}_epochs_{given.seed}"
        peer = None if given.no_peer else fit_peer(adata, files, genes, given.epochs, kept)
        print(f"{'':28s}" + "".join(f"{c.title:>{c.width}s} " for c in COLUMNS), flush=True)
        fitted = [] if peer is None else list(peer_fits(peer, adata, given.epochs))
        peers = {fits.beside: measure(fits, adata) for fits in fitted}
        for fits in fitted:
            report(fits, peers[fits.beside], {})
        fit_mode(MODES[0], adata, files, genes[:1], given.epochs)  # compiles what is compiled
        for mode in modes:
            fits = fit_mode(mode, adata, files, genes, given.epochs)
            report(fits, {} if fits.failure else measure(fits, adata), peers)
            fitted.append(fits)
    print(LEGEND)
    report_targets(fitted, adata)
    if peer is not None:
        shared = ", ".join(f"{stage} {s:.2f} s" for stage, s in peer.seconds.items())
        print(f"shared by the peer's genes: {shared}; peak {peer.peak_gb:.1f} GB")


if __name__ == "__main__":
    main()
