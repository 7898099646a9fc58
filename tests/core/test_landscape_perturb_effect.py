"""One perturbation: its direction, its null, its tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_perturb_cases import GENES, fork_subjects

from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.landscape import PerturbConfig, perturb_effects, perturb_job
from celldyn.perturbation import Change, Perturbation

QUICK = PerturbConfig(time=8.0, n_null=40, n_bootstrap=200)


@pytest.fixture(scope="module")
def fork():
    return fork_subjects()


def effect_of(fork, perturbation, cells=None, config=QUICK, **more):
    given, stem = fork
    cells = stem if cells is None else cells
    return perturb_effects(*given, perturbation, GENES, cells, config=config, **more)


def of(effect, fate):
    return effect.names.index(fate)


@pytest.mark.parametrize(
    ("perturbation", "gained", "lost"),
    [
        (Perturbation.knock_out("left"), "R", "L"),
        (Perturbation.knock_out("right"), "L", "R"),
        (Perturbation.multiply({"left": 3.0}), "L", "R"),
        (Perturbation.set_to({"right": 5.0}), "R", "L"),
        (Perturbation({"left": Change("add", -1.0), "right": Change("add", 1.0)}), "R", "L"),
    ],
)
def test_cells_leave_the_branch_that_a_gene_is_taken_from(fork, perturbation, gained, lost):
    effect = effect_of(fork, perturbation)
    g = of(effect, gained)
    assert (effect.gained, effect.lost) == (gained, lost)
    assert effect.effect[g] > 0.3
    assert effect.low[g] > 0.25
    assert effect.low[g] <= effect.effect[g] <= effect.high[g]
    assert effect.p[g] == effect.p_any == 1 / 41
    np.testing.assert_allclose(effect.direction[[g, of(effect, lost)]], [1, -1], atol=0.02)
    np.testing.assert_allclose(effect.before.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(effect.after.sum(axis=1), 1, atol=1e-6)


def test_housekeeping_genes_do_no_more_than_their_null(fork):
    # p is uniform for them: more than 3 of 7 are below 0.1 by chance in 3 of 1000 tissues.
    small = [effect_of(fork, Perturbation.knock_out(gene)).p_any < 0.1 for gene in GENES[2:422:60]]
    assert sum(small) <= 3


def test_opposite_changes_cancel(fork):
    less = Change("add", -0.3)
    both = effect_of(fork, Perturbation({"left": less, "right": less}))
    assert both.moved < 0.02
    assert effect_of(fork, Perturbation({"left": less})).moved > 0.1


def test_no_change_changes_nothing(fork):
    effect = effect_of(fork, Perturbation.multiply({"left": 1.0}))
    assert effect.moved == 0
    assert effect.gained is None
    assert effect.p_any == 1
    np.testing.assert_array_equal(effect.before, effect.after)
    np.testing.assert_array_equal([effect.low, effect.high], 0)
    assert "no cell's fate changes at all." in effect.notes


def test_more_of_a_gene_does_more(fork):
    right = [
        effect_of(fork, Perturbation.multiply({"right": factor})).effect[1]
        for factor in (0.25, 0.75, 1.25, 3.0)
    ]
    assert np.all(np.diff(right) > 0.02)


def test_cells_of_the_perturbation_are_followed_where_none_are_named(fork):
    given, stem = fork
    mask = np.zeros(600, bool)
    mask[stem[:20]] = True
    perturbation = Perturbation.knock_out("left", cells=mask)
    effect = perturb_effects(*given, perturbation, GENES, config=QUICK.replace(n_null=0))
    np.testing.assert_array_equal(effect.cells, stem[:20])
    assert set(effect.clusters) == {"Stem"}
    assert np.isnan(effect.p).all()
    assert np.isnan(effect.p_any)


def test_genes_are_held_until_they_are_let_go(fork):
    given, _ = fork
    left = np.flatnonzero(np.asarray(given[3]) == "L")
    config = QUICK.replace(n_null=0)
    knock_out = Perturbation.knock_out("left")
    held = effect_of(fork, knock_out, left, config)
    short = effect_of(fork, Perturbation(knock_out.genes, None, 0.5), left, config)
    assert held.effect[of(held, "R")] > 0.5
    assert np.abs(held.after - short.after).max() > 0
    late = effect_of(fork, Perturbation(knock_out.genes, None, 99.0), left, config)
    np.testing.assert_array_equal(late.after, held.after)
    assert "genes are let go after the end: they are held throughout." in late.notes


def test_runs_with_noise_are_paired_and_give_chances(fork):
    config = QUICK.replace(n_runs=16, sigma=0.3, n_null=0)
    effect = effect_of(fork, Perturbation.multiply({"house_3": 1.0}), config=config)
    np.testing.assert_array_equal(effect.before, effect.after)
    between = (effect.before > 0.01) & (effect.before < 0.99)
    assert between.any(axis=1).mean() > 0.5
    driver = effect_of(fork, Perturbation.knock_out("left"), config=config)
    assert driver.effect[of(driver, "R")] > 0.3
    assert np.isfinite(driver.se).all()
    np.testing.assert_allclose(
        driver.effect, (driver.after - driver.before).mean(axis=0), atol=1e-6
    )


def test_the_same_seed_gives_the_same_and_another_one_other_noise(fork):
    config = QUICK.replace(n_runs=4, sigma=0.3, start_noise=True, n_null=0)
    knock_out = Perturbation.knock_out("left")
    one, two = (effect_of(fork, knock_out, config=config) for _ in range(2))
    np.testing.assert_array_equal(one.after, two.after)
    other = effect_of(fork, knock_out, config=config.replace(seed=1))
    assert np.abs(other.before - one.before).max() > 0.1


def test_a_single_cell_has_an_interval_over_its_runs(fork):
    _, stem = fork
    config = QUICK.replace(n_runs=40, sigma=0.4, n_null=0)
    effect = effect_of(fork, Perturbation.multiply({"right": 1.3}), stem[:1], config)
    r = of(effect, "R")
    assert effect.low[r] < effect.effect[r] < effect.high[r]


def test_intervals_cover_the_change_in_new_cells():
    many, stem = fork_subjects(1500, seed=5)
    config = QUICK.replace(n_null=0)
    change = Perturbation.multiply({"right": 1.2})
    truth = perturb_effects(*many, change, GENES, stem, config=config).effect
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(12):
        cells = rng.choice(stem, 60, replace=False)
        found = perturb_effects(*many, change, GENES, cells, config=config)
        r = of(found, "R")
        inside.append(found.low[r] <= truth[r] <= found.high[r])
    assert sum(inside) >= 9


def test_tables_say_the_same(fork):
    effect = effect_of(fork, Perturbation.knock_out("left"))
    fates, cells, clusters = effect.fates(), effect.per_cell(), effect.per_cluster()
    assert fates["fate"].tolist()[0] == "R"
    assert (fates["effect"].diff().dropna() <= 0).all()
    row = fates.set_index("fate").loc["R"]
    k = of(effect, "R")
    np.testing.assert_allclose(row["after"] - row["before"], effect.effect[k], atol=1e-6)
    assert row["log2_ratio"] > 0.5
    np.testing.assert_allclose(cells["change R"].mean(), effect.effect[k], atol=1e-6)
    assert (cells["perturbed"] == "R").mean() > (cells["control"] == "R").mean()
    assert (cells["moved"] <= 1 + 1e-6).all()
    assert set(clusters["cluster"]) == {"Stem"}
    np.testing.assert_allclose(
        clusters.set_index("fate").loc["R", "effect"], effect.effect[k], atol=1e-6
    )
    assert "R gains" in str(effect)
    assert "more than matched housekeeping genes" in str(effect)


def test_named_housekeeping_genes_make_the_null(fork):
    names = [*GENES[2:40], "not there"]
    effect = effect_of(fork, Perturbation.knock_out("left"), housekeeping=names)
    assert len(effect.null) == 38
    assert "there are housekeeping genes for 38 sets only." in effect.notes


def test_several_genes_are_held_against_sets_of_as_many(fork):
    effect = effect_of(fork, Perturbation.knock_out("left", "house_4", "house_5"))
    assert len(effect.null) == 40
    assert effect.p_any == 1 / 41


def test_a_gene_that_no_cell_expresses_is_told(fork):
    given, stem = fork
    networks, expression, z, labels = given

    def without(cells):
        x = expression(cells).clone()
        x[:, 7] = 0
        return x

    effect = perturb_effects(
        networks, without, z, labels, Perturbation.knock_out(GENES[7]), GENES, stem, config=QUICK
    )
    assert effect.moved == 0
    assert f"{GENES[7]} is expressed in 0 of the {len(stem)} cells" in " ".join(effect.notes)


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"perturbation": Perturbation.knock_out("Noto")}, MissingKeyError, "'Noto'"),
        ({"config": QUICK.replace(k=601)}, ConfigError, "k is 601"),
        ({"config": QUICK.replace(sigma=None)}, ConfigError, "sigma is not known"),
        ({"config": QUICK.replace(terminal=("X",))}, ConfigError, "X"),
        ({"cells": [700]}, DataError, "0 to 599"),
        ({"cells": []}, DataError, "no cell"),
        ({"genes": GENES[:5]}, DataError, "5 genes"),
        ({"labels": ["A"] * 3}, DataError, "3 labels"),
        ({"housekeeping": ["left"]}, DataError, "0 housekeeping genes"),
        ({"housekeeping": ["Noto"]}, DataError, "none of the housekeeping"),
        (
            {
                "config": QUICK.replace(mode="reference"),
                "perturbation": Perturbation(Perturbation.knock_out("left").genes, None, 2.0),
            },
            ConfigError,
            "leave released_at out",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(fork, changed, error, said):
    given, stem = fork
    networks, expression, z, labels = given
    kwargs = {
        "labels": labels, "perturbation": Perturbation.knock_out("left"), "genes": GENES,
        "cells": stem, "config": QUICK, **changed,
    }  # fmt: skip
    with pytest.raises(error, match=said):
        perturb_effects(networks, expression, z, **kwargs)


def test_the_job_stops_at_once_and_leaves_the_networks_alone(fork):
    given, stem = fork
    networks = given[0]
    networks.train()
    before = {k: v.clone() for k, v in networks.state_dict().items()}
    job = perturb_job(*given, Perturbation.knock_out("left"), GENES, stem, config=QUICK)
    said = [next(job) for _ in range(3)]
    job.close()
    assert all(0 <= (p.fraction or 0) <= 1 for p in said)
    assert networks.training
    networks.eval()
    for name, value in networks.state_dict().items():
        torch.testing.assert_close(value, before[name])
