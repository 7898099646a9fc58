"""Cells of a manager: kept apart as in training, from MuData, from disk, on a graphics card."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from environment_manager_cases import N, environment, manager, tables

from celldyn.environment import BasicManager, read_adatas
from celldyn.environment.telling import aligned
from celldyn.environment.trajectories import EnvironmentState
from celldyn.errors import DataError

QUIET = {"progress_bar": False}
SECTION = np.arange(N) % 2


def sections():
    adatas = tables()
    adatas[0].obs["section"] = np.array(["a", "b"])[SECTION]
    return adatas


def ends(made, time=1.0):
    made.simulate(time, time, impute=False, **QUIET)
    return made.get_state(impute=False)


def test_cells_that_training_kept_apart_never_meet():
    adatas = sections()
    fitted = environment(adatas, partition_cols=["section"])
    both = manager(adatas, fitted=fitted)
    begins = both.get_state(impute=False, include_vel=True)
    together = ends(both)
    for code in (0, 1):
        cells = np.flatnonzero(code == SECTION)
        alone = manager([ad[cells] for ad in adatas], fitted=fitted, reset=False)
        alone._state = EnvironmentState(
            *(torch.from_numpy(part[cells])[None] for part in np.split(begins, 2, axis=1))
        )
        np.testing.assert_allclose(ends(alone), together[cells], atol=1e-5)
    # Without the column all meet, which is told, and another thing.
    with pytest.warns(UserWarning, match="apart by section"):
        mixed = manager(tables(), fitted=fitted)
    assert np.abs(ends(mixed) - together).max() > 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed.set_modalities(tables(), suppress_warning=True)


def test_perturbing_one_section_leaves_the_other_alone():
    adatas = sections()
    made = manager(adatas, partition_cols=["section"])
    before = made.state
    plain = ends(made)
    made._state = before
    made.add_perturbation("gene3", feature_targets=9.0, cells=SECTION == 0)
    perturbed = ends(made)
    assert np.array_equal(perturbed[SECTION == 1], plain[SECTION == 1])
    assert not np.array_equal(perturbed[SECTION == 0], plain[SECTION == 0])
    screen = made.screen(["gene3"], cells=SECTION == 0, groups=SECTION, n_random=0, n_control=0,
                         **QUIET)  # fmt: skip
    assert screen.matrix().loc["gene3", "1"] < 1e-6 < screen.matrix().loc["gene3", "0"]


def test_sections_are_turned_each_by_itself_and_those_held_out_stay():
    rng = np.random.default_rng(0)
    told = rng.normal(size=(2, N, 2)).astype(np.float32)
    truth = told[0] + np.where(SECTION, 100.0, -50.0)[:, None]
    found = aligned(told, truth, None, partition=SECTION)
    np.testing.assert_allclose(found[0], truth, rtol=1e-4)
    held = aligned(told, truth, SECTION == 0, partition=SECTION)
    np.testing.assert_allclose(held[0, SECTION == 0], truth[SECTION == 0], rtol=1e-4)
    assert np.array_equal(held[:, SECTION == 1], told[:, SECTION == 1])
    with pytest.raises(DataError, match="0 training cells"):
        aligned(told, np.full((N, 2), np.nan), None)
    with pytest.raises(DataError, match="one row per cell"):
        aligned(told, truth[:3], None)


def test_modalities_of_a_mudata_are_the_same_cells():
    import mudata

    genes, places = tables()
    with mudata.set_options(pull_on_update=False):
        both = mudata.MuData({"rna": genes, "space": places})
    made = manager(both, fitted=environment())
    assert np.array_equal(ends(made), ends(manager()))


def test_cells_on_disk_are_read_as_they_are_needed(tmp_path):
    adatas = tables()
    adatas[0].obs["stage"] = np.repeat(["first", "last"], N // 2)
    for k, adata in enumerate(adatas):
        adata.write_h5ad(tmp_path / f"{k}.h5ad")
    backed = read_adatas(*(tmp_path / f"{k}.h5ad" for k in (0, 1)), backed=True)
    fitted = environment()
    some = adatas[0].obs_names[2:20]
    in_memory = manager([ad[some] for ad in adatas], fitted=fitted)
    on_disk = manager([ad[some] for ad in backed], fitted=fitted)
    assert np.array_equal(ends(on_disk), ends(in_memory))
    ways = [
        made.recover_stages("first", "last", "stage", time=1.0, rest_time=1.0, n_pcells=6, **QUIET)
        for made in (in_memory, on_disk)
    ]
    np.testing.assert_allclose(ways[0].positions, ways[1].positions, atol=1e-5)


def test_a_manager_made_as_a_job_is_the_same():
    from celldyn.jobs import run

    made = run(BasicManager.of_job(environment(), tables()), bar=False)
    made.reset_env()
    assert np.array_equal(ends(made), ends(manager()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graphics_card_moves_cells_as_a_core_does():
    found = []
    for device in ("cpu", "cuda"):
        made = BasicManager(fitted=environment(), adatas=tables(), device=device)
        made.reset_env()
        made.add_perturbation("gene3", feature_targets=5.0, cells=[0, 1])
        found.append(ends(made))
        made.screen(["gene3"], n_random=2, n_control=2, **QUIET)
        made.simulate_spread(2, 1.0, **QUIET)
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)
