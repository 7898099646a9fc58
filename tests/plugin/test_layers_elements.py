"""Outlines, molecules and domains beside the cells: exact, in view, in the tissue's colours."""

from __future__ import annotations

import gc
import time
import weakref

import anndata as ad
import npe2
import numpy as np
import pandas as pd
import pytest
import shapely
from napari.components import ViewerModel

from celldyn.data import Polygons, RadialPolygons, Source, set_section_key
from celldyn.data.elements_molecules import molecules_of_frame
from celldyn.errors import DataError, FileFormatError, MissingKeyError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig, simulate_job
from napari_celldyn.layers import elements_detail, elements_loading, molecules, outlines
from napari_celldyn.layers.elements import ElementsView
from napari_celldyn.layers.molecules import MoleculeMarks
from napari_celldyn.layers.outlines import OutlineMarks, prepare_job
from napari_celldyn.layers.tissue import TissueView
from napari_celldyn.layers.view_region import GridIndex, Region, view_of
from napari_celldyn.opening import open_path
from napari_celldyn.reader import get_reader, open_in_viewer
from napari_celldyn.session import session
from napari_celldyn.widgets.tissue import TissueWidget
from napari_celldyn.workspace import Workspace

SIDE, PITCH, RAYS = 20, 10.0, 24
N = SIDE * SIDE
TYPE = Source("obs", "cell_type")
GENES = ["Actb", "Cd3e", "Epcam"]


def tissue(n_rays: int = RAYS) -> ad.AnnData:
    """A grid of round cells of radius 4 with nuclei of 2; red left of the middle, blue right."""
    at = np.arange(N)
    xy = np.column_stack([at % SIDE, at // SIDE]) * PITCH
    adata = ad.AnnData(np.ones((N, 3), np.float32), var=pd.DataFrame(index=GENES))
    adata.obsm["spatial"] = xy
    adata.obsm["cell_radii"] = np.full((N, n_rays), 4.0, np.float32)
    adata.obsm["nucleus_radii"] = np.full((N, n_rays), 2.0, np.float32)
    adata.obs["cell_type"] = pd.Categorical(np.where(xy[:, 0] < 95, "Astro", "Neuron"))
    adata.obs["half"] = pd.Categorical(np.where(xy[:, 0] < 95, "one", "two"))
    adata.obs["depth"] = xy[:, 1]
    adata.uns["cell_type_colors"] = ["#ff0000", "#0000ff"]
    adata.uns["celldyn"] = {"spatial_unit": "um"}
    return adata


def spots(n: int = 4000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    reach = SIDE * PITCH
    return pd.DataFrame(
        {
            "x": rng.uniform(0, reach, n),
            "y": rng.uniform(0, reach, n),
            "feature_name": pd.Categorical(rng.choice(GENES, n)),
            "is_leaked": rng.random(n) < 0.2,
        }
    )


def look(viewer, x, y, zoom):
    viewer.scene.camera.center = (0, y, x)
    viewer.scene.camera.zoom = zoom


@pytest.fixture
def place(qapp):
    """A viewer without a window, its workspace, tissue and elements; what is read is read now."""
    viewer, workspace = ViewerModel(), Workspace()
    viewer.canvas.size = (800, 1000)
    view = TissueView(viewer, workspace)
    elements = ElementsView(viewer, workspace, tissue=view)
    workspace.open(tissue())
    workspace.colour = TYPE
    yield viewer, workspace, view, elements
    elements.close()
    view.close()


def follow(elements):
    for shown in elements._canvas.shown.values():
        if shown.mesh is not None:
            shown.mesh.follow()
    elements._canvas._on_drawn()


def areas(mesh, owner=None):
    """Areas of a mesh's triangles, by the mark they belong to."""
    a, b, c = (mesh.xy[mesh.faces[:, k]].astype(float) for k in range(3))
    u, v = b - a, c - a
    size = 0.5 * np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    return pd.Series(size).groupby(mesh.owner[mesh.faces[:, 0]]).sum()


# --- what is in view --------------------------------------------------------------------------


def test_the_index_finds_what_a_search_of_all_finds():
    rng = np.random.default_rng(0)
    xy, reach = rng.uniform(0, 1000, (5000, 2)), rng.uniform(1, 5, 5000)
    reach[17] = 400.0  # one that reaches across everything
    index = GridIndex(xy, reach)
    for _ in range(30):
        x, y, w, h = rng.uniform(-100, 1000, 4) * [1, 1, 0.4, 0.4]
        region = Region(x, y, x + abs(w), y + abs(h))
        inside = (np.abs(xy[:, 0] - x - abs(w) / 2) <= abs(w) / 2 + reach) & (
            np.abs(xy[:, 1] - y - abs(h) / 2) <= abs(h) / 2 + reach
        )
        assert np.array_equal(np.sort(index.rows(region)), np.flatnonzero(inside))
        assert index.count(region) >= inside.sum() - inside[17]
    assert index.region.contains(Region(*xy.min(axis=0), *xy.max(axis=0)))
    assert len(GridIndex(np.empty((0, 2))).rows(region)) == 0
    assert len(GridIndex(np.ones((7, 2))).rows(Region(0, 0, 2, 2))) == 7


def test_the_view_is_what_the_window_shows(place):
    viewer, _, view, _ = place
    look(viewer, 60, 40, 8)
    region, zoom = view_of(viewer, view.layer)
    assert zoom == 8
    assert np.allclose(region, (60 - 62.5, 40 - 50, 60 + 62.5, 40 + 50))
    viewer.dims.order = (1, 0)
    look(viewer, 40, 60, 8)  # x runs downwards now
    assert np.allclose(view_of(viewer, view.layer).region, (10, -22.5, 110, 102.5))
    viewer.dims.order = (0, 1)
    viewer.dims.ndisplay = 3
    viewer.scene.camera.center = (0, 40, 60)
    assert view_of(viewer, view.layer).region.contains(region)


# --- meshes -----------------------------------------------------------------------------------


def shapes() -> list[shapely.Polygon]:
    """A square, a crescent whose centroid lies outside, a comb, and a needle."""
    crescent = shapely.Point(0, 0).buffer(10).difference(shapely.Point(4, 0).buffer(9))
    teeth = [shapely.box(3 * k, 0, 3 * k + 1, 10) for k in range(4)]
    comb = shapely.union_all([shapely.box(0, -2, 10, 0), *teeth])
    needle = shapely.Polygon([(0, 0), (100, 0.1), (0, 0.2)])
    moved = [shapely.affinity.translate(s, 200 * i) for i, s in enumerate((crescent, comb))]
    return [shapely.box(-50, 0, -40, 10), *moved, shapely.affinity.translate(needle, 600)]


def test_fans_and_fillings_cover_each_polygon_once():
    given = shapes()
    held = run(prepare_job(Polygons.from_shapely(given)), bar=False)
    assert held.is_star.tolist() == [True, False, False, True]
    marks = OutlineMarks(held)
    mesh = marks.mesh(np.arange(4), 10.0)
    filled = mesh.texcoords[mesh.faces[:, 0], 1] == 0.25
    parts = type(mesh)(mesh.xy, mesh.faces[filled], mesh.owner, mesh.texcoords)
    assert np.allclose(areas(parts), shapely.area(given), rtol=1e-4)
    rims = type(mesh)(mesh.xy, mesh.faces[~filled], mesh.owner, mesh.texcoords)
    assert set(areas(rims).index) == {1, 2}
    outer = rims.xy[np.unique(rims.faces)][rims.texcoords[np.unique(rims.faces), 0] == 1.0]
    edge = shapely.union_all([given[1].boundary, given[2].boundary])
    assert shapely.distance(shapely.points(outer), edge).max() < 1e-4


def test_what_is_no_polygon_does_no_harm():
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    line = Polygons(np.zeros((2, 2)), np.array([0, 2]), np.array([1]))
    for held in (Polygons.from_shapely([bow]), line, Polygons.from_shapely([])):
        ready = run(prepare_job(held), bar=False)
        mesh = OutlineMarks(ready).mesh(np.arange(len(held)), 1.0)
        assert np.isfinite(mesh.xy).all()
        assert len(mesh.xy) == 0 or mesh.faces.max(initial=0) < len(mesh.xy)


def test_radii_and_their_corners_make_the_same_mesh():
    rng = np.random.default_rng(0)
    held = RadialPolygons.of(rng.uniform(0, 500, (300, 2)), rng.uniform(3, 5, (300, 16)))
    rows = np.array([5, 200, 7])
    one = OutlineMarks(run(prepare_job(held), bar=False)).mesh(rows, 1.0)
    two = OutlineMarks(run(prepare_job(held.polygons()), bar=False)).mesh(rows, 1.0)
    assert np.allclose(areas(one), areas(two), rtol=1e-5)
    assert np.allclose(areas(one).index, np.sort(rows))


def test_many_outlines_have_fewer_corners_and_stay_within_the_budget(monkeypatch):
    monkeypatch.setattr(outlines, "MAX_TRIANGLES", 2000)
    rng = np.random.default_rng(0)
    held = RadialPolygons.of(rng.uniform(0, 500, (250, 2)), np.full((250, 24), 4.0))
    few, many = np.arange(50), np.arange(250)
    for kind in (held, held.polygons()):
        marks = OutlineMarks(run(prepare_job(kind), bar=False))
        assert len(marks.mesh(few, 1.0).faces) == 50 * 24
        assert len(marks.mesh(many, 1.0).faces) == 250 * 8
        # A regular octagon has sin(45 deg) / (8 / 2 sin(45 deg)) of its circle: 90 %.
        circle = np.pi * 16
        assert (areas(marks.mesh(many, 1.0)) > 0.89 * circle).all()


def test_the_line_keeps_its_width_in_pixels():
    held = RadialPolygons.of(np.zeros((1, 2)), np.full((1, 24), 5.0))
    marks = OutlineMarks(run(prepare_job(held), bar=False))
    depth = (1 - (np.arange(outlines.STEPS) + 0.5) / outlines.STEPS) * marks._depth
    for zoom in (4.0, 20.0):
        opacity = marks.texture(zoom)[1, :, 3] / 255
        line = depth[opacity > 0.6] * zoom
        assert 1.0 < np.ptp(line) < 2.5
        assert opacity[depth * zoom > 5] == pytest.approx(marks.style.fill, abs=0.01)


# --- the view ---------------------------------------------------------------------------------


def test_outlines_come_as_one_zooms_in_and_stand_in_for_the_dots(place, monkeypatch):
    viewer, _, view, elements = place
    monkeypatch.setattr(outlines, "MAX_OUTLINES", 100)
    look(viewer, 95, 95, 3)
    elements.show("cells")
    layer = elements.layer("cells")
    assert "zoom in to see outlines" in elements.note("cells")
    assert "zoom in to see outlines" in viewer.status
    assert len(layer.data[1]) == 2  # two points that hold the extent
    assert view.layer.visible
    look(viewer, 95, 95, 20)
    follow(elements)
    drawn = elements._canvas.shown["cells"].mesh.drawn
    assert 20 <= drawn.n_shown <= 100
    assert len(layer.data[1]) == drawn.n_shown * RAYS + 2
    assert elements.note("cells") == f"{N} outlines"
    assert not view.layer.visible
    look(viewer, 95, 95, 3)
    follow(elements)
    assert view.layer.visible
    assert len(layer.data[1]) == 2


def test_moving_a_little_draws_nothing_anew(place):
    viewer, _, _, elements = place
    look(viewer, 95, 95, 20)
    elements.show("cells")
    mesh = elements._canvas.shown["cells"].mesh
    look(viewer, 98, 93, 21)
    assert not mesh.follow()
    look(viewer, 98, 93, 40)
    assert mesh.follow()
    look(viewer, 9, 9, 40)
    assert mesh.follow()
    elements.layer("cells").visible = False
    look(viewer, 100, 100, 40)
    assert not mesh.follow()


def test_the_extent_of_the_tissue_does_not_change_with_the_view(place):
    viewer, _, _, elements = place
    elements.show("cells")
    whole = elements.layer("cells").extent.data
    look(viewer, 95, 95, 60)
    follow(elements)
    assert np.allclose(elements.layer("cells").extent.data, whole)
    assert np.allclose(whole, [[-4, -4], [194, 194]])


def test_layers_stand_in_order_and_the_active_one_stays_active(place):
    viewer, _, view, elements = place
    viewer.layers.selection.active = view.layer
    elements.show_domains({"left": shapely.box(0, 0, 95, 195)})
    elements.show_molecules("transcripts", spots())
    elements.show("nuclei")
    elements.show("cells")
    names = [layer.name for layer in viewer.layers]
    assert names == ["cells", "nuclei", "tissue", "transcripts", "domains"]
    assert viewer.layers.selection.active is view.layer
    assert elements.shown == ["domains", "transcripts", "nuclei", "cells"]
    elements.hide("nuclei")
    viewer.layers.remove(elements.layer("cells"))
    assert elements.shown == ["domains", "transcripts"]
    assert view.layer.visible
    elements.hide_all()
    assert [layer.name for layer in viewer.layers] == ["tissue"]


def colours_of(mesh, cells):
    layer, n = mesh.layer, mesh.drawn.n_shown
    rows = mesh.marks.choose(mesh.drawn.region)[0]
    values = layer.data[2][: n * RAYS : RAYS]
    low, high = layer.contrast_limits
    at = (values - low) / (high - low)
    found = {int(row): layer.colormap.map(v[None])[0] for row, v in zip(rows, at, strict=True)}
    return np.array([found[cell] for cell in cells])


def test_cells_take_the_colours_of_the_tissue_and_nuclei_do_without_cells(place):
    viewer, workspace, _, elements = place
    look(viewer, 95, 95, 4)
    elements.show("nuclei")
    mesh = elements._canvas.shown["nuclei"].mesh
    assert np.allclose(colours_of(mesh, [209, 210])[:, :3], [[1, 0, 0], [0, 0, 1]], atol=0.01)
    elements.show("cells")
    assert np.ptp(colours_of(mesh, [209, 210]), axis=0).max() == 0
    mesh = elements._canvas.shown["cells"].mesh
    assert np.allclose(colours_of(mesh, [209, 210])[:, :3], [[1, 0, 0], [0, 0, 1]], atol=0.01)
    workspace.colour = Source("obs", "depth")
    shade = colours_of(mesh, [105, 305])
    assert not np.allclose(shade[0], shade[1], atol=0.1)
    workspace.colour = None
    assert np.ptp(colours_of(mesh, [105, 305]), axis=0).max() == 0


def test_dots_stay_while_outlines_of_some_cells_only_are_shown(place):
    viewer, _, view, elements = place
    look(viewer, 95, 95, 10)
    half = np.arange(N // 2)
    shapes = RadialPolygons.of(view.display_xy[half], np.full((len(half), 8), 4.0))
    elements.show_outlines("left cells", shapes, half)
    assert view.layer.visible
    rest = np.arange(N // 2, N)
    shapes = RadialPolygons.of(view.display_xy[rest], np.full((len(rest), 8), 4.0))
    elements.show_outlines("right cells", shapes, rest)
    assert not view.layer.visible
    for name in ("left cells", "right cells"):
        assert elements._canvas.shown[name].mesh._values is not None  # both in the cells' colours


def test_dots_that_a_person_wants_stay(place):
    viewer, _, view, elements = place
    look(viewer, 95, 95, 10)
    elements.show("cells")
    assert not view.layer.visible
    view.layer.visible = True
    follow(elements)
    assert view.layer.visible
    elements.hide("cells")
    assert view.layer.visible


def test_another_tissue_takes_everything_away(place):
    viewer, workspace, view, elements = place
    elements.show("cells")
    elements.show_molecules("transcripts", spots(), ["Actb"])
    other = tissue()
    del other.obsm["nucleus_radii"], other.obsm["cell_radii"]
    workspace.open(other)
    assert elements.shown == []
    assert elements.sources == []
    assert [layer.name for layer in viewer.layers] == ["tissue"]
    assert view.layer.visible
    with pytest.raises(MissingKeyError, match="cells"):
        elements.show("cells")


def test_outlines_follow_another_unit_and_sections(place):
    _, workspace, view, elements = place
    elements.show("cells")
    workspace.adata.uns["celldyn"] = {"um_per_unit": 2.0}
    workspace.announce({"uns/um_per_unit"})
    assert np.allclose(elements.layer("cells").extent.data, [[-4, -4], [384, 384]])
    set_section_key(workspace.adata, "half")
    workspace.announce({"uns/section_key"})
    held = elements._canvas.shown["cells"].mesh.marks.held
    assert np.allclose(held.centre, view.display_xy)
    assert held.centre[:, 0].max() == pytest.approx(180 + 9 + 180)


def test_radii_that_are_computed_later_are_offered(place):
    _, workspace, _, elements = place
    adata = tissue()
    held = adata.obsm.pop("cell_radii")
    workspace.open(adata)
    assert [item.name for item in elements.sources] == ["nuclei"]
    adata.obsm["cell_radii"] = held
    workspace.announce({"obsm/cell_radii"})
    assert [item.name for item in elements.sources] == ["cells", "nuclei"]


# --- molecules --------------------------------------------------------------------------------


def test_molecules_are_triangles_about_their_place_in_their_genes_colour(place):
    _, _, _, elements = place
    frame = spots(300)
    elements.show_molecules("transcripts", frame, ["Epcam", "Actb"])
    assert [gene for gene, _ in elements.genes("transcripts")] == ["Epcam", "Actb"]
    mesh = elements._canvas.shown["transcripts"].mesh
    wanted = frame[frame["feature_name"].isin(["Epcam", "Actb"])]
    table = mesh.marks.table
    assert np.allclose(table.xy, wanted[["x", "y"]], atol=1e-4)
    made = mesh.marks.mesh(np.arange(len(table)), 100.0)
    assert np.allclose(made.xy.reshape(-1, 3, 2).mean(axis=1), table.xy, atol=1e-4)
    # The triangle round a disc of radius r has the area 3 sqrt(3) r^2.
    radius = molecules.DIAMETER_UM / 2
    assert np.allclose(areas(made), 3 * np.sqrt(3) * radius**2, rtol=1e-2)
    on_the_right = made.texcoords.reshape(-1, 3, 2)[..., 0].mean(axis=1) > 0.5
    assert (on_the_right == wanted["is_leaked"].to_numpy()).all()
    values = mesh._values
    assert (values == (wanted["feature_name"] == "Actb").to_numpy()).all()


def test_discs_never_vanish_and_a_crowd_is_thinned_evenly_and_steadily(monkeypatch):
    monkeypatch.setattr(molecules, "MAX_DISCS", 2000)
    marks = MoleculeMarks(molecules_of_frame(spots(30_000)))
    tiny = areas(marks.mesh(np.arange(10), 0.01))
    assert np.allclose(tiny, 3 * np.sqrt(3) * (molecules.LEAST_PIXELS / 0.02) ** 2, rtol=1e-2)
    whole, there = marks.choose(Region(0, 0, 200, 200))
    assert there == 30_000
    assert 900 <= len(whole) <= 2100
    left, there = marks.choose(Region(0, 0, 100, 200))
    assert set(whole[marks.table.xy[whole, 0] <= 100]) <= set(left)
    few, there = marks.choose(Region(0, 0, 10, 10))
    assert len(few) == there


def test_genes_are_few_or_all(place):
    _, _, _, elements = place
    with pytest.raises(DataError, match="8"):
        elements.show_molecules("transcripts", spots(), [f"g{i}" for i in range(9)])
    with pytest.raises(DataError, match="0 genes"):
        elements.show_molecules("transcripts", spots(), [])
    with pytest.raises(FileFormatError, match="x, y"):
        elements.show_molecules("transcripts", pd.DataFrame({"a": [1]}))
    assert elements.shown == []
    elements.show_molecules("transcripts", spots())
    assert len(elements.genes("transcripts")) == 3
    assert elements.note("transcripts") == "showing 4,000"


def test_zooming_in_reads_every_molecule_of_what_is_seen(place, tmp_path, monkeypatch):
    known = elements_loading.molecules_job.__kwdefaults__
    monkeypatch.setitem(known, "limit", 500)
    monkeypatch.setattr(elements_detail.Detail.__init__, "__defaults__", (500, None, None, None))
    viewer, _, _, elements = place
    frame = spots(6000)
    frame.to_parquet(tmp_path / "transcripts.parquet", row_group_size=500)
    look(viewer, 100, 100, 4)
    elements.show_molecules("transcripts", tmp_path / "transcripts.parquet")
    assert elements.note("transcripts") == "showing 500 of 6,000"
    look(viewer, 100, 100, 40)
    elements._on_settled()
    x0, y0, x1, y1 = view_of(viewer, elements.layer("transcripts")).region.grown(0.5)
    inside = frame["x"].between(x0, x1) & frame["y"].between(y0, y1)
    mesh = elements._canvas.shown["transcripts"].mesh
    assert 50 < len(mesh.marks.table) == inside.sum() < 500
    assert "all" in elements.note("transcripts")
    look(viewer, 100, 100, 4)
    elements._on_settled()
    assert elements.note("transcripts") == "showing 500 of 6,000"
    assert len(mesh.marks.table) == 500


# --- domains ----------------------------------------------------------------------------------


def test_domains_are_named_shapes_of_steady_width(place):
    viewer, _, _, elements = place
    two = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), shapely.box(50, 0, 90, 90)])
    elements.show_domains({"edge": two, "core": shapely.Point(120, 120).buffer(40)})
    layer = elements.layer("domains")
    assert layer.features["domain"].tolist() == ["edge", "edge", "core"]
    assert layer.features["label"].tolist() == ["", "edge", "core"]
    look(viewer, 95, 95, 50)
    elements._canvas._on_settled()
    assert np.allclose(layer.edge_width, 0.05)
    elements.show_domains({})
    assert elements.layer("domains").nshapes == 0


# --- a simulation -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulation():
    """Two sections of three domains, as the simulator makes them."""
    config = SimulationConfig(
        n_cells=300, n_celltype=2, n_genes=20, n_markers=5, n_sections=2, n_domains=3
    )
    return run(simulate_job(config), bar=False)


def test_a_simulation_shows_its_outlines_and_offers_the_rest(place, simulation):
    _, workspace, view, elements = place
    workspace.open(simulation.adata)
    elements.show_simulation(simulation)
    assert elements.shown == ["cells", "nuclei"]
    offered = [item.name for item in elements.sources]
    assert offered == ["cells", "nuclei", "transcripts", "domains"]
    held = elements._canvas.shown["cells"].mesh.marks.held
    assert np.allclose(held.centre, view.display_xy)
    areas_drawn = areas(elements._canvas.shown["cells"].mesh.marks.mesh(np.arange(300), 1.0))
    assert np.allclose(areas_drawn, simulation.adata.obs["cell_area"], rtol=1e-3)

    gene = simulation.gene_names[0]
    elements.show("transcripts", [gene])
    table = elements._canvas.shown["transcripts"].mesh.marks.table
    assert len(table) == simulation.counts[:, 0].sum()
    away = table.xy - view.display_xy[table.cell_id]
    assert np.hypot(*away.T).max() < 60  # each beside its cell, whichever section that is in
    elements.show("domains")
    layer = elements.layer("domains")
    assert len(set(layer.features["domain"])) == 6
    right = np.array([ring[:, 1].mean() for ring in layer.data]) > view.display_xy[:150, 0].max()
    assert right.any()
    assert not right.all()


# --- speed ------------------------------------------------------------------------------------


def test_a_rebuild_among_many_cells_is_not_felt(qapp):
    n = 250_000
    at = np.arange(n)
    rng = np.random.default_rng(0)
    xy = np.column_stack([at % 500, at // 500]) * 10.0
    held = RadialPolygons.of(xy, rng.uniform(3.5, 4.5, (n, RAYS)).astype(np.float32))
    viewer = ViewerModel()
    viewer.canvas.size = (900, 1400)
    elements = ElementsView(viewer, Workspace())
    elements.show_outlines("cells", held)
    took = []
    for zoom in (2.0, 3.0, 6.0, 12.0):
        look(viewer, 2500, 2500, zoom)
        start = time.thread_time()
        follow(elements)
        took.append(time.thread_time() - start)
    drawn = elements._canvas.shown["cells"].mesh.drawn
    assert drawn.n_shown > 100
    assert np.median(took) < 0.1  # 0.02 s where nothing else runs
    elements.close()


# --- in the window ----------------------------------------------------------------------------


def painted(viewer):
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


def test_cells_are_painted_with_a_line_and_a_lighter_inside(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    workspace = session(viewer).workspace
    elements = session(viewer).elements
    workspace.open(tissue())
    workspace.colour = TYPE
    viewer.canvas.overlays.scale_bar.visible = False
    look(viewer, 50, 50, 30)
    elements.show("cells")
    qtbot.waitUntil(lambda: elements.note("cells") == f"{N} outlines")
    for ndisplay in (2, 3, 2):
        viewer.dims.ndisplay = ndisplay
        look(viewer, 50, 50, 30)
        qtbot.wait(200)
        picture = painted(viewer)
        height, width = picture.shape[:2]
        ratio = height / viewer.canvas.size[0]
        along = picture[height // 2, width // 2 : width // 2 + round(150 * ratio), 0]
        inside, line = along[: round(90 * ratio)], along[round(90 * ratio) : round(130 * ratio)]
        assert 40 < np.median(inside) < 120  # red under a veil, at 0.3
        assert line.max() > 180
        assert along[-1] < 20  # the gap between two cells
        assert picture[height // 2, width // 2, 2] < 20


@pytest.fixture
def store(tmp_path):
    """A SpatialData of the tissue as spatialdata itself writes it."""
    spatialdata = pytest.importorskip("spatialdata")
    import dask.dataframe as dd
    import geopandas as gpd
    from spatialdata.models import PointsModel, ShapesModel, TableModel

    adata = tissue()
    xy = adata.obsm["spatial"].copy()
    del adata.obsm["spatial"], adata.obsm["cell_radii"], adata.obsm["nucleus_radii"]
    adata.obs["region"] = pd.Categorical(["cell_boundaries"] * N)
    adata.obs["cell_id"] = np.arange(N)
    adata = TableModel.parse(
        adata, region="cell_boundaries", region_key="region", instance_key="cell_id"
    )

    def discs(radius):
        frame = gpd.GeoDataFrame(geometry=shapely.buffer(shapely.points(xy), radius))
        return ShapesModel.parse(frame)

    points = PointsModel.parse(
        dd.from_pandas(spots(), npartitions=2),
        coordinates={"x": "x", "y": "y"},
        feature_key="feature_name",
    )
    held = spatialdata.SpatialData(
        shapes={"cell_boundaries": discs(4.0), "nucleus_boundaries": discs(2.0)},
        points={"transcripts": points},
        tables={"table": adata},
    )
    held.write(tmp_path / "tissue.zarr")
    return tmp_path / "tissue.zarr"


def dock_of(viewer) -> TissueWidget:
    docks = viewer.window.dock_widgets.values()
    return next(dock for dock in docks if isinstance(dock, TissueWidget))


def test_a_spatialdata_opens_and_its_elements_are_shown_by_clicks(
    make_napari_viewer, qtbot, store
):
    npe2.PluginManager.instance().discover()
    viewer = make_napari_viewer(strict_qt="raise")
    viewer.open(store, plugin="napari-celldyn")
    place, dock = session(viewer), dock_of(viewer)
    panel, elements = dock.elements, place.elements
    assert place.workspace.require().n_obs == N
    assert list(panel.rows) == ["cell_boundaries", "nucleus_boundaries", "transcripts"]
    dock.elements_fold.expand()
    look(viewer, 95, 95, 10)
    for name in panel.rows:
        panel.rows[name].check.click()
        qtbot.waitUntil(lambda name=name: elements.layer(name) is not None)
    names = [layer.name for layer in viewer.layers]
    assert names == ["cell_boundaries", "nucleus_boundaries", "tissue", "transcripts"]
    mesh = elements._canvas.shown["cell_boundaries"].mesh
    assert np.array_equal(elements._canvas.shown["cell_boundaries"].cells, np.arange(N))
    assert not place.tissue.layer.visible
    assert mesh.drawn.n_shown > 0
    row = panel.rows["transcripts"]
    assert row.note.text() == "showing 4,000"
    assert not place.runner.handles  # what was read leaves no card behind

    qtbot.keyClicks(row.box, "cd3")
    qtbot.keyClick(row.box, "\r")
    qtbot.waitUntil(lambda: [gene for gene, _ in elements.genes("transcripts")] == ["Cd3e"])
    qtbot.waitUntil(lambda: elements.layer("transcripts") is not None)
    assert list(row.chips) == ["Cd3e"]
    n_cd3e = int((spots()["feature_name"] == "Cd3e").sum())
    assert row.note.text() == f"showing {n_cd3e:,}"
    qtbot.waitUntil(lambda: row.box.text() == "")
    qtbot.keyClicks(row.box, "zzz")
    qtbot.keyClick(row.box, "\r")
    assert "zzz" in panel.message.text()
    row.chips["Cd3e"].click()
    qtbot.waitUntil(lambda: elements.note("transcripts") == "showing 4,000")
    row.check.click()
    assert elements.layer("transcripts") is None
    assert place.tissue.layer in viewer.layers


def test_a_damaged_element_is_a_sentence_in_the_panel(make_napari_viewer, qtbot, store):
    viewer = make_napari_viewer(strict_qt="raise")
    place = session(viewer)
    dock = TissueWidget(viewer)
    viewer.window.add_dock_widget(dock)
    open_path(place.workspace, store)
    file = store / "shapes" / "nucleus_boundaries" / "shapes.parquet"
    file.write_bytes(file.read_bytes()[:100])
    row = dock.elements.rows["nucleus_boundaries"]
    row.check.click()
    qtbot.waitUntil(lambda: bool(dock.elements.message.text()))
    assert "shapes.parquet" in dock.elements.message.text()
    assert not row.check.isChecked()
    assert place.elements.shown == []


def test_a_folder_of_the_simulator_opens_with_what_lies_beside_its_table(
    make_napari_viewer, tmp_path
):
    viewer = make_napari_viewer(strict_qt="raise")
    tissue().write_h5ad(tmp_path / "table.h5ad")
    spots().to_parquet(tmp_path / "transcripts.parquet")
    assert get_reader(str(tmp_path)) is open_in_viewer
    open_path(session(viewer).workspace, tmp_path)
    assert session(viewer).workspace.path == tmp_path / "table.h5ad"
    offered = [item.name for item in session(viewer).elements.sources]
    assert offered == ["cells", "nuclei", "transcripts"]


def test_a_tissue_without_elements_says_so(make_napari_viewer):
    viewer = make_napari_viewer(strict_qt="raise")
    dock = TissueWidget(viewer)
    viewer.window.add_dock_widget(dock)
    adata = tissue()
    session(viewer).workspace.open(adata)
    assert list(dock.elements.rows) == ["cells", "nuclei"]
    assert dock.elements.empty.isHidden()
    del adata.obsm["cell_radii"], adata.obsm["nucleus_radii"]
    session(viewer).workspace.open(adata)
    assert not dock.elements.empty.isHidden()


def test_elements_go_with_their_viewer(qapp):
    viewer = ViewerModel()
    place = session(viewer)
    elements = place.elements
    place.workspace.open(tissue())
    handle = elements.show("cells")
    end = time.time() + 10
    while handle in place.runner.handles and time.time() < end:
        qapp.processEvents()
    assert elements.layer("cells") in viewer.layers
    gone = weakref.ref(elements)
    del viewer, place, elements, handle
    gc.collect()
    assert gone() is None
