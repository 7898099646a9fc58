"""Runs SpaceTravLR 0.1.18 on a job and times it; `peer.py` starts it in the peer's environment.

`python peer_spacetravlr.py JOB.json RESULT.json`, where the job is what `peer.Job` holds. The
arrays lie beside the result as RESULT.npz. Two things of the peer are replaced: the table of
ligand-receptor pairs is the job's, and the ligand-target matrix, which the peer's constructor
fetches from the network each time, is read from the job's file.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

warnings.filterwarnings("ignore")

import anndata as ad  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

ANNOT, LAYER = "cell_type_int", "imputed_count"
SEED_GATE = 0.15
WARM_UP_CELLS = 60
FEWEST_PIXELS = 8


class Clock:
    """CPU seconds of this process by stage."""

    def __init__(self):
        self.seconds = defaultdict(float)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.process_time() - started


def load_peer(job: SimpleNamespace):
    """Import the peer and give it the job's priors; returns its modules."""
    import torch

    torch.set_num_threads(1)
    import SpaceTravLR.gene_factory as factory
    import SpaceTravLR.models.parallel_estimators as estimators
    from SpaceTravLR.models.spatial_map import xyc2spatial_fast
    from SpaceTravLR.tools.network import RegulatoryFactory

    pairs = pd.read_csv(job.lr)
    for module in (factory, estimators):
        module.get_cellchat_db = lambda species: pairs.copy()
    scores = _scores(job, pairs)
    read = pd.read_parquet

    def read_parquet(path, *given, **named):
        return scores.copy() if str(path).startswith("http") else read(path, *given, **named)

    pd.read_parquet = read_parquet
    links = dict(iter(pd.read_csv(job.grn).groupby("cluster")))
    grn = RegulatoryFactory(links=links, annot=ANNOT)
    return SimpleNamespace(
        estimators=estimators, factory=factory, maps=xyc2spatial_fast, grn=grn, torch=torch
    )


def _scores(job: SimpleNamespace, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the ligand-target scores; all 0, which makes no pair, where the job has none."""
    if job.ligand_target is not None:
        return pd.read_csv(job.ligand_target, index_col=0)
    sources, ligands = pd.read_csv(job.grn)["source"].unique(), pairs["ligand"].unique()
    return pd.DataFrame(0.0, index=sources, columns=ligands)


class Recording:
    """Stands for the peer's GroupLasso class: the same solver, timed, and its fits kept."""

    def __init__(self, solver: type, clock: Clock):
        self.solver, self.clock, self.fits = solver, clock, []

    def __call__(self, **parameters):
        model = self.solver(**parameters)
        fit = model.fit

        def timed(X, y):
            with self.clock.stage("seed"):
                fit(X, y)
            self.fits.append((model.coef_.ravel().copy(), float(np.ravel(model.intercept_)[0])))
            self.parameters = parameters
            return model

        model.fit = timed
        return model

    def again(self, X, y):
        """Return a model of other cells, with the parameters of the last fit."""
        return self.solver(**self.parameters).fit(X, y)


def received(peer, adata, job: SimpleNamespace) -> None:
    peer.estimators.init_received_ligands(
        adata, radius=job.radius, cell_threshes=None, contact_distance=job.contact_distance
    )


def features(peer, adata, job: SimpleNamespace) -> pd.DataFrame:
    x, y = adata.obsm["spatial"].T
    return peer.estimators.create_spatial_features(
        x, y, adata.obs[ANNOT], adata.obs.index, radius=job.radius
    )


def maps(peer, adata, pixels: int) -> np.ndarray:
    xyc = np.column_stack([adata.obsm["spatial"], adata.obs[ANNOT]])
    return peer.maps(xyc=xyc, m=pixels, n=pixels)


def warm_up(peer, adata, job: SimpleNamespace) -> None:
    """Compile the peer's functions and wake torch up, so that no stage pays for it."""
    few = adata[:WARM_UP_CELLS].copy()
    received(peer, few, job)
    few.obs[ANNOT] = 0
    maps(peer, few, FEWEST_PIXELS)
    torch, pixels = peer.torch, job.spatial_dim
    network = peer.estimators.CellularNicheNetwork(8, spatial_dim=pixels, n_clusters=2)
    for _ in range(3):
        batch = torch.ones(WARM_UP_CELLS, 1, pixels, pixels), torch.ones(WARM_UP_CELLS, 8)
        network(*batch, torch.ones(WARM_UP_CELLS, 2)).sum().backward()


def shared_stages(peer, adata, job: SimpleNamespace, clock: Clock) -> None:
    """Do what is done once for all genes; the estimator finds the results on the AnnData."""
    with clock.stage("received ligands"):
        received(peer, adata, job)
    with clock.stage("spatial features"):
        adata.obsm["spatial_features"] = features(peer, adata, job)
    with clock.stage("spatial maps"):
        adata.obsm["spatial_maps"] = maps(peer, adata, job.spatial_dim)


def one_gene(peer, adata, job: SimpleNamespace, gene: str, arrays: dict) -> dict:
    """Fit one gene as the peer does; returns seconds and scores, and fills `arrays`."""
    clock = Clock()
    with clock.stage("constructor"):
        estimator = peer.estimators.SpatialCellularProgramsEstimator(
            adata,
            gene,
            spatial_dim=job.spatial_dim,
            cluster_annot=ANNOT,
            layer=LAYER,
            radius=job.radius,
            contact_distance=job.contact_distance,
            grn=peer.grn,
        )
    prepare = estimator.init_data

    def timed_prepare():
        with clock.stage("design"):
            return prepare()

    estimator.init_data = timed_prepare
    solver = peer.estimators.GroupLasso
    peer.estimators.GroupLasso = record = Recording(solver, clock)
    peer.torch.manual_seed(job.seed)
    np.random.seed(job.seed)  # noqa: NPY002  the peer turns its maps with the global generator
    bar = SimpleNamespace(update=lambda *_: None, desc="")
    try:
        with clock.stage("whole fit"):
            estimator.fit(num_epochs=job.epochs, pbar=bar)
    finally:
        peer.estimators.GroupLasso = solver
    labels = np.unique(estimator.cluster_labels)
    scores = {int(label): float(estimator.scores[label]) for label in labels}
    arrays[f"{gene}/columns"] = np.array(["beta0", *(f"beta_{m}" for m in estimator.modulators)])
    arrays[f"{gene}/seed"] = np.array(
        [
            np.concatenate([[intercept], coef]) * (scores[int(label)] >= SEED_GATE)
            for label, (coef, intercept) in zip(labels, record.fits, strict=True)
        ]
    )
    if job.epochs:
        with clock.stage("get_betas"):
            betas = estimator.get_betas()
        arrays[f"{gene}/network"] = betas.to_numpy(np.float32)
        spent = clock.seconds
        spent["network"] = spent["whole fit"] - spent["seed"] - spent["design"]
        trained = np.isin(
            estimator.cluster_labels, [k for k, r2 in scores.items() if r2 >= SEED_GATE]
        )
        spent["network per cell and epoch"] = spent["network"] / max(
            int(trained.sum()) * job.epochs, 1
        )
    heldout = {}
    if job.folds is not None:
        with clock.stage("held-out folds"):
            heldout = held_out(record, estimator, np.load(job.folds))
    return {"seconds": dict(clock.seconds), "scores": scores, "heldout_scores": heldout}


def held_out(record: Recording, estimator, folds: np.ndarray) -> dict[int, float]:
    """Return by cluster the R² of the seed on blocks of cells that it was fitted without."""
    scores = {}
    for label in np.unique(estimator.cluster_labels):
        mask = estimator.cluster_labels == label
        X, y, fold = estimator.Xn[mask], estimator.yn[mask].astype(float), folds[mask]
        predicted = np.empty(len(y))
        for k in np.unique(fold):
            out = fold == k
            predicted[out] = record.again(X[~out], y[~out]).predict(X[out]).ravel()
        scores[int(label)] = float(1 - ((y - predicted) ** 2).mean() / max(y.var(), 1e-12))
    return scores


def perturb(peer, adata, job: SimpleNamespace, folder: Path, clock: Clock, arrays: dict) -> None:
    """Perturb one gene, given betas of some genes on the peer's scale."""
    given, betas = job.perturb, np.load(job.perturb["betas"])
    genes = sorted({key.split("/")[0] for key in betas.files})
    models = folder / "models"
    models.mkdir(exist_ok=True)
    for gene in genes:
        table = pd.DataFrame(
            betas[f"{gene}/values"], index=adata.obs_names, columns=betas[f"{gene}/columns"]
        )
        table.to_parquet(models / f"{gene}_betadata.parquet")
    # Without thresholds this step of the peer stops with an error; 1 lets every gene count.
    thresholds = pd.DataFrame(1.0, index=adata.obs_names, columns=adata.var_names)
    adata.uns["cell_thresholds"] = thresholds
    adata.layers["normalized_count"] = adata.layers[LAYER]
    with clock.stage("perturbation: reading betas"):
        factory = peer.factory.GeneFactory(
            adata,
            str(models),
            annot=ANNOT,
            radius=job.radius,
            contact_distance=job.contact_distance,
        )
        factory.adata.uns["cell_thresholds"] = thresholds
        factory.load_betas()
    with clock.stage("perturbation"):
        after = factory.perturb(
            given["gene"], n_propagation=given["n_propagation"], gene_expr=given["value"]
        )
    arrays["perturbed"] = after.to_numpy(np.float64)
    arrays["perturbed/genes"] = np.array([str(gene) for gene in after.columns])


def main(job_path: str, result_path: str) -> None:
    job = SimpleNamespace(**json.loads(Path(job_path).read_text(encoding="utf-8")))
    if job.epochs == 0:
        job.spatial_dim = FEWEST_PIXELS  # the maps are made all the same, and not looked at
    clock, arrays, genes = Clock(), {}, {}
    with contextlib.redirect_stdout(io.StringIO()):
        peer = load_peer(job)
        adata = ad.read_h5ad(job.adata)
        adata.uns.clear()
        warm_up(peer, adata, job)
        if job.stages:
            shared_stages(peer, adata, job, clock)
        for gene in job.genes:
            genes[gene] = one_gene(peer, adata, job, gene, arrays)
        if job.perturb is not None:
            perturb(peer, adata, job, Path(result_path).parent, clock, arrays)
    unit = 1e9 if sys.platform == "darwin" else 1e6
    result = {
        "version": version("SpaceTravLR"),
        "seconds": dict(clock.seconds),
        "genes": genes,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")
    np.savez(Path(result_path).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:3])
