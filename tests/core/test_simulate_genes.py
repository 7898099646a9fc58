"""The gene table: priors, draw order, names, and what a config adds to it."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.errors import ConfigError
from celldyn.simulate import (
    SimulationConfig,
    SpotlessSimulator,
    generate_gene_parameters,
    get_hk_gamma_prior,
    get_marker_gamma_prior,
    get_silence_gamma_prior,
    get_theta_gamma_prior,
)

PRINTED = [
    ["2.091817", "0.306475", "0.705229", "0.039907", "1.209854", "0.056850"],
    ["2.835346", "0.475299", "0.164149", "0.009448", "0.934799", "0.084951"],
    ["1.837216", "0.617711", "2.841613", "0.236585", "3.179418", "0.025210"],
    ["1.645070", "0.414340", "0.077426", "0.032049", "4.852572", "0.023355"],
]


def config(**changes):
    given = {"seed": 42, "n_cells": 200, "n_celltype": 3, "n_genes": 300, "n_markers": 50}
    return SimulationConfig(**{**given, **changes})


def test_the_published_rows_come_out_digit_for_digit():
    simulator = SpotlessSimulator(
        config(
            marker_mu=0.75,
            marker_cv=0.6,
            silence_mu=0.05,
            silence_cv=1.0,
            theta_alpha=2.0,
            theta_rate=1.0,
        )
    )
    simulator.generate_gene_parameters()
    table = simulator.gpar_df
    assert table.shape == (300, 9)
    assert list(table.columns) == [
        "feature_name",
        "gene_type",
        "ct_0_theta",
        "ct_0_mu",
        "ct_1_theta",
        "ct_1_mu",
        "ct_2_theta",
        "ct_2_mu",
        "gene_leakage",
    ]
    shown = [[f"{x:.6f}" for x in row] for row in table.iloc[:4, 2:8].to_numpy()]
    assert shown == PRINTED
    assert table["feature_name"].tolist()[:2] == ["ct_0_mkr_0", "ct_0_mkr_1"]
    assert (table["gene_leakage"] == 0).all()


def test_genes_are_grouped_by_type_in_order():
    table = generate_gene_parameters(config(n_silence=20))
    kinds = ["ct_0_mkr"] * 50 + ["ct_1_mkr"] * 50 + ["ct_2_mkr"] * 50 + ["hk"] * 130
    assert table["gene_type"].tolist() == kinds + ["silence"] * 20
    assert table["feature_name"].is_unique


def test_half_of_the_genes_are_markers_unless_told():
    assert SimulationConfig(n_cells=5, n_celltype=3, n_genes=300).markers_per_type == 50


@pytest.mark.parametrize(
    ("prior", "mean", "cv"),
    [
        (get_marker_gamma_prior(mu=0.75, cv=0.6), 0.75, 0.6),
        (get_silence_gamma_prior(mu=0.05, cv=1.0), 0.05, 1.0),
        (get_hk_gamma_prior(0.2, 0.3), 0.2, 0.3),
        (get_theta_gamma_prior(alpha=2.0, rate=1.0), 2.0, 2**-0.5),
        (get_theta_gamma_prior(), 2.0, 2**-0.5),
        (get_theta_gamma_prior(mu=3.0, cv=0.5), 3.0, 0.5),
    ],
)
def test_priors_have_the_mean_and_spread_asked_for(prior, mean, cv):
    assert prior.mean() == pytest.approx(mean, rel=1e-12)
    assert prior.std() == pytest.approx(mean * cv, rel=1e-12)
    assert prior.rvs(7, random_state=0).shape == (7,)


@pytest.mark.parametrize(
    "given", [{"alpha": 2.0}, {"mu": 1.0}, {"alpha": 2.0, "rate": 1.0, "mu": 1.0, "cv": 1.0}]
)
def test_theta_prior_refuses_half_a_pair_or_two(given):
    with pytest.raises(ConfigError, match="prior of theta"):
        get_theta_gamma_prior(**given)


def test_priors_refuse_what_is_not_positive():
    with pytest.raises(ConfigError, match="mu of a gamma prior is -1"):
        get_marker_gamma_prior(mu=-1, cv=0.6)


def test_theta_by_mean_is_theta_by_rate():
    by_rate = generate_gene_parameters(config())
    by_mean = generate_gene_parameters(config(theta_mu=2.0, theta_cv=2**-0.5))
    np.testing.assert_allclose(by_mean["ct_1_theta"], by_rate["ct_1_theta"], rtol=1e-12)


def test_priors_of_one_type_leave_the_others_alone():
    common = generate_gene_parameters(config())
    own = generate_gene_parameters(config(celltype_priors={"ct_2": {"marker_mu": 7.5}}))
    np.testing.assert_array_equal(own["ct_0_mu"], common["ct_0_mu"])
    np.testing.assert_allclose(own["ct_2_mu"][100:150], 10 * common["ct_2_mu"][100:150])
    np.testing.assert_array_equal(own["ct_2_mu"][150:], common["ct_2_mu"][150:])


def test_shared_markers_change_only_what_is_shared():
    plain = generate_gene_parameters(config())
    fifth = generate_gene_parameters(config(shared_markers=0.2))
    changed = np.flatnonzero(fifth["ct_1_mu"] != plain["ct_1_mu"])
    np.testing.assert_array_equal(changed, np.arange(10))
    assert fifth["ct_1_mu"][:10].mean() > 5 * plain["ct_1_mu"][:10].mean()
    named = generate_gene_parameters(config(shared_markers={"ct_2_mkr_3": ["ct_0"]}))
    np.testing.assert_array_equal(np.flatnonzero(named["ct_0_mu"] != plain["ct_0_mu"]), [103])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, [0, 0, 0, 0]),
        (0.25, [0.25, 0.25, 0.25, 0.25]),
        ([0, 0.1, 0.2, 0.3], [0, 0.1, 0.2, 0.3]),
        ({"hk_0": 0.5, 0: 0.1}, [0.1, 0, 0.5, 0]),
    ],
)
def test_leakage_by_gene(given, expected):
    small = SimulationConfig(
        n_cells=5, n_celltype=2, n_genes=4, n_markers=1, leakage_by_gene=given
    )
    assert generate_gene_parameters(small)["gene_leakage"].tolist() == expected
