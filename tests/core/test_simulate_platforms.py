"""Platforms: which molecules a spot, bin, bead or field of view holds; and what is refused."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import shapely
from anndata import AnnData

from celldyn.data import section_key, um_per_unit
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig
from celldyn.simulate.measure.checks import check_measurement
from celldyn.simulate.measure.leakage import leakage_of_cells
from celldyn.simulate.measure.naming import known_names, row_names
from celldyn.simulate.measure.platforms import platform_job, spot_polygons
from celldyn.simulate.molecules import compartment_codes
from celldyn.simulate.specs import PlatformSpec, SegmentationSpec

GENES = ["a", "b", "c", "d"]
CANVAS = (420.0, 310.0)
N_CELLS = 90


def tissue(n_molecules=20_000, n_sections=1, seed=0):
    rng = np.random.default_rng(seed)
    xy = rng.random((N_CELLS, 2)) * CANVAS
    section = np.arange(N_CELLS) % n_sections
    cells = pd.DataFrame(
        {
            "cell_id": np.arange(N_CELLS),
            "celltype": pd.Categorical.from_codes(rng.integers(0, 3, N_CELLS), ["x", "y", "z"]),
            "section": pd.Categorical.from_codes(section, [f"s{k}" for k in range(n_sections)]),
            "x": xy[:, 0],
            "y": xy[:, 1],
        }
    )
    source = rng.integers(0, N_CELLS, n_molecules).astype(np.int32)
    place = rng.random((n_molecules, 2)) * CANVAS
    molecules = {
        "x": place[:, 0].astype(np.float32),
        "y": place[:, 1].astype(np.float32),
        "gene": rng.integers(0, 4, n_molecules).astype(np.int32),
        "cell_id": source,
        "landed_cell_id": np.where(rng.random(n_molecules) < 0.1, -1, source),
        "section": section[source].astype(np.int16),
    }
    return molecules, cells


def seen(molecules, cells, threads=None, **spec):
    job = platform_job(
        PlatformSpec(**spec), molecules, CANVAS, GENES, 5, cells=cells, threads=threads
    )
    return run(job, bar=False)


def by_hand(adata, molecules, inside):
    """Count with a loop over spots; inside(i) says which molecules spot i holds."""
    counts = np.zeros(adata.shape)
    for i in range(adata.n_obs):
        counts[i] = np.bincount(molecules["gene"][inside(i)], minlength=4)
    return counts


def within_disc(adata, molecules, of=None):
    xy, radius = adata.obsm["spatial"], adata.obs["radius"].to_numpy()

    def inside(i):
        x, y = (molecules[name].astype(float) for name in "xy")
        near = np.hypot(x - xy[i, 0], y - xy[i, 1]) <= radius[i]
        return near if of is None else near & (molecules["section"] == of[i])

    return inside


@pytest.mark.parametrize("shape", [{}, {"spot_um": 100.0}, {"pitch_um": 60.0, "spot_um": 60.0}])
def test_visium_spots_hold_exactly_the_molecules_in_their_discs(shape):
    molecules, cells = tissue()
    adata = seen(molecules, cells, kind="visium", **shape)
    counts = by_hand(adata, molecules, within_disc(adata, molecules))
    assert np.array_equal(adata.X.toarray(), counts)
    assert adata.X.sum() == adata.uns["truth"]["molecules"]["counted"]


def test_visium_is_a_hexagonal_lattice_with_visiums_numbering():
    molecules, cells = tissue(200_000)
    adata = seen(molecules, cells, kind="visium")
    xy = adata.obsm["spatial"]
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(apart.min(axis=1), 100.0)
    assert (apart < 100.01).sum(axis=1).max() == 6
    row, column = adata.obs["array_row"], adata.obs["array_col"]
    assert ((row + column) % 2 == 0).all()
    np.testing.assert_allclose(np.diff(xy[row == 1, 0]), 100.0)
    assert (np.diff(column[row == 1]) == 2).all()
    assert ((xy >= 0) & (xy <= CANVAS)).all()
    # Molecules are uniform, so a spot holds its share of the area's; Poisson noise about it.
    expected = 200_000 * np.pi * 27.5**2 / (CANVAS[0] * CANVAS[1])
    fully = ((xy > 27.5) & (xy < np.array(CANVAS) - 27.5)).all(axis=1)
    totals = adata.X[fully].sum(axis=1)
    assert np.abs(totals - expected).max() < 4.5 * np.sqrt(expected)
    assert totals.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / fully.sum()))


def test_bins_tile_the_canvas_and_miss_nothing():
    molecules, cells = tissue()
    adata = seen(molecules, cells, kind="visium_hd", bin_um=16.0)
    assert adata.X.sum() == 20_000
    assert (adata.X.sum(axis=1) > 0).all()
    xy = adata.obsm["spatial"]

    def inside(i):
        x, y = (molecules[name].astype(float) for name in "xy")
        left, top = xy[i] - 8.0
        return (x >= left) & (x < left + 16) & (y >= top) & (y < top + 16)

    assert np.array_equal(adata.X.toarray(), by_hand(adata, molecules, inside))
    assert np.array_equal(xy[:, 0], 16 * adata.obs["array_col"] + 8)
    assert np.array_equal(xy[:, 1], 16 * adata.obs["array_row"] + 8)


def test_beads_never_overlap_and_hold_the_molecules_in_their_discs():
    molecules, cells = tissue(5000)
    adata = seen(molecules, cells, kind="slideseq", bead_um=30.0)
    xy = adata.obsm["spatial"]
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= 30.0
    assert apart.min(axis=1).std() > 0.3
    counts = by_hand(adata, molecules, within_disc(adata, molecules))
    assert np.array_equal(adata.X.toarray(), counts)


def test_sections_have_grids_of_their_own():
    molecules, cells = tissue(6000, n_sections=2)
    for kind in ("visium", "slideseq"):
        adata = seen(molecules, cells, kind=kind, bead_um=40.0)
        assert section_key(adata) == "section"
        of = adata.obs["section"].cat.codes.to_numpy()
        assert set(of) == {0, 1}
        counts = by_hand(adata, molecules, within_disc(adata, molecules, of))
        assert np.array_equal(adata.X.toarray(), counts)
    places = [adata.obsm["spatial"][of == k] for k in (0, 1)]
    assert not set(map(tuple, places[0])) & set(map(tuple, places[1]))


def test_composition_is_the_share_of_the_source_cells_types():
    molecules, cells = tissue(5000)
    molecules["cell_id"][::7] = -1
    adata = seen(molecules, cells, kind="visium")
    inside = within_disc(adata, molecules)
    composition = adata.obsm["truth_composition"]
    assert list(composition.columns) == ["x", "y", "z"]
    assert composition.shape == (adata.n_obs, 3)
    codes = cells["celltype"].cat.codes.to_numpy()
    for i in range(adata.n_obs):
        source = molecules["cell_id"][inside(i)]
        wanted = np.bincount(codes[source[source >= 0]], minlength=3)
        assert composition.iloc[i].to_numpy() == pytest.approx(wanted / max(wanted.sum(), 1))
        assert adata.obs["in_tissue"].iloc[i] == (wanted.sum() > 0)


def test_spots_without_any_cell_are_not_in_tissue():
    molecules, cells = tissue(5000)
    molecules["cell_id"][molecules["x"] < 200] = -1
    adata = seen(molecules, cells, kind="visium")
    left = adata.obsm["spatial"][:, 0] < 170
    assert (adata.obs["in_tissue"][left] == 0).all()
    assert (adata.obsm["truth_composition"][left] == 0).all(axis=None)
    assert adata.X[left].sum() > 0
    assert (adata.obs["in_tissue"][adata.obsm["spatial"][:, 0] > 230] == 1).all()


@pytest.mark.parametrize("kind", ["xenium", "merfish"])
def test_an_imaging_platform_counts_where_molecules_land(kind):
    molecules, cells = tissue()
    adata = seen(molecules, cells, kind=kind, genes=["d", "b"])
    assert list(adata.var_names) == ["d", "b"]
    assert list(adata.obs_names[:2]) == ["cell_0", "cell_1"]
    wanted = np.zeros((N_CELLS, 4))
    landed = molecules["landed_cell_id"] >= 0
    np.add.at(wanted, (molecules["landed_cell_id"][landed], molecules["gene"][landed]), 1)
    assert np.array_equal(adata.X.toarray(), wanted[:, [3, 1]])
    fates = adata.uns["truth"]["molecules"]
    assert fates["off_panel"] == np.isin(molecules["gene"], [0, 2]).sum()
    assert sum(fates.values()) == 20_000
    assert list(adata.obs["cell_type"]) == list(cells["celltype"])
    # 420 x 310 µm are 3 x 2 fields of 200 µm.
    number = (cells["x"] // 200 + 3 * (cells["y"] // 200)).astype(int)
    assert [f"fov_{k}" for k in number] == list(adata.obs["fov"])


def test_efficiency_keeps_its_share():
    molecules, cells = tissue()
    adata = seen(molecules, cells, kind="visium_hd", efficiency=0.3)
    assert adata.X.sum() == pytest.approx(6000, abs=4 * np.sqrt(20_000 * 0.21))
    assert adata.uns["truth"]["molecules"]["undetected"] == 20_000 - adata.X.sum()


def test_molecules_are_lost_at_the_seams_alone():
    molecules, cells = tissue(100_000)
    molecules["landed_cell_id"] = molecules["cell_id"]
    near = (np.abs(molecules["x"] % 200 - 200) <= 2) | (molecules["x"] % 200 <= 2)
    near &= molecules["x"] > 100
    rows = (molecules["y"] >= 198) & (molecules["y"] <= 202)
    near |= rows
    all_lost = seen(molecules, cells, kind="xenium", seam_loss=1.0)
    assert all_lost.uns["truth"]["molecules"]["at_seam"] == near.sum()
    half = seen(molecules, cells, kind="xenium", seam_loss=0.5)
    lost = half.uns["truth"]["molecules"]["at_seam"]
    assert lost == pytest.approx(near.sum() / 2, abs=4 * np.sqrt(near.sum() / 4))
    assert half.X.sum() == 100_000 - lost


def blocks_of(molecules, size):
    n = len(molecules["x"])
    return ({k: v[a : a + size] for k, v in molecules.items()} for a in range(0, n, size))


@pytest.mark.parametrize("kind", ["visium", "slideseq", "xenium"])
def test_blocks_threads_and_containers_change_nothing(kind, monkeypatch):
    molecules, cells = tissue(9000)
    spec = {"kind": kind, "efficiency": 0.6, "seam_loss": 0.5}
    whole = seen(molecules, cells, **spec)
    monkeypatch.setattr("celldyn.simulate.measure.inputs.BLOCK", 313)
    monkeypatch.setattr("celldyn.simulate.measure.tally._BUCKET", 97)
    for given in (blocks_of(molecules, 1000), pd.DataFrame(molecules)):
        other = seen(given, cells, threads=1, **spec)
        assert (whole.X != other.X).nnz == 0
        assert whole.obs.equals(other.obs)
        assert other.X.has_sorted_indices


def test_names_are_made_in_blocks_and_taken_on_trust_within():
    names = row_names("bin", range(100_000))
    assert names[[0, 65_535, 65_536, 99_999]].tolist() == [
        "bin_0", "bin_65535", "bin_65536", "bin_99999"
    ]  # fmt: skip
    assert names.is_unique
    twice = pd.DataFrame(index=["a", "a"])
    with known_names(), warnings.catch_warnings():
        warnings.simplefilter("error")
        AnnData(obs=twice)
    with pytest.warns(UserWarning, match="not unique"):
        AnnData(obs=twice)


def test_without_molecules_a_table_is_empty():
    molecules, cells = tissue(0)
    spots = seen(molecules, cells, kind="visium")
    assert spots.n_obs > 10
    assert spots.X.nnz == 0
    assert seen(molecules, cells, kind="visium_hd").n_obs == 0
    assert seen(iter([]), cells, kind="xenium").X.nnz == 0


def test_a_canvas_smaller_than_the_pitch_has_one_spot():
    molecules, cells = tissue(500)
    job = platform_job(PlatformSpec(), molecules, (20.0, 30.0), GENES, 0, cells=cells)
    adata = run(job, bar=False)
    assert adata.n_obs == 1
    assert adata.obsm["spatial"].ravel() == pytest.approx([10.0, 15.0])


def test_outlines_are_discs_and_squares():
    molecules, cells = tissue(2000)
    discs = spot_polygons(seen(molecules, cells, kind="visium"))
    # 32 corners on the circle have 0.64 % less area than it.
    np.testing.assert_allclose(shapely.area(discs), np.pi * 27.5**2, rtol=0.0065)
    squares = seen(molecules, cells, kind="visium_hd", bin_um=10.0)
    outlines = spot_polygons(squares)
    np.testing.assert_allclose(shapely.area(outlines), 100.0)
    middles = shapely.get_coordinates(shapely.centroid(outlines))
    np.testing.assert_allclose(middles, squares.obsm["spatial"])
    with pytest.raises(DataError, match="no spots"):
        spot_polygons(seen(molecules, cells, kind="xenium"))


def test_the_table_says_what_it_is_and_can_be_saved(tmp_path):
    from anndata import read_h5ad

    molecules, cells = tissue(2000, n_sections=2)
    adata = seen(molecules, cells, kind="slideseq", name="puck")
    assert um_per_unit(adata) == 1.0
    adata.write_h5ad(tmp_path / "puck.h5ad")
    back = read_h5ad(tmp_path / "puck.h5ad")
    assert back.uns["platform"]["name"] == "puck"
    assert json.loads(back.uns["truth"]["config"])["kind"] == "slideseq"
    assert np.array_equal(back.obsm["truth_composition"], adata.obsm["truth_composition"])


def test_input_that_cannot_be_measured_is_refused():
    molecules, cells = tissue(100)
    with pytest.raises(MissingKeyError, match="no gene of this tissue"):
        seen(molecules, cells, genes=["a", "nope"])
    with pytest.raises(MissingKeyError, match="'section'"):
        seen(molecules, cells.drop(columns="section"))
    with pytest.raises(DataError, match="not numbered"):
        seen(molecules, cells.iloc[::-1])
    with pytest.raises(DataError, match="'gene'"):
        seen({k: v for k, v in molecules.items() if k != "gene"}, cells)
    with pytest.raises(DataError, match="gene 4"):
        seen({**molecules, "gene": molecules["gene"] + 1}, cells)
    far = np.full(100, N_CELLS)
    with pytest.raises(DataError, match=f"of cell {N_CELLS}"):
        seen({**molecules, "cell_id": far}, cells, kind="visium_hd")
    with pytest.raises(DataError, match=f"landed in cell {N_CELLS}"):
        seen({**molecules, "landed_cell_id": far}, cells, kind="xenium")
    with pytest.raises(DataError, match="one value per molecule"):
        seen({**molecules, "y": molecules["y"][1:]}, cells)


def test_a_closed_job_gives_its_stream_back():
    molecules, cells = tissue(5000)
    closed = []

    def stream():
        try:
            while True:
                yield molecules
        finally:
            closed.append(True)

    job = platform_job(PlatformSpec(), stream(), CANVAS, GENES, 0, cells=cells)
    for _ in range(5):
        next(job)
    job.close()
    assert closed == [True]


def config(**changes):
    """Change a valid config without its own checks, which are what is tested."""
    valid = SimulationConfig(n_cells=20, n_celltype=2, n_genes=8, n_markers=2)
    return valid.model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leakage_by_celltype": 1.5}, "between 0 and 1"),
        ({"leakage_by_celltype": {"ct_0": -0.1}}, "between 0 and 1"),
        ({"leakage_by_celltype": {"ct_9": 0.1}}, "no cell type"),
        ({"compartments": {"nope": "nuclear"}}, "no gene or gene type"),
        ({"platforms": [PlatformSpec(genes=["nope"])]}, "no gene of this simulation"),
        ({"platforms": [PlatformSpec(genes=[])]}, "each once"),
        ({"platforms": [PlatformSpec(genes=["hk_0", "hk_0"])]}, "each once"),
        ({"platforms": [PlatformSpec(), PlatformSpec()]}, "give each a name"),
        ({"segmentation": SegmentationSpec(merge_rate=0.6, split_rate=0.5)}, "at most 1"),
    ],
)
def test_wrong_parameters_of_the_measurement_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_measurement(config(**changes))


def test_right_parameters_of_the_measurement_pass():
    check_measurement(
        config(
            leakage_by_celltype={"ct_0": 0.3},
            compartments={"hk": "nuclear", "ct_0_mkr_1": "membrane"},
            platforms=[PlatformSpec(), PlatformSpec(name="other", genes=["hk_0", "ct_1_mkr_0"])],
            segmentation=SegmentationSpec(merge_rate=0.5, split_rate=0.3, miss_rate=0.2),
        )
    )


def test_leakage_and_compartments_by_name():
    codes = np.array([0, 1, 1])
    assert leakage_of_cells(config(), codes).tolist() == [0, 0, 0]
    assert leakage_of_cells(config(leakage_by_celltype=0.2), codes).tolist() == [0.2] * 3
    by_type = config(leakage_by_celltype={"ct_1": 0.4})
    assert leakage_of_cells(by_type, codes).tolist() == [0, 0.4, 0.4]
    named = config(compartments={"hk": "nuclear", "hk_1": "membrane"})
    got = compartment_codes(named, ["hk_0", "hk_1", "m"], ["hk", "hk", "ct_0_mkr"])
    assert got.dtype == np.uint8
    # nuclear, membrane, uniform in the order in which `Compartment` names them.
    assert got.tolist() == [1, 4, 0]
