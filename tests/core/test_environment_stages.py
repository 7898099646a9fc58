"""Stages: paired pseudocells on their way from one to the other, with a clock."""

from __future__ import annotations

import numpy as np
import pytest
from environment_data_cases import coordinates, counts, table
from environment_manager_cases import at_rest, environment, manager

from celldyn.environment.stage_recovery import recover_stages
from celldyn.errors import DataError, MissingKeyError, NotFittedError
from celldyn.jobs import run

N_EACH = 12


def staged(seed=0):
    """Cells of three stages, of which the last has twice as much of every other gene."""
    X = counts(3 * N_EACH, seed=seed)
    X[2 * N_EACH :, ::2] *= 2
    genes = table(X)
    genes.obs["stage"] = np.repeat(["first", "between", "last"], N_EACH)
    return [genes, coordinates(3 * N_EACH)]


@pytest.fixture(scope="module")
def recovery():
    adatas = staged()
    made = manager(adatas, inputs=(0, 1), targets=(0, 1), friction_force=0.5)
    found = made.recover_stages("first", "last", "stage", start=3.0, end=9.0, time=8.0,
                                progress_bar=False)  # fmt: skip
    return adatas, made, found


def test_a_way_between_stages_is_that_of_the_seed_step_by_step(recovery):
    adatas, made, found = recovery
    from celldyn.environment.manager import BasicManager
    from celldyn.environment.pseudocells import generate_pseudocells

    stages = [[ad[adatas[0].obs["stage"] == name] for ad in adatas] for name in ("first", "last")]
    origin, terminal = generate_pseudocells(*stages, seed=made.seed)
    by_hand = BasicManager(fitted=made.fitted)
    by_hand.set_modalities([table_like(m, ad) for m, ad in zip(origin, adatas, strict=True)])
    by_hand.reset_env()
    by_hand.simulate(progress_bar=False)
    by_hand.set_modalities([table_like(m, ad) for m, ad in zip(terminal, adatas, strict=True)])
    times, states = by_hand.simulate(time=8.0, skip_time=1.0, progress_bar=False)
    assert found.positions.shape == (81, N_EACH, 4)
    at = np.rint(times / 0.1).astype(int)
    told = made.environment_to_features(found.positions[at])
    for mine, theirs in zip(told, states, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3)


def table_like(values, like):
    from anndata import AnnData

    return AnnData(np.asarray(values), var=like.var)


def test_biological_time_rises_from_the_origin_on(recovery):
    _, _, found = recovery
    assert found.clock is not None
    assert found.clock.at(0.0) == pytest.approx(3.0)
    assert (np.diff(found.biological) >= 0).all()
    frames = found.frames_at([3.0, 5.0, 9.0])
    assert frames[0] == 0
    assert np.abs(found.biological[frames[1]] - 5.0) < 0.5
    with pytest.raises(DataError, match="from 3 to 9"):
        found.frames_at([2.0])


def test_a_stage_is_a_table_at_any_biological_time(recovery):
    _, made, found = recovery
    tables = found.to_adatas([4.0, 8.0])
    assert sorted(tables) == [0, 1]
    genes = tables[0]
    assert genes.shape == (2 * N_EACH, 40)
    assert genes.obs["biological_time"].unique().tolist() == [4.0, 8.0]
    assert list(genes.var_names) == list(made.adatas[0].var_names)
    np.testing.assert_allclose(genes.X[N_EACH:], found.at(8.0)[0][0])
    assert found.to_adatas(3)[1].obs["biological_time"].unique().tolist() == [3.0, 6.0, 9.0]


def test_a_recovered_stage_is_compared_beside_straight_ways(recovery):
    adatas, _, found = recovery
    truth = adatas[0][adatas[0].obs["stage"] == "between"].X
    table = run(found.compare_job(truth, 6.0), bar=False)
    assert {"environment", "straight lines", "optimal transport", "origin", "terminal"} <= set(
        table.index
    )
    assert np.isfinite(table.to_numpy()).all()


def test_cells_of_the_manager_stay_where_they_are(recovery):
    _, made, found = recovery
    assert made.state.time == 0
    assert "pseudocells over 8 s" in str(found)


def test_cells_that_never_move_have_no_clock():
    adatas = staged()
    fitted = at_rest(environment(adatas, friction_force=0.5))
    stages = [[ad[adatas[0].obs["stage"] == name] for ad in adatas] for name in ("first", "last")]
    found = recover_stages(fitted, *stages, time=2.0)
    assert found.clock is None
    assert any("in proportion to seconds" in note for note in found.notes)
    assert found.biological[-1] == 1.0
    assert found.rest.reached


def test_features_are_found_by_name_and_coordinates_may_be_missing():
    adatas = staged()
    fitted = environment(adatas, friction_force=0.5)
    whole = [[ad[adatas[0].obs["stage"] == name] for ad in adatas] for name in ("first", "last")]
    turned = [[stage[0][:, ::-1]] for stage in whole]
    short = {"time": 2.0, "rest_time": 1.0}
    one = recover_stages(fitted, [whole[0][0]], [whole[1][0]], **short)
    other = recover_stages(fitted, *turned, **short)
    np.testing.assert_allclose(one.positions, other.positions, atol=1e-4)
    with pytest.raises(DataError, match="nothing can be compared"):
        run(one.compare_job(np.zeros((3, 2)), 0.5), bar=False)


def test_stages_that_do_not_fit_are_refused(recovery):
    _, made, _ = recovery
    with pytest.raises(MissingKeyError, match="no cell has 'never'"):
        made.recover_stages("never", "last", "stage", progress_bar=False)
    with pytest.raises(DataError, match="in common"):
        made.recover_stages([0, 1, 2], [2, 3], progress_bar=False)
    with pytest.raises(DataError, match="features"):
        recover_stages(made.fitted, [np.ones((5, 3)), np.ones((5, 2))],
                       [np.ones((5, 3)), np.ones((5, 2))])  # fmt: skip
    from celldyn.environment.manager import BasicManager

    with pytest.raises(NotFittedError):
        BasicManager(fitted=made.fitted).recover_stages([0], [1], progress_bar=False)
