"""On a tissue whose rules are known, a predicted knock-out is what the rules say."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.betas import PerturbConfig, load_models_job, perturb_job, prepare_perturb
from celldyn.betas.panel import BetaStore, PanelConfig, panel_job, prepare_panel
from celldyn.data import samples
from celldyn.jobs import run
from celldyn.perturbation import Perturbation
from celldyn.simulate.scoring.environment import true_effect

TARGETS = ["Target1", "Target2", "Target3"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    adata = samples.load("two_niches")
    config = PanelConfig(
        genes=TARGETS,
        cluster_annot="cell_type",
        colinks_path=str(samples.path("grn.csv")),
        lr=str(samples.path("ligand_receptor.csv")),
    )
    inputs = prepare_panel(adata, config)
    store = BetaStore.create(tmp_path_factory.mktemp("store") / "t.zarr", inputs, config)
    run(panel_job(inputs, config, store), bar=False)
    return adata, run(load_models_job(store), bar=False)


def by_type(adata, delta):
    types = adata.obs["cell_type"].to_numpy()
    return np.array([delta[types == kind].mean(axis=0) for kind in np.unique(types)])


@pytest.mark.parametrize("gene", ["Tf1", "Lig1", "Rec1"])
def test_factors_ligands_and_receptors_are_knocked_out_as_the_truth_has_it(fitted, gene):
    adata, models = fitted
    perturbation = Perturbation.knock_out(gene)
    at = [adata.var_names.get_loc(target) for target in TARGETS]
    true = true_effect(adata, perturbation)[:, at].toarray()
    predicted = {}
    for version in ("corrected", "0.1.18"):
        config = PerturbConfig(version=version)
        inputs = prepare_perturb(adata, perturbation, config, fields=models)
        result = run(perturb_job(inputs, config), bar=False)
        predicted[version] = np.column_stack([result.of(target) for target in TARGETS])
    a, b = by_type(adata, true), by_type(adata, predicted["corrected"])
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95
    assert 0.8 < (a * b).sum() / (a**2).sum() < 1.2
    left = np.square(true - predicted["corrected"]).sum() / np.square(true).sum()
    assert left < 0.3
    # The peer's way loses a receptor's effect after its first step.
    assert (np.abs(predicted["0.1.18"]).max() > 1e-3) == (gene != "Rec1")
