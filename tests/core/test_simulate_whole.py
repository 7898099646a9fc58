"""The whole tissue: all stages together, the same bytes however cut, every truth in place."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from celldyn import keys
from celldyn.jobs import run
from celldyn.perturbation import Perturbation
from celldyn.simulate import (
    GeneSpec,
    PrototypeSpec,
    PrototypeSpecInstance,
    SimulationConfig,
    SpotlessSimulator,
    TargetSpec,
    TechnicalSpec,
    score,
    simulate_job,
)


def config(**changes):
    given = {
        "n_cells": 900,
        "n_celltype": 3,
        "n_genes": 40,
        "seed": 5,
        "n_sections": 2,
        "n_domains": 2,
        "celltype_proportion": [0.5, 0.3, 0.2],
        "continuity": 0.3,
        "leakage_by_gene": 0.2,
        "leakage_by_celltype": {"ct_0": 0.1, "ct_1": 0.3},
        "ambient_rate_per_um2": 0.001,
        "prototypes": [
            {"spec": {"composition": {"ct_2": 1.0}, "size_um": 40.0}, "x": 120.0, "y": 130.0}
        ],
        "extra_genes": [GeneSpec(name="Tf1", mu=5.0), GeneSpec(name="Tf2", mu=4.0)],
        "targets": [
            TargetSpec(gene="Myc", regulators={"Tf1": 0.6, "hk_0": 0.3}),
            TargetSpec(gene="Fos", regulators={"Myc": 0.5}),
        ],
    }
    return SimulationConfig(**{**given, **changes})


@pytest.fixture(scope="module")
def simulation():
    return run(simulate_job(config(), threads=1), bar=False)


def test_the_same_bytes_for_threads_and_blocks(simulation, monkeypatch):
    for module, name, size in (
        ("counts", "_TILE", 1000),
        ("counts", "_MEANS_TILE", 1000),
        ("molecules.sampling", "BLOCK", 1000),
        ("shapes.making", "_BLOCK", 100),
        ("ligands", "_MOST", 100),
    ):
        monkeypatch.setattr(f"celldyn.simulate.{module}.{name}", size)
    again = run(simulate_job(config(), threads=2), bar=False)
    np.testing.assert_array_equal(again.counts.toarray(), simulation.counts.toarray())
    np.testing.assert_array_equal(again.shapes.cell, simulation.shapes.cell)
    np.testing.assert_array_equal(again.shapes.nucleus, simulation.shapes.nucleus)
    assert again.cells.equals(simulation.cells)
    assert again.transcripts.equals(simulation.transcripts)


def test_molecules_are_the_counts(simulation):
    molecules = simulation.transcripts
    own = molecules[molecules["cell_id"] >= 0]
    table = np.zeros(simulation.counts.shape, dtype=int)
    np.add.at(table, (own["cell_id"], own["feature_name"].cat.codes), 1)
    np.testing.assert_array_equal(table, simulation.counts.toarray())
    assert (molecules["cell_id"] < 0).sum() > 100


def test_leakage_follows_the_union_rule(simulation):
    molecules = simulation.transcripts[simulation.transcripts["cell_id"] >= 0]
    celltype = simulation.cells["celltype"].to_numpy()[molecules["cell_id"]]
    is_table = molecules["feature_name"].isin(simulation.genes["feature_name"])
    for name, p_type in (("ct_0", 0.1), ("ct_1", 0.3), ("ct_2", 0.0)):
        leaked = molecules["is_leaked"][is_table.to_numpy() & (celltype == name)]
        expected = 1 - (1 - p_type) * (1 - 0.2)
        assert leaked.mean() == pytest.approx(expected, abs=4 * (0.25 / len(leaked)) ** 0.5)


def test_nuclei_lie_in_cells_and_cells_do_not_overlap(simulation):
    assert shapely.contains(simulation.cell_polygons, simulation.nuclei).all()
    for section in ("section_0", "section_1"):
        cells = simulation.cell_polygons[(simulation.cells["section"] == section).to_numpy()]
        first, second = shapely.STRtree(cells).query(cells, predicate="intersects")
        apart = first < second
        common = shapely.area(shapely.intersection(cells[first[apart]], cells[second[apart]]))
        assert common.max(initial=0.0) < 1e-6


def test_structures_and_shares_are_as_asked(simulation):
    cells = simulation.cells
    inside = cells[cells["prototype"] == 1]
    assert len(inside) > 20
    assert (inside["celltype"] == "ct_2").all()
    assert (inside["section"] == "section_0").all()
    assert np.hypot(inside["x"] - 120, inside["y"] - 130).max() < 60
    shares = cells["celltype"].value_counts(normalize=True)
    assert shares[["ct_0", "ct_1", "ct_2"]].to_numpy() == pytest.approx([0.5, 0.3, 0.2], abs=0.01)


def test_size_factors_are_the_nuclei(simulation):
    cells = simulation.cells
    relative = cells.groupby("celltype", observed=True)["nucleus_area"].transform("mean")
    np.testing.assert_allclose(cells["scale"], cells["nucleus_area"] / relative, rtol=1e-6)


def test_the_table_carries_the_outlines(simulation):
    adata = simulation.adata
    np.testing.assert_array_equal(adata.obsm[keys.CELL_RADII()], simulation.shapes.cell)
    np.testing.assert_array_equal(adata.obsm[keys.NUCLEUS_RADII()], simulation.shapes.nucleus)
    assert {"prototype", "nucleus_area", "cell_area", "orientation"} <= set(adata.obs)


def test_a_factor_of_one_changes_nothing_and_a_knock_out_nothing_upstream(simulation):
    names = simulation.gene_names
    control = simulation.counts.toarray()
    for gene in ("ct_0_mkr_0", "Tf1", "Myc"):
        same = simulation.perturbed(Perturbation.multiply({gene: 1.0}))
        np.testing.assert_array_equal(same.toarray(), control)
    some = np.arange(100)
    out = simulation.perturbed(Perturbation.knock_out("Myc", cells=some)).toarray()
    changed = {names[k] for k in np.flatnonzero((out != control).any(axis=0))}
    assert changed == {"Myc", "Fos"}
    assert not out[some][:, names.index("Myc")].any()
    np.testing.assert_array_equal(out[100:], control[100:])
    assert (out <= control).all()


def test_an_effect_that_is_predicted_exactly_has_a_perfect_score(simulation):
    change = Perturbation.knock_out("Tf1")
    effect = simulation.perturbed(change) - simulation.counts
    table = score(simulation.adata, "environment", perturbation=change, predicted=effect)
    values = table.set_index("metric")["value"]
    assert values["correlation"] == pytest.approx(1.0)
    assert values["error over that of no effect"] == 0.0
    nothing = score(simulation.adata, "environment", perturbation=change, predicted=0 * effect)
    assert nothing.set_index("metric")["value"]["error over that of no effect"] == 1.0


def test_technical_noise_keeps_the_native_truth():
    quiet = SpotlessSimulator(config(ambient_rate_per_um2=0.0))
    native = quiet.simulate_counts()
    noise = TechnicalSpec(batch_by="section", library_cv=0.3, ambient_rate=20.0, detection=0.8)
    noisy = run(simulate_job(config(technical=noise)), bar=False)
    adata, truth = noisy.adata, noisy.adata.uns["truth"]["technical"]
    ambient = adata.layers[keys.TRUTH_AMBIENT()]
    assert ambient.min() >= 0
    expected = truth["ambient"] * truth["batch_factor"]
    code = adata.obs["batch"].cat.codes.to_numpy()
    mean = (truth["library"][:, None] * expected[code]).mean()
    assert ambient.mean() == pytest.approx(mean, rel=0.1)
    assert set(adata.obs["batch"]) == {"section_0", "section_1"}
    # What regulates a target is what the cell holds, not what is measured of it.
    np.testing.assert_array_equal(
        noisy.true_betas["Myc"].features, quiet.true_betas["Myc"].features
    )
    assert native.shape == noisy.counts.shape


def test_the_steps_of_the_seed():
    simulator = SpotlessSimulator(config(prototypes=[]))
    simulator.generate_gene_parameters()
    placed = PrototypeSpecInstance(spec=PrototypeSpec(pattern="ring", size_um=50), x=100, y=100)
    cells = simulator.initialize_cells(prototype_instances=[placed])
    assert type(cells).__name__ == "GeoDataFrame"
    assert cells.geometry.contains(cells["nucleus"]).all()
    assert (cells["prototype"] == 1).sum() > 10
    simulator.simulate_counts()
    molecules = simulator.simulate_transcript_locations()
    assert (molecules["cell_id"] >= 0).sum() == simulator.count_array.sum()


@pytest.fixture(scope="module")
def tree():
    dynamics = {"potential": "tree", "n_fates": 2, "defines_celltypes": True, "spliced": True}
    made = SimulationConfig(
        n_cells=800, n_celltype=3, n_genes=20, seed=4, dynamics={**dynamics, "n_genes": 12}
    )
    return run(simulate_job(made), bar=False)


def test_known_states_are_on_the_table(tree):
    adata = tree.adata
    assert adata.obsm[keys.TRUTH_LATENT()].shape == (800, 2)
    np.testing.assert_allclose(adata.obsm[keys.TRUTH_FATES()].sum(axis=1), 1.0, atol=1e-9)
    entropy = adata.obs[keys.TRUTH_FATE_ENTROPY()]
    assert 0 <= entropy.min() <= entropy.max() <= np.log(2) + 1e-9
    assert adata.obs["cell_type"].nunique() == 3
    total = adata.layers[keys.SPLICED()].sum()
    assert total == adata.X.sum()
    assert adata.layers[keys.UNSPLICED()].sum() > 0


def test_the_true_landscape_has_a_perfect_score(tree):
    adata = tree.adata.copy()
    adata.obs["potential"] = 3 * adata.obs[keys.TRUTH_POTENTIAL()] + 1
    adata.obs["lsd_pseudotime"] = adata.obs[keys.TRUTH_TIME()]
    adata.obs["fate"] = adata.obs[keys.TRUTH_FATE()].astype(str).str.upper()
    values = score(adata, "landscape").set_index("what")["value"]
    assert values[["potential", "lsd_pseudotime", "fate"]].to_numpy() == pytest.approx([1, 1, 1])


def test_a_driver_moves_the_states_and_a_factor_of_one_does_not(tree):
    driver = next(iter(tree.dynamics.spec.gene_names))
    control = tree.counts.toarray()
    same = tree.perturbed(Perturbation.multiply({driver: 1.0})).toarray()
    np.testing.assert_array_equal(same, control)
    out = tree.perturbed(Perturbation.knock_out(driver)).toarray()
    changed = (out != control).any(axis=0)
    assert not changed[:20].any()
    assert changed[20:].sum() > 3
