"""Screens, tests of significance, and ways from gene to gene."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from perturb_cases import GENES, Dense, fields_of, tissue
from scipy.stats import kstest

from celldyn.betas import (
    PerturbConfig,
    collect_interactions,
    influence_paths,
    permutation_test,
    perturb_job,
    prepare_perturb,
    prepare_screen,
    screen_job,
)
from celldyn.betas.field import BetaField
from celldyn.betas.modulators import Modulators
from celldyn.betas.perturbing.chance import benjamini_hochberg
from celldyn.errors import ConfigError, DataError, MissingKeyError, NotFittedError
from celldyn.jobs import run
from celldyn.perturbation import Change, Perturbation


def screened(adata, model, fields, folder=None, config=None, **options):
    config = PerturbConfig() if config is None else config
    inputs = prepare_screen(adata, config, fields=fields, model=model, **options)
    return run(screen_job(inputs, config, folder=folder), bar=False)


def single(adata, model, fields, change, gene, cells=None):
    config = PerturbConfig()
    perturbation = Perturbation({gene: change}, cells)
    inputs = prepare_perturb(adata, perturbation, config, fields=fields, model=model)
    return run(perturb_job(inputs, config), bar=False)


@pytest.mark.parametrize("change", ["knockout", "max", 2.5])
@pytest.mark.parametrize("cells", [None, np.arange(20)])
def test_a_screen_is_its_single_perturbations(change, cells):
    adata, model = tissue(sections=True, thresholds=True)
    fields = fields_of(adata, complexes=True, varying=("E",))
    result = screened(adata, model, fields, change=change, cells=cells)
    assert result.genes == tuple(sorted(set(GENES) - {"F", "G"}))
    table = result.table().set_index(["gene", "cluster"])
    types = adata.obs["type"].to_numpy()
    for gene in result.genes:
        one = {
            "knockout": Change("knockout"),
            "max": Change("set", np.array(adata[:, gene].X).max()),
            2.5: Change("multiply", 2.5),
        }[change]
        delta = single(adata, model, fields, one, gene, cells)
        others = [g for g in fields if g != gene]
        for cluster in np.unique(types):
            part = np.array([delta.of(g)[types == cluster] for g in others], float)
            row = table.loc[(gene, cluster)]
            assert row["impact"] == pytest.approx(np.abs(part.mean(axis=1)).mean(), abs=1e-6)
            assert row["signed"] == pytest.approx(part.mean(), abs=1e-6)
            assert row["mean_abs"] == pytest.approx(np.abs(part).mean(), abs=1e-6)
    matrix = result.matrix()
    assert matrix.mean(axis=1).is_monotonic_decreasing
    assert matrix.shape == (len(result.genes), 3)


def test_a_screen_is_taken_up_where_it_stopped(tmp_path, monkeypatch):
    from celldyn.betas.perturbing import screen

    adata, model = tissue()
    fields = fields_of(adata)
    whole = screened(adata, model, fields)
    inputs = prepare_screen(adata, fields=fields, model=model)
    job = screen_job(inputs, PerturbConfig(), folder=tmp_path)
    for progress in job:
        if progress.done == 3 and "impact" in progress.metrics:
            break
    job.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"{gene}_4n_0x.parquet" for gene in inputs.genes[:3]]
    after = pd.read_parquet(tmp_path / files[0])
    assert list(after.index) == list(adata.obs_names)
    expected = single(adata, model, fields, Change("knockout"), "A").expression_after(adata)
    np.testing.assert_allclose(after[list(expected.columns)], expected, atol=1e-6)
    (tmp_path / files[1]).write_bytes(b"half a file")
    computed = []
    propagate = screen.propagate_job

    def counted(circuit, one, *rest, **more):
        computed.extend(one.perturbation.genes)
        return propagate(circuit, one, *rest, **more)

    monkeypatch.setattr(screen, "propagate_job", counted)
    resumed = screened(adata, model, fields, folder=tmp_path)
    assert computed == sorted(set(inputs.genes) - {"A", "C"}, key=inputs.genes.index)
    pd.testing.assert_frame_equal(resumed.table(), whole.table())
    computed.clear()
    screened(adata, model, fields, folder=tmp_path)
    assert computed == []
    screened(adata, model, fields, folder=tmp_path, config=PerturbConfig(clip="none"))
    assert len(computed) == len(inputs.genes)  # another screen's files do not count


def test_wrong_screens_are_refused():
    adata, model = tissue()
    fields = fields_of(adata)
    with pytest.raises(MissingKeyError, match="Nothere"):
        prepare_screen(adata, genes=["Nothere"], fields=fields, model=model)
    with pytest.raises(DataError, match="no gene to screen"):
        prepare_screen(adata, fields={"F": fields["F"]}, model=model)
    with pytest.raises(ConfigError, match="no change"):
        prepare_screen(adata, change="half", fields=fields, model=model)


# --- permutation -----------------------------------------------------------------------------


def panel(n_cells, n_targets, effect, *, n_factors=4, alike=0.0, seed=0):
    """Return targets of which the first quarter follow Tf0, with random betas."""
    import anndata as ad

    from celldyn.betas import BetasConfig

    rng = np.random.default_rng(seed)
    tfs = [f"Tf{k}" for k in range(n_factors)]
    targets = [f"T{k}" for k in range(n_targets)]
    x = rng.gamma(2.0, 1.0, (n_cells, n_factors)) + alike * rng.gamma(2.0, 1.0, (n_cells, 1))
    kind = rng.integers(0, 2, n_cells)
    y = rng.normal(10, 1, (n_cells, n_targets)) + 3 * kind[:, None] + 0.7 * x[:, 1:2]
    n_true = n_targets // 4
    y[:, :n_true] += effect * x[:, :1]
    obs = pd.DataFrame({"type": np.array(["a", "b"])[kind]}, [f"c{i}" for i in range(n_cells)])
    adata = ad.AnnData(np.column_stack((x, y)), obs, pd.DataFrame(index=[*tfs, *targets]))
    adata.obsm["spatial"] = rng.uniform(0, 100, (n_cells, 2))
    fields = {
        gene: BetaField(
            gene,
            # All hold Tf0 and Tf1, and half of them the others, in an order of their own.
            Modulators(("Tf1", "Tf0", *(tfs[2:] if k % 2 else tfs[-1:]))),
            rng.normal(size=(2, 3 + 1 + (k % 2) * (n_factors - 3))),
            kind.astype(np.intp),
        )
        for k, gene in enumerate(targets)
    }
    return adata, BetasConfig(target_gene="T0", layer=None, cluster_annot="type"), fields, n_true


@pytest.mark.parametrize(("n_factors", "alike"), [(4, 0.0), (4, 3.0), (60, 3.0)])
def test_p_values_are_uniform_where_nothing_matters(n_factors, alike):
    adata, model, fields, _ = panel(300, 240, 0.0, n_factors=n_factors, alike=alike)
    inputs = prepare_perturb(adata, Perturbation.knock_out("Tf0"), fields=fields, model=model)
    table = permutation_test(inputs, n_permutations=199, seed=1)
    assert len(table) == 240
    assert kstest(table["p"], "uniform").pvalue > 0.005
    assert 0.01 < (table["p"] < 0.05).mean() < 0.1
    assert (table["q"] < 0.05).sum() <= 2


def test_p_values_are_small_where_the_perturbed_gene_matters():
    adata, model, fields, n_true = panel(300, 40, 0.4, alike=1.0)
    inputs = prepare_perturb(adata, Perturbation.knock_out("Tf0"), fields=fields, model=model)
    table = permutation_test(inputs, n_permutations=199, seed=1).set_index("gene")
    true = [f"T{k}" for k in range(n_true)]
    assert (table.loc[true, "q"] < 0.05).all()
    assert (table.loc[true, "partial_r2"] > 0.05).all()
    assert (table.drop(index=true)["q"] < 0.05).sum() <= 2
    assert (table["n_cells"] == 300).all()
    again = permutation_test(inputs, n_permutations=199, seed=1).set_index("gene")
    pd.testing.assert_frame_equal(table, again)
    near = permutation_test(inputs, n_permutations=199, seed=1, block_um=50.0).set_index("gene")
    assert (near.loc[true, "q"] < 0.05).all()


def test_the_statistic_is_the_partial_r2_of_the_pairs_that_hold_the_gene():
    adata, model = tissue(n=200, seed=2)
    fields = {"D": fields_of(adata)["D"]}
    inputs = prepare_perturb(adata, Perturbation.knock_out("La"), fields=fields, model=model)
    table = permutation_test(inputs, PerturbConfig(), n_permutations=9)
    dense = Dense(adata, model, fields, missing=False)
    m, X = fields["D"].modulators, dense.X0
    columns = [X[:, GENES.index(tf)] for tf in m.regulators]
    columns += [dense.received(X, x, gated=True) * dense.gated(X, y) for x, y in m.lr]
    columns += [dense.received(X, x, gated=False) * dense.level(X, y) for x, y in m.tfl]
    holds = np.array(["La" in name for name in m.names])
    design, y = np.array(columns).T, X[:, GENES.index("D")]
    without = with_all = 0.0
    for kind in "xyz":
        cells = adata.obs["type"].to_numpy() == kind
        for mask in (~holds, np.ones(len(m), bool)):
            part = np.column_stack((np.ones(cells.sum()), design[cells][:, mask]))
            rest = y[cells] - part @ np.linalg.lstsq(part, y[cells])[0]
            if mask.all():
                with_all += rest @ rest
            else:
                without += rest @ rest
    assert table["partial_r2"].item() == pytest.approx(1 - with_all / without, rel=1e-6)


def test_genes_that_nothing_reaches_have_no_p():
    adata, model = tissue()
    inputs = prepare_perturb(
        adata, Perturbation.knock_out("D"), fields=fields_of(adata), model=model
    )
    table = permutation_test(inputs, PerturbConfig(n_propagation=1), n_permutations=9)
    tested = set(table.loc[table["p"].notna(), "gene"])
    assert tested == {"E"}
    assert "D" not in set(table["gene"])
    with pytest.raises(ConfigError, match="permutations"):
        permutation_test(inputs, n_permutations=0)


def test_false_discovery_rates_are_benjamini_and_hochbergs():
    p = np.array([0.01, 0.04, 0.03, 0.5])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.04, 0.16 / 3, 0.16 / 3, 0.5])


# --- ways and interactions -------------------------------------------------------------------


def chain():
    """A → B → C, and A with L$R on C; two cells of the first fit, one of the second."""
    of_cell = np.array([0, 0, 1])

    def field(gene, m, rows):
        return BetaField(gene, m, np.array(rows, float), of_cell)

    return {
        "B": field("B", Modulators(("A", "Z")), [[0, 0.6, 0.0], [0, 0.0, 0.3]]),
        "C": field(
            "C", Modulators(("B", "A"), (("L", "R"),)), [[0, 2.0, -0.5, 1.0], [0, -1.0, 1.0, 1.0]]
        ),
        "L": field("L", Modulators(("A",)), [[0, 0.1], [0, 0.1]]),
    }


def test_ways_from_gene_to_gene():
    table = influence_paths(chain(), "A", "C").set_index("path")
    assert set(table.index) == {"A → C", "A → B → C", "A → L → C"} - {"A → C"}
    assert table.loc["A → B → C", "product"] == pytest.approx(0.4 * 1.0)
    assert table.loc["A → B → C", "weakest"] == pytest.approx(0.4)
    assert table.loc["A → L → C", "through"] == "A → L$R"
    assert table.loc["A → L → C", "product"] == pytest.approx(0.1)
    assert table.loc["A → B → C", "hops"] == 2
    first = influence_paths(chain(), "A", "C", cells=[0, 1]).set_index("path")
    assert first.loc["A → C", "product"] == pytest.approx(-0.5)
    assert first.index[0] == "A → B → C"
    assert influence_paths(chain(), "A", "C", max_hops=1).empty
    assert influence_paths(chain(), "C", "B").empty
    with pytest.raises(NotFittedError):
        influence_paths(chain(), "A", "Q")
    with pytest.raises(ConfigError, match="nowhere"):
        influence_paths(chain(), "A", "C", max_hops=0)


@pytest.mark.parametrize("cells", [None, [0, 1], np.array([False, True, True])])
def test_interactions_of_chosen_cells(cells):
    fields = chain()
    fields["D"] = BetaField(
        "D",
        Modulators(("A",)),
        np.zeros((2, 2)),
        np.array([0, 0, 1]),
        np.array([[0, 1.0], [0, -2.0], [0, 4.0]]),
    )
    table = collect_interactions(fields, cells).set_index(["interaction", "gene"])
    for (interaction, gene), row in table.iterrows():
        field = fields[gene]
        of_cells = field.values()[:, 1 + field.modulators.names.index(interaction)]
        values = of_cells if cells is None else of_cells[cells]
        assert row["mean"] == pytest.approx(values.mean())
        assert row["min"] == values.min()
        assert row["max"] == values.max()
        assert row["sum"] == pytest.approx(values.sum())
        assert row["positive"] == pytest.approx(np.maximum(values, 0).mean())
        assert row["negative"] == pytest.approx(np.minimum(values, 0).mean())
    assert table["mean"].abs().is_monotonic_decreasing
    assert (("Z", "B") in table.index) == (not isinstance(cells, list))
    assert table.loc[("L$R", "C"), "kind"] == "ligand-receptor"
    assert len(collect_interactions(fields, cells, top=2)) == 2


def test_skipped_cells_count_with_nothing():
    field = BetaField("B", Modulators(("A",)), np.array([[0.0, 0.9]]), np.array([0, -1, -1]))
    row = collect_interactions({"B": field}).iloc[0]
    assert row["mean"] == pytest.approx(0.3)
    assert (row["min"], row["max"]) == (0.0, 0.9)
    assert collect_interactions({"B": field}, [1, 2]).empty
