"""The simulator as a demanding user meets it: hostile files, odd configs, every option at once."""

from __future__ import annotations

import contextlib
import gc
import random
import threading
import time
import typing
import warnings
import weakref

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celldyn import simulate
from celldyn.errors import CelldynError, ConfigError, DataError, FileFormatError
from celldyn.jobs import run
from celldyn.perturbation import Perturbation
from celldyn.simulate import SimulationConfig, SpotlessSimulator, simulate_job
from celldyn.simulate.presets import preset, preset_names

SIZES = {"n_cells": 60, "n_celltype": 2, "n_genes": 12}

EVERYTHING = {
    **SIZES,
    "celltype_labels": ["T cell", "B/cell"],
    "celltype_priors": {"T cell": {"marker_mu": 1.5}},
    "leakage_by_celltype": {"T cell": 0.2},
    "leakage_by_gene": {"hk_0": 0.1, 3: 0.2},
    "domain_labels": ["outside", "core"],
    "n_domains": 2,
    "domain_pattern": "drawn",
    "domain_polygons": {"core": [[(10.0, 10.0), (60.0, 10.0), (30.0, 60.0)]]},
    "domain_composition": {"core": {"T cell": 1.0}},
    "interaction": [[0.5, -0.5], [-0.5, 0.5]],
    "celltype_morphology": {"T cell": {"mean_area": 30.0}},
    "compartments": {"hk": "nuclear"},
    "zero_inflation": 0.2,
    "keep_expected": True,
    "extra_genes": [{"name": "L"}, {"name": "R", "domain_factor": {"core": 2.0}}],
    "targets": [{"gene": "G", "regulators": {"R": 0.5}, "ligand_receptor": {"L$R": 0.3}}],
    "prototypes": [
        {"spec": {"name": "p", "n_cells": 3, "size_um": 20.0}, "x": 70.0, "y": 70.0},
        {"scene": {"specs": [{"n_cells": 2, "size_um": 10.0}]}, "x": 20.0, "y": 75.0},
    ],
    "technical": {"batch_by": "random", "ambient_rate": 20.0, "keep_steps": True},
    "platforms": [{"kind": "visium_hd", "genes": ["hk_0", "G"]}],
    "segmentation": {"merge_rate": 0.1},
    "dynamics": {"n_genes": 6, "knockouts": {"dyn_0": 0.0}, "spliced": True},
}


# --- configs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_a_file(name, tmp_path):
    config = preset(name)
    assert SimulationConfig.from_yaml(config.to_yaml(tmp_path / "a.yaml")) == config
    assert SimulationConfig.from_dict(config.model_dump(mode="json")) == config


def test_every_nested_parameter_survives_a_file(tmp_path):
    config = SimulationConfig(**EVERYTHING)
    assert SimulationConfig.from_yaml(config.to_yaml(tmp_path / "a.yaml")) == config
    nested = {"simulation": config.model_dump(mode="json")}
    assert SimulationConfig.from_dict(nested) == config


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    "text",
    ["", "null", "3", "- 1", "{" * 20_000, "[" * 3000 + "]" * 3000, LAUGHS + "seed: *a9\n",
     "a: &a [*a]\nseed: *a", "technical: {1: 2}", "technical: {null: null}", "? [1]\n: 2",
     "seed: 2020-13-45", "seed: !!python/name:os.system ''", "seed: " + "9" * 9000, "<<: 3",
     "---\na: 1\n---\nb: 2", "simulation: []", "n_cells: .nan", "n_cells: .inf", "\x00"],
)  # fmt: skip
def test_hostile_yaml_is_refused_in_one_sentence(text, tmp_path):
    path = tmp_path / "tissue.yaml"
    path.write_text(text)
    with pytest.raises((ConfigError, FileFormatError)) as error:
        SimulationConfig.from_yaml(path)
    assert len(str(error.value)) < 3000
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", bytes(range(256))])
def test_a_binary_file_is_no_config(content, tmp_path):
    path = tmp_path / "tissue.yaml"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"tissue\.yaml"):
        SimulationConfig.from_yaml(path)


@pytest.mark.parametrize("values", [None, 3, [], "x", {"simulation": None}])
def test_what_is_no_mapping_is_no_config(values):
    with pytest.raises(ConfigError, match="name: value"):
        SimulationConfig.from_dict(values)


def _numbers(config):
    """Return the names of the parameters that are one number."""
    for name, field in config.model_fields.items():
        kinds = set(typing.get_args(field.annotation)) or {field.annotation}
        if kinds <= {int, float, type(None)}:
            yield name


def _configs():
    needed = {
        "SimulationConfig": SIZES,
        "GeneSpec": {"name": "A"},
        "TargetSpec": {"gene": "A"},
        "CellTypeSpec": {"program_activations": [1.0]},
    }
    for name in ("SimulationConfig", "MorphologySpec", "GeneSpec", "TargetSpec", "CellTypeSpec",
                 "DynamicsSpec", "TechnicalSpec", "PlatformSpec", "SegmentationSpec",
                 "PrototypeSpec"):  # fmt: skip
        config = getattr(simulate, name)
        for field in _numbers(config):
            yield pytest.param(config, needed.get(name, {}), field, id=f"{name}.{field}")


@pytest.mark.parametrize(("config", "needed", "field"), _configs())
def test_every_number_has_bounds(config, needed, field):
    for value in (float("nan"), float("inf"), -1e300, 1e300, 10**30, "x", [], {}, object()):
        with pytest.raises(ConfigError) as error:
            config(**{**needed, field: value})
        assert field in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_silence": 13}, "n_silence = 13 is more than n_genes = 12"),
        ({"canvas_size": 2e6}, "canvas_size must be greater than 0 and at most 1e+06 µm"),
        ({"canvas_size": (100.0, -1.0)}, "canvas_size must be greater than 0"),
        ({"canvas_size": 100.0, "density_per_mm2": 100.0}, "canvas_size or density_per_mm2"),
        ({"n_celltype": 10_000, "n_genes": 100_000}, "n_celltype * n_genes = 1000000000 must be"),
        ({"celltype_priors": {"ct_0": {"hk_mu": 1e9}}}, "hk_mu must be greater than 0 and at"),
        ({"neighbour_target": [[0.9, 0.1], [0.6, 0.4]]}, "neighbour_target is not feasible"),
        ({"canvas_size": 1e5, "platforms": [{"kind": "slideseq"}]}, "bead_um = 10 of 'slideseq'"),
        ({"neighbour_target": [[1.0]]}, "neighbour_target must hold n_celltype = 2 rows of 2"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, sentence):
    with pytest.raises(ConfigError) as error:
        SimulationConfig(**{**SIZES, **changes})
    assert sentence in str(error.value)


def test_a_density_makes_the_canvas():
    config = SimulationConfig(**SIZES, density_per_mm2=2500.0)
    width, height = config.canvas_um
    assert 60 / (width * height) == pytest.approx(2500e-6)


@pytest.mark.filterwarnings("ignore:the prior on theta")
@pytest.mark.parametrize(
    "prior", [{"theta_alpha": 1e-3}, {"theta_cv": 50.0}, {"marker_cv": 1e-200}, {"hk_cv": 100.0}]
)
def test_priors_at_the_edge_give_counts(prior):
    simulator = SpotlessSimulator(SimulationConfig(**SIZES, **prior))
    simulator.simulate_counts()
    assert (simulator.gpar_df[["ct_0_theta", "ct_1_theta"]] > 0).all(axis=None)
    assert simulator.counts.data.min(initial=1) > 0


# --- steps by their own names -----------------------------------------------------------------


def test_background_positions():
    xy = simulate.get_background_point_pattern(400, 300.0, seed=1, min_distance_um=10.0)
    gaps = np.linalg.norm(xy[:, None] - xy[None], axis=2) + 1e9 * np.eye(400)
    assert xy.shape == (400, 2)
    assert gaps.min() >= 10.0
    assert 0 <= xy.min() <= xy.max() <= 300
    again = simulate.get_background_point_pattern(400, 300.0, seed=1, min_distance_um=10.0)
    np.testing.assert_array_equal(xy, again)


def test_background_positions_follow_a_function():
    xy = simulate.get_background_point_pattern(
        2000, (400.0, 100.0), point_process="random", density=lambda at: at[:, 0], seed=2
    )
    # Density proportional to x: the mean of x is 2/3 of the width; its sd is 94 µm.
    assert xy[:, 0].mean() == pytest.approx(800 / 3, abs=4 * 94 / 2000**0.5)


def test_types_of_cells_at_known_places():
    xy = simulate.get_background_point_pattern(1000, 500.0)
    mixed = simulate.generate_celltypes(xy, 3, celltype_proportion=[0.5, 0.3, 0.2])
    patchy = simulate.generate_celltypes(
        xy, 3, celltype_proportion=[0.5, 0.3, 0.2], continuity=0.6
    )
    nearest = (np.linalg.norm(xy[:, None] - xy[None], axis=2) + 1e9 * np.eye(1000)).argmin(axis=1)
    for types in (mixed, patchy):
        names, numbers = np.unique(types.astype(str), return_counts=True)
        assert list(names) == ["ct_0", "ct_1", "ct_2"]
        np.testing.assert_allclose(numbers / 1000, [0.5, 0.3, 0.2], atol=0.002)
    # By chance, .38 of the nearest neighbours are of the same type.
    assert (mixed == mixed[nearest]).mean() == pytest.approx(0.38, abs=0.07)
    assert (patchy == patchy[nearest]).mean() > 0.75
    with pytest.raises(DataError, match="finite"):
        simulate.generate_celltypes([[0.0, np.nan]], 1)


# --- counts -----------------------------------------------------------------------------------


def test_zero_inflation_acts_on_the_table_alone():
    extra = [{"name": "Tf", "mu": 5.0, "theta": 1000.0}]
    config = SimulationConfig(
        n_cells=4000, n_celltype=1, n_genes=20, hk_mu=3.0, theta_mu=50.0, theta_cv=0.1,
        n_markers=0, size_factor="none", extra_genes=extra, seed=3,
    )  # fmt: skip
    plain = SpotlessSimulator(config)
    some = SpotlessSimulator(config.replace(zero_inflation=0.3))
    before, after = plain.simulate_counts(), some.simulate_counts()
    np.testing.assert_array_equal(before[:, [20]].toarray(), after[:, [20]].toarray())
    table, left = before[:, :20].toarray(), after[:, :20].toarray()
    assert ((left == table) | (left == 0)).all()
    # Of N values above 0, .3 are lost: ± 4 standard deviations.
    n = np.count_nonzero(table)
    assert 1 - np.count_nonzero(left) / n == pytest.approx(0.3, abs=4 * (0.21 / n) ** 0.5)


def test_expected_counts_are_what_the_counts_are_drawn_about():
    config = SimulationConfig(**{**EVERYTHING, "n_cells": 3000, "canvas_size": None})
    simulation = run(simulate_job(config.replace(technical=None, platforms=[])), bar=False)
    adata = simulation.adata
    expected = adata.layers["truth_expected"]
    assert expected.shape == adata.shape
    assert expected.dtype == np.float32
    table = simulation.genes
    own = simulation.cells["celltype"].astype(str).to_numpy()
    mu = np.stack([table[f"{name}_mu"].to_numpy() for name in own])
    np.testing.assert_allclose(
        expected[:, :12], mu * simulation.cells["scale"].to_numpy()[:, None], rtol=1e-5
    )
    target = simulation.true_betas["G"]
    at = simulation.gene_names.index("G")
    np.testing.assert_allclose(expected[:, at], target.mean, rtol=1e-5)
    drawn = adata.X[:, [at]].toarray().ravel()
    spread = (target.mean + target.mean**2 / 20).sum() ** 0.5
    assert drawn.sum() == pytest.approx(target.mean.sum(), abs=4 * spread)


def test_what_the_cells_receive_is_kept():
    config = SimulationConfig(**{**EVERYTHING, "technical": None, "platforms": []})
    simulation = run(simulate_job(config), bar=False)
    truth = simulation.adata.uns["truth"]["betas"]["G"]
    assert list(truth["ligands"]) == ["L"]
    receptor = simulation.adata[:, "R"].X.toarray()
    received = simulation.true_betas["G"].features[:, [1]]
    np.testing.assert_allclose(truth["received"] * receptor, received, rtol=1e-5)


# --- whole tissues ----------------------------------------------------------------------------


def _some(chance: random.Random, share: float, values: dict) -> dict:
    return {name: value for name, value in values.items() if chance.random() < share}


def _config(chance: random.Random) -> dict:
    n_types, n_cells = chance.randint(1, 5), chance.choice([1, 2, 3, 7, 30, 100, 400])
    names = [f"ct_{k}" for k in range(n_types)]
    weights = [chance.choice([0.1, 1.0, 2.0, 0.0]) for _ in names]
    attraction = np.array([[chance.uniform(-2, 2) for _ in names] for _ in names])
    config = {
        "n_cells": n_cells,
        "n_celltype": n_types,
        "n_genes": chance.randint(1, 30),
        "seed": chance.randint(0, 9),
        "n_sections": min(chance.choice([1, 1, 2, 3]), n_cells),
        "n_domains": chance.choice([1, 2, 4]),
    }
    config |= _some(chance, 0.3, {
        "n_silence": chance.randint(0, 3),
        "point_process": chance.choice(["hardcore", "hexagonal", "random", "clustered"]),
        "celltype_proportion": [w / sum(weights) for w in weights] if sum(weights) else None,
        "continuity": chance.random(),
        "fuzziness": chance.random(),
        "interaction": (attraction + attraction.T).tolist(),
        "domain_pattern": chance.choice(["voronoi", "layers", "rings", "gradient", "drawn"]),
        "shared_markers": chance.random(),
        "gene_correlation": chance.choice([0.1, 0.9]),
        "zero_inflation": chance.random() * 0.9,
        "keep_expected": True,
        "size_factor": chance.choice(["nucleus_area", "cell_area", "lognormal", "none"]),
        "cell_outline": "power",
        "cell_gap_um": chance.choice([0.1, 3.0, 50.0]),
        "leakage_by_gene": chance.random(),
        "leakage_by_celltype": {names[0]: chance.random()},
        "ambient_rate_per_um2": 0.01,
        "canvas_size": chance.choice([50.0, 200.0, (300.0, 80.0), 1000.0]),
    })  # fmt: skip
    rich = {
        "prototypes": [{
            "spec": {"pattern": chance.choice(["cluster", "ring", "chain", "vessel", "crypt"]),
                     "size_um": chance.choice([5.0, 30.0])},
            "x": chance.uniform(0, 30), "y": chance.uniform(0, 30),
        }],
        "technical": _some(chance, 0.5, {
            "batch_by": "random", "library_cv": 0.4, "ambient_rate": 10.0, "theta_rate": 2.0,
            "detection": 0.5, "dropout_midpoint": 0.3, "diffusion_um": 5.0, "swap_rate": 0.1,
            "keep_steps": True,
        }),
        "platforms": [{"kind": chance.choice(
            ["xenium", "merfish", "visium", "visium_hd", "slideseq"])}],
        "segmentation": _some(chance, 0.5, {"jitter": 0.2, "merge_rate": 0.3, "split_rate": 0.3,
                                            "miss_rate": 0.3}),
        "dynamics": {"potential": chance.choice(["wells", "pitchfork", "tree", "quartic"]),
                     "n_genes": chance.randint(1, 9), "zero_inflation": 0.3},
        "extra_genes": [{"name": "L", "field_strength": 1.0}, {"name": "R"}],
        "targets": [{"gene": "G", "regulators": {"R": chance.uniform(-1, 1)}}],
    }  # fmt: skip
    config |= _some(chance, 0.3, rich)
    if "targets" in config:
        config["extra_genes"] = rich["extra_genes"]
    return config


def _require_whole(config: SimulationConfig, folder) -> None:
    import anndata

    one, two = (run(simulate_job(config, threads=n), bar=False) for n in (1, 2))
    n_vars = len(one.gene_names)
    assert one.counts.shape == (config.n_cells, n_vars)
    assert (one.counts.data > 0).all()
    assert (one.counts != two.counts).nnz == 0
    assert one.cells.equals(two.cells)
    assert one.transcripts.equals(two.transcripts)
    own = one.transcripts[one.transcripts["cell_id"] >= 0]
    pairs = own["cell_id"].to_numpy().astype(int) * n_vars + own["feature_name"].cat.codes
    numbers = np.bincount(pairs, minlength=config.n_cells * n_vars)
    np.testing.assert_array_equal(numbers.reshape(-1, n_vars), one.counts.toarray())
    assert (one.shapes.nucleus > 0).all()
    assert (one.shapes.nucleus <= 0.9201 * one.shapes.cell).all()
    width, height = config.canvas_um
    assert one.cells["x"].between(0, width).all()
    assert one.cells["y"].between(0, height).all()
    scale = one.cells.groupby("celltype", observed=True)["scale"].mean()
    np.testing.assert_allclose(scale, 1.0)
    one.adata.write_h5ad(folder / "a.h5ad")
    assert (anndata.read_h5ad(folder / "a.h5ad").X != one.adata.X).nnz == 0
    same = Perturbation.multiply({one.gene_names[0]: 1.0, one.gene_names[-1]: 1.0})
    assert (one.perturbed(same) != one.counts).nnz == 0


@settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(chance=st.randoms(use_true_random=False))
def test_any_config_is_refused_or_gives_a_whole_tissue(chance, tmp_path_factory):
    with warnings.catch_warnings(), contextlib.suppress(ConfigError):
        warnings.simplefilter("ignore")
        config = SimulationConfig(**_config(chance))
        _require_whole(config, tmp_path_factory.mktemp("tissue"))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_cells": 1, "n_celltype": 1, "n_genes": 1, "n_markers": 0},
        {"n_cells": 1, "platforms": [{"kind": "visium"}], "segmentation": {"merge_rate": 1.0}},
        {"n_sections": 60, "continuity": 1.0, "fuzziness": 1.0},
        {"celltype_proportion": [1.0, 0.0], "continuity": 0.5},
        {"canvas_size": 1e6, "n_domains": 3},
        {"size_factor": "lognormal", "scale_cv": 0.0},
        {"min_distance_um": 0.0, "canvas_size": 0.5, "cell_gap_um": 5.0},
        {"leakage_by_gene": 1.0, "leakage_by_celltype": 1.0, "leak_dist_factor": 100.0},
        {"segmentation": {"miss_rate": 1.0}},
        {"n_domains": 100, "domain_pattern": "layers"},
    ],
)
def test_the_edges_of_what_is_allowed(changes, tmp_path):
    _require_whole(SimulationConfig(**{**SIZES, **changes}), tmp_path)


def test_everything_at_once(tmp_path):
    _require_whole(SimulationConfig(**EVERYTHING), tmp_path)


# --- stopping ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    config = SimulationConfig(
        n_cells=20_000, n_celltype=4, n_genes=60, continuity=0.5, n_domains=2,
        leakage_by_celltype=0.1, technical={"ambient_rate": 50.0, "diffusion_um": 3.0},
        platforms=[{"kind": "visium"}], segmentation={"merge_rate": 0.1},
        extra_genes=[{"name": "L"}, {"name": "R"}],
        targets=[{"gene": "G", "ligand_receptor": {"L$R": 0.2}}],
    )  # fmt: skip
    steps = list(dict.fromkeys(step.stage for step in simulate_job(config)))
    return config, steps


def test_a_large_job_can_be_stopped_at_any_stage(large):
    config, stages = large
    assert len(stages) > 12
    for stage in stages[:: max(len(stages) // 6, 1)]:
        before = threading.active_count()
        job = simulate_job(config)
        held = None
        for step in job:
            if step.stage == stage:
                simulator = job.gi_frame.f_locals.get("simulator")
                held = weakref.ref(simulator)
                break
        assert held is not None
        del simulator
        start = time.perf_counter()
        job.close()
        assert time.perf_counter() - start < 0.5
        assert threading.active_count() == before
        gc.collect()
        assert held() is None  # and with it all that was made


def test_refusals_are_those_of_the_user(tmp_path):
    with pytest.raises(CelldynError, match="not there yet"):
        SpotlessSimulator(SimulationConfig(**SIZES)).to_anndata()
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**SIZES, "technical": {"detection": 2}}))
    with pytest.raises(ConfigError, match=r"technical: detection must be less than or equal to 1"):
        SimulationConfig.from_yaml(path)
