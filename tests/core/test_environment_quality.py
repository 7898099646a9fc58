"""A trained environment beside simple methods: its figures, its cells, and how they are kept."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pytest
from environment_manager_cases import at_rest, environment, tables

from celldyn.environment import gather, imputation_scores, quality_of, read_quality, write_quality
from celldyn.environment.simulating import Simulator
from celldyn.environment.telling import tell_job
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import run

TRAIN = np.arange(24) % 3 > 0


def case():
    adatas = tables()
    return environment(adatas, train=TRAIN), adatas


def test_figures_are_of_what_places_tell_after_the_run():
    fitted, adatas = case()
    found = quality_of(fitted, adatas, time=1.0, seed=5)
    assert list(found.tables[1].index) == ["environment", "mean", "ridge", "kNN"]
    assert (found.n_scored, found.held_out, found.report.time) == (8, True, 1.0)
    data = gather(adatas, fitted.config.data)
    simulator = Simulator(fitted, fitted_features(fitted, adatas))
    state = simulator.start(5)
    course = run(simulator.run_job(state, time=1.0, skip_time=1.0), bar=False)
    told = run(tell_job(fitted, course.state.position[0].numpy(), 1, inverse=False), bar=False)
    truth = fitted_features(fitted, adatas)[1].numpy()
    expected = imputation_scores(told, truth, TRAIN, spatial=True)
    assert found.tables[1].loc["environment"].to_dict() == pytest.approx(expected)
    places = course.state.position[0].numpy()
    again = quality_of(fitted, adatas, places=places, report=found.report, seed=5)
    assert str(again) == str(found)  # nothing was simulated for it
    assert "rest" not in str(quality_of(fitted, adatas, places=places))
    assert data.targets == (0, 1)  # this config names no target; those of the environment hold


def fitted_features(fitted, adatas):
    import torch

    return [torch.from_numpy(each) for each in fitted.preprocessing.transform(adatas)]


def test_held_out_are_the_cells_that_the_environment_does_not_name_as_trained_on():
    fitted, adatas = case()
    shuffled = [each[::-1] for each in adatas]
    mine, turned = quality_of(fitted, adatas, time=0.2), quality_of(fitted, shuffled, time=0.2)
    for method in ("mean", "ridge", "kNN"):  # these know no order of cells
        np.testing.assert_allclose(
            mine.tables[1].loc[method], turned.tables[1].loc[method], atol=1e-5
        )
    others = [each.copy() for each in adatas]
    for each in others:
        each.obs_names = [*each.obs_names[:12], *(f"new{i}" for i in range(12))]
    assert quality_of(fitted, others, time=0.2).n_scored == 4 + 12


def test_all_cells_are_scored_where_all_were_trained_on():
    adatas = tables()
    found = quality_of(environment(adatas), adatas, time=0.2)
    assert (found.n_scored, found.held_out) == (24, False)
    assert "24 cells, all trained on" in str(found)


def test_cells_that_rest_end_the_run_early_and_the_sentence_says_what_is_best():
    fitted, adatas = case()
    found = quality_of(at_rest(fitted), adatas, time=200.0, methods=["mean", "kNN"])
    assert found.report.reached
    assert found.report.time < 200
    assert "best simple method" in str(found)
    assert "came to rest" in str(found)
    assert set(found.table()["method"]) == {"environment", "mean", "kNN"}


def test_figures_are_kept_on_the_data_set_and_through_a_file(tmp_path):
    fitted, adatas = case()
    found = quality_of(fitted, adatas, time=0.2)
    adata = adatas[0]
    with pytest.raises(MissingKeyError, match="no figures"):
        read_quality(adata)
    assert write_quality(adata, found) == {"uns/environment_quality"}
    adata.write_h5ad(tmp_path / "a.h5ad")
    for held in (adata, anndata.read_h5ad(tmp_path / "a.h5ad")):
        again = read_quality(held)
        assert str(again) == str(found)
        for k, table in found.tables.items():
            np.testing.assert_array_equal(again.tables[k], table)
            assert list(again.tables[k].columns) == list(table.columns)
    adata.uns["celldyn"]["environment_quality"]["report"] = "{"
    with pytest.raises(DataError, match="damaged"):
        read_quality(adata)


def test_other_data_are_refused():
    fitted, adatas = case()
    with pytest.raises(DataError, match="modality 1 has 20 cells"):
        quality_of(fitted, [adatas[0], adatas[1][:20]])
    wrong = replace(fitted, inputs=(0, 1))
    with pytest.raises(DataError, match="cells have 8 features and the policy was trained on 6"):
        quality_of(wrong, adatas)
