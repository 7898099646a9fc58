"""Perturbations of a model, as the seed's example asks for them and as ours do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from landscape_perturb_cases import GENES, fork_cells, small_config

from celldyn.errors import DataError, MissingKeyError, NotFittedError
from celldyn.jobs import run
from celldyn.landscape import LSD, PerturbConfig
from celldyn.perturbation import Perturbation

QUICK = PerturbConfig(time=6.0, n_null=20, n_bootstrap=100)


@pytest.fixture(scope="module")
def model():
    """A model of the fork whose networks are the known ones, and its data set."""
    x, labels, networks = fork_cells(300)
    adata = AnnData(x.numpy())
    adata.var_names = list(GENES)
    adata.obs_names = [f"cell_{k}" for k in range(300)]
    adata.layers["raw"] = np.rint(10 * x.numpy())
    adata.obs["librarysize"] = adata.layers["raw"].sum(axis=1)
    adata.obs["clusters"] = pd.Categorical(labels.astype(str))
    lsd = LSD(adata, small_config(), device="cpu")
    lsd.networks = networks
    lsd._course.epoch = 1
    return lsd


def test_the_seeds_example_runs(model):
    result = model.adata.copy()
    X = torch.from_numpy(np.asarray(result.X)).float()
    perturbed_fates, unperturbed_fates = model.perturb(
        adata=result,
        x=X,
        gene_name="left",
        cluster_key="clusters",
        perturbation_level=0,  # Knockout
    )
    for fates in (perturbed_fates, unperturbed_fates):
        assert isinstance(fates, pd.Categorical)
        assert list(fates.categories) == ["L", "R", "Stem"]
        assert len(fates) == 300
    assert (perturbed_fates == "L").sum() < 0.5 * (unperturbed_fates == "L").sum()


def test_some_cells_may_be_followed_among_some(model):
    part = model.adata[model.adata.obs["clusters"] != "Stem"].copy()
    part.obs["side"] = part.obs["clusters"].astype(str)
    x = np.asarray(model.adata.X)[:7]
    perturbed, control = model.perturb(part, x, ["left", "house_3"], "side", 5.0, t_unpert=4)
    assert len(perturbed) == len(control) == 7
    assert (perturbed == "L").all()
    assert set(control) <= {"L", "R"}


def test_effects_are_of_the_cells_that_are_perturbed(model):
    stem = model.adata.obs_names[model.adata.obs["clusters"] == "Stem"][:30]
    effect = model.perturb_effects(Perturbation.knock_out("left", cells=stem), config=QUICK)
    np.testing.assert_array_equal(model.adata.obs_names[effect.cells], stem)
    assert effect.gained == "R"
    assert effect.p_any == 1 / 21


def test_genes_that_lead_from_a_cluster_to_a_fate(model):
    genes = ["house_1", "left", "right", "house_2"]
    table = model.genes_toward("Stem", "R", genes=genes, config=QUICK)
    assert {tuple(row) for row in table[["gene", "change"]].to_numpy()[:2]} == {
        ("left", "knockout"), ("right", "overexpress"),
    }  # fmt: skip
    assert len(table) == 8
    with pytest.raises(MissingKeyError, match="'X' is no cluster"):
        model.genes_toward("Stem", "X", genes=genes)


def test_a_screen_of_a_model_is_that_of_its_networks(model):
    cells = np.flatnonzero(model.adata.obs["clusters"] == "Stem")[:20]
    found = model.screen(cells=cells, genes=["left", "right"], config=QUICK.replace(n_null=0))
    alone = model.perturb_effects(
        Perturbation.knock_out("right"), cells=cells, config=QUICK.replace(n_null=0)
    )
    np.testing.assert_allclose(found.effect[1], alone.effect, atol=1e-6)


def test_noise_may_be_what_walks_imply(model):
    config = QUICK.replace(sigma=None, n_runs=4, n_null=0)
    knock_out = Perturbation.knock_out("left")
    with pytest.raises(NotFittedError, match="set_prior_transition"):
        model.perturb_effects(knock_out, config=config, cells=[0, 1])
    forward = np.roll(np.eye(300), 1, axis=1)
    model.set_prior_transition(prior_transition=forward)
    model.prepare_walks(64, 6)
    effect = model.perturb_effects(knock_out, config=config, cells=[0, 1])
    assert effect.config.sigma is not None
    assert effect.config.sigma >= 0
    model.walks = None


def test_what_cannot_be_done_is_refused_in_a_sentence(model):
    x = np.asarray(model.adata.X)
    with pytest.raises(MissingKeyError, match="'Noto'"):
        model.perturb(model.adata, x, "Noto", "clusters")
    with pytest.raises(MissingKeyError, match="no column 'cluster'"):
        model.perturb(model.adata, x, "left", "cluster")
    with pytest.raises(DataError, match="knows 422 genes"):
        model.perturb(model.adata, x[:, :5], "left", "clusters")
    with pytest.raises(DataError, match="not finite"):
        model.perturb(model.adata, np.full_like(x[:3], np.nan), "left", "clusters")
    new = LSD(model.adata, small_config(), device="cpu")
    with pytest.raises(NotFittedError, match="not trained"):
        run(new.perturb_effects_job(Perturbation.knock_out("left")), bar=False)
