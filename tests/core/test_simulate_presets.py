"""Presets: valid, named, scaled with the cells; and what a tissue is estimated to come to."""

from __future__ import annotations

import time

import numpy as np
import pytest

from celldyn.errors import ConfigError, MissingKeyError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig, SpotlessSimulator, simulate_job
from celldyn.simulate import expected as expected_module
from celldyn.simulate.estimate import estimate, in_bytes, in_short
from celldyn.simulate.presets import preset, preset_descriptions, preset_names
from celldyn.simulate.specs import GeneSpec, TargetSpec

NAMES = ["blank", "layers", "tumour-immune", "crypt", "gradient", "developmental tree"]


@pytest.fixture(scope="module")
def simulated():
    return {name: run(simulate_job(preset(name)), bar=False) for name in NAMES}


def test_the_presets_are_listed_with_a_line_each():
    assert preset_names() == NAMES
    assert list(preset_descriptions()) == NAMES
    assert all(10 < len(line) < 100 for line in preset_descriptions().values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_cells", [1, 60, 2000, 1_000_000])
def test_every_preset_is_valid_at_every_size_and_keeps_its_density(name, n_cells):
    config = preset(name, n_cells=n_cells)
    assert config.n_cells == n_cells
    width, height = config.canvas_um
    default = preset(name)
    area = default.canvas_um[0] * default.canvas_um[1] / default.n_cells
    assert width * height / n_cells == pytest.approx(area, rel=0.02 if n_cells > 1 else 0.1)
    for placed in config.placed_prototypes:
        assert 0 <= placed.x <= width
        assert 0 <= placed.y <= height
    assert SimulationConfig.from_dict(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("name", NAMES)
def test_cell_types_have_names(name):
    assert not any(label.startswith("ct_") for label in preset(name).celltype_names)


def test_structures_grow_with_the_canvas_and_a_wide_one_holds_several():
    small, large = preset("tumour-immune", n_cells=2000), preset("tumour-immune", n_cells=20_000)
    size = [max(p.spec.size_um for p in c.placed_prototypes) for c in (small, large)]
    assert size[1] / size[0] == pytest.approx(np.sqrt(10), rel=0.01)
    huge = preset("tumour-immune", n_cells=1_000_000)
    assert len(huge.placed_prototypes) == 12 * len(small.placed_prototypes)
    crypts = [len(preset("crypt", n_cells=n).placed_prototypes) for n in (2000, 20_000)]
    assert crypts[1] > 2 * crypts[0]


def test_a_change_replaces_what_the_preset_says():
    config = preset("layers", seed=5, n_genes=200, canvas_size=900.0)
    assert (config.seed, config.n_genes, config.canvas_um) == (5, 200, (900.0, 900.0))
    assert config.domain_names == preset("layers").domain_names


def test_what_is_wrong_is_a_sentence():
    with pytest.raises(
        MissingKeyError, match="no preset 'cortex'; the presets are: blank, layers"
    ):
        preset("cortex")
    with pytest.raises(ConfigError, match="n_cells must be a whole number of at least 1"):
        preset("blank", n_cells=0)
    with pytest.raises(ConfigError, match="n_cells must be a whole number"):
        preset("blank", n_cells="many")
    with pytest.raises(ConfigError, match="celltype_labels must hold 4 different names"):
        preset("blank", n_celltype=4)
    with pytest.raises(ConfigError, match="colour is not a parameter"):
        preset("blank", colour="red")


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_makes_its_tissue_quickly(name):
    config = preset(name)
    run(SpotlessSimulator(config).cells_job(), bar=False)  # imports
    start = time.process_time()
    simulation = run(simulate_job(config), bar=False)
    assert time.process_time() - start < 3.0
    assert simulation.adata.n_obs == 2000


def test_cells_lie_where_their_preset_says(simulated):
    cells = simulated["layers"].cells
    depth = cells.groupby("celltype", observed=True)["y"].mean()
    order = ["L2-3 IT", "L4 IT", "L5 ET", "L6 CT", "Oligodendrocyte"]
    assert list(depth[order].sort_values().index) == order
    cells = simulated["gradient"].cells
    across = cells.groupby("celltype", observed=True)["x"].mean()
    assert len(across) == 3
    assert np.ptp(across) > 0.35 * simulated["gradient"].config.canvas_um[0]
    cells = simulated["tumour-immune"].cells
    inside = cells[cells["prototype"] == 1]["celltype"].value_counts(normalize=True)
    assert inside["Tumour"] == pytest.approx(0.9, abs=0.06)
    ring = cells[cells["prototype"] == 2]["celltype"].value_counts(normalize=True)
    assert ring["T cell"] == pytest.approx(0.6, abs=0.1)


# --- the estimate -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_molecules_and_stored_counts_are_estimated_within_a_tenth(simulated, name):
    simulation = simulated[name]
    said = estimate(simulation.config)
    counts = simulation.counts
    assert said.n_cells == counts.shape[0]
    assert said.n_genes == counts.shape[1]
    assert said.n_molecules == pytest.approx(counts.sum(), rel=0.1)
    assert said.n_stored == pytest.approx(counts.nnz, rel=0.1)


def test_bytes_are_those_of_what_is_held(simulated):
    simulation = simulated["blank"]
    adata, counts = simulation.adata, simulation.counts
    held = sum(
        part.nbytes
        for part in (adata.X.data, adata.X.indices, counts.data, counts.indices, counts.indptr)
    )
    held += 2 * (simulation.shapes.nucleus.nbytes + simulation.shapes.cell.nbytes)
    held += simulation.cells.memory_usage(deep=True).sum()
    held += adata.obs.memory_usage(deep=True).sum()
    assert estimate(simulation.config).bytes_memory == pytest.approx(held, rel=0.1)


def test_bytes_are_those_that_are_written(simulated, tmp_path):
    simulation = simulated["tumour-immune"]
    folder = simulation.write(tmp_path / "tissue")
    written = sum(path.stat().st_size for path in folder.iterdir())
    assert estimate(simulation.config).bytes_disk == pytest.approx(written, rel=0.15)


def test_named_genes_and_targets_are_in_the_estimate():
    config = SimulationConfig(
        n_cells=3000, n_celltype=2, n_genes=20, n_markers=5, seed=3,
        celltype_proportion=[0.7, 0.3],
        extra_genes=[GeneSpec(name="Tf", mu=4.0, celltype_factor={"ct_0": 0.5}),
                     GeneSpec(name="Lig", mu=2.0), GeneSpec(name="Rec", mu=3.0)],
        targets=[TargetSpec(gene="T", intercept=2.0, regulators={"Tf": 1.5},
                            ligand_receptor={"Lig$Rec": 0.4})],
    )  # fmt: skip
    simulation = run(simulate_job(config), bar=False)
    table = expected_module.expected_table(config)
    names = simulation.gene_names
    for column, gene in enumerate(("Tf", "Lig", "Rec", "T"), start=20):
        met = simulation.counts[:, [names.index(gene)]].mean()
        said = float(table.shares @ table.mean[:, column])
        assert said == pytest.approx(met, rel=0.05), gene
    assert table.mean[0, 20] == 2.0
    assert table.mean[1, 20] == 4.0
    assert estimate(config).n_molecules == pytest.approx(simulation.counts.sum(), rel=0.05)


def test_a_large_panel_is_estimated_from_its_priors(monkeypatch):
    config = SimulationConfig(
        n_cells=1000, n_celltype=12, n_genes=9000, shared_markers=0.2, n_silence=500,
        celltype_priors={"ct_3": {"marker_mu": 2.0, "theta_mu": 5.0}}, theta_mu=2.0, theta_cv=0.6,
    )  # fmt: skip
    quick = estimate(config)
    monkeypatch.setattr(expected_module, "_EXACT_VALUES", 10**9)
    drawn = estimate(config)
    assert quick.n_molecules == pytest.approx(drawn.n_molecules, rel=0.01)
    assert quick.n_stored == pytest.approx(drawn.n_stored, rel=0.01)


def test_noise_of_the_measurement_is_in_the_estimate():
    plain = preset("blank")
    half = plain.replace(technical={"detection": 0.5})
    assert estimate(half).n_molecules == pytest.approx(0.5 * estimate(plain).n_molecules)
    ambient = plain.replace(technical={"ambient_rate": 100.0})
    more = estimate(ambient).n_molecules - estimate(plain).n_molecules
    assert more == pytest.approx(2000 * 300 / 100)
    width, height = plain.canvas_um
    spilled = plain.replace(ambient_rate_per_um2=0.1, n_sections=2)
    more = estimate(spilled).n_molecules - estimate(plain).n_molecules
    assert more == pytest.approx(0.2 * width * height)


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_costs_next_to_nothing_and_samples_no_tissue(name):
    config = preset(name, n_cells=1_000_000)
    estimate(config)
    start = time.process_time()
    estimate(config)
    assert time.process_time() - start < 0.02


def test_numbers_are_written_in_short():
    assert [in_short(x) for x in (0, 950, 72_500, 1.2e6, 3.44e9)] == [
        "0", "950", "72.5k", "1.2M", "3.44G"
    ]  # fmt: skip
    assert [in_bytes(x) for x in (12, 999.7, 1e6)] == ["12 B", "1 kB", "1 MB"]
    assert "2,000 cells × 300 genes, about" in estimate(preset("blank")).summary()
