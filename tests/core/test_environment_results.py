"""What an environment leaves on a data set, through a file and back."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
from environment_manager_cases import N, environment, manager, tables

from celldyn import keys
from celldyn.data import records
from celldyn.environment import BasicManager, results
from celldyn.environment.saved import save
from celldyn.errors import DataError, MissingKeyError, NotFittedError

QUIET = {"progress_bar": False}


@pytest.fixture(scope="module")
def asked():
    """A manager with its cells at rest, a perturbation and a screen of them."""
    mask = np.arange(N) < 16
    made = manager(inputs=(0,), targets=(0, 1), train=mask)
    made.adatas[0].obs["layer"] = np.repeat(["top", "bottom"], N // 2)
    made.simulate(2.0, 1.0, **QUIET)
    spread = made.simulate_spread(2, 1.0, **QUIET)
    made.save_state("steady")
    made.add_perturbation("gene3", feature_targets=9.0)
    effect = made.perturbation_effect(1.0, 0.5)
    made.clear_perturbations()
    screen = made.screen(["gene3", "gene5"], groups="layer", n_random=2, n_control=2, **QUIET)
    return made, spread, effect, screen


@pytest.fixture
def written(asked):
    made, spread, effect, screen = asked
    adata = tables()[0]
    changed = made.write(adata, spread)
    changed |= results.write_effect(adata, effect, "gene3/up", made.groups_of("layer"))
    changed |= results.write_screen(adata, screen)
    return adata, changed


def path_is_there(adata, path):
    slot, _, name = path.partition("/")
    if slot == "uns":
        return name in adata.uns[keys.CELLDYN.name]
    return name in getattr(adata, slot)


def test_all_keys_that_are_told_are_there(asked, written):
    made, spread, _, _ = asked
    adata, changed = written
    assert all(path_is_there(adata, path) for path in changed)
    assert np.array_equal(adata.obsm["X_environment"], made.get_state(impute=False))
    np.testing.assert_allclose(adata.layers["environment_imputed"], made.get_state(impute=0))
    np.testing.assert_allclose(adata.obsm["environment_told_1"], made.get_state(impute=1))
    assert adata.obsm["X_environment_view"].shape == (N, 3)
    np.testing.assert_allclose(adata.obs["environment_spread"], spread.per_cell())
    assert adata.obs["environment_train"].sum() == 16
    assert [step["action"] for step in records(adata)] == [
        "environment.simulate", "environment.perturb", "environment.screen",
    ]  # fmt: skip
    assert {"seed", "versions", "device"} <= set(records(adata)[0])


def test_a_file_brings_all_of_it_back(asked, written, tmp_path):
    made, _, effect, screen = asked
    adata, _ = written
    adata.write_h5ad(tmp_path / "cells.h5ad")
    back = anndata.read_h5ad(tmp_path / "cells.h5ad")
    again = BasicManager(fitted=results.read_model(back), adatas=tables())
    again.reset_env()
    again.simulate(2.0, 1.0, **QUIET)
    assert np.array_equal(again.get_state(impute=False), made.get_state(impute=False))
    held = results.read_effect(back, "gene3/up")
    np.testing.assert_allclose(held.shift, effect.shift)
    np.testing.assert_allclose(held.course, effect.course)
    assert held.table["group"].tolist() == ["all", "bottom", "top"]
    assert held.said == effect.said
    for path in held.changes:
        assert path_is_there(back, path)
    found = results.read_screen(back)
    np.testing.assert_array_equal(found.shift, screen.shift)
    np.testing.assert_array_equal(found.z_random, screen.z_random)
    assert found.table().equals(screen.table())
    lines = results.summary(back).splitlines()
    assert lines[0].startswith("Virtual cells in 4 dimensions")
    assert "Perturbed: gene3/up" in lines
    assert "Screened: genes" in lines
    assert "Trained on 16 of 24 cells" in lines


def test_what_is_written_again_replaces_the_earlier(asked, written):
    made, _, effect, _ = asked
    adata, _ = written
    results.write_effect(adata, effect, "gene3/up")
    assert results.effect_names(adata) == ["gene3/up"]
    made.write(adata)
    # The same environment: what was asked of it stays, the spread of the earlier run does not.
    assert results.effect_names(adata) == ["gene3/up"]
    assert "environment_spread" not in adata.obs
    manager(inputs=(0,), targets=(0, 1)).write(adata)
    assert results.effect_names(adata) == results.screen_names(adata) == []
    assert not [name for name in adata.obsm if "move" in name or "delta" in name]


def test_what_is_deleted_is_gone(written):
    adata, _ = written
    gone = results.delete_effect(adata, "gene3/up")
    gone |= results.delete_screen(adata, "genes")
    assert not any(path_is_there(adata, path) for path in gone)
    assert len(gone) == 6
    with pytest.raises(MissingKeyError, match="there are: none"):
        results.read_effect(adata, "gene3/up")
    with pytest.raises(MissingKeyError, match="there are: none"):
        results.delete_screen(adata, "genes")


def test_some_cells_of_a_data_set_are_written_where_they_are():
    whole = tables()
    part = [ad[[5, 2, 9]].copy() for ad in whole]
    made = manager(part, fitted=environment(whole))
    made.write(whole[0])
    found = whole[0].obsm["X_environment"]
    assert np.isnan(found).any(axis=1).sum() == N - 3
    assert np.array_equal(found[[5, 2, 9]], made.get_state(impute=False))
    with pytest.raises(DataError, match="has not 21 cells of the 24"):
        manager(whole).write(part[0])


def test_a_data_set_without_a_model_says_so():
    adata = tables()[0]
    assert not results.has_model(adata)
    with pytest.raises(NotFittedError, match="holds no virtual environment"):
        results.read_model(adata)


@pytest.mark.parametrize("part", ["tensors", "header", "schema"])
def test_a_damaged_model_is_a_sentence(written, part):
    adata, _ = written
    held = adata.uns["celldyn"]["environment"]
    if part == "tensors":
        held["tensors"][len(held["tensors"]) // 2] ^= 1
    else:
        held[part] = {"header": "{", "schema": 99}[part]
    with pytest.raises(DataError, match=r"damaged|later version"):
        results.read_model(adata)


@pytest.mark.parametrize("part", ["array_shift", "info", "array_n_cells"])
def test_a_damaged_screen_is_a_sentence(written, part):
    adata, _ = written
    held = adata.uns["celldyn"]["environment_screen_genes"]
    held[part] = "{" if part == "info" else np.zeros((7, 7, 7))
    with pytest.raises(DataError, match="damaged"):
        results.read_screen(adata)


def test_a_result_has_a_name(asked):
    _, _, effect, screen = asked
    for write in (lambda: results.write_effect(tables()[0], effect, " "),
                  lambda: results.write_screen(tables()[0], screen, "")):  # fmt: skip
        with pytest.raises(DataError, match="no name"):
            write()


def test_a_manager_opens_a_file_of_ours(asked, tmp_path):
    made = asked[0]
    path = save(made.fitted, tmp_path / "cells.safetensors")
    opened = BasicManager(policy_fname=path, adatas=tables(), device="cpu")
    opened.reset_env()
    opened.simulate(2.0, 1.0, **QUIET)
    assert np.array_equal(opened.get_state(impute=False), made.get_state(impute=False))
    assert opened.get_mask().sum() == 16


# --- scores ------------------------------------------------------------------------------------


def test_what_is_told_is_scored_on_held_out_cells_beside_simple_methods(asked):
    made = asked[0]
    made.load_state("steady")
    found = made.quality(("mean", "ridge"), labels="layer", **QUIET)
    assert sorted(found.tables) == [0, 1]
    for table in found.tables.values():
        assert table.index.tolist() == ["environment", "mean", "ridge"]
        assert "label_accuracy" in table
    told = made.environment_to_features(made.get_state(impute=False), 0, None, False)
    (truth,) = made.fitted.preprocessing.transform([made.adatas[0]], [0])
    held = ~made.get_mask()
    variance = truth[~held].var(axis=0).mean()
    by_hand = np.square(told[held] - truth[held]).mean() / variance
    assert found.tables[0].loc["environment", "mse"] == pytest.approx(by_hand, rel=1e-3)


def test_what_is_not_there_is_not_scored():
    made = manager(tables()[:1], fitted=environment(train=np.arange(N) < 9))
    with pytest.raises(DataError, match="modality 1 is not there"):
        made.quality(**QUIET)
    with pytest.raises(NotFittedError, match="on which cells"):
        manager().quality(**QUIET)
