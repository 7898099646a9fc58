"""Segmentation: nothing wrong gives the truth back; each fault is what it says it is."""

import numpy as np
import pandas as pd
import pytest
import shapely

from celldyn.data import section_key
from celldyn.errors import DataError
from celldyn.jobs import run
from celldyn.simulate.measure.containment import Locator
from celldyn.simulate.measure.faults import faulty_outlines_job
from celldyn.simulate.measure.segmentation import segmentation_job
from celldyn.simulate.shapes.outlines import CellShapes
from celldyn.simulate.specs import SegmentationSpec

GENES = ["a", "b", "c"]
N_RAYS = 16


def tissue(side=20, n_sections=1, per_cell=30, seed=0):
    """Cells on a lattice, 10 µm apart, that touch; molecules well within or well outside."""
    rng = np.random.default_rng(seed)
    grid = (np.arange(side) + 0.5) * 10.0
    one = np.column_stack([np.repeat(grid, side), np.tile(grid, side)])
    n = side * side * n_sections
    centre = np.tile(one, (n_sections, 1))
    section = np.repeat(np.arange(n_sections), side * side)
    cell = rng.uniform(3.5, 4.9, (n, N_RAYS)).astype(np.float32)
    shapes = CellShapes(centre, (0.5 * cell).astype(np.float32), cell)
    cells = pd.DataFrame(
        {
            "cell_id": np.arange(n),
            "celltype": pd.Categorical.from_codes(np.arange(n) % 2, ["x", "y"]),
            "section": pd.Categorical.from_codes(section, [f"s{k}" for k in range(n_sections)]),
            "x": centre[:, 0],
            "y": centre[:, 1],
        }
    )
    source = np.repeat(np.arange(n), per_cell)
    angle = rng.random(source.size) * 2 * np.pi
    leaks = rng.random(source.size) < 0.1
    reach = shapes.radius_at("cell", source, angle) * np.where(
        leaks, 1.02, 0.99 * np.sqrt(rng.random(source.size))
    )
    place = centre[source] + reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    molecules = {
        "x": place[:, 0].astype(np.float32),
        "y": place[:, 1].astype(np.float32),
        "gene": rng.integers(0, 3, source.size).astype(np.int32),
        "cell_id": source.astype(np.int32),
        "landed_cell_id": np.where(leaks, -1, source).astype(np.int32),
        "section": section[source].astype(np.int16),
    }
    return shapes, molecules, cells


def segmented(shapes, molecules, cells, seed=1, threads=None, **spec):
    job = segmentation_job(
        SegmentationSpec(**spec), shapes, molecules, GENES, seed, cells=cells, threads=threads
    )
    return run(job, bar=False)


def outlines(shapes, cells, seed=1, **spec):
    section = cells["section"].cat.codes.to_numpy()
    ids = cells["cell_id"].to_numpy()
    job = faulty_outlines_job(SegmentationSpec(**spec), shapes, section, ids, seed)
    return run(job, bar=False)


def counted(molecules, row, n_rows):
    table = np.zeros((n_rows, 3))
    np.add.at(table, (row[row >= 0], molecules["gene"][row >= 0]), 1)
    return table


@pytest.mark.parametrize("n_sections", [1, 3])
def test_without_faults_the_table_is_the_true_one(n_sections):
    shapes, molecules, cells = tissue(12, n_sections)
    result = segmented(shapes, molecules, cells)
    table = result.table
    landed = molecules["landed_cell_id"]
    assert np.array_equal(table.X.toarray(), counted(molecules, landed, shapes.n_cells))
    assert np.array_equal(table.obs["true_cell"], np.arange(shapes.n_cells))
    assert (table.obs["second_cell"] == -1).all()
    assert (table.obs["kind"] == "ok").all()
    assert (table.obs["purity"] == 1).all()
    assert np.array_equal(table.obs["main_cell"], table.obs["true_cell"])
    assert np.array_equal(table.obsm["spatial"], shapes.centre)
    np.testing.assert_allclose(table.obs["area"], shapes.areas("cell"))
    assert not result.doublets.any()
    assert shapely.equals(result.polygons(), shapes.polygons("cell")).all()
    truth = table.uns["truth"]["molecules"]
    assert truth["unassigned"] == truth["unassigned_of_a_cell"] == (landed < 0).sum()
    assert truth["assigned"] == (landed >= 0).sum()
    assert (section_key(table) == "section") == (n_sections > 1)


def test_containment_is_that_of_the_polygons():
    shapes, _, cells = tissue(8)
    wide = outlines(shapes, cells, jitter=0.5).shapes
    rng = np.random.default_rng(5)
    place = rng.random((4000, 2)) * 80
    locator = Locator.of(wide, np.zeros(64, int), np.arange(64))
    hit = locator.locate(place[:, 0], place[:, 1], np.zeros(4000, int))
    polygons, points = wide.polygons("cell"), shapely.points(place)
    inside = shapely.contains(polygons[:, None], points[None])
    apart = np.hypot(*(wide.centre[:, None] - place[None]).transpose(2, 0, 1))
    apart[~inside] = np.inf
    nearest = np.where(inside.any(axis=0), apart.argmin(axis=0), -1)
    assert np.array_equal(hit, nearest)
    assert (inside.sum(axis=0) > 1).any()
    assert (hit < 0).any()
    anything = rng.integers(-1, 64, 4000)
    close = apart.argmin(axis=0)
    for guess in (anything, close, np.where(inside.any(axis=0), inside.argmax(axis=0), -1)):
        again = locator.locate(place[:, 0], place[:, 1], np.zeros(4000, int), guess)
        assert np.array_equal(again, nearest)


def test_a_guess_changes_nothing_where_outlines_do_not_overlap():
    shapes, molecules, cells = tissue(8, 2)
    section = cells["section"].cat.codes.to_numpy()
    found = np.flatnonzero(np.arange(128) % 5 > 0)
    locator = Locator.of(shapes, section, found, overlap=False)
    place = molecules["x"], molecules["y"], molecules["section"]
    wanted = np.where(np.isin(molecules["landed_cell_id"], found), molecules["landed_cell_id"], -1)
    assert np.array_equal(locator.locate(*place), wanted)
    for guess in (molecules["landed_cell_id"], molecules["cell_id"], wanted[::-1]):
        assert np.array_equal(locator.locate(*place, guess), wanted)


def test_a_molecule_far_from_its_section_finds_no_cell_of_another():
    shapes, _, cells = tissue(3, 2)
    section = cells["section"].cat.codes.to_numpy()
    locator = Locator.of(shapes, section, np.arange(18))
    x = np.linspace(0, 400, 2000)
    for k in (0, 1):
        hit = locator.locate(x, np.full(2000, 15.0), np.full(2000, k))
        assert set(section[hit[hit >= 0]]) == {k}
        assert x[hit >= 0].max() < 30


@pytest.mark.parametrize("n_rays", [3, 7, 16, 90])
def test_compiled_search_finds_the_same_cells(n_rays):
    rng = np.random.default_rng(n_rays)
    centre, section = rng.random((300, 2)) * 100 + 5000, np.arange(300) // 150
    cell = rng.uniform(2, 9, (300, n_rays)).astype(np.float32)
    shapes = CellShapes(centre, (cell / 2).astype(np.float32), cell)
    place = rng.random((6000, 2)) * 130 + 4985
    place[:300] = centre  # no direction
    place[300:600] = shapes.vertices("cell")[:, 1]  # on a ray, and on the outline
    place[600:900] = centre + np.array([3.0, 0.0])
    where = rng.integers(0, 2, 6000)
    found = np.flatnonzero(np.arange(300) % 7 > 0)
    given = shapes, section, found
    plain, compiled = (Locator.of(*given, compiled=way) for way in (False, True))
    for name in ("start", "member", "least", "reach"):
        np.testing.assert_array_equal(getattr(plain.grid, name), getattr(compiled.grid, name))
    for kind in (np.float64, np.float32):
        x, y = place.astype(kind).T
        hit = plain.locate(x, y, where)
        np.testing.assert_array_equal(compiled.locate(x, y, where), hit)
        assert 1000 < (hit >= 0).sum() < 6000
        row = plain.grid.rows(x, y, where)
        inner = plain.grid.in_nucleus(x, y, row)
        np.testing.assert_array_equal(plain.grid.in_nucleus(x, y, row, compiled=True), inner)
        assert 100 < inner.sum() < (hit >= 0).sum()


def test_a_large_tissue_is_segmented_by_compiled_loops_alike(monkeypatch):
    shapes, molecules, cells = tissue(15, 2)
    for spec in ({}, {"jitter": 0.3, "merge_rate": 0.2, "split_rate": 0.2, "miss_rate": 0.1}):
        one = segmented(shapes, molecules, cells, **spec).table
        with monkeypatch.context() as patch:
            patch.setattr("celldyn.simulate.measure.segmentation.COMPILE_FROM", 1)
            other = segmented(shapes, iter([molecules]), cells, **spec).table
        assert (one.X != other.X).nnz == 0
        pd.testing.assert_frame_equal(one.obs, other.obs)


def test_jitter_has_its_spread_and_is_smooth():
    shapes, _, cells = tissue(40)
    factor = outlines(shapes, cells, jitter=0.1).shapes.cell / shapes.cell
    # 1600 outlines of 5 waves each: the sd is known to about 2 %.
    assert factor.mean() == pytest.approx(1.0, abs=0.01)
    assert factor.std() == pytest.approx(0.1, rel=0.05)
    assert factor.std(axis=0) == pytest.approx(np.full(N_RAYS, 0.1), rel=0.1)
    neighbours = np.corrcoef(factor[:, 0], factor[:, 1])[0, 1]
    opposite = np.corrcoef(factor[:, 0], factor[:, N_RAYS // 2])[0, 1]
    turn = 2 * np.pi / N_RAYS * np.arange(1, 5)
    assert neighbours == pytest.approx((1 + np.cos(turn).sum()) / 5, abs=0.06)
    assert opposite == pytest.approx((1 - 1 + 1 - 1 + 1) / 5, abs=0.1)
    assert outlines(shapes, cells, jitter=1.0).shapes.cell.min() > 0


def test_missed_cells_have_no_row_and_lose_their_molecules():
    shapes, molecules, cells = tissue(40, per_cell=3)
    result = segmented(shapes, molecules, cells, miss_rate=0.3)
    missed = result.table.uns["truth"]["missed"]
    assert missed.size == pytest.approx(480, abs=4 * np.sqrt(1600 * 0.21))
    assert np.array_equal(np.setdiff1d(np.arange(1600), missed), result.table.obs["true_cell"])
    landed = molecules["landed_cell_id"]
    lost = (landed < 0) | np.isin(landed, missed)
    assert result.table.uns["truth"]["molecules"]["unassigned"] == lost.sum()
    nothing = segmented(shapes, molecules, cells, miss_rate=1.0)
    assert nothing.table.n_obs == 0
    assert nothing.table.uns["truth"]["molecules"]["assigned"] == 0


def test_halves_make_up_the_cell_and_its_molecules():
    shapes, molecules, cells = tissue(15)
    result = segmented(shapes, molecules, cells, split_rate=1.0)
    table, polygons = result.table, result.polygons()
    assert (table.obs["kind"] == "split").all()
    assert np.array_equal(table.obs["true_cell"], np.repeat(np.arange(225), 2))
    landed = molecules["landed_cell_id"]
    dense = table.X.toarray()
    assert np.array_equal(dense[0::2] + dense[1::2], counted(molecules, landed, 225))
    area = shapely.area(polygons)
    np.testing.assert_allclose(area[0::2] + area[1::2], shapes.areas("cell"))
    assert area.min() > 0.3 * shapes.areas("cell").min()
    points = shapely.points(molecules["x"], molecules["y"])
    own = landed == 7
    first = shapely.contains(polygons[14], points[own])
    assert dense[14].sum() == first.sum()
    assert dense[15].sum() == own.sum() - first.sum()
    assert np.array_equal(table.obsm["spatial"][3], shapely.centroid(polygons[3]).coords[0])


def test_merged_neighbours_are_doublets_with_the_molecules_of_both():
    shapes, molecules, cells = tissue(40)
    result = segmented(shapes, molecules, cells, merge_rate=0.3)
    table, truth = result.table, result.truth_of
    merged = np.flatnonzero(result.doublets)
    assert 2 * merged.size == pytest.approx(480, abs=4 * np.sqrt(2 * 480))
    assert np.array_equal(np.sort(truth[truth >= 0]), np.arange(1600))
    pairs = truth[merged]
    assert (pairs[:, 0] < pairs[:, 1]).all()
    apart = np.hypot(*(shapes.centre[pairs[:, 0]] - shapes.centre[pairs[:, 1]]).T)
    assert apart.max() < 1.25 * 10
    single = counted(molecules, molecules["landed_cell_id"], 1600)
    dense = table.X.toarray()
    assert np.array_equal(dense[merged], single[pairs[:, 0]] + single[pairs[:, 1]])
    totals = single.sum(axis=1)[pairs]
    purity = totals.max(axis=1) / totals.sum(axis=1)
    np.testing.assert_allclose(table.obs["purity"].to_numpy()[merged], purity)
    main = pairs[np.arange(len(pairs)), totals.argmax(axis=1)]
    assert np.array_equal(table.obs["main_cell"].to_numpy()[merged], main)
    areas = shapes.areas("cell")[pairs].sum(axis=1)
    np.testing.assert_allclose(table.obs["area"].to_numpy()[merged], areas, rtol=1e-6)
    everything = outlines(shapes, cells, merge_rate=1.0)
    assert (everything.kind == 1).mean() > 0.8


def test_cells_that_touch_no_other_are_not_merged():
    shapes, molecules, cells = tissue(6)
    lonely = CellShapes(3 * shapes.centre, shapes.nucleus, shapes.cell)
    assert not segmented(lonely, molecules, cells, merge_rate=1.0).doublets.any()
    one = shapes.take([0])
    first = cells.iloc[:1].reset_index(drop=True)
    assert (outlines(one, first, merge_rate=1.0).kind == 0).all()


def test_faults_exclude_each_other_and_have_their_rates():
    shapes, _, cells = tissue(50)
    faulty = outlines(shapes, cells, merge_rate=0.2, split_rate=0.3, miss_rate=0.1)
    n = shapes.n_cells
    assert (faulty.row < 0).mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / n))
    halves = (faulty.kind == 2).sum()
    assert halves / 2 / n == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / n))
    assert (faulty.kind == 1).sum() * 2 / n == pytest.approx(0.2, abs=8 * np.sqrt(0.1 / n))
    whole = faulty.true_cells[faulty.kind != 2].ravel()
    used = np.concatenate([whole[whole >= 0], faulty.true_cells[faulty.kind == 2, 0][::2]])
    assert np.array_equal(np.sort(used), np.flatnonzero(faulty.row >= 0))


def test_grown_nuclei_stop_at_the_border_of_the_cell():
    shapes, _, cells = tissue(5)
    grown = outlines(shapes, cells, nucleus_expansion_um=2.0).shapes
    assert np.array_equal(grown.cell, np.minimum(shapes.nucleus + np.float32(2), shapes.cell))
    assert (grown.cell == shapes.cell).any()
    assert (grown.cell < shapes.cell).any()
    assert np.array_equal(
        outlines(shapes, cells, nucleus_expansion_um=0.0).shapes.cell, shapes.nucleus
    )


def test_blocks_and_threads_change_nothing(monkeypatch):
    shapes, molecules, cells = tissue(15, 2)
    spec = {"jitter": 0.3, "merge_rate": 0.2, "split_rate": 0.2, "miss_rate": 0.1}
    whole = segmented(shapes, molecules, cells, threads=2, **spec).table
    monkeypatch.setattr("celldyn.simulate.measure.inputs.BLOCK", 777)
    monkeypatch.setattr("celldyn.simulate.measure.tally._BUCKET", 100)
    monkeypatch.setattr("celldyn.simulate.measure.pairing._BLOCK", 33)
    monkeypatch.setattr("celldyn.simulate.measure.faults._BLOCK", 29)
    parts = [
        {k: v[a : a + 1001] for k, v in molecules.items()}
        for a in range(0, len(molecules["x"]), 1001)
    ]
    small = segmented(shapes, iter(parts), cells, threads=1, **spec).table
    assert (whole.X != small.X).nnz == 0
    pd.testing.assert_frame_equal(whole.obs, small.obs)
    assert 0.5 < whole.obs["purity"].mean() < 1
    other = segmented(shapes, molecules, cells, seed=2, **spec).table
    assert other.shape != whole.shape or (other.X != whole.X).nnz > 0


def test_molecules_of_no_cell_lower_the_purity_and_have_no_main_cell():
    shapes, molecules, cells = tissue(2, per_cell=40)
    stray = np.arange(160) % 40 < 10
    molecules["cell_id"] = np.where(stray, -1, molecules["cell_id"])
    molecules["cell_id"][molecules["landed_cell_id"] == 3] = -1
    obs = segmented(shapes, molecules, cells).table.obs
    landed = molecules["landed_cell_id"] == 0
    wanted = (molecules["cell_id"][landed] == 0).mean()
    assert obs["purity"].iloc[0] == pytest.approx(wanted)
    assert obs["main_cell"].tolist() == [0, 1, 2, -1]
    assert obs["purity"].iloc[3] == 0


def test_what_does_not_fit_is_refused():
    shapes, molecules, cells = tissue(3)
    with pytest.raises(DataError, match="9 cells have 8 outlines"):
        segmented(shapes.take(slice(0, 8)), molecules, cells)
    with pytest.raises(DataError, match="of cell 9"):
        segmented(shapes, {**molecules, "cell_id": np.full(270, 9)}, cells)


def test_a_saved_table_comes_back(tmp_path):
    from anndata import read_h5ad

    shapes, molecules, cells = tissue(6)
    table = segmented(shapes, molecules, cells, merge_rate=0.5, miss_rate=0.2).table
    table.write_h5ad(tmp_path / "seg.h5ad")
    back = read_h5ad(tmp_path / "seg.h5ad")
    assert np.array_equal(back.obs["second_cell"], table.obs["second_cell"])
    assert np.array_equal(back.uns["truth"]["missed"], table.uns["truth"]["missed"])
