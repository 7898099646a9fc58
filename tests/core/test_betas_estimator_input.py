"""Wrong input, and models on disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, REGULATORS, config, estimator, tissue

from celldyn.betas import (
    BetasConfig,
    RegulatoryFactory,
    prepare,
)
from celldyn.errors import (
    CelldynError,
    ConfigError,
    DataError,
    MissingKeyError,
    NotFittedError,
    PriorError,
)


def test_export_and_load_on_other_cells(tmp_path):
    model = estimator(tissue(noise=0.2), regulators=[*REGULATORS, "Silent"])
    with pytest.raises(NotFittedError):
        model.export(tmp_path)
    model.fit(num_epochs=0, pbar=False)
    path = model.export(tmp_path / "models")
    assert path == tmp_path / "models" / "Target_estimator.safetensors"
    assert path.stat().st_size < 10_000
    other = tissue(60, seed=9)
    other = other[:, other.var_names != "Silent"].copy()
    loaded = estimator(other, "RecC", regulators=["Tf3"], use_ligands=False)
    loaded.load(path)
    assert loaded.target_gene == "Target"
    assert loaded.modulators == model.modulators
    assert loaded.dropped_modulators == ["Silent"]
    assert loaded.scores == model.scores
    assert loaded.heldout_scores == model.heldout_scores
    assert loaded.config == model.config
    betas = loaded.get_betas()
    for label, row in model.models.items():
        at = (other.obs["cell_type_int"] == label).to_numpy()
        assert (betas[at] == row).all(axis=None)
    again = estimator(model.adata)
    again.load(path)
    pd.testing.assert_frame_equal(again.get_betas(), model.get_betas())
    silent = tissue(60, seed=9)
    silent.layers["imputed_count"][:, 3] = 0.0
    loaded = estimator(silent)
    loaded.load(path)
    assert loaded.init_data()[1].shape == (60, 6)  # Tf3 does not vary here, and keeps its column
    assert loaded.modulators == model.modulators


def test_load_refuses_what_is_no_model(tmp_path):
    from celldyn.persist import save_tensors

    model = estimator(tissue())
    wrong = save_tensors(tmp_path / "x.safetensors", {"a": np.zeros(1)}, {"format": "other"})
    (tmp_path / "y.safetensors").write_text("garbage")
    for path in (wrong, tmp_path / "y.safetensors", tmp_path / "nowhere"):
        with pytest.raises(CelldynError):
            model.load(path)
    model.fit(num_epochs=0, pbar=False)
    path = model.export(tmp_path)
    poor = tissue()
    poor = poor[:, [name for name in poor.var_names if name != "RecA"]].copy()
    with pytest.raises(MissingKeyError, match="RecA"):
        estimator(poor, lr=PAIRS[1:2]).load(path)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"target_gene": "Targett"}, MissingKeyError, "Target"),
        ({"layer": "nolayer"}, MissingKeyError, "nolayer"),
        ({"cluster_annot": "kind"}, MissingKeyError, "kind"),
        ({"section_key": "slice"}, MissingKeyError, "slice"),
        ({"regulators": ["Tf9"]}, MissingKeyError, "Tf9"),
        ({"regulators": None}, ConfigError, "colinks_path"),
        ({"lr": None}, ConfigError, "ligand-receptor"),
        ({"skip_clusters": [5]}, ConfigError, "5"),
        ({"regulators": [], "use_ligands": False}, PriorError, "modulate"),
    ],
)
def test_wrong_input_is_one_sentence_before_any_work(options, error, says):
    with pytest.raises(error, match=says) as caught:
        prepare(tissue(), config(**options))
    assert "\n" not in str(caught.value)


def test_a_grn_without_the_gene_and_values_that_are_not_finite():
    grn = RegulatoryFactory(links=pd.DataFrame({"source": ["Tf1"], "target": ["RecA"]}))
    with pytest.raises(PriorError, match="no regulator of Target"):
        prepare(tissue(), config(regulators=None), grn=grn, lr=PAIRS)
    adata = tissue()
    adata.layers["imputed_count"][3, 1] = np.nan
    with pytest.raises(DataError, match="Tf1"):
        prepare(adata, config(), lr=PAIRS)


def test_no_pair_in_the_data_is_a_note_and_not_an_end():
    pairs = pd.DataFrame({"ligand": ["Foo"], "receptor": ["Bar"]})
    inputs = prepare(tissue(), config(), lr=pairs)
    assert inputs.modulators.names == REGULATORS
    assert "ligand-receptor" in inputs.notes[0]


def test_betas_before_fit_say_so():
    with pytest.raises(NotFittedError, match="fit"):
        estimator(tissue()).get_betas()


@pytest.mark.parametrize(
    "wrong",
    [{"radius": 0}, {"heldout_folds": 1}, {"estimator": "ridge"}, {"score_threshold": 1.0}],
)
def test_config_refuses(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        config(**wrong)


def test_config_survives_json():
    settings = config(skip_clusters=[1, "a/b"], lr="liana:cellchatdb")
    assert settings.skip_clusters == ["1", "a/b"]
    assert BetasConfig.model_validate_json(settings.model_dump_json()) == settings


def test_fit_takes_no_parameter_of_the_constructor():
    with pytest.raises(ConfigError, match="radius is no parameter of fit"):
        estimator(tissue()).fit_job(num_epochs=0, radius=5.0)
