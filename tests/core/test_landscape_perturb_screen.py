"""Many genes, one by one: as one by one, in order, against a null of their own."""

from __future__ import annotations

import numpy as np
import pytest
from landscape_perturb_cases import GENES, fork_subjects
from scipy import stats

from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.landscape import PerturbConfig, perturb_effects, screen_genes, screen_job
from celldyn.landscape.perturbing.nulls import PooledNull, local_scale
from celldyn.perturbation import Change, Perturbation

QUICK = PerturbConfig(time=8.0, n_null=40, n_bootstrap=200)


@pytest.fixture(scope="module")
def fork():
    return fork_subjects()


@pytest.fixture(scope="module")
def whole(fork):
    given, stem = fork
    return screen_genes(
        *given, GENES, stem[:60], changes=["knockout", "overexpress"], config=QUICK
    )


def test_a_gene_of_a_screen_has_the_effect_that_it_has_alone(fork):
    given, stem = fork
    config = QUICK.replace(n_runs=3, sigma=0.2, n_null=0)
    found = screen_genes(
        *given, GENES, stem, screened=["house_7", "right"], changes=[0.3], config=config
    )
    for k, gene in enumerate(["house_7", "right"]):
        change = Perturbation.multiply({gene: 0.3})
        alone = perturb_effects(*given, change, GENES, stem, config=config)
        assert found.genes[k] == gene
        assert found.names == alone.names
        np.testing.assert_allclose(found.effect[k], alone.effect, atol=1e-6)
        np.testing.assert_allclose(found.low[k], alone.low, atol=1e-6)
        np.testing.assert_allclose(found.high[k], alone.high, atol=1e-6)
    np.testing.assert_allclose(found.before, alone.before.mean(axis=0), atol=1e-6)


def test_drivers_come_first_and_others_are_of_the_null(whole):
    table = whole.by_gene()
    assert set(table["gene"][:4]) == {"left", "right"}
    assert (table["q"][:4] < 0.05).all()
    others = table[~table["gene"].isin(["left", "right"])]
    assert (others["q"] < 0.05).sum() <= 2
    assert (others["p"] < 0.05).mean() < 0.1
    first = table.set_index(["gene", "change"])
    assert first.loc[("left", "knockout"), "gained"] == "R"
    assert first.loc[("left", "overexpress"), "gained"] == "L"


def test_genes_are_ranked_by_where_they_take_cells(whole):
    toward = whole.toward("R")
    assert {tuple(row) for row in toward[["gene", "change"]].to_numpy()[:2]} == {
        ("left", "knockout"), ("right", "overexpress"),
    }  # fmt: skip
    assert (toward["effect"].diff().dropna() <= 0).all()
    assert set(toward["gene"][-2:]) == {"left", "right"}
    with pytest.raises(MissingKeyError, match="'X' is no fate"):
        whole.toward("X")


def test_tables_hold_every_gene_change_and_fate(whole):
    table = whole.table()
    assert len(table) == 2 * len(GENES) * len(whole.names)
    assert (table["low"] <= table["effect"] + 1e-9).all()
    assert (table["effect"] <= table["high"] + 1e-9).all()
    assert (table["p"].diff().dropna() >= 0).all()
    matrix = whole.matrix("overexpress")
    row = table[(table.gene == "right") & (table.change == "overexpress") & (table.fate == "R")]
    assert matrix.loc["right", "R"] == row["effect"].item()
    with pytest.raises(MissingKeyError, match="was not screened"):
        whole.matrix("x2")
    n_found = int((whole.q_any < 0.05).sum())
    assert f"{n_found} do more than housekeeping genes" in str(whole)


def test_q_is_that_of_benjamini_and_hochberg(whole):
    expected = stats.false_discovery_control(whole.p_any, method="bh")
    np.testing.assert_allclose(whole.q_any, expected)


def test_a_few_genes_are_held_against_others(fork):
    given, stem = fork
    found = screen_genes(*given, GENES, stem, screened=["left", "house_9"], config=QUICK)
    assert found.n_null == 40
    assert found.genes == ("left", "house_9")
    assert found.p_any[0] < 0.05 < found.p_any[1]


def test_a_screen_without_a_null_has_no_p(fork):
    given, stem = fork
    found = screen_genes(
        *given, GENES, stem, screened=GENES[:3], config=QUICK.replace(n_null=0),
        changes=Change("add", 1.0),
    )  # fmt: skip
    assert np.isnan(found.p).all()
    assert np.isnan(found.q_any).all()
    assert found.changes == ("x + 1",) * 3
    assert found.by_gene()["gene"].iloc[0] in ("left", "right")


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"screened": ["Noto"]}, MissingKeyError, "Noto"),
        ({"screened": []}, DataError, "nothing to screen"),
        ({"changes": []}, DataError, "nothing to screen"),
        ({"changes": "more"}, ConfigError, "'more' is no change"),
        ({"housekeeping": ["left"]}, DataError, "1 housekeeping genes"),
        ({"config": QUICK.replace(mode="reference")}, ConfigError, "sclsd's way"),
    ],
)
def test_what_cannot_be_screened_is_refused_in_a_sentence(fork, changed, error, said):
    given, stem = fork
    with pytest.raises(error, match=said):
        screen_genes(*given, GENES, stem, **{"config": QUICK, **changed})


def test_a_screen_says_how_far_it_is_and_stops(fork):
    given, stem = fork
    job = screen_job(*given, GENES, stem, config=QUICK.replace(n_null=0))
    done = [p.done for p, _ in zip(job, range(6), strict=False)]
    job.close()
    assert len(done) == 6


# --- the null ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_null", [100, 1000])
def test_p_is_uniform_for_what_is_of_the_null(n_null):
    rng = np.random.default_rng(0)
    p = np.concatenate(
        [
            PooledNull(np.sort(np.abs(rng.standard_t(4, n_null)))).p(
                np.abs(rng.standard_t(4, 200))
            )
            for _ in range(200)
        ]
    )
    for level in (0.5, 0.1, 0.02):
        assert abs((p < level).mean() - level) < 0.35 * level
    assert (p < 0.002).mean() < 0.004
    assert (p < 0.0002).mean() < 0.001


def test_p_falls_with_the_effect_below_one_in_the_null():
    rng = np.random.default_rng(0)
    null = PooledNull(np.sort(np.abs(rng.standard_normal(500))))
    p = null.p(np.linspace(0, 12, 60))
    assert (np.diff(p) <= 1e-12).all()
    assert p[0] == 1
    assert 0 < p[-1] < 1e-4
    # A small null has no tail that could be read.
    few = PooledNull(np.sort(np.abs(rng.standard_normal(50))))
    assert few.p(np.array([99.0]))[0] == 1 / 51


def test_what_is_usual_is_read_off_genes_changed_by_as_much():
    rng = np.random.default_rng(0)
    size = rng.uniform(0.1, 3.0, 800)
    effects = (0.1 * size * rng.standard_normal(800))[:, None]
    scale = local_scale(np.stack([size, size], 1), np.ones(800, bool), effects, 50)[:, 0]
    away = (size > 0.3) & (size < 2.5)
    assert np.abs(np.log(scale[away] / (0.1 * size[away]))).max() < 0.5


def test_a_gene_is_not_held_against_itself():
    size = np.linspace(1, 2, 60)
    effects = np.full((60, 1), 0.01)
    effects[30] = 5.0
    scale = local_scale(np.stack([size, size], 1), np.ones(60, bool), effects, 5)
    assert scale[30, 0] < 0.1 * scale[29, 0] or scale[30, 0] < 0.2
