"""Acceptance: a good tissue passes every check, and what is spoilt fails the one it should."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from celldyn.jobs import run
from celldyn.simulate import SimulationConfig, simulate_job
from celldyn.simulate.acceptance import Check, accept, acceptance_table
from celldyn.simulate.expression import Expression
from celldyn.simulate.presets import preset, preset_names


@pytest.fixture(scope="module")
def simulation():
    config = preset("tumour-immune", n_cells=1500)
    return run(simulate_job(config), bar=False)


def failed(simulation) -> list[str]:
    return [check.what for check in accept(simulation) if not check.passed]


def spoilt(simulation, **parts):
    made = copy.copy(simulation)
    for name, value in parts.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_what_it_was_asked_to_be(name):
    checks = accept(run(simulate_job(preset(name)), bar=False))
    assert [check.what for check in checks if not check.passed] == []
    assert len(checks) > 8


def test_the_table_holds_asked_met_and_the_verdict():
    checks = [Check("a", 1.0, 1.5, 0.6), Check("b", 1.0, 1.5, 0.4)]
    table = acceptance_table(checks)
    assert list(table.columns) == ["what", "asked", "met", "tolerance", ""]
    assert table[""].tolist() == ["pass", "FAIL"]


def test_what_is_promised_is_checked(simulation):
    whats = [check.what for check in accept(simulation)]
    for what in (
        "cells", "share of Tumour", "mean of markers in their own type", "mean of silent genes",
        "mean of housekeeping genes", "nucleus area of T cell, µm²", "share of leaked molecules",
        "share of nuclei that leave their cell", "share of the cells' area covered twice",
    ):  # fmt: skip
        assert what in whats


def test_missing_cells_and_wrong_shares_fail(simulation):
    config = simulation.config.replace(n_cells=1499)
    assert failed(spoilt(simulation, config=config)) == ["cells"]
    shares = [0.3, 0.1, 0.1, 0.1, 0.3, 0.1]
    asked = spoilt(simulation, config=simulation.config.replace(celltype_proportion=shares))
    assert "share of Fibroblast" in failed(asked)


def test_counts_of_another_mean_fail(simulation):
    counts = simulation.counts.copy()
    rng = np.random.default_rng(0)
    counts.data = rng.binomial(counts.data, 0.8).astype(counts.data.dtype)
    expression = replace(simulation.expression, counts=counts)
    assert isinstance(expression, Expression)
    wrong = failed(spoilt(simulation, expression=expression))
    assert "mean of markers in their own type" in wrong


def test_nuclei_that_leave_their_cell_or_are_too_large_fail(simulation):
    shapes = simulation.shapes
    wide = type(shapes)(shapes.centre, shapes.cell * np.float32(0.95), shapes.cell)
    assert "share of nuclei that leave their cell" in failed(spoilt(simulation, shapes=wide))
    cells = simulation.cells.assign(nucleus_area=1.4 * simulation.cells["nucleus_area"])
    assert "nucleus area of Fibroblast, µm²" in failed(spoilt(simulation, cells=cells))


def test_cells_that_overlap_fail(simulation):
    shapes = simulation.shapes
    swollen = type(shapes)(shapes.centre, shapes.nucleus, shapes.cell * np.float32(1.05))
    assert failed(spoilt(simulation, shapes=swollen)) == ["share of the cells' area covered twice"]


def test_another_leakage_than_asked_for_fails(simulation):
    class Leaky(type(simulation)):
        def molecule_inputs(self):
            given = super().molecule_inputs()
            if not hasattr(self, "asked"):  # the first call is what is asked
                self.asked = True
                return {**given, "leak_gene": given["leak_gene"] + 0.1}
            return given

    made = copy.copy(simulation)
    made.__class__ = Leaky
    assert failed(made) == ["share of leaked molecules"]


def test_noise_of_the_measurement_is_expected():
    config = SimulationConfig(
        n_cells=600, n_celltype=3, n_genes=60, marker_mu=2.0,
        technical={"detection": 0.5, "ambient_rate": 20.0, "library_cv": 0.2},
    )  # fmt: skip
    checks = accept(run(simulate_job(config), bar=False))
    assert [check.what for check in checks if not check.passed] == []
    assert "molecules of a cell" in [check.what for check in checks]


def test_the_noise_of_correlated_genes_is_allowed_for():
    config = SimulationConfig(
        n_cells=500, n_celltype=2, n_genes=100, gene_correlation=0.6, marker_mu=2.0
    )
    assert failed(run(simulate_job(config), bar=False)) == []
