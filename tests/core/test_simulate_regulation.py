"""Known regulation: neighbourhood averages, coefficients, and a regression that finds them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import k0

from celldyn.errors import ConfigError
from celldyn.jobs import run
from celldyn.simulate import GeneSpec, SimulationConfig, SpotlessSimulator, TargetSpec
from celldyn.simulate.ligands import CELL_RADIUS_UM, averaging_job, received_job, weight
from celldyn.simulate.regulation import Tissue, gene_mean, received, true_betas_job
from celldyn.simulate.streams import uniforms


def tissue(n=400, *, sections=1, side=300.0):
    codes = np.arange(n)
    return Tissue(
        uniforms(0, "xy", n, 2) * side,
        codes % 2,
        (codes // 2) % 2,
        codes % sections,
        ["A", "B"],
        ["core", "rim"],
        5,
    )


def brute_force(where, expression, radius, kernel="gaussian"):
    gap = np.linalg.norm(where.xy[:, None] - where.xy[None, :], axis=-1)
    if kernel == "gaussian":
        near = 0.001 ** ((gap / radius) ** 2)
    else:
        near = k0(np.maximum(gap, 5.0) / (radius / 4))
    near = np.where(gap <= radius, near, 0.0)
    near *= where.section[:, None] == where.section[None, :]
    return near @ expression / near.sum(axis=1)


@pytest.mark.parametrize("sections", [1, 3])
def test_received_is_the_truncated_kernels_average(sections, monkeypatch):
    monkeypatch.setattr("celldyn.simulate.ligands._MOST", 64)
    where = tissue(sections=sections)
    expression = uniforms(1, "ligand", 400)[:, 0]
    np.testing.assert_allclose(
        received(where, expression, 60.0), brute_force(where, expression, 60.0), rtol=1e-12
    )


@pytest.mark.parametrize("kernel", ["gaussian", "diffusion"])
def test_many_ligands_at_once_are_each_alone(kernel, monkeypatch):
    where = tissue(sections=2)
    levels = uniforms(1, "ligands", 400, 3)
    together = run(received_job(where, levels, 60.0, kernel), bar=False)
    for column in range(3):
        np.testing.assert_allclose(
            together[:, column], brute_force(where, levels[:, column], 60.0, kernel), rtol=1e-12
        )
    matrix = run(averaging_job(where, 60.0, kernel), bar=False)
    np.testing.assert_allclose(matrix @ levels, together, rtol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-13)
    monkeypatch.setattr("celldyn.simulate.ligands._MOST", 7)
    for threads in (1, 2):
        again = run(received_job(where, levels, 60.0, kernel, threads=threads), bar=False)
        np.testing.assert_array_equal(again, together)


def test_the_diffusion_kernel_is_the_screened_steady_state():
    distance = np.linspace(CELL_RADIUS_UM, 100.0, 200)
    length = 25.0
    value = weight(distance, 100.0, "diffusion")
    # l² ∇²w = w away from the source, in polar coordinates.
    h = distance[1] - distance[0]
    slope, bend = np.gradient(value, h), np.gradient(np.gradient(value, h), h)
    inner = slice(20, -5)
    np.testing.assert_allclose(
        length**2 * (bend + slope / distance)[inner], value[inner], rtol=0.01
    )
    inside = weight(np.array([0.0, 1.0, CELL_RADIUS_UM]), 100.0, "diffusion")
    assert np.isfinite(inside).all()
    assert (inside == inside[2]).all()
    assert (np.diff(value) < 0).all()


def test_a_lonely_cell_receives_its_own():
    where = tissue(5, side=1e6)
    np.testing.assert_allclose(received(where, np.arange(5.0), 10.0), np.arange(5.0))


def test_coefficients_and_mean_follow_the_equation():
    where = tissue()
    values = {name: uniforms(2, name, 400)[:, 0] * 10 for name in ("T", "L", "R")}
    spec = TargetSpec(
        gene="Y",
        intercept=2.0,
        regulators={"T": -1.5},
        ligand_receptor={"L$R": 0.5},
        radius_um=50.0,
        celltype_factor={"B": 0.0},
        domain_factor={"rim": 2.0},
    )
    truth = run(true_betas_job(spec, where, values.__getitem__), bar=False)
    assert truth.columns == ["beta0", "beta_T", "beta_L$R"]
    factor = np.where(where.celltype == 1, 0.0, 1.0) * np.where(where.domain == 1, 2.0, 1.0)
    np.testing.assert_allclose(truth.values[:, 0], 2.0)
    np.testing.assert_allclose(truth.values[:, 1], -1.5 * factor)
    np.testing.assert_allclose(truth.values[:, 2], 0.5 * factor)
    signal = brute_force(where, values["L"], 50.0) * values["R"]
    linear = 2.0 + factor * (-1.5 * values["T"] + 0.5 * signal)
    assert (linear < 0).any()
    np.testing.assert_allclose(truth.mean, np.clip(linear, 0, None), rtol=1e-10, atol=1e-12)


def test_a_ligand_may_act_through_a_transcription_factor():
    where = tissue()
    values = {name: uniforms(2, name, 400)[:, 0] * 10 for name in ("T", "L", "R")}
    spec = TargetSpec(
        gene="Y",
        intercept=0.0,
        regulators={"T": 1.0},
        ligand_receptor={"L$R": 0.5},
        tf_ligand={"L#T": 0.25},
        radius_um=50.0,
        kernel="diffusion",
    )
    truth = run(true_betas_job(spec, where, values.__getitem__), bar=False)
    assert truth.columns == ["beta0", "beta_T", "beta_L$R", "beta_L#T"]
    assert spec.inputs == {"T", "L", "R"}
    heard = brute_force(where, values["L"], 50.0, "diffusion")
    np.testing.assert_allclose(truth.features[:, 2], heard * values["T"], rtol=1e-12)
    np.testing.assert_allclose(
        truth.mean, values["T"] + 0.5 * heard * values["R"] + 0.25 * heard * values["T"]
    )


@pytest.mark.parametrize("pair", ["L$T", "L#", "#T", "L#T#U"])
def test_a_pair_that_is_none_is_refused(pair):
    with pytest.raises(ConfigError, match="ligand#TF"):
        TargetSpec(gene="Y", tf_ligand={pair: 1.0})


def test_a_field_varies_coefficients_about_their_mean():
    where = tissue(4000, side=4000.0)
    spec = TargetSpec(gene="Y", regulators={"T": 1.0}, field_strength=0.3, field_length_um=80.0)
    truth = run(true_betas_job(spec, where, lambda _: np.ones(4000)), bar=False)
    beta = truth.values[:, 1]
    assert beta.mean() == pytest.approx(1.0, abs=0.05)
    assert beta.std() == pytest.approx(0.3, abs=0.06)


def test_named_genes_follow_type_domain_and_field():
    where = tissue(4000, side=4000.0)
    spec = GeneSpec(name="G", mu=4.0, celltype_factor={"A": 0.5}, domain_factor={"rim": 3.0})
    mean = gene_mean(spec, where)
    assert set(np.unique(mean)) == {2.0, 4.0, 6.0, 12.0}
    waved = gene_mean(spec.replace(field_strength=0.5, field_length_um=60.0), where)
    assert (waved / mean).mean() == pytest.approx(1.0, abs=0.1)
    assert np.log(waved / mean).std() == pytest.approx(0.5, abs=0.08)


def simulated(**changes):
    given = {
        "n_cells": 4000,
        "n_celltype": 2,
        "n_genes": 20,
        "seed": 1,
        "extra_genes": [GeneSpec(name="Tf1", mu=8.0, theta=3.0), GeneSpec(name="Tf2", mu=8.0)],
        "targets": [
            TargetSpec(gene="Late", intercept=1.0, regulators={"Early": 0.5}),
            TargetSpec(
                gene="Early", intercept=3.0, regulators={"Tf1": 0.8}, celltype_factor={"ct_1": 0}
            ),
        ],
    }
    simulator = SpotlessSimulator(SimulationConfig(**{**given, **changes}))
    simulator.simulate_counts()
    return simulator


def slopes(y, *x):
    return np.linalg.lstsq(np.stack([np.ones(len(y)), *x], axis=1), y, rcond=None)[0][1:]


def test_a_regression_finds_the_coefficients():
    simulator = simulated()
    column = dict(zip(simulator.gene_names, simulator.count_array.T, strict=True))
    regulated = (simulator.cell_gdf["celltype"] == "ct_0").to_numpy()
    early, tf1, tf2 = column["Early"], column["Tf1"], column["Tf2"]
    on = slopes(early[regulated], tf1[regulated], tf2[regulated])
    off = slopes(early[~regulated], tf1[~regulated], tf2[~regulated])
    np.testing.assert_allclose(on, [0.8, 0.0], atol=0.08)
    np.testing.assert_allclose(off, [0.0, 0.0], atol=0.03)
    np.testing.assert_allclose(slopes(column["Late"], early), [0.5], atol=0.05)


def test_a_knock_down_changes_nothing_upstream_or_beside():
    control = simulated()
    genes = [GeneSpec(name="Tf1", mu=2.0, theta=3.0), GeneSpec(name="Tf2", mu=8.0)]
    changed = simulated(extra_genes=genes)
    before, after = control.count_array, changed.count_array
    names = control.gene_names
    differs = {name for name, b, a in zip(names, before.T, after.T, strict=True) if (b != a).any()}
    assert differs == {"Tf1", "Early", "Late"}
    for name in differs:
        at = names.index(name)
        assert (after[:, at] <= before[:, at]).all()
    untouched = (control.cell_gdf["celltype"] == "ct_1").to_numpy()
    at = names.index("Early")
    np.testing.assert_array_equal(before[untouched, at], after[untouched, at])
