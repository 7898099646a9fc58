"""The simulation's parameters: bounds in one sentence, files, derived values."""

from __future__ import annotations

import warnings

import pytest
import yaml

from celldyn.errors import ConfigError, FileFormatError
from celldyn.simulate import SimulationConfig, TargetSpec

SIZES = {"n_cells": 200, "n_celltype": 3, "n_genes": 30}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_markers": 11}, "n_celltype * n_markers = 3 * 11 is more than n_genes = 30"),
        ({"n_markers": 9, "n_silence": 4}, "+ n_silence = 4 is more than n_genes = 30"),
        ({"canvas_size": 50.0}, "canvas_size 50 × 50 µm has room for 36 cells"),
        (
            {"celltype_proportion": [0.5, 0.3, 0.1]},
            "celltype_proportion must sum to 1, not to 0.9",
        ),
        ({"celltype_proportion": [0.5, 0.5]}, "celltype_proportion must hold n_celltype = 3"),
        ({"n_cells": 0}, "n_cells must be greater than or equal to 1"),
        ({"marker_cv": 0}, "marker_cv must be greater than 0"),
        ({"marker_nu": 1}, "marker_nu is not a parameter of SimulationConfig"),
        ({"domain_labels": ["a", "a"], "n_domains": 2}, "domain_labels must hold 2 different"),
        ({"n_sections": 500}, "n_sections = 500 must be at most n_cells = 200"),
        ({"theta_mu": 2.0, "theta_alpha": 3.0}, "not both"),
        ({"leakage_by_gene": [0.1]}, "leakage_by_gene has 1 numbers; it must have n_genes = 30"),
        ({"leakage_by_gene": 1.5}, "leakage_by_gene must be between 0 and 1"),
        ({"leakage_by_gene": {"Myc": 0.1}}, "'Myc' is no gene"),
        ({"shared_markers": {"hk_0": ["ct_0"]}}, "'hk_0' is no marker gene"),
        ({"celltype_priors": {"ct_9": {}}}, "'ct_9' is no cell type"),
        ({"celltype_priors": {"ct_0": {"mu": 1}}}, "'mu' is no prior"),
        ({"extra_genes": [{"name": "hk_0"}]}, "'hk_0' is named 2 times"),
        ({"extra_genes": [{"name": "A", "domain_factor": {"rim": 1}}]}, "'rim' is no domain"),
        (
            {"targets": [{"gene": "A", "regulators": {"B": 1}}]},
            "'B' is no gene of this simulation",
        ),
        ({"targets": [{"gene": "A", "ligand_receptor": {"L-R": 1}}]}, "'ligand$receptor'"),
    ],
)
def test_a_bad_value_is_refused_by_name(changes, sentence):
    with pytest.raises(ConfigError) as error:
        SimulationConfig(**{**SIZES, **changes})
    assert sentence in str(error.value)


def test_targets_in_a_circle_are_refused():
    targets = [{"gene": "A", "regulators": {"B": 1}}, {"gene": "B", "regulators": {"A": 1}}]
    with pytest.raises(ConfigError, match="in a circle among A, B"):
        SimulationConfig(**SIZES, targets=targets)


def test_only_the_sizes_are_required():
    with pytest.raises(ConfigError, match="n_cells is required; n_celltype is required; n_genes"):
        SimulationConfig()
    config = SimulationConfig(**SIZES)
    assert config.celltype_names == ["ct_0", "ct_1", "ct_2"]
    assert config.n_housekeeping_genes == 15
    assert config.canvas_um == pytest.approx((30000**0.5, 30000**0.5))
    assert "15 housekeeping" in config.summary()


@pytest.mark.parametrize("prior", [{"theta_alpha": 1.0}, {"theta_cv": 1.2}])
def test_a_theta_without_mean_dispersion_warns(prior):
    with pytest.warns(UserWarning, match="Var/Mean is infinite"):
        SimulationConfig(**SIZES, **prior)


def test_the_defaults_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SimulationConfig(**SIZES)


def test_yaml_round_trip(tmp_path):
    config = SimulationConfig(
        **SIZES,
        canvas_size=(300.0, 200.0),
        leakage_by_gene={"hk_0": 0.5, 3: 0.1},
        celltype_labels=["Tumour", "T cell", "Stroma"],
        celltype_proportion=[0.5, 0.3, 0.2],
        shared_markers={"Tumour_mkr_0": ["T cell"]},
        targets=[TargetSpec(gene="Myc", regulators={"hk_1": -0.5}, celltype_factor={"Stroma": 0})],
    )
    assert SimulationConfig.from_yaml(config.to_yaml(tmp_path / "tissue.yaml")) == config


def test_yaml_flat_or_under_simulation(tmp_path):
    for name, content in (("flat", SIZES), ("nested", {"simulation": SIZES, "other": 1})):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        assert SimulationConfig.from_yaml(path) == SimulationConfig(**SIZES)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("- 1\n- 2\n", FileFormatError),
        ("a: [1\n", FileFormatError),
        ("simulation: 3\n", ConfigError),
        ("!!python/object/apply:os.getcwd []\n", FileFormatError),
    ],
)
def test_yaml_that_is_no_config(tmp_path, text, error):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(error):
        SimulationConfig.from_yaml(path)


def test_yaml_that_is_not_there(tmp_path):
    with pytest.raises(FileFormatError, match=r"gone\.yaml"):
        SimulationConfig.from_yaml(tmp_path / "gone.yaml")
