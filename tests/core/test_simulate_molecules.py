"""Where molecules lie: uniform in their compartment, leaked ones outside, the same in any part."""

import threading
import time
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import sparse, stats

from celldyn.errors import DataError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig
from celldyn.simulate.molecules import (
    COMPARTMENTS,
    Molecules,
    iterate_molecules,
    leak_distance,
    molecules,
    molecules_job,
    write_transcripts,
    write_transcripts_job,
)
from celldyn.simulate.parallel import piped_job
from celldyn.simulate.shapes.outlines import CellShapes
from celldyn.simulate.streams import name_ids

N_GENES = 20


def tissue(n=300, *, seed=0, corner=0.0, leak=0.2, n_sections=1, convex=False, **config):
    """Cells on a lattice that do not overlap, of ragged outline, with some counts each."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    i = np.arange(n)
    centre = np.stack([i % side, i // side], axis=1) * 12.0 + 6.0 + corner
    spread = np.full((n, 16), 5.5) if convex else rng.uniform(3.0, 5.9, (n, 16))
    cell = spread.astype(np.float32)
    nucleus = (cell * rng.uniform(0.3, 0.9, (n, 16))).astype(np.float32)
    counts = sparse.csr_matrix(rng.poisson(0.7, (n, N_GENES)).astype(np.int32))
    return {
        "shapes": CellShapes(centre, nucleus, cell),
        "counts": counts,
        "section": i * n_sections // n,
        "cell_ids": i + 5,
        "leak_cell": leak,
        "leak_gene": np.linspace(0, leak, N_GENES),
        "compartment": np.arange(N_GENES) % 5,
        "gene_names": [f"g{k}" for k in range(N_GENES)],
        "config": SimulationConfig(
            n_cells=n, n_celltype=1, n_genes=N_GENES, seed=3, n_sections=n_sections,
            canvas_size=side * 12.0 + corner, **config,
        ),
    }  # fmt: skip


def same(one: Molecules, other: Molecules, but: tuple[str, ...] = ()):
    for field in fields(one):
        if field.name not in but:
            np.testing.assert_array_equal(
                getattr(one, field.name), getattr(other, field.name), err_msg=field.name
            )


def take(held: Molecules, which) -> Molecules:
    return Molecules(*(getattr(held, field.name)[which] for field in fields(held)))


def points_of(held: Molecules):
    return shapely.points(held.x.astype(float), held.y.astype(float))


# --- what is placed -----------------------------------------------------------------------------


def test_every_count_is_a_molecule_of_its_cell():
    given = tissue()
    made = molecules(**given)
    found = np.zeros(given["counts"].shape, dtype=int)
    np.add.at(found, (made.cell_id - 5, made.gene), 1)
    np.testing.assert_array_equal(found, given["counts"].toarray())
    order = np.lexsort((made.gene, made.cell_id))
    np.testing.assert_array_equal(order, np.arange(len(made)))


@pytest.mark.parametrize("corner", [0.0, 11_000.0])
def test_molecules_lie_where_they_belong_also_as_float32(corner):
    given = tissue(2000, corner=corner)
    made, shapes = molecules(**given), given["shapes"]
    row, at, leaked = made.cell_id - 5, points_of(made), made.is_leaked
    cells, nuclei = shapes.polygons("cell")[row], shapes.polygons("nucleus")[row]
    assert shapely.contains_properly(cells[~leaked], at[~leaked]).all()
    assert not shapely.intersects(cells[leaked], at[leaked]).any()
    in_nucleus = shapely.covers(nuclei, at)
    np.testing.assert_array_equal(made.overlaps_nucleus[~leaked], in_nucleus[~leaked])
    kind = np.array(COMPARTMENTS)[made.compartment]
    assert in_nucleus[kind == "nuclear"].all()
    assert not in_nucleus[np.isin(kind, ["cytoplasmic", "perinuclear", "membrane"])].any()
    np.testing.assert_array_equal(kind == "outside", leaked)
    assert 0.2 < leaked.mean() < 0.4
    assert ((made.z >= 0) & (made.z < given["config"].depth_um)).all()
    assert (made.qv == given["config"].qv).all()


def ring(shapes: CellShapes, inner, outer):
    def polygon(radii):
        return CellShapes(shapes.centre, radii, radii).polygons("cell")[0]

    whole = polygon(outer.astype(np.float32))
    return whole if inner is None else whole.difference(polygon(inner.astype(np.float32)))


@pytest.mark.parametrize("code", range(5))
def test_molecules_are_uniform_in_their_compartment(code):
    given = tissue(1, leak=0.0)
    given["counts"] = sparse.csr_matrix(([40_000], ([0], [0])), shape=(1, N_GENES))
    given["compartment"] = code
    made, shapes = molecules(**given), given["shapes"]
    n, c = shapes.nucleus.astype(float), shapes.cell.astype(float)
    inner, outer = {
        "uniform": (None, c),
        "nuclear": (None, n),
        "perinuclear": (n, np.minimum(1.3 * n, c)),
        "cytoplasmic": (n, c),
        "membrane": (np.maximum(0.9 * c, n), c),
    }[COMPARTMENTS[code]]
    region = ring(shapes, inner, outer)
    edges = np.linspace(0, 12, 9)
    squares = [
        shapely.box(x, y, x + 1.5, y + 1.5).intersection(region).area
        for x in edges[:-1]
        for y in edges[:-1]
    ]
    found, _, _ = np.histogram2d(made.x, made.y, bins=[edges, edges])
    expected = np.array(squares) / region.area * 40_000
    few = expected < 20
    counts = np.append(found.ravel()[~few], found.ravel()[few].sum())
    wanted = np.append(expected[~few], expected[few].sum())
    assert stats.chisquare(counts, wanted * counts.sum() / wanted.sum()).pvalue > 1e-3
    assert stats.kstest(made.z / 5.0, "uniform").pvalue > 1e-3


# --- what leaks ---------------------------------------------------------------------------------


def test_leaked_molecules_of_convex_cells_lie_exactly_as_far_as_the_law_says():
    given = tissue(400, leak=0.5, convex=True)
    made, shapes, config = molecules(**given), given["shapes"], given["config"]
    away = take(made, made.is_leaked)
    row = away.cell_id - 5
    distance = shapely.distance(shapes.polygons("cell")[row], points_of(away))
    number = pd.DataFrame({"c": made.cell_id, "g": made.gene}).groupby(["c", "g"]).cumcount()
    law = leak_distance(
        len(away), shapes.areas("cell")[row], config.leak_dist_factor, config.leak_coverage,
        config.seed, cell=away.cell_id, gene=name_ids(given["gene_names"])[away.gene],
        number=number.to_numpy()[made.is_leaked],
    )  # fmt: skip
    np.testing.assert_allclose(distance, law, atol=5e-5)
    outline = shapely.get_exterior_ring(shapes.polygons("cell"))[row]
    along = shapely.line_locate_point(outline, points_of(away), normalized=True)
    assert stats.kstest(along, "uniform").pvalue > 1e-3


def test_no_leak_goes_beyond_the_largest_distance_from_a_ragged_cell():
    given = tissue(500, leak=0.6, leak_dist_factor=0.5)
    made, shapes = molecules(**given), given["shapes"]
    away = take(made, made.is_leaked)
    row = away.cell_id - 5
    distance = shapely.distance(shapes.polygons("cell")[row], points_of(away))
    assert (distance > 0).all()
    assert (distance <= 0.5 * np.sqrt(shapes.areas("cell")[row] / np.pi) + 1e-4).all()


def test_a_molecule_that_leaked_knows_the_cell_it_landed_in():
    given = tissue(600, leak=0.7, n_sections=2, leak_dist_factor=3.0, ambient_rate_per_um2=0.02)
    made, shapes = molecules(**given), given["shapes"]
    cells, nuclei = shapes.polygons("cell"), shapes.polygons("nucleus")
    at = points_of(made)
    expected = np.full(len(made), -1)
    for section in (0, 1):
        rows = np.flatnonzero(given["section"] == section)
        here = np.flatnonzero(made.section == section)
        point, cell = shapely.STRtree(cells[rows]).query(at[here], predicate="within")
        expected[here[point]] = rows[cell]
    found = np.where(made.landed_cell_id >= 0, made.landed_cell_id - 5, -1)
    np.testing.assert_array_equal(found, expected)
    hit = expected >= 0
    np.testing.assert_array_equal(
        made.overlaps_nucleus[hit], shapely.covers(nuclei[expected[hit]], at[hit])
    )
    assert not made.overlaps_nucleus[~hit].any()
    other = made.is_leaked & hit & (made.landed_cell_id != made.cell_id)
    assert other.sum() > 200
    np.testing.assert_array_equal(made.landed_cell_id[~made.is_leaked & (made.cell_id >= 0)],
                                  made.cell_id[~made.is_leaked & (made.cell_id >= 0)])  # fmt: skip


def test_ambient_molecules_are_a_poisson_process_of_the_mean_expression():
    given = tissue(900, leak=0.0, n_sections=2, ambient_rate_per_um2=0.2)
    made = molecules(**given)
    none = take(made, made.cell_id < 0)
    width, height = given["config"].canvas_um
    mean = 0.2 * width * height
    for section in (0, 1):
        here = none.section == section
        assert abs(here.sum() - mean) < 4.5 * np.sqrt(mean)
        assert stats.kstest(none.x[here] / width, "uniform").pvalue > 1e-3
        assert stats.kstest(none.y[here] / height, "uniform").pvalue > 1e-3
    share = np.asarray(given["counts"].sum(axis=0)).ravel()
    found = np.bincount(none.gene, minlength=N_GENES)
    assert stats.chisquare(found, share / share.sum() * len(none)).pvalue > 1e-3
    assert not none.is_leaked.any()
    assert (none.x <= width).all()
    assert len(molecules(**tissue(900, leak=0.0))) == (made.cell_id >= 0).sum()


# --- what it may not depend on ------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    given = tissue(700, corner=9000.0, n_sections=2, ambient_rate_per_um2=1e-4)
    return given, molecules(**given)


@pytest.mark.parametrize("block", [1000, 100_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_and_threads_change_nothing(whole, block, threads):
    given, made = whole
    same(molecules(**given, block=block, threads=threads), made)


def test_compiled_loops_give_the_same_bits(whole):
    given, made = whole
    same(molecules(**given, compiled=True, block=3000), made)


@pytest.mark.parametrize("n_rays", [3, 7, 16, 90])
def test_compiled_loops_give_the_same_bits_of_molecules_that_leak(n_rays):
    given = tissue(300, leak=0.8, corner=2e5, n_sections=2, leak_dist_factor=12.0)
    rng = np.random.default_rng(n_rays)
    cell = rng.uniform(0.5, 5.9, (300, n_rays)).astype(np.float32)
    nucleus = (cell * rng.uniform(0.3, 0.9, (300, n_rays))).astype(np.float32)
    given["shapes"] = CellShapes(given["shapes"].centre, nucleus, cell)
    made = molecules(**given)
    same(molecules(**given, compiled=True, block=500), made)
    assert made.is_leaked.mean() > 0.5
    assert (made.landed_cell_id[made.is_leaked] >= 0).sum() > 100


def test_a_part_of_the_tissue_is_the_same_alone(whole):
    given, made = whole
    part = molecules(**given, rows=slice(200, 450))
    mine = np.isin(made.cell_id, np.arange(205, 455))
    same(part, take(made, mine))


def test_some_cells_and_genes_of_it_are_the_same_alone(whole):
    given, made = whole
    rows, genes = np.array([650, 3, 77]), np.array([19, 0, 4])
    panel = given | {
        "shapes": given["shapes"].take(rows),
        "counts": given["counts"][rows][:, genes],
        "section": given["section"][rows],
        "cell_ids": given["cell_ids"][rows],
        "leak_gene": given["leak_gene"][genes],
        "compartment": given["compartment"][genes],
        "gene_names": [given["gene_names"][g] for g in genes],
        "config": given["config"].replace(ambient_rate_per_um2=0.0),
    }
    few = molecules(**panel).to_frame(panel["gene_names"])
    here = np.isin(made.cell_id, rows + 5) & np.isin(made.gene, genes)
    many = take(made, here).to_frame(given["gene_names"])
    keys = ["cell_id", "feature_name", "x", "y"]
    columns = [*keys, "z", "is_leaked", "compartment"]  # a part does not know who lies around it
    tables = [
        frame[columns].astype({"feature_name": str}).sort_values(keys, ignore_index=True)
        for frame in (few, many)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_a_count_more_moves_no_other_molecule(whole):
    given, made = whole
    more = given["counts"].tolil()
    more[10, 3] += 2
    after = molecules(**(given | {"counts": more.tocsr()}))
    own = (after.cell_id == 15) & (after.gene == 3)
    extra = np.flatnonzero(own)[-2:]
    kept = np.delete(np.arange(len(after)), extra)
    cells = after.cell_id[kept] >= 0
    same(take(after, kept[cells]), take(made, made.cell_id >= 0))


def test_a_stream_of_blocks_is_the_whole(whole):
    given, made = whole
    parts = list(iterate_molecules(**given, block=2000, threads=2))
    assert len(parts) > 4
    joined = Molecules(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Molecules))
    )
    same(joined, made)
    stream = iterate_molecules(**given, block=500)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("celldyn-make")]


# --- pipes --------------------------------------------------------------------------------------


def test_a_pipe_keeps_the_order_and_counts_units():
    taken = []

    def slow_at_first(k):
        time.sleep(0.05 if k < 3 else 0.0)
        return k * k

    def counted():
        units = yield from piped_job(
            range(20), slow_at_first, taken.append, "s", size=lambda k: k, threads=4
        )
        assert units == sum(range(20))

    done = [step.done for step in counted()]
    assert taken == [k * k for k in range(20)]
    assert done == sorted(done)


@pytest.mark.parametrize("where", ["items", "work", "sink"])
def test_a_pipe_hands_on_what_fails_and_ends_its_threads(where):
    closed = []

    def fail(at, k=0):
        if at == where and k == 5:
            raise ZeroDivisionError
        return k

    def items():
        try:
            for k in range(100):
                yield fail("items", k)
        finally:
            closed.append(True)

    sink = lambda k: fail("sink", k)  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        run(piped_job(items(), lambda k: fail("work", k), sink, "s", threads=2), bar=False)
    assert closed == [True]
    names = ("celldyn-make", "celldyn-take", "celldyn-read")
    assert not [t for t in threading.enumerate() if t.name.startswith(names)]


def test_a_pipe_waits_for_a_slow_sink():
    ahead = []
    started, taken = [], []

    def take(_):
        time.sleep(0.01)
        taken.append(1)
        ahead.append(len(started) - len(taken))

    run(piped_job(range(40), started.append, take, "s", threads=2), bar=False)
    assert len(taken) == 40
    assert max(ahead) <= 4


# --- tables and files ---------------------------------------------------------------------------


def test_the_table_has_names_for_codes(whole):
    given, made = whole
    frame = made.to_frame(given["gene_names"], given["config"].section_names)
    assert list(frame) == [
        "x", "y", "z", "feature_name", "cell_id", "is_leaked", "compartment", "landed_cell_id",
        "overlaps_nucleus", "qv", "section",
    ]  # fmt: skip
    assert list(frame["feature_name"].cat.categories) == given["gene_names"]
    np.testing.assert_array_equal(frame["feature_name"].cat.codes, made.gene)
    assert frame["x"].dtype == np.float32
    assert frame["section"].iloc[0] == "section_0"


def test_a_file_holds_the_same_molecules(whole, tmp_path):
    given, made = whole
    written = write_transcripts(tmp_path / "a.parquet", **given, block=2000, threads=1)
    assert written == len(made)
    found = pd.read_parquet(tmp_path / "a.parquet")
    frame = made.to_frame(given["gene_names"], given["config"].section_names)
    pd.testing.assert_frame_equal(found, frame, check_categorical=False)
    write_transcripts(tmp_path / "b.parquet", **given, block=2000, threads=2)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_row_groups_say_what_region_they_hold(whole, tmp_path):
    from pyarrow import parquet

    given, _ = whole
    write_transcripts(tmp_path / "a.parquet", **given, block=2000)
    held = parquet.ParquetFile(tmp_path / "a.parquet")
    assert held.metadata.num_row_groups > 3
    group = held.metadata.row_group(1)
    ranges = {
        group.column(i).path_in_schema: group.column(i).statistics
        for i in range(group.num_columns)
    }
    x = held.read_row_group(1, ["x"])["x"].to_numpy()
    assert (ranges["x"].min, ranges["x"].max) == (x.min(), x.max())
    assert ranges["cell_id"].has_min_max


def test_a_stopped_job_leaves_what_was_there(whole, tmp_path):
    given, _ = whole
    target = tmp_path / "a.parquet"
    target.write_text("before")
    before = set(threading.enumerate())
    job = write_transcripts_job(target, **given, block=200)
    for progress in job:
        if progress.done > 3:
            break
    job.close()
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
    assert not set(threading.enumerate()) - before


def test_an_empty_tissue_has_no_molecules(tmp_path):
    given = tissue(4) | {"counts": sparse.csr_matrix((4, N_GENES), dtype=np.int32)}
    assert len(molecules(**given)) == 0
    assert write_transcripts(tmp_path / "none.parquet", **given) == 0
    assert len(pd.read_parquet(tmp_path / "none.parquet")) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"counts": sparse.csr_matrix(np.full((300, N_GENES), 0.5))}, "fractions"),
        ({"counts": sparse.csr_matrix(-np.ones((300, N_GENES)))}, "leave 0"),
        ({"counts": sparse.csc_matrix(np.ones((300, N_GENES)))}, "CSR"),
        ({"leak_cell": 1.5}, "leak_cell"),
        ({"leak_gene": np.zeros(3)}, "leak_gene"),
        ({"compartment": 5}, "compartment"),
        ({"cell_ids": np.arange(299)}, "cell_ids"),
        ({"cell_ids": np.arange(300) - 1}, "cell_ids"),
        ({"gene_names": ["a"]}, "gene names"),
    ],
)
def test_wrong_input_is_refused_before_any_work(wrong, said):
    with pytest.raises(DataError, match=said):
        run(molecules_job(**(tissue() | wrong)), bar=False)
