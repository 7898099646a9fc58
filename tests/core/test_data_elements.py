"""Outlines, molecules and domains as they are stored: read exactly, thinned, refused."""

from __future__ import annotations

import json
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import shapely

from celldyn import data
from celldyn.data import Placing, Polygons, RadialPolygons, elements_parquet
from celldyn.data.elements_molecules import molecules_of_frame
from celldyn.data.elements_thinning import scattered
from celldyn.data.elements_transform import global_affine
from celldyn.errors import CelldynError, ConfigError, DataError, FileFormatError, UnavailableError
from celldyn.jobs import MAX_SILENCE_S

N = 40
GENES = ["Actb", "Cd3e", "Epcam"]


def molecules(n: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.uniform(0, 100, n).astype(np.float32),
            "y": rng.uniform(0, 50, n).astype(np.float32),
            "feature_name": pd.Categorical(rng.choice(GENES, n)),
            "cell_id": rng.integers(0, N, n),
            "is_leaked": rng.random(n) < 0.1,
        }
    )


def centres() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 100, (N, 2))


def table() -> ad.AnnData:
    obs = pd.DataFrame(
        {"region": pd.Categorical(["cell_boundaries"] * N), "cell_id": np.arange(100, 100 + N)},
        index=[f"cell{i}" for i in range(N)],
    )
    return ad.AnnData(np.ones((N, 3), np.float32), obs, pd.DataFrame(index=GENES))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A SpatialData with polygons, circles and points, each under another transformation."""
    spatialdata = pytest.importorskip("spatialdata")
    import dask.dataframe as dd
    import geopandas as gpd
    from spatialdata.models import PointsModel, ShapesModel, TableModel
    from spatialdata.transformations import Affine, Scale, Sequence, Translation

    xy, ids = centres(), np.arange(100, 100 + N)
    cells = gpd.GeoDataFrame(geometry=shapely.buffer(shapely.points(xy), 4.0), index=ids)
    nuclei = gpd.GeoDataFrame({"radius": np.full(N, 2.0)}, geometry=gpd.points_from_xy(*xy.T),
                              index=ids)  # fmt: skip
    turn = Affine([[0, 2, 1], [-3, 0, 4], [0, 0, 1]], ("x", "y"), ("x", "y"))
    points = PointsModel.parse(
        dd.from_pandas(molecules(), npartitions=12), coordinates={"x": "x", "y": "y"},
        feature_key="feature_name", instance_key="cell_id",
        transformations={"global": Sequence([Scale([2, 3], ("x", "y")),
                                             Translation([5, 7], ("x", "y"))])},
    )  # fmt: skip
    adata = TableModel.parse(
        table(), region="cell_boundaries", region_key="region", instance_key="cell_id"
    )
    held = spatialdata.SpatialData(
        shapes={
            "cell_boundaries": ShapesModel.parse(cells, transformations={"global": turn}),
            "nucleus_boundaries": ShapesModel.parse(nuclei),
        },
        points={"transcripts": points},
        tables={"table": adata},
    )
    path = tmp_path_factory.mktemp("store") / "tissue.zarr"
    held.write(path)
    return path


def source_of(path, name, adata=None):
    found = data.element_sources(adata if adata is not None else table(), path)
    return next(item for item in found if item.name == name)


# --- polygons ---------------------------------------------------------------------------------


def test_radii_become_corners_on_rays():
    radii = np.array([[1.0, 2.0, 3.0, 4.0]])
    held = Polygons.from_radii([[10.0, 20.0]], radii, ["a"])
    assert np.allclose(held.vertices, [[11, 20], [10, 22], [7, 20], [10, 16]])
    assert held.ids.tolist() == ["a"]
    assert held.to_shapely()[0].area == pytest.approx(0.5 * (2 + 6 + 12 + 4))
    narrow = Polygons.from_radii(np.zeros((1, 2), np.float32), radii.astype(np.float32))
    assert narrow.vertices.dtype == np.float32


def test_parts_are_polygons_of_their_own_and_holes_and_other_shapes_are_left_out():
    square = shapely.box(0, 0, 2, 2)
    holed = shapely.Polygon(square.exterior.coords, [[(0.5, 0.5), (1, 0.5), (1, 1)]])
    two = shapely.MultiPolygon([shapely.box(5, 5, 6, 6), shapely.box(8, 8, 9, 10)])
    every = [holed, two, shapely.Point(0, 0), shapely.Polygon(), None]
    held = Polygons.from_shapely(every, list("abcde"))
    assert held.ids.tolist() == ["a", "b", "b"]
    assert held.n_corners.tolist() == [4, 4, 4]
    assert np.allclose(shapely.area(held.to_shapely()), [4, 1, 2])
    assert len(Polygons.from_shapely([])) == 0


def test_taking_and_moving_keep_the_shapes():
    rng = np.random.default_rng(0)
    shapes = shapely.buffer(shapely.points(centres()), rng.uniform(1, 5, N), quad_segs=4)
    held = Polygons.from_shapely(shapes, np.arange(N))
    some = held.take([7, 3, 3])
    assert some.ids.tolist() == [7, 3, 3]
    assert shapely.equals(some.to_shapely(), shapes[[7, 3, 3]]).all()
    each = held.moved(2.0, np.column_stack([np.arange(N), np.zeros(N)]))
    back = shapely.centroid(each.to_shapely())
    assert np.allclose(shapely.get_x(back), 2 * centres()[:, 0] + np.arange(N))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Polygons(np.zeros((3, 3)), np.array([0, 3]), np.arange(1)),
        lambda: Polygons(np.zeros((3, 2)), np.array([0, 2]), np.arange(1)),
        lambda: Polygons(np.zeros((3, 2)), np.array([0, 3, 1, 3]), np.arange(3)),
        lambda: RadialPolygons.of(np.zeros((3, 2)), np.ones((2, 8))),
        lambda: RadialPolygons.of(np.zeros((3, 2)), np.ones((3, 2))),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(DataError, match="give"):
        make()


# --- spatialdata ------------------------------------------------------------------------------


def test_a_spatialdata_offers_its_shapes_and_points(store):
    adata = data.read(store)
    found = [(item.name, item.kind) for item in data.element_sources(adata, store)]
    assert found == [
        ("cell_boundaries", "outlines"), ("nucleus_boundaries", "outlines"),
        ("transcripts", "molecules"),
    ]  # fmt: skip
    adata.obsm["nucleus_radii"] = np.ones((N, 8), np.float32)
    adata.obsm["cell_radii"] = np.ones((N, 8), np.float32)
    expected = ["cells", "cell_boundaries", "nuclei", "nucleus_boundaries"]
    assert data.outline_sources(adata, store) == expected
    assert data.outline_sources(adata, None) == ["cells", "nuclei"]


def test_outlines_come_as_spatialdata_itself_transforms_them(store):
    import spatialdata

    theirs = spatialdata.transform(
        spatialdata.read_zarr(store)["cell_boundaries"], to_coordinate_system="global"
    )
    ours = data.read_outlines(source_of(store, "cell_boundaries"))
    assert ours.ids.tolist() == theirs.index.tolist()
    assert np.allclose(shapely.get_coordinates(shapely.centroid(ours.to_shapely())),
                       shapely.get_coordinates(shapely.centroid(theirs.geometry)))  # fmt: skip
    assert np.allclose(shapely.area(ours.to_shapely()), theirs.area)


def test_circles_become_polygons(store):
    held = data.read_outlines(source_of(store, "nucleus_boundaries"))
    away = held.vertices - np.repeat(centres(), held.n_corners, axis=0)
    assert np.allclose(np.hypot(*away.T), 2.0)


def test_molecules_come_in_order_and_place(store):
    held = data.read_molecules(store)
    frame = molecules()
    assert held.total == len(held) == len(frame)
    assert np.allclose(held.xy, frame[["x", "y"]] * [2, 3] + [5, 7], atol=1e-4)
    names = np.array(held.gene_names)[held.gene]
    assert (names == frame["feature_name"].astype(str)).all()
    assert (held.is_leaked == frame["is_leaked"]).all()
    assert (held.cell_id == frame["cell_id"]).all()


def test_reading_outlines_and_molecules_loads_no_spatialdata(store):
    script = (
        "import sys; from pathlib import Path; from celldyn import data; import anndata as ad;"
        f"path = Path({str(store)!r}); adata = ad.AnnData();"
        "found = data.element_sources(adata, path);"
        "[data.read_outlines(item) for item in found if item.kind == 'outlines'];"
        "data.read_molecules(path);"
        "print(sorted({'spatialdata', 'geopandas', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


def transformation(**item):
    axes = [{"name": "x"}, {"name": "y"}]
    ends = {"input": {"name": "xy", "axes": axes}, "output": {"name": "global", "axes": axes}}
    return {"coordinateTransformations": [{**ends, **item}]}


def test_transformations_are_read_by_the_names_of_their_axes():
    turned = [{"name": "y"}, {"name": "x"}]
    held = transformation(type="scale", scale=[2.0, 3.0], input={"name": "yx", "axes": turned})
    assert np.allclose(global_affine(held, "a"), np.diag([3.0, 2.0, 1.0]))
    held = transformation(type="affine", affine=[[1, 2, 3], [4, 5, 6]],
                          output={"name": "global", "axes": turned})  # fmt: skip
    assert np.allclose(global_affine(held, "a"), [[4, 5, 6], [1, 2, 3], [0, 0, 1]])
    held = transformation(type="mapAxis", mapAxis={"x": "y", "y": "x"})
    assert np.allclose(global_affine(held, "a"), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert np.allclose(global_affine({}, "a"), np.eye(3))


@pytest.mark.parametrize(
    ("item", "error"),
    [
        ({"type": "displacements"}, UnavailableError),
        ({"type": "scale", "scale": [1.0]}, FileFormatError),
        ({"type": "scale", "scale": "two"}, FileFormatError),
        ({"type": "translation", "translation": [float("nan"), 0]}, FileFormatError),
        ({}, FileFormatError),
    ],
)
def test_a_transformation_that_cannot_be_drawn_is_a_sentence(item, error):
    with pytest.raises(error, match="cells"):
        global_affine(transformation(**item), "cells")


# --- molecules --------------------------------------------------------------------------------


def test_genes_and_regions_are_chosen_exactly(tmp_path):
    frame = molecules()
    frame.to_parquet(tmp_path / "transcripts.parquet", row_group_size=250)
    region = (20.0, 10.0, 60.0, 30.0)
    held = data.read_molecules(tmp_path, genes=["Cd3e"], region=region)
    inside = frame["x"].between(20, 60) & frame["y"].between(10, 30)
    wanted = frame[inside & (frame["feature_name"] == "Cd3e")]
    assert held.gene_names == ("Cd3e",)
    assert held.total == len(held) == len(wanted)
    assert np.allclose(held.xy, wanted[["x", "y"]])


def test_a_sample_is_exact_in_number_even_and_the_same_however_it_is_stored(tmp_path):
    frame = molecules(200_000)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=7_000)
    frame.to_parquet(tmp_path / "b.parquet")
    few = data.read_molecules(tmp_path / "a.parquet", limit=10_000)
    again = data.read_molecules(tmp_path / "b.parquet", limit=10_000)
    assert len(few) == 10_000
    assert few.total == 200_000
    assert few.words == "showing 10,000 of 200,000"
    assert np.array_equal(few.xy, again.xy)
    # Standard error of a mean of 10,000 uniform numbers on [0, 100] is 0.29.
    assert abs(few.xy[:, 0].mean() - frame["x"].mean()) < 1.2
    more = data.read_molecules(tmp_path / "b.parquet", limit=20_000)
    assert {tuple(p) for p in few.xy.tolist()} <= {tuple(p) for p in more.xy.tolist()}
    part = data.read_molecules(tmp_path / "a.parquet", limit=10_000, region=(0, 0, 20, 50))
    shared = few.xy[few.xy[:, 0] <= 20]
    assert {tuple(p) for p in shared.tolist()} <= {tuple(p) for p in part.xy.tolist()}
    same = molecules_of_frame(frame, limit=10_000)
    assert np.array_equal(same.xy, few.xy)
    assert np.array_equal(same.priority, few.priority)


def test_numbers_are_scattered_and_never_alike():
    many = scattered(np.arange(1_000_000, dtype=np.uint64))
    assert len(np.unique(many)) == len(many)
    # Counts in 64 classes: chi-squared with 63 degrees of freedom, below its 99.99th percentile.
    counts = np.bincount((many >> np.uint64(58)).astype(int), minlength=64)
    assert ((counts - 15625) ** 2 / 15625).sum() < 115


def test_columns_are_known_by_their_usual_names(tmp_path):
    frame = molecules().rename(columns={"x": "x_location", "y": "y_location"})
    frame["feature_name"] = frame["feature_name"].astype(str)
    frame.loc[3, "x_location"] = np.nan
    frame.to_parquet(tmp_path / "transcripts.parquet")
    held = data.read_molecules(tmp_path)
    assert held.total == len(frame) - 1
    assert set(held.gene_names) == set(GENES)


def test_a_molecule_without_a_gene_belongs_to_all_and_to_no_gene(tmp_path):
    frame = molecules(20)
    frame.loc[:4, "feature_name"] = np.nan
    frame.to_parquet(tmp_path / "t.parquet")
    assert (data.read_molecules(tmp_path / "t.parquet").gene == -1).sum() == 5
    assert (data.read_molecules(tmp_path / "t.parquet", genes=GENES).gene >= 0).all()
    assert len(data.read_molecules(tmp_path / "t.parquet", genes=["none"])) == 0


def test_the_job_counts_rows_and_is_never_silent(tmp_path):
    import time

    molecules(400_000).to_parquet(tmp_path / "t.parquet")
    told, last, longest = [], time.thread_time(), 0.0
    for step in data.read_molecules_job(tmp_path / "t.parquet", limit=50_000):
        longest, last = max(longest, time.thread_time() - last), time.thread_time()
        told.append(step.done)
    assert told == sorted(told)
    assert told[-1] == 400_000
    assert longest < 3 * MAX_SILENCE_S  # a shared machine; alone it is a tenth of that


# --- refusals ---------------------------------------------------------------------------------


def test_what_is_no_table_of_molecules_is_a_sentence(tmp_path):
    molecules().to_parquet(tmp_path / "good.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:2000])
    (tmp_path / "text.parquet").write_text("x,y\n1,2\n")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    molecules().assign(x="far").to_parquet(tmp_path / "words.parquet")
    for name in ("cut", "text", "other", "words", "gone"):
        with pytest.raises(FileFormatError, match=r"[;.]"):
            data.read_molecules(tmp_path / f"{name}.parquet")
    with pytest.raises(ConfigError, match="limit"):
        data.read_molecules(tmp_path / "good.parquet", limit=0)


def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path, monkeypatch):
    import pyarrow as pa
    from pyarrow import parquet

    monkeypatch.setattr(elements_parquet, "FREE_BYTES", 1 << 20)
    n = 4_000_000  # zeros that pack into a few kB
    zeros = pa.array(np.zeros(n, np.float32))
    codes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), ["Actb"])
    held = pa.table({"x": zeros, "y": zeros, "feature_name": codes})
    few = {"row_group_size": n, "max_rows_per_page": n, "data_page_size": 1 << 30}
    parquet.write_table(held, tmp_path / "t.parquet", compression="zstd", **few)
    with pytest.raises(FileFormatError, match="claims 4,000,000 rows"):
        data.read_molecules(tmp_path / "t.parquet")


def test_damaged_outlines_are_a_sentence(store, tmp_path):
    import shutil

    broken = tmp_path / "broken.zarr"
    shutil.copytree(store, broken)
    file = broken / "shapes" / "cell_boundaries" / "shapes.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-200])
    with pytest.raises(FileFormatError):
        data.read_outlines(source_of(broken, "cell_boundaries"))
    pd.DataFrame({"geometry": [b"no geometry"]}).to_parquet(file)
    with pytest.raises(FileFormatError):
        data.read_outlines(source_of(broken, "cell_boundaries"))
    (broken / "points" / "transcripts" / "zarr.json").write_text("{")
    with pytest.raises(CelldynError):
        data.read_molecules(broken)


def test_radii_that_are_no_table_are_refused():
    adata = table()
    adata.obsm["cell_radii"] = pd.DataFrame({"a": ["x"] * N}, index=adata.obs_names)
    with pytest.raises(FileFormatError, match="cell_radii"):
        data.radial_outlines(adata, "cells", centres())


# --- a folder ---------------------------------------------------------------------------------


def shapes_beside():
    return shapely.buffer(shapely.points(centres()), 3.0)


@pytest.fixture
def folder(tmp_path):
    """What the simulator writes: GeoParquet, molecules and domains beside a table."""
    gpd = pytest.importorskip("geopandas")
    shapes = shapes_beside()
    frame = gpd.GeoDataFrame({"cell_id": np.arange(100, 100 + N)}, geometry=shapes)
    frame.to_parquet(tmp_path / "cells.parquet")
    frame.set_index("cell_id").to_parquet(tmp_path / "nuclei.parquet")
    molecules().to_parquet(tmp_path / "transcripts.parquet")
    features = [
        {"type": "Feature", "properties": {"name": "core", "section": "s2"},
         "geometry": shapely.geometry.mapping(shapely.box(0, 0, 10, 10))},
    ]  # fmt: skip
    told = {"type": "FeatureCollection", "features": features}
    (tmp_path / "domains.geojson").write_text(json.dumps(told))
    (tmp_path / "cell_boundaries.parquet").write_bytes(b"PAR1")
    return tmp_path


def test_what_lies_beside_a_table_is_found_and_read(folder):
    found = data.element_sources(table(), folder / "table.h5ad")
    assert [item.name for item in found] == ["cells", "nuclei", "transcripts", "domains"]
    for item in found[:2]:
        held = data.read_outlines(item)
        assert held.ids.tolist() == list(range(100, 100 + N))
        assert np.allclose(shapely.area(held.to_shapely()), shapely.area(shapes_beside()))
    assert data.read_domains(found[3])["core [s2]"].area == 100
    (folder / "domains.geojson").write_text("{}")
    with pytest.raises(FileFormatError, match=r"domains\.geojson"):
        data.read_domains(found[3])


def test_a_table_of_corners_is_read_as_xenium_writes_it(tmp_path):
    corners = pd.DataFrame(
        {
            "cell_id": ["a"] * 5 + ["b"] * 3,
            "vertex_x": [0.0, 2, 2, 0, 0, 5, 6, 5],
            "vertex_y": [0.0, 0, 2, 2, 0, 5, 5, 6],
        }
    )
    corners.to_parquet(tmp_path / "cell_boundaries.parquet")
    held = data.read_outlines(source_of(tmp_path / "t.h5ad", "cell_boundaries"))
    assert held.ids.tolist() == ["a", "b"]
    assert held.n_corners.tolist() == [4, 3]
    assert shapely.area(held.to_shapely()).tolist() == [4.0, 0.5]


# --- placing ----------------------------------------------------------------------------------


def sectioned() -> ad.AnnData:
    adata = table()
    adata.obsm["spatial"] = centres()
    adata.obs["slice"] = pd.Categorical(np.where(np.arange(N) % 2, "two", "one"))
    data.set_unit(adata, 0.5)
    data.set_section_key(adata, "slice")
    return adata


def test_sections_are_placed_as_the_tissue_is_drawn():
    adata = sectioned()
    drawn = data.side_by_side(centres() * 0.5, adata.obs["slice"])
    placing = Placing.of(adata)
    shapes = Polygons.from_circles(centres(), np.ones(N), np.arange(100, 100 + N))
    placed, rows = placing.polygons(shapes.take(np.arange(N)[::-1]), "cell_boundaries")
    assert rows.tolist() == list(range(N))[::-1]
    middle = shapely.get_coordinates(shapely.centroid(placed.to_shapely()))
    assert np.allclose(middle, drawn[::-1])
    frame = pd.DataFrame({"x": centres()[:, 0], "y": centres()[:, 1], "feature_name": "Actb"})
    for column in (
        {"section": adata.obs["slice"].to_numpy()},
        {"section": adata.obs["slice"].cat.codes.to_numpy()},
        {"cell_id": np.arange(100, 100 + N)},
    ):
        held = molecules_of_frame(frame.assign(**column))
        assert np.allclose(placing.molecules(held, "transcripts").xy, drawn, atol=1e-4)
    unknown = molecules_of_frame(frame.assign(cell_id=-1))
    assert np.allclose(placing.molecules(unknown, "transcripts").xy, centres() * 0.5, atol=1e-4)


def test_what_belongs_to_no_cell_goes_with_the_section_of_its_element():
    placing = Placing.of(sectioned())
    frame = pd.DataFrame({"x": [2.0, 4], "y": [2.0, 2], "feature_name": "Actb"})
    moved = np.array([[1.0, 1], [2, 1]]) + placing.of_section("two")
    beside = molecules_of_frame(frame.assign(cell_id=[101, -1]))  # the odd ones are in "two"
    assert np.allclose(placing.molecules(beside, "transcripts").xy, moved, atol=1e-4)
    named = molecules_of_frame(frame.assign(cell_id=-1))
    assert np.allclose(placing.molecules(named, "two_transcripts").xy, moved, atol=1e-4)


def test_a_drawn_rectangle_is_found_back_where_it_came_from():
    placing = Placing.of(sectioned())
    shift = placing.of_section("two")
    assert shift[0] > 0
    drawn = np.array([10.0, 10, 12, 13]) + np.tile(shift, 2)
    assert np.allclose(placing.origin_of(tuple(drawn)), [20, 20, 24, 26])
    adata = table()
    adata.obsm["spatial"] = centres()
    assert placing.of_section(1).tolist() == shift.tolist()
    assert Placing.of(adata).origin_of((1.0, 2.0, 3.0, 4.0)) == (1.0, 2.0, 3.0, 4.0)


def test_names_count_in_their_own_region_and_as_text_too():
    adata = sectioned()
    adata.uns["spatialdata_attrs"] = {"region_key": "region", "instance_key": "cell_id"}
    adata.obs["region"] = pd.Categorical(np.where(np.arange(N) < 20, "left", "right"))
    adata.obs["cell_id"] = np.tile(np.arange(20), 2)
    placing = Placing.of(adata)
    assert placing.rows(np.array([0, 3, 99]), "right").tolist() == [20, 23, -1]
    assert placing.rows(np.array(["0", "3"]), "left").tolist() == [0, 3]
    assert placing.rows(np.array([0, 3]), "elsewhere").tolist() == [-1, -1]  # two cells each
