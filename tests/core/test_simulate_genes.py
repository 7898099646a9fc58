"""The gene table: priors, draw order, names, and what a config adds to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma

from celldyn.errors import ConfigError
from celldyn.simulate import (
    SimulationConfig,
    SpotlessSimulator,
    generate_gene_parameters,
    get_hk_gamma_prior,
    get_marker_gamma_prior,
    get_silence_gamma_prior,
    get_theta_gamma_prior,
    sample_counts,
)
from celldyn.simulate.genes import check_gene_labels, gene_names, var_over_mean

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


def has_moments(values, mean, cv):
    """Whether mean and variance lie within five standard errors of those of a gamma law."""
    n, law = len(values), gamma(cv**-2, scale=mean * cv**2)
    variance, kurtosis = law.var(), float(law.stats("k")) + 3
    near = abs(values.mean() - mean) < 5 * np.sqrt(variance / n)
    return near and abs(values.var() - variance) < 5 * variance * np.sqrt((kurtosis - 1) / n)


def test_every_class_has_the_moments_of_its_prior():
    table = generate_gene_parameters(
        config(n_genes=12_000, n_markers=2_000, n_silence=2_000, theta_alpha=3.0, theta_rate=1.5)
    )
    kinds = table["gene_type"]
    for k in range(3):
        mu, theta = table[f"ct_{k}_mu"], table[f"ct_{k}_theta"]
        own, hk = kinds == f"ct_{k}_mkr", kinds == "hk"
        assert (own.sum(), hk.sum()) == (2_000, 4_000)
        assert has_moments(mu[own], 0.75, 0.6)
        assert has_moments(mu[hk], 0.2, 0.3)
        assert has_moments(mu[~own & ~hk], 0.05, 1.0)
        for members in (own, hk, ~own & ~hk):
            assert has_moments(theta[members], 2.0, 3.0**-0.5)
    assert abs(np.corrcoef(table["ct_0_theta"], table["ct_1_theta"])[0, 1]) < 5 / np.sqrt(12_000)


def test_counts_of_a_class_have_the_mean_and_variance_of_their_genes():
    """Var = m + m^2 / theta, gene by gene, summed over a class."""
    table = generate_gene_parameters(config(theta_alpha=20.0, theta_rate=10.0))
    n = 20_000
    counts = sample_counts(table, np.zeros(n, dtype=int), 1.0, 1).toarray()
    mu, theta = table["ct_0_mu"].to_numpy(), table["ct_0_theta"].to_numpy()
    variance = mu + mu**2 / theta
    for kind in ("ct_0_mkr", "ct_1_mkr", "hk"):
        own = (table["gene_type"] == kind).to_numpy()
        error = np.sqrt(variance[own].sum() / n)
        assert abs(counts[:, own].mean(axis=0).sum() - mu[own].sum()) < 5 * error
        assert counts[:, own].var(axis=0).sum() == pytest.approx(variance[own].sum(), rel=0.05)


def test_var_over_mean_is_that_of_counts_over_the_prior():
    assert var_over_mean(1.0, 5.0, 1.0) == pytest.approx(1.25)
    assert var_over_mean(0.5, 3.0, 2.0) == pytest.approx(1.5)
    np.testing.assert_array_equal(
        var_over_mean([0.0, 1.0, 1.0], [2.0, 1.0, 0.5], 1.0), [1.0, np.inf, np.inf]
    )
    table = generate_gene_parameters(
        config(n_genes=1_000, n_celltype=1, n_markers=0, hk_cv=1e-3, theta_alpha=12.0, hk_mu=2.0)
    )
    counts = sample_counts(table, np.zeros(2_000, dtype=int), 1.0, 3).toarray()
    seen = (counts.var(axis=0) / counts.mean(axis=0)).mean()
    assert seen == pytest.approx(float(var_over_mean(2.0, 12.0, 1.0)), rel=0.015)
    with pytest.raises(ConfigError, match="Var/Mean"):
        var_over_mean(1.0, 0.0, 1.0)


def test_names_of_a_panel():
    labels = [f"Gene{i}" for i in range(300)]
    plain, named = (
        generate_gene_parameters(config()),
        generate_gene_parameters(
            config(
                gene_labels=labels,
                leakage_by_gene={"Gene7": 0.5},
                shared_markers={"Gene3": ["ct_1"]},
            )
        ),
    )
    assert named["feature_name"].tolist() == labels
    assert named["gene_type"].tolist() == plain["gene_type"].tolist()
    np.testing.assert_array_equal(named["ct_0_mu"], plain["ct_0_mu"])
    np.testing.assert_array_equal(np.flatnonzero(named["ct_1_mu"] != plain["ct_1_mu"]), [3])
    assert named["gene_leakage"].to_numpy().nonzero()[0].tolist() == [7]
    assert gene_names(config(gene_labels=labels))[0] == labels


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["a", "b"], "gene_labels has 2 names; it must have n_genes = 3"),
        (["a", "b", "a"], "gene_labels: 'a' is named 2 times"),
    ],
)
def test_names_that_do_not_fit_are_refused(labels, sentence):
    small = {"n_cells": 5, "n_celltype": 1, "n_genes": 3}
    unchecked = SimulationConfig.model_construct(
        **{**SimulationConfig(**small).model_dump(), "gene_labels": labels}
    )
    with pytest.raises(ValueError, match=sentence):
        check_gene_labels(unchecked)
