"""A simulated tissue as SpatialData, GeoParquet and folders: complete, readable, never half."""

import threading

import anndata
import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from celldyn.data import read
from celldyn.errors import FileFormatError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig, simulate_job
from celldyn.simulate.output import (
    outlines_parquet_job,
    to_spatialdata,
    write_simulation,
    write_simulation_job,
)
from celldyn.simulate.output.geoparquet import polygon_wkb
from celldyn.simulate.specs import PlatformSpec, SegmentationSpec

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=[1, 2], ids=["one_section", "two_sections"])
def simulation(request):
    config = SimulationConfig(
        n_cells=400,
        n_celltype=3,
        n_genes=12,
        n_domains=2,
        n_sections=request.param,
        leakage_by_celltype=0.3,
        ambient_rate_per_um2=0.01,
        compartments={"ct_0_mkr": "nuclear"},
        platforms=[
            PlatformSpec(kind="visium"),
            PlatformSpec(kind="visium_hd", name="HD 8"),
            PlatformSpec(kind="xenium"),
        ],
        segmentation=SegmentationSpec(merge_rate=0.1, split_rate=0.1),
        seed=4,
    )
    return run(simulate_job(config), bar=False)


@pytest.fixture(scope="module")
def folder(simulation, tmp_path_factory):
    return write_simulation(simulation, tmp_path_factory.mktemp("out") / "tissue")


@pytest.fixture(scope="module")
def zarr(simulation, tmp_path_factory):
    return write_simulation(simulation, tmp_path_factory.mktemp("out") / "tissue.zarr")


def elements(simulation, name):
    several = simulation.config.n_sections > 1
    names = simulation.config.section_names
    return [f"{section}_{name}" for section in names] if several else [name]


# --- outlines -----------------------------------------------------------------------------------


def test_binary_is_that_of_shapely(simulation):
    corners = simulation.shapes.vertices("cell", slice(0, 50))
    expected = shapely.to_wkb(shapely.polygons(corners))
    assert polygon_wkb(corners).to_pylist() == list(expected)


@pytest.mark.parametrize("kind", ["nucleus", "cell"])
def test_outlines_survive_their_file(simulation, kind, tmp_path):
    columns = simulation.cells[["cell_id", "celltype"]]
    job = outlines_parquet_job(tmp_path / "o.parquet", simulation.shapes, kind, columns)
    assert run(job, bar=False) == 400
    found = geopandas.read_parquet(tmp_path / "o.parquet")
    assert found.crs is None
    assert shapely.equals_exact(found.geometry, simulation.shapes.polygons(kind), 0).all()
    np.testing.assert_array_equal(found["cell_id"], simulation.cells["cell_id"])
    assert (found["celltype"].astype(str) == simulation.cells["celltype"].astype(str)).all()


# --- folder -------------------------------------------------------------------------------------


def test_a_folder_holds_everything(simulation, folder):
    assert sorted(item.name for item in folder.iterdir()) == [
        "cells.parquet", "config.yaml", "domains.geojson", "nuclei.parquet",
        "segmentation.h5ad", "segmented_cells.parquet", "spots_HD_8.h5ad", "spots_visium.h5ad",
        "spots_xenium.h5ad", "table.h5ad", "transcripts.parquet",
    ]  # fmt: skip
    assert SimulationConfig.from_yaml(folder / "config.yaml") == simulation.config
    cells = geopandas.read_parquet(folder / "cells.parquet")
    np.testing.assert_allclose(cells.area, cells["cell_area"])
    assert {"cell_type", "domain", "section", "scale", "prototype"} <= set(cells)
    nuclei = geopandas.read_parquet(folder / "nuclei.parquet")
    assert nuclei.within(cells.geometry).all()
    np.testing.assert_allclose(nuclei.area, nuclei["nucleus_area"])
    table = read(folder / "table.h5ad")
    np.testing.assert_array_equal(table.X.toarray(), simulation.counts.toarray())
    spots = anndata.read_h5ad(folder / "spots_visium.h5ad")
    assert (spots.X != simulation.platforms["visium"].X).nnz == 0
    segmented = geopandas.read_parquet(folder / "segmented_cells.parquet")
    assert len(segmented) == simulation.segmentation.table.n_obs
    np.testing.assert_allclose(segmented.area, segmented["area"], rtol=1e-6)


def test_molecules_of_a_folder_are_those_of_the_simulation(simulation, folder):
    found = pd.read_parquet(folder / "transcripts.parquet")
    pd.testing.assert_frame_equal(found, simulation.transcripts, check_categorical=False)
    own = found[found["cell_id"] >= 0]
    counts = pd.crosstab(own["cell_id"], own["feature_name"]).reindex(
        index=simulation.cells["cell_id"], columns=simulation.gene_names, fill_value=0
    )
    np.testing.assert_array_equal(counts, simulation.counts.toarray())
    nuclear = own["feature_name"].astype(str).str.startswith("ct_0_mkr") & ~own["is_leaked"]
    assert (own["compartment"][nuclear] == "nuclear").all()
    assert own["overlaps_nucleus"][nuclear].all()


def test_domains_of_a_folder_can_be_read(simulation, folder):
    found = geopandas.read_file(folder / "domains.geojson")
    several = simulation.config.n_sections > 1
    assert len(found) == 2 * simulation.config.n_sections
    assert set(found["name"]) == set(simulation.config.domain_names)
    assert ("section" in found) == several
    expected = [g.area for held in simulation.domains for g in held.values()]
    np.testing.assert_allclose(sorted(found.area), sorted(expected))


def test_a_folder_replaces_its_like_and_nothing_else(simulation, folder, tmp_path):
    again = write_simulation(simulation, folder)
    assert (again / "transcripts.parquet").is_file()
    other = tmp_path / "photographs"
    other.mkdir()
    (other / "cat.png").write_bytes(b"")
    for taken in (other, other / "cat"):
        (other / "cat").write_text("")
        with pytest.raises(FileFormatError):
            write_simulation(simulation, taken)
    assert (other / "cat.png").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert write_simulation(simulation, empty) == empty


# --- table and SpatialData ----------------------------------------------------------------------


def test_a_table_alone(simulation, tmp_path):
    path = write_simulation(simulation, tmp_path / "t.h5ad")
    found = read(path)
    np.testing.assert_array_equal(found.X.toarray(), simulation.counts.toarray())
    np.testing.assert_array_equal(found.obsm["cell_radii"], simulation.shapes.cell)


def test_another_ending_is_refused(simulation, tmp_path):
    with pytest.raises(FileFormatError, match=r"\.csv"):
        write_simulation(simulation, tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())


def test_the_spatialdata_on_disk_holds_everything(simulation, zarr):
    import spatialdata

    found = spatialdata.read_zarr(zarr)
    assert set(found.points) == set(elements(simulation, "transcripts"))
    shapes = ("cell_boundaries", "nucleus_boundaries", "domains", "visium_spots", "HD_8_spots")
    wanted = [n for name in (*shapes, "segmented_cells") for n in elements(simulation, name)]
    assert set(found.shapes) == set(wanted)
    assert set(found.tables) == {"table", "visium", "HD_8", "xenium", "segmentation"}
    table = found["table"]
    np.testing.assert_array_equal(table.X.toarray(), simulation.counts.toarray())
    for name, element in (("table", "cell_boundaries"), ("visium", "visium_spots")):
        assert set(found[name].obs["region"]) == set(elements(simulation, element))
    for k, (region, points) in enumerate(
        zip(elements(simulation, "cell_boundaries"), found.points.values(), strict=True)
    ):
        cells, here = found[region], table.obs["region"] == region
        np.testing.assert_array_equal(cells.index, table.obs["cell_id"][here])
        np.testing.assert_allclose(cells.area, table.obs["cell_area"][here])
        mine = simulation.transcripts["section"].cat.codes == k
        assert len(points) == mine.sum()
    spots, at = found["visium"], elements(simulation, "visium_spots")[0]
    mine = (spots.obs["region"] == at).to_numpy()
    np.testing.assert_allclose(
        np.stack([found[at].geometry.x, found[at].geometry.y], 1), spots.obsm["spatial"][mine]
    )
    assert (found[at]["radius"] == 27.5).all()


def test_molecules_of_the_spatialdata_are_those_of_the_simulation(simulation, zarr):
    import spatialdata

    found = spatialdata.read_zarr(zarr)
    frames = [found[name].compute() for name in elements(simulation, "transcripts")]
    columns = list(simulation.transcripts)
    made = pd.concat(frames)[columns].astype({"feature_name": str, "section": str})
    expected = simulation.transcripts.astype({"feature_name": str, "section": str})
    # Ambient molecules stand at the end of all sections there, of their own section here.
    keys = ["section", "x", "y"]
    pd.testing.assert_frame_equal(
        made.sort_values(keys, ignore_index=True),
        expected.sort_values(keys, ignore_index=True),
        check_categorical=False,
    )
    attrs = found[elements(simulation, "transcripts")[0]].attrs["spatialdata_attrs"]
    assert attrs["feature_key"] == "feature_name"
    assert attrs["instance_key"] == "cell_id"


def test_the_spatialdata_in_memory_has_the_same_parts(simulation, zarr):
    import spatialdata

    before = simulation.adata.obs.columns.tolist(), sorted(simulation.adata.uns)
    made, found = to_spatialdata(simulation), spatialdata.read_zarr(zarr)
    for part in ("points", "shapes", "tables"):
        assert set(getattr(made, part)) == set(getattr(found, part))
    name = elements(simulation, "cell_boundaries")[0]
    assert shapely.equals_exact(made[name].geometry, found[name].geometry, 0).all()
    after = simulation.adata.obs.columns.tolist(), sorted(simulation.adata.uns)
    assert after == before


def test_the_table_of_the_spatialdata_opens_as_a_tissue(simulation, zarr):
    found = read(zarr, table="table")
    np.testing.assert_allclose(found.obsm["spatial"], simulation.adata.obsm["spatial"])
    assert found.n_obs == 400


# --- stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tissue", "tissue.zarr", "tissue.h5ad"])
def test_a_stopped_job_leaves_nothing(simulation, name, tmp_path):
    before = set(threading.enumerate())
    job = write_simulation_job(simulation, tmp_path / name)
    next(job)
    job.close()
    assert not list(tmp_path.iterdir())
    assert not set(threading.enumerate()) - before


def test_a_job_stopped_late_keeps_what_was_there(simulation, tmp_path):
    out = tmp_path / "tissue"
    out.mkdir()
    (out / "config.yaml").write_text("before")
    job = write_simulation_job(simulation, out)
    for progress in job:
        if progress.done > 4:
            break
    job.close()
    assert [item.name for item in out.iterdir()] == ["config.yaml"]
    assert [item.name for item in tmp_path.iterdir()] == ["tissue"]


@pytest.mark.parametrize("ending", [".h5ad", ".zarr", ""])
def test_names_that_no_file_likes_are_written_and_read(tmp_path, ending):
    config = SimulationConfig(
        n_cells=150,
        n_celltype=2,
        n_genes=20,
        n_sections=2,
        n_domains=2,
        celltype_labels=["CD4/CD8 T", "c (x)"],
        domain_labels=["a/b", "c d"],
        targets=[{"gene": "H2-K/1", "regulators": {"hk_0": 1, "dyn_0": 0.2}}],
        platforms=[{"kind": "visium", "name": "my / slide"}],
        dynamics={"n_genes": 5},
    )
    out = run(simulate_job(config), bar=False).write(tmp_path / f"odd names{ending}")
    adata = read(out)
    assert set(adata.obs["cell_type"]) == {"CD4/CD8 T", "c (x)"}
    assert "H2-K/1" in adata.var_names
    assert adata.n_obs == 150
