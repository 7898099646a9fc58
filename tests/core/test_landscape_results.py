"""A landscape on its data set: every key, a file that goes on, results that go with the model."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch
from landscape_input_cases import lsd_adata, trained_lsd

from celldyn import keys, run
from celldyn.data import records
from celldyn.errors import DataError, MissingKeyError, NotFittedError
from celldyn.landscape import LSD
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.effect import PerturbationEffect
from celldyn.landscape.perturbing.screened import Screen
from celldyn.landscape.results import (
    delete_effect,
    delete_screen,
    effect_names,
    has_model,
    history_of,
    read_effect,
    read_model,
    read_screen,
    screen_names,
    summary,
    write_effect,
    write_fates,
    write_result,
    write_screen,
)
from celldyn.perturbation import Perturbation


@pytest.fixture(scope="module")
def lsd():
    return trained_lsd()


@pytest.fixture(scope="module")
def result(lsd):
    return run(lsd.result_job(), bar=False)


@pytest.fixture
def adata(result):
    given = lsd_adata()
    write_result(given, result)
    return given


def test_every_key_says_what_the_table_says(lsd, result):
    adata = lsd_adata()
    written = write_result(adata, result)
    n, d = adata.n_obs, lsd.potential.z_dim
    z = torch.from_numpy(adata.obsm["X_cell_state"])
    assert z.shape == (n, d)
    assert adata.obsm["X_diff_state"].shape == (n, 2)
    with torch.no_grad():
        V = lsd.potential(z).numpy()
        grad = lsd.potential.gradient(z).numpy()
    np.testing.assert_allclose(adata.obs["potential"], V, rtol=1e-5)
    np.testing.assert_allclose(adata.obsm["lsd_velocity"], -grad, rtol=1e-5, atol=1e-7)
    time = adata.obs["lsd_pseudotime"].to_numpy()
    np.testing.assert_allclose(time, (V.max() - V) / (V.max() - V.min() + 1e-8), atol=1e-4)
    assert adata.obs["lsd_flow_time"].between(0, 1).all()
    chances = adata.obsp["transitions"]
    np.testing.assert_allclose(np.asarray(chances.sum(axis=1)).ravel(), 1, rtol=1e-12)
    assert {path.split("/")[1] for path in written} == {
        "X_cell_state", "X_diff_state", "potential", "entropy", "lsd_pseudotime", "lsd_flow_time",
        "lsd_velocity", "transitions", "landscape", "records",
    }  # fmt: skip
    assert records(adata)[-1]["action"] == "landscape.train"
    assert records(adata)[-1]["config"]["model"]["z_dim"] == d


def test_flow_time_is_1_at_rest_and_0_where_most_lies_ahead(result):
    from dataclasses import replace

    rest = np.array([8.0, 0.0, 2.0])
    np.testing.assert_allclose(replace(result, rest=rest).flow_time, [0, 1, 0.75])
    np.testing.assert_allclose(replace(result, rest=0 * rest).flow_time, 1)


def test_get_adata_leaves_the_given_as_it_was_and_holds_the_model(lsd):
    found = lsd.get_adata()
    assert not has_model(lsd.adata)
    assert "potential" not in lsd.adata.obs
    other = LSD.from_adata(found, "cpu")
    np.testing.assert_array_equal(
        other.get_adata().obsm["X_cell_state"], found.obsm["X_cell_state"]
    )
    assert other.history.equals(lsd.history)
    assert history_of(found).equals(lsd.history)


def test_a_file_goes_on_as_if_it_had_never_been_closed(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    opened = anndata.read_h5ad(tmp_path / "a.h5ad")
    other = LSD.from_adata(opened, "cpu")
    other.train(2)
    whole = trained_lsd(epochs=4)
    for name, value in whole.networks.state_dict().items():
        assert torch.equal(value, other.networks.state_dict()[name]), name
    assert summary(opened) == summary(adata)


def test_a_zarr_store_holds_it_too(adata, tmp_path):
    adata.write_zarr(tmp_path / "a.zarr")
    opened = anndata.read_zarr(tmp_path / "a.zarr")
    np.testing.assert_array_equal(
        LSD.from_adata(opened, "cpu").get_adata().obsm["X_cell_state"], adata.obsm["X_cell_state"]
    )


def test_results_of_an_earlier_landscape_go_with_it(adata, result):
    adata.obs["fate"], adata.obs["plasticity"] = "late", 0.5
    adata.obsm["fate_probabilities"] = np.ones((adata.n_obs, 1))
    adata.obsm["lsd_arrows_X_umap"] = np.ones((adata.n_obs, 2))
    write_effect(adata, an_effect(), "Sox2")
    adata.uns["celldyn"] |= {"fates": "{}", "spatial_unit": "um"}
    written = write_result(adata, result)
    assert written >= {
        "obs/fate", "obs/plasticity", "obsm/fate_probabilities", "obsm/lsd_arrows_X_umap",
        "obsm/landscape_effect_Sox2", "uns/landscape_perturbed_Sox2", "uns/fates",
    }  # fmt: skip
    assert "fate" not in adata.obs
    assert effect_names(adata) == []
    assert adata.uns["celldyn"]["spatial_unit"] == "um"


def test_other_cells_are_refused(result):
    with pytest.raises(DataError, match="of 30 cells, and there are 29"):
        write_result(lsd_adata()[:29].copy(), result)


def test_a_data_set_without_a_landscape_or_with_a_damaged_one_says_so(adata):
    with pytest.raises(NotFittedError, match="holds no landscape"):
        read_model(lsd_adata())
    held = adata.uns["celldyn"]["landscape"]
    for change in (
        {"tensors": held["tensors"][:-1]},
        {"tensors": np.array([1, 2], np.uint8)},
        {"header": "{"},
        {"header": "[]"},
        {"schema": 99},
        {"schema": "x"},
    ):
        adata.uns["celldyn"]["landscape"] = {**held, **change}
        with pytest.raises(DataError, match=r"damaged|later version"):
            read_model(adata)
    adata.uns["celldyn"]["landscape"] = "rm -rf /"
    with pytest.raises(DataError, match="damaged"):
        read_model(adata)


def test_a_summary_for_a_person(adata):
    adata.obs["fate"] = np.repeat(["A", "B"], [20, 10])
    adata.obs["fate_certain"] = np.arange(30) < 24
    write_effect(adata, an_effect(), "Sox2")
    write_screen(adata, a_screen())
    said = summary(adata)
    assert "Landscape of 30 cells and 12 genes in 3 dimensions, 2 epochs" in said
    assert "Fates: A 20, B 10; 20% uncertain" in said
    assert "Perturbed: Sox2" in said
    assert "Screened: genes" in said


def test_fates_are_written_with_their_colours_and_replace_earlier_ones():
    from dataclasses import replace

    from celldyn.landscape.fate_table import fates_of_votes

    adata = lsd_adata()
    adata.uns["clusters_colors"] = np.array(["#ff0000", "#00ff00"], dtype=object)
    votes = np.column_stack([np.arange(30), 29 - np.arange(30)]) + 1
    fates = fates_of_votes(("early", "late"), votes)
    paths = np.zeros((4, 30), np.int32)
    written = write_fates(adata, replace(fates, paths=paths, times=np.arange(4.0)), "clusters")
    assert {"obs/fate", "obsm/fate_probabilities", "obsm/fate_paths", "uns/fates"} <= written
    np.testing.assert_allclose(adata.obsm["fate_probabilities"], fates.probabilities, rtol=1e-6)
    assert (adata.obsm["fate_low"] <= adata.obsm["fate_high"]).all()
    assert adata.obsm["fate_paths"].shape == (30, 4)
    assert list(adata.uns["fate_colors"]) == ["#ff0000", "#00ff00"]
    assert list(adata.obs["fate"].cat.categories) == ["early", "late"]
    adata.obs["fate_agreement"] = 1.0
    again = write_fates(adata, fates, None)
    assert {"obs/fate_agreement", "obsm/fate_paths"} <= again
    assert "fate_agreement" not in adata.obs
    assert "fate_paths" not in adata.obsm
    assert "fate_colors" not in adata.uns


# --- perturbations ------------------------------------------------------------------------------

FATES = ("A", "B")


def an_effect(cells=(3, 7, 29), null=5):
    rng = np.random.default_rng(0)
    before, after = rng.dirichlet([1, 1], (2, len(cells)))
    return PerturbationEffect(
        perturbation=Perturbation.knock_out("Sox2", cells=np.array(cells)),
        config=PerturbConfig(time=3.0, terminal=("A", "B")),
        names=FATES,
        cells=np.array(cells),
        clusters=np.array(["early", "late", "late"], dtype=object)[: len(cells)],
        before=before,
        after=after,
        effect=(after - before).mean(0),
        low=np.array([-0.3, np.nan]),
        high=np.array([0.2, 0.1]),
        se=np.full((len(cells), 2), np.nan),
        p=np.array([0.01, np.nan]),
        p_any=0.25,
        null=rng.normal(size=(null, 2)),
        notes=("one", "two"),
    )


@pytest.mark.parametrize("null", [0, 5])
@pytest.mark.parametrize("name", ["Sox2", "Sox2/Myc ×2"])
def test_a_perturbation_is_read_as_it_was_written(tmp_path, null, name):
    adata, effect = lsd_adata(), an_effect(null=null)
    written = write_effect(adata, effect, name)
    assert written == {
        keys.LANDSCAPE_EFFECT.path(name=name), keys.LANDSCAPE_PERTURBED.path(name=name)
    }  # fmt: skip
    adata.write_h5ad(tmp_path / "a.h5ad")
    opened = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert effect_names(opened) == [name]
    found = read_effect(opened, name)
    assert found.perturbation == effect.perturbation
    assert found.config == effect.config
    assert str(found) == str(effect)
    assert found.fates().equals(effect.fates())
    assert found.per_cell().equals(effect.per_cell())
    assert found.per_cluster().equals(effect.per_cluster())
    np.testing.assert_array_equal(found.null, effect.null)
    assert found.notes == effect.notes
    table = opened.obsm[keys.LANDSCAPE_EFFECT(name=name)]
    np.testing.assert_allclose(table[effect.cells], effect.change, atol=1e-6)
    assert np.isnan(np.delete(table, effect.cells, axis=0)).all()


def test_perturbations_are_listed_replaced_and_deleted():
    adata = lsd_adata()
    for name in ("b", "a", "b"):
        write_effect(adata, an_effect(), name)
    assert effect_names(adata) == ["a", "b"]
    gone = delete_effect(adata, "b")
    assert gone == {"obsm/landscape_effect_b", "uns/landscape_perturbed_b"}
    assert effect_names(adata) == ["a"]
    assert list(adata.obsm) == ["landscape_effect_a"]
    for ask in (read_effect, delete_effect):
        with pytest.raises(MissingKeyError, match="no result 'b'"):
            ask(adata, "b")


def test_a_perturbation_of_cells_that_are_not_there_is_refused():
    adata = lsd_adata()
    with pytest.raises(DataError, match="does not have"):
        write_effect(adata, an_effect(cells=(3, 7, 30)), "x")
    with pytest.raises(DataError, match="no name"):
        write_effect(adata, an_effect(), "")
    write_effect(adata, an_effect(), "x")
    for other in (adata[:20].copy(), adata[::-1].copy()):
        with pytest.raises(DataError, match="of other cells"):
            read_effect(other, "x")


@pytest.mark.parametrize(
    "change",
    [
        {"info": "{"},
        {"info": "{}"},
        {"array_before": np.ones((2, 2))},
        {"array_cells": np.array([-1, 2, 3])},
        {"array_cluster_codes": np.array([0, 1, 9])},
        {"array_p": np.array(["a", "b"])},
        {"schema": 9},
        {"schema": None},
    ],
)
def test_a_damaged_perturbation_is_told(change):
    adata = lsd_adata()
    write_effect(adata, an_effect(), "x")
    adata.uns["celldyn"]["landscape_perturbed_x"] |= change
    with pytest.raises(DataError, match="damaged"):
        read_effect(adata, "x")


def a_screen():
    rng = np.random.default_rng(1)
    tables = {part: rng.random((3, 2)) for part in ("effect", "low", "high", "z", "p", "q")}
    rows = {part: rng.random(3) for part in ("p_any", "q_any", "size")}
    return Screen(
        genes=("a", "b", "a"), changes=("knockout", "knockout", "overexpress"), names=FATES,
        cells=np.arange(4), before=np.array([0.4, 0.6]), n_null=7, config=PerturbConfig(),
        seconds=1.5, notes=("note",), **tables, **rows,
    )  # fmt: skip


def test_a_screen_is_read_as_it_was_written(tmp_path):
    adata, screen = lsd_adata(), a_screen()
    assert write_screen(adata, screen, "all") == {"uns/landscape_screen_all"}
    adata.write_h5ad(tmp_path / "a.h5ad")
    opened = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert screen_names(opened) == ["all"]
    found = read_screen(opened, "all")
    assert found.table().equals(screen.table())
    assert found.by_gene().equals(screen.by_gene())
    assert str(found) == str(screen)
    assert (found.n_null, found.seconds, found.notes) == (7, 1.5, ("note",))
    assert delete_screen(opened, "all") == {"uns/landscape_screen_all"}
    assert screen_names(opened) == []
    adata.uns["celldyn"]["landscape_screen_all"]["array_z"] = np.ones(3)
    with pytest.raises(DataError, match="damaged"):
        read_screen(adata, "all")
