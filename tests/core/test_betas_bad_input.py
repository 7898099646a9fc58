"""What a user can get wrong: one sentence, or a documented sensible result, never a crash."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, REGULATORS, config, estimator, tissue

from celldyn.betas import RegulatoryFactory, prepare
from celldyn.errors import CelldynError, ConfigError, DataError, MissingKeyError, PriorError

MODELS = [
    {"num_epochs": 0},
    {"vision_model": "smooth"},
    {"vision_model": "cnn", "num_epochs": 1},
    {"vision_model": "transformer", "num_epochs": 1},
]


def one_cell_type(adata):
    kinds = adata.obs["cell_type_int"].to_numpy().copy()
    kinds[0] = 99
    adata.obs["cell_type_int"] = kinds


def on_a_line(adata):
    adata.obsm["spatial"][:, 1] = 5.0


def in_one_place(adata):
    adata.obsm["spatial"][:] = 5.0


def one_regulator_twice(adata):
    adata.layers["imputed_count"][:, 2] = adata.layers["imputed_count"][:, 1]


def in_trillions(adata):
    adata.layers["imputed_count"] *= 1e12


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.get("vision_model", "linear"))
@pytest.mark.parametrize(
    "spoil",
    [one_cell_type, on_a_line, in_one_place, one_regulator_twice, in_trillions],
    ids=lambda f: f.__name__,
)
def test_odd_tissue_gives_finite_betas(spoil, model):
    adata = tissue(150)
    spoil(adata)
    fitted = estimator(adata)
    fitted.fit(pbar=False, **model)
    assert np.isfinite(fitted.get_betas().to_numpy()).all()
    assert np.isfinite(list(fitted.scores.values())).all()
    pd.testing.assert_frame_equal(fitted.get_betas(), fitted.get_betas())


@pytest.mark.parametrize("radius", [1e-9, 1e9])
@pytest.mark.parametrize("model", MODELS[:3], ids=lambda m: m.get("vision_model", "linear"))
def test_a_radius_of_nothing_or_of_everything_works(model, radius):
    fitted = estimator(tissue(150, noise=0.2), radius=radius, contact_distance=radius)
    fitted.fit(pbar=False, **model)
    assert np.isfinite(fitted.get_betas().to_numpy()).all()
    assert min(fitted.scores.values()) > (0.2 if model.get("vision_model") == "cnn" else 0.5)


@pytest.mark.parametrize("n", [1, 5, 30])
def test_few_cells_keep_what_they_can(n):
    adata = tissue()[:n].copy()
    fitted = estimator(adata)
    fitted.fit(pbar=False)
    betas = fitted.get_betas()
    assert len(betas) == n
    assert np.isfinite(betas.to_numpy()).all()
    for fit in fitted.result.fits:
        if fit.n_cells < 10:
            assert fit.status.startswith("intercept only")


def test_a_target_that_is_constant_keeps_its_value():
    fitted = estimator(tissue(), target="Silent")
    fitted.fit(pbar=False)
    assert not fitted.get_betas().to_numpy().any()
    assert set(fitted.scores.values()) == {0.0}


def test_no_pair_in_the_data_leaves_the_regulators():
    nowhere = pd.DataFrame({"ligand": ["Foo"], "receptor": ["Bar"]})
    fitted = estimator(tissue(noise=0.2), lr=nowhere)
    fitted.fit(pbar=False)
    assert fitted.modulators == REGULATORS
    assert min(fitted.scores.values()) > 0.5


def test_sentences():
    grn = RegulatoryFactory(links=pd.DataFrame({"source": ["Tf1"], "target": ["RecA"]}))
    broken, lost = tissue(), tissue()
    broken.layers["imputed_count"][3, 0] = np.nan
    lost.obsm["spatial"][3, 0] = np.nan
    cases = [
        (DataError, "no cells", lambda: estimator(tissue()[:0].copy())),
        (MissingKeyError, "Nope", lambda: estimator(tissue(), target="Nope")),
        (DataError, "Target", lambda: estimator(broken)),
        (CelldynError, "cell3", lambda: estimator(lost)),
        (ConfigError, "radius", lambda: estimator(tissue(), radius=0)),
        (ConfigError, "radius", lambda: estimator(tissue(), radius=float("inf"))),
        (PriorError, "Target", lambda: prepare(tissue(), config(regulators=None), grn=grn)),
        (ConfigError, "epochs", lambda: estimator(tissue()).fit(epochs=3)),
        (ConfigError, "vision_model", lambda: estimator(tissue()).fit(vision_model="rnn")),
    ]
    for error, says, act in cases:
        with pytest.raises(error, match=says) as caught:
            act()
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")


def test_images_that_no_patches_fit_are_refused():
    fitted = estimator(tissue(60), spatial_dim=10)
    with pytest.raises(ConfigError, match="spatial_dim"):
        fitted.fit(vision_model="transformer", num_epochs=1, pbar=False)
    fitted.fit(vision_model="cnn", num_epochs=1, pbar=False)  # any side will do


def test_regulators_per_cell_type_need_a_network_that_has_them():
    links = pd.DataFrame({"source": ["Tf1", "Tf2"], "target": ["Target"] * 2})
    with pytest.raises(PriorError, match="cluster"):
        prepare(
            tissue(),
            config(regulators=None, cluster_regulators=True),
            grn=RegulatoryFactory(links=links),
            lr=PAIRS,
        )
    with pytest.raises(ConfigError, match="cluster_regulators"):
        prepare(tissue(), config(cluster_regulators=True), lr=PAIRS)


@pytest.mark.parametrize("model", MODELS[:3], ids=lambda m: m.get("vision_model", "linear"))
def test_a_cell_type_has_only_its_own_regulators(model):
    links = pd.DataFrame(
        [("Tf1", "Target", c) for c in "027"] + [("Tf2", "Target", "2")],
        columns=["source", "target", "cluster"],
    )
    fitted = estimator(
        tissue(noise=0.3),
        regulators=None,
        grn=RegulatoryFactory(links=links),
        cluster_regulators=True,
        use_ligands=False,
    )
    fitted.fit(pbar=False, **model)
    betas = fitted.get_betas()
    kinds = fitted.adata.obs["cell_type_int"].to_numpy()
    assert betas.loc[kinds == 2, "beta_Tf2"].to_numpy().all()
    assert not betas.loc[kinds != 2, "beta_Tf2"].to_numpy().any()
    assert betas["beta_Tf1"].to_numpy().all()
