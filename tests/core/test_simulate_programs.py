"""Gene programs: sizes from the programs, means from activations, and the counts' law."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig, generate_gene_parameters, sample_counts
from celldyn.simulate.counts import sample_means_job
from celldyn.simulate.genes import gene_names, marker_rows
from celldyn.simulate.programs import (
    build_program_gpar_df,
    check,
    mean_activations,
    program_activations,
    program_block,
    program_loadings,
    program_proportions,
    program_strata,
    resolve_gene_names,
    sample_counts_program_model,
)
from celldyn.simulate.specs import CellTypeSpec, ProgramSpec

PROGRAMS = [
    {"name": "cycle", "loading": {"Mki67": 2.0, "Top2a": 1.5}},
    {"name": "immune", "loading": {"Cd3e": 3.0, "Top2a": 0.5, "Ptprc": 1.0}},
]
TYPES = {
    "Tumour": {"proportion": 0.7, "program_activations": {"cycle": 1.0}},
    "T cell": {
        "proportion": 0.3,
        "program_activations": {"immune": 2.0, "cycle": 0.2},
        "activation_sd": 0.1,
    },
}


def config(**changes):
    given = {"n_cells": 100, "programs": PROGRAMS, "cell_type_specs": TYPES, "n_hk_genes": 3}
    return SimulationConfig(**{**given, **changes})


def fixed(**changes):
    """The same with cells of a type alike."""
    types = {name: {**spec, "activation_sd": 0.0} for name, spec in TYPES.items()}
    return config(cell_type_specs=types, **changes)


def shorthand(**changes):
    given = {"n_cells": 100, "n_programs": 3, "n_genes_per_program": 10, "n_hk_genes": 5}
    return SimulationConfig(**{**given, **changes})


def test_sizes_and_names_come_from_the_programs():
    made = config()
    assert made.expression_model == "programs"
    assert (made.n_genes, made.n_celltype) == (7, 2)
    assert made.celltype_names == ["Tumour", "T cell"]
    assert program_proportions(made) == [0.7, 0.3]
    names = ["Mki67", "Top2a", "Cd3e", "Ptprc", "hk_0", "hk_1", "hk_2"]
    assert resolve_gene_names(made) == names
    kinds = ["cycle", "cycle", "immune", "immune", "hk", "hk", "hk"]
    assert gene_names(made) == (names, kinds)
    assert (marker_rows(made), made.markers_per_type) == ({}, 0)


def test_specs_may_be_objects():
    made = config(
        programs=[ProgramSpec(**program) for program in PROGRAMS],
        cell_type_specs={name: CellTypeSpec(**spec) for name, spec in TYPES.items()},
    )
    assert made == config()


def test_the_shorthand_makes_thirty_five_genes():
    made = shorthand()
    assert (made.n_genes, made.n_celltype) == (35, 3)
    assert resolve_gene_names(made)[9:12] == [
        "program_0_gene_9",
        "program_1_gene_0",
        "program_1_gene_1",
    ]
    loadings = program_loadings(made)
    assert (loadings > 0).sum(axis=1).tolist() == [10, 10, 10]
    assert ((loadings > 0).sum(axis=0) == [1] * 30 + [0] * 5).all()
    assert program_proportions(made) is None
    wide = program_loadings(shorthand(n_programs=4, n_genes_per_program=2_000))
    assert wide[wide > 0].mean() == pytest.approx(0.75, abs=5 * 0.45 / 8000**0.5)
    assert wide[wide > 0].std() == pytest.approx(0.45, rel=0.05)


@pytest.mark.parametrize(("n_types", "n_programs"), [(3, 3), (2, 5), (5, 2), (1, 4)])
def test_anchors_are_dealt_in_turn(n_types, n_programs):
    made = shorthand(n_celltype=n_types, n_programs=n_programs)
    means, sds = mean_activations(made)
    assert means.shape == (n_types, n_programs)
    anchors = means > 0.5
    assert anchors.any(axis=0).all()
    assert anchors.any(axis=1).all()
    # A fifth of a type's activation is a Dirichlet draw, which sums to one.
    np.testing.assert_allclose((means - 0.8 * (means >= 0.8)).sum(axis=1), 0.2)
    assert (means > 0).all()
    assert not sds.any()
    assert (mean_activations(shorthand(n_celltype=n_types, seed=1))[0] > 0).all()


def test_the_gene_table_is_the_model_at_the_mean_activations():
    table = build_program_gpar_df(config(leakage_by_gene={"Cd3e": 0.25}))
    assert list(table.columns) == [
        "feature_name",
        "gene_type",
        "Tumour_theta",
        "Tumour_mu",
        "T cell_theta",
        "T cell_mu",
        "gene_leakage",
    ]
    base = 0.05
    expected = [base + 0.4, base + 0.2 * 1.5 + 1.0, base + 6.0, base + 2.0, base, base, base]
    np.testing.assert_allclose(table["T cell_mu"], expected)
    np.testing.assert_allclose(table["Tumour_mu"], [2.05, 1.55] + [base] * 5)
    # The gamma rate of a gene has CV = phi0 mu^-alpha, and 1 / sqrt(theta) is that CV.
    np.testing.assert_allclose(table["T cell_theta"] ** -0.5, 0.5 * np.array(expected) ** -0.3)
    assert table["gene_leakage"].tolist() == [0, 0, 0.25, 0, 0, 0, 0]
    assert generate_gene_parameters(config()).equals(build_program_gpar_df(config()))


def test_a_constant_cv_is_one_theta_for_all():
    table = build_program_gpar_df(config(overdispersion_exponent=0.0, overdispersion_cv=0.4))
    np.testing.assert_allclose(table[["Tumour_theta", "T cell_theta"]], 0.4**-2)


def test_repressed_genes_stay_above_zero():
    programs = [{"name": "p", "loading": {"up": 1.0, "down": -5.0}}]
    made = config(programs=programs, cell_type_specs={}, n_hk_genes=0, n_celltype=1)
    table = build_program_gpar_df(made)
    assert table["ct_0_mu"][1] == 1e-6
    assert table["gene_type"].tolist() == ["p", "p"]
    assert np.isfinite(table["ct_0_theta"]).all()


def test_activations_follow_their_law_and_depend_on_the_cell_alone():
    made, n = config(), 20_000
    codes = np.ones(n, dtype=int)
    z = program_activations(made, codes, 3, np.arange(n))
    assert z.shape == (n, 2)
    np.testing.assert_allclose(z.mean(axis=0), [0.2, 2.0], atol=5 * 0.1 / n**0.5)
    np.testing.assert_allclose(z.std(axis=0), 0.1, rtol=0.03)
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / n**0.5
    some = np.array([7, 19_000, 3])
    np.testing.assert_array_equal(program_activations(made, codes[some], 3, some), z[some])
    tumour = program_activations(made, np.zeros(4, dtype=int), 3, np.arange(4))
    np.testing.assert_array_equal(tumour, [[1.0, 0.0]] * 4)


def test_totals_are_those_expected():
    """s sum_g (mu0 + W z)_g, averaged over the cells of a type and their activations."""
    made, n = shorthand(n_celltype=3), 30_000
    rng = np.random.default_rng(1)
    codes, scale = rng.integers(0, 3, n), rng.lognormal(0, 0.2, n)
    counts = sample_counts_program_model(made, codes, scale)
    loadings, (means, _) = program_loadings(made), mean_activations(made)
    expected = scale * (0.05 + means[codes] @ loadings).sum(axis=1)
    total = np.asarray(counts.sum(axis=1)).ravel()
    table = build_program_gpar_df(made)
    for k, name in enumerate(made.celltype_names):
        own = codes == k
        mu, theta = table[f"{name}_mu"].to_numpy(), table[f"{name}_theta"].to_numpy()
        variance = (np.outer(scale[own], mu) + np.outer(scale[own], mu) ** 2 / theta).sum()
        assert abs(total[own].sum() - expected[own].sum()) < 5 * variance**0.5


def test_cells_of_a_type_may_differ_and_have_the_law_of_their_activations():
    made, n = config(), 40_000
    counts = sample_counts_program_model(made, np.full(n, "T cell"), 1.0).toarray()
    z = program_activations(made, np.ones(n, dtype=int), made.seed, np.arange(n))
    mean = np.maximum(0.05 + z @ program_loadings(made), 1e-6)
    theta = mean**0.6 / 0.25
    variance = mean + mean**2 / theta
    error = np.sqrt(variance.sum(axis=0)) / n
    assert (np.abs(counts.mean(axis=0) - mean.mean(axis=0)) < 5 * error).all()
    # Activations come on top of the noise: Var = E[m + m^2 / theta] + Var[m].
    expected = variance.mean(axis=0) + mean.var(axis=0)
    np.testing.assert_allclose(counts.var(axis=0), expected, rtol=0.06)


def test_alike_cells_have_the_counts_of_the_table_and_of_their_own_means():
    made, n = fixed(seed=5), 700
    rng = np.random.default_rng(2)
    codes, scale, ids = rng.integers(0, 2, n), rng.lognormal(0, 0.3, n), rng.permutation(n)
    counts = sample_counts_program_model(made, codes, scale, cell_ids=ids).toarray()
    table = build_program_gpar_df(made)
    by_table = sample_counts(table, codes, scale, 5, cell_ids=ids).toarray()
    np.testing.assert_array_equal(counts, by_table)
    block = program_block(made, codes, scale, cell_ids=ids)
    own = run(
        sample_means_job(block, n, table["feature_name"], 5, cell_ids=ids), bar=False
    ).toarray()
    np.testing.assert_array_equal(own, counts)
    assert program_strata(made, codes, scale).mu.shape == (2, 7)
    assert program_strata(config(), codes, scale) is None


def test_blocks_subset_and_threads_change_nothing(monkeypatch):
    made, n = config(gene_correlation=0.3), 400
    rng = np.random.default_rng(2)
    names = np.array(made.celltype_names)[rng.integers(0, 2, n)]
    scale = rng.lognormal(0, 0.3, n)
    whole = sample_counts_program_model(made, names, scale).toarray()
    monkeypatch.setattr("celldyn.simulate.counts._MEANS_TILE", 21)
    np.testing.assert_array_equal(sample_counts_program_model(made, names, scale).toarray(), whole)
    pick = rng.permutation(n)[:50]
    part = sample_counts_program_model(made, names[pick], scale[pick], cell_ids=pick)
    np.testing.assert_array_equal(part.toarray(), whole[pick])
    free = sample_counts_program_model(config(), names, scale).toarray()
    assert (free != whole).any()


def test_loadings_as_lists_and_a_panel():
    programs = [{"name": "p", "loading": [1.0, 0.0, 2.0]}, {"name": "q", "loading": [0, 0, 3.0]}]
    made = SimulationConfig(n_cells=5, programs=programs)
    assert (made.n_genes, made.n_celltype) == (3, 2)
    assert gene_names(made) == (["gene_0", "gene_1", "gene_2"], ["p", "hk", "q"])
    named = SimulationConfig(n_cells=5, programs=programs, gene_labels=["Kras", "Actb", "Myc"])
    assert gene_names(named)[0] == ["Kras", "Actb", "Myc"]
    np.testing.assert_array_equal(program_loadings(named), [[1, 0, 2], [0, 0, 3]])


def test_yaml_round_trip(tmp_path):
    for made in (config(), shorthand(gene_labels=[f"g{i}" for i in range(35)])):
        assert SimulationConfig.from_yaml(made.to_yaml(tmp_path / "programs.yaml")) == made
    assert config().replace(n_hk_genes=5, n_genes=None).n_genes == 9


def refusal(**values):
    """What `check` says of parameters, whether or not a config hooks it in."""
    try:
        made = SimulationConfig(**values)
    except ConfigError as error:
        return str(error)
    with pytest.raises(ValueError, match=r".") as error:
        check(made)
    return str(error.value)


BOTH = {"n_cells": 9, "programs": PROGRAMS, "cell_type_specs": TYPES}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {**BOTH, "expression_model": "classes", "n_genes": 5, "n_celltype": 2},
            "need expression",
        ),
        ({**BOTH, "n_programs": 2}, "either programs or n_programs"),
        (
            {"n_cells": 9, "n_genes": 3, "n_celltype": 1, "expression_model": "programs"},
            "either programs or n_programs",
        ),
        ({**BOTH, "n_genes": 3}, "n_genes = 3 must be the 4 genes that programs name"),
        (
            {"n_cells": 9, "n_programs": 2, "n_genes": 7},
            "n_genes = 7 must be n_programs * n_genes_per_program + n_hk_genes = 20",
        ),
        ({**BOTH, "programs": [*PROGRAMS, PROGRAMS[0]]}, "programs: 'cycle' is named 2 times"),
        (
            {
                **BOTH,
                "n_hk_genes": 1,
                "programs": [{"name": "cycle", "loading": {"hk_0": 1.0}}, PROGRAMS[1]],
            },
            "genes of the programs: 'hk_0' is named 2 times",
        ),
        (
            {**BOTH, "programs": [{"name": "cycle", "loading": [1.0, 2.0]}, PROGRAMS[1]]},
            "'Cd3e' is no gene",
        ),
        (
            {
                "n_cells": 9,
                "programs": [
                    {"name": "p", "loading": [1.0, 2.0]},
                    {"name": "q", "loading": [1.0]},
                ],
            },
            "the loading of 'q' has 1 numbers; it must have n_genes = 2",
        ),
        (
            {**BOTH, "cell_type_specs": {"A": {"program_activations": [1.0]}}},
            "'A' has 1 activations; it must have one for each of 2 programs",
        ),
        (
            {**BOTH, "cell_type_specs": {"A": {"program_activations": {"death": 1.0}}}},
            "'death' is no program",
        ),
        ({**BOTH, "celltype_labels": ["A", "B"]}, "must hold the types A, B"),
        ({**BOTH, "celltype_proportion": [0.5, 0.5]}, "not both"),
        (
            {
                **BOTH,
                "cell_type_specs": {**TYPES, "B": {"program_activations": [1.0, 1.0]}},
            },
            "a proportion to all types or to none",
        ),
        (
            {
                **BOTH,
                "cell_type_specs": {"B": {"program_activations": [1.0, 1.0], "proportion": 0.5}},
            },
            "must sum to 1, not to 0.5",
        ),
    ],
)
def test_programs_that_do_not_fit_are_refused(values, sentence):
    assert sentence in refusal(**values)


def test_what_cannot_be_read_is_named():
    with pytest.raises(ConfigError, match="programs"):
        SimulationConfig(n_cells=9, programs="all of them")
    with pytest.raises(ConfigError, match="loading"):
        SimulationConfig(n_cells=9, programs=[{"name": "p"}], n_genes=3)
    with pytest.raises(ConfigError, match="n_programs"):
        SimulationConfig(n_cells=9, n_programs="three")
    with pytest.raises(ConfigError, match="n_celltype is required; n_genes is required"):
        SimulationConfig(n_cells=9)


def test_cells_that_do_not_fit_are_refused():
    with pytest.raises(MissingKeyError, match="cell 1 is of type B"):
        sample_counts_program_model(config(), ["Tumour", "B"], 1.0)
    with pytest.raises(DataError, match="do not fit 2 cells"):
        sample_counts_program_model(config(), [0, 1], [1.0])
