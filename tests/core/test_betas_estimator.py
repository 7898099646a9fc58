"""The estimator: what it reads, what it fits, and that it is the same as the job."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, REGULATORS, tissue

from celldyn.betas import (
    BetasConfig,
    RegulatoryFactory,
    SpatialCellularProgramsEstimator,
    fit_job,
    prepare,
)
from celldyn.betas.folds import spatial_folds
from celldyn.betas.group_lasso import group_lasso
from celldyn.errors import (
    CelldynError,
    ConfigError,
    DataError,
    MissingKeyError,
    NotFittedError,
    PriorError,
    UnavailableError,
)
from celldyn.jobs import run


def estimator(adata, target="Target", **more):
    options = {"regulators": REGULATORS, "lr": PAIRS, "spatial_dim": 8} | more
    return SpatialCellularProgramsEstimator(adata, target, **options)


def config(**more):
    options = {"target_gene": "Target", "regulators": REGULATORS, "heldout_folds": 0}
    return BetasConfig(**(options | more))


# --- modulators -----------------------------------------------------------------------------------


def test_modulators_are_regulators_then_pairs_and_first_rows_win():
    model = estimator(tissue())
    assert model.modulators == ["Tf1", "Tf2", "Tf3", "LigA$RecA", "LigB$RecB", "LigA$RecB"]
    assert isinstance(model.lr_pairs, pd.Series)
    assert list(model.lr_pairs) == ["LigA$RecA", "LigB$RecB", "LigA$RecB"]
    assert model.ligands == ["LigA", "LigB", "LigA"]
    assert model.receptors == ["RecA", "RecB", "RecB"]
    assert model.tfl_pairs == []
    assert model.modulators_genes == ["LigA", "LigB", "RecA", "RecB", "Tf1", "Tf2", "Tf3"]
    assert model.species == "mouse"
    assert model._inputs.modulators.radii == {"LigA": 100.0, "LigB": 30.0}


def test_classes_that_diffuse_are_a_parameter():
    model = estimator(tissue(), secreted_classes=["Cell-Cell Contact"])
    assert model._inputs.modulators.radii == {"LigA": 30.0, "LigB": 100.0}


def test_the_target_never_regulates_itself_and_extra_regulators_follow():
    grn = RegulatoryFactory(links=pd.DataFrame({"source": ["Tf2", "Target", "Tf1"],
                                                "target": ["Target"] * 3}))  # fmt: skip
    model = estimator(
        tissue(), regulators=None, grn=grn, extra_regulators=["RecC", "Tf1"], use_ligands=False
    )
    assert model.modulators == ["Tf1", "Tf2", "RecC"]


def test_lower_case_data_take_mixed_case_priors():
    adata = tissue()
    adata.var_names = adata.var_names.str.lower()
    grn = RegulatoryFactory(links=pd.DataFrame({"source": ["TF2", "Tf1"], "target": "TARGET"}))
    model = estimator(adata, "Target", regulators=None, grn=grn)
    assert model.target_gene == "target"
    assert model.modulators == ["tf1", "tf2", "liga$reca", "ligb$recb", "liga$recb"]


def test_ligand_tf_pairs_take_the_five_best_above_the_cutoff_and_close_no_loop():
    rng = np.random.default_rng(0)
    genes = ["Y", "T1", "T2", "R", *(f"L{i}" for i in range(7))]
    adata = ad.AnnData(rng.gamma(2, 1, (40, len(genes))), var=pd.DataFrame(index=genes))
    adata.obs["k"] = "a"
    adata.obsm["spatial"] = rng.uniform(0, 50, (40, 2))
    pairs = pd.DataFrame({"ligand": [f"L{i}" for i in range(7)], "receptor": "R"})
    scores = pd.DataFrame(0.0, index=["T2", "T1", "Other"], columns=[f"L{i}" for i in range(7)])
    scores.loc["T1"] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]
    scores.loc["T2"] = [0.5, 0.01, 0.5, 0.0, 0.0, 0.0, 0.0]
    options = {"cluster_annot": "k", "layer": None, "lr": pairs, "ligand_target": scores}
    model = SpatialCellularProgramsEstimator(adata, "Y", regulators=["T2", "T1"], **options)
    assert model.tfl_pairs == ["L6#T1", "L5#T1", "L4#T1", "L3#T1", "L2#T1", "L0#T2", "L2#T2"]
    assert model.modulators[:2] == ["T2", "T1"]
    links = pd.DataFrame([("T1", "Y"), ("T2", "Y"), ("Y", "L6"), ("T1", "L5"), ("T2", "L4")],
                         columns=["source", "target"])  # fmt: skip
    grn = RegulatoryFactory(links=links)
    model = SpatialCellularProgramsEstimator(adata, "Y", grn=grn, **options)
    assert model.tfl_pairs == ["L4#T1", "L3#T1", "L2#T1", "L0#T2", "L2#T2"]
    _, X, _, _ = model.init_data()
    heard = dense_received(adata.obsm["spatial"], adata[:, "L4"].X.ravel(), 100.0)
    np.testing.assert_allclose(X[:, model.modulators.index("L4#T1")],
                               heard * adata[:, "T1"].X.ravel())  # fmt: skip
    model.fit(num_epochs=0)
    assert list(model.get_betas().columns[-1:]) == ["beta_L2#T2"]


# --- features -------------------------------------------------------------------------------------


def dense_received(xy, level, radius):
    d = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    w = np.where(d <= radius, 0.001 ** ((d / radius) ** 2), 0.0)
    return w @ level / w.sum(1)


def test_design_is_received_ligand_times_receptor():
    adata = tissue()
    model = estimator(adata, scale_factor=2.0)
    maps, X, y, labels = model.init_data()
    frame = adata.to_df("imputed_count")
    np.testing.assert_array_equal(X[:, :3], frame[REGULATORS])
    for column, ligand, receptor, radius in ((3, "LigA", "RecA", 100), (4, "LigB", "RecB", 30)):
        heard = 2.0 * dense_received(adata.obsm["spatial"], frame[ligand].to_numpy(), radius)
        np.testing.assert_allclose(X[:, column], heard * frame[receptor], rtol=1e-12)
    np.testing.assert_array_equal(y, frame["Target"])
    np.testing.assert_array_equal(labels, adata.obs["cell_type_int"])
    assert maps.shape == (240, 3, 8, 8)
    assert list(model.train_df.columns) == ["Target", *model.modulators]
    assert list(model.spatial_features.columns) == ["0_within", "2_within", "7_within"]
    assert model.spatial_features.min().min() == 0.0
    assert model.spatial_features.max().tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(model.xy_df.to_numpy(), adata.obsm["spatial"])
    assert model.device.type in ("cpu", "cuda", "mps")


def test_lengths_are_in_micrometres_where_the_unit_is_known():
    from celldyn.data import set_unit

    plain, halved = tissue(), tissue()
    halved.obsm["spatial"] = halved.obsm["spatial"] / 0.5
    set_unit(halved, 0.5)
    first, second = estimator(plain).init_data()[1], estimator(halved).init_data()[1]
    np.testing.assert_allclose(first, second, rtol=1e-12)


def test_cell_thresholds_switch_ligands_and_receptors_off():
    adata = tissue()
    on = pd.DataFrame(1.0, index=adata.obs_names, columns=["LigA", "RecA", "LigB"])
    on.iloc[:100, 1] = 0.0
    adata.uns["cell_thresholds"] = on
    model = estimator(adata)
    _, X, _, _ = model.init_data()
    assert model.modulators == ["Tf1", "Tf2", "Tf3", "LigA$RecA"]  # RecB is active nowhere
    assert model.dropped_modulators == ["LigB$RecB", "LigA$RecB"]
    assert not X[:100, 3].any()
    assert X[100:, 3].all()
    counts, thresholds = model.check_LR_properties(adata, "imputed_count")
    assert counts.equals(adata.to_df("imputed_count"))
    assert thresholds is on


def test_complexes_by_product_or_by_their_scarcest_sub_unit():
    adata = tissue()
    pairs = pd.DataFrame({"ligand": ["LigA"], "receptor": ["RecA_RecC"]})
    assert list(estimator(adata, lr=pairs).lr_pairs) == ["LigA$RecA", "LigA$RecC"]
    model = estimator(adata, lr=pairs, complexes="min")
    assert list(model.lr_pairs) == ["LigA$RecA_RecC"]
    assert model.modulators_genes == ["LigA", "RecA", "RecC", "Tf1", "Tf2", "Tf3"]
    frame = adata.to_df()
    heard = dense_received(adata.obsm["spatial"], frame["LigA"].to_numpy(), 100)
    scarcest = np.minimum(frame["RecA"], frame["RecC"])
    np.testing.assert_allclose(model.init_data()[1][:, 3], heard * scarcest, rtol=1e-12)


def test_static_interactions_are_products_with_named_columns():
    sent = pd.DataFrame({"A": [1.0, 2.0], "B": [3.0, 4.0]}, index=["x", "y"])
    own = pd.DataFrame({"R": [5.0, 6.0], "S": [7.0, 8.0]}, index=["x", "y"])
    product = SpatialCellularProgramsEstimator.ligands_receptors_interactions(sent, own)
    assert product.to_dict("list") == {"A$R": [5.0, 12.0], "B$S": [21.0, 32.0]}
    product = SpatialCellularProgramsEstimator.ligand_regulators_interactions(sent, own)
    assert list(product.columns) == ["A#R", "B#S"]
    assert list(product.index) == ["x", "y"]
    with pytest.raises(DataError):
        SpatialCellularProgramsEstimator.ligands_receptors_interactions(sent, own[["R"]])


# --- fitting --------------------------------------------------------------------------------------


def test_known_coefficients_come_back():
    model = estimator(tissue(), use_ligands=False)
    assert model.fit(num_epochs=0, pbar=False) is None
    betas = model.get_betas()
    assert list(betas.columns) == ["beta0", "beta_Tf1", "beta_Tf2", "beta_Tf3"]
    slope = {0: 1.0, 2: 2.0, 7: 3.0}
    for label, row in model.models.items():
        np.testing.assert_allclose(row, [1.0, slope[label], -0.5, 0.0], atol=2e-5)
    assert set(model.scores) == set(model.heldout_scores) == {0, 2, 7}
    assert min(model.scores.values()) > 0.999999
    assert min(model.heldout_scores.values()) > 0.999999
    pd.testing.assert_frame_equal(model.betadata, betas)
    assert list(betas.index) == [f"cell{i}" for i in range(240)]
    kinds = model.adata.obs["cell_type_int"].map(slope)
    np.testing.assert_allclose(betas["beta_Tf1"], kinds, atol=2e-5)


def test_seed_is_the_group_lasso_of_the_cluster():
    model = estimator(tissue(noise=1.0))
    model.fit(num_epochs=0, threshold_lambda=0.05, l1_reg=0.01, pbar=False, score_threshold=0.0)
    _, X, y, labels = model.init_data()
    at = labels == 2
    intercept, coef = group_lasso(X[at], y[at], [1, 1, 1, 2, 2, 2], 0.05, 0.01)
    np.testing.assert_allclose(model.models[2], [intercept, *coef], atol=1e-7)
    predicted = intercept + X[at] @ coef
    r2 = 1 - np.sum((y[at] - predicted) ** 2) / np.sum((y[at] - y[at].mean()) ** 2)
    assert model.scores[2] == pytest.approx(r2, abs=1e-7)


def test_bayesian_and_ard_are_those_of_scikit_learn():
    from sklearn.linear_model import ARDRegression, BayesianRidge

    model = estimator(tissue(noise=0.5))
    for name, peer in (("bayesian", BayesianRidge()), ("ard", ARDRegression())):
        model.fit(num_epochs=0, estimator=name, pbar=False, heldout_folds=3)
        _, X, y, labels = model.init_data()
        peer.fit(X[labels == 7], y[labels == 7])
        np.testing.assert_allclose(model.models[7], [peer.intercept_, *peer.coef_], atol=1e-4)
        assert model.scores[7] > 0.9
        assert model.heldout_scores[7] > 0.8


def test_clusters_below_the_threshold_keep_their_mean():
    adata = tissue()
    rng = np.random.default_rng(3)
    at = (adata.obs["cell_type_int"] == 2).to_numpy()
    adata.layers["imputed_count"][at, 0] = rng.normal(5, 1, at.sum())
    model = estimator(adata, use_ligands=False)
    model.fit(num_epochs=0, pbar=False)
    betas = model.get_betas()[at]
    assert (betas["beta0"] == adata.layers["imputed_count"][at, 0].mean()).all()
    assert not betas.iloc[:, 1:].to_numpy().any()
    assert model.scores[2] == 0.0
    row = model.result.score_table().set_index("cluster").loc["2"]
    assert row["status"] == "intercept only: R² below threshold"
    assert 0 < row["seed_r2"] <= 0.2
    assert row["heldout_r2"] < 0.2


def test_constant_small_and_skipped_clusters():
    adata = tissue()
    kind = adata.obs["cell_type_int"].to_numpy().copy()
    adata.layers["imputed_count"][kind == 2, 0] = 4.0
    kind[np.flatnonzero(kind == 0)[:9]] = 11
    adata.obs["cell_type_int"] = kind
    model = estimator(adata)
    model.fit(num_epochs=0, pbar=False, skip_clusters=[7])
    table = model.result.score_table().set_index("cluster")
    assert table.loc["2", "status"] == "intercept only: target is constant"
    assert model.scores[2] == 0.0
    assert table.loc["11", "status"] == "intercept only: too few cells"
    assert np.isnan(model.heldout_scores[11])
    assert table.loc["7", "status"] == "skipped"
    assert set(model.scores) == {0, 2, 11}
    betas = model.get_betas()
    assert (betas.loc[kind == 2, "beta0"] == 4.0).all()
    assert not betas[kind == 7].to_numpy().any()
    few = adata.layers["imputed_count"][kind == 11, 0].mean()
    assert (betas.loc[kind == 11, "beta0"] == few).all()


def test_modulators_that_do_not_vary_are_dropped_and_named():
    model = estimator(tissue(), regulators=[*REGULATORS, "Silent"])
    assert "Silent" in model.modulators
    model.fit(num_epochs=0, pbar=False)
    assert "Silent" not in model.modulators
    assert model.dropped_modulators == ["Silent"]
    assert model.result.dropped == {"": ("Silent",)}
    assert "beta_Silent" not in model.get_betas()


def test_text_labels_gaps_and_x_as_layer():
    adata = tissue(labels=("B/cell", "T cell", "a"))
    model = estimator(adata, cluster_annot="type", layer=None, use_ligands=False)
    model.fit(num_epochs=0, pbar=False)
    assert set(model.scores) == {"B/cell", "T cell", "a"}
    codes = model.init_data()[3]
    assert codes.dtype.kind == "i"
    assert set(codes) == {0, 1, 2}
    numbers = estimator(adata, use_ligands=False)
    numbers.fit(num_epochs=0, pbar=False)
    np.testing.assert_array_equal(numbers.get_betas(), model.get_betas())


def test_the_data_set_is_not_written():
    adata = tissue()
    before = adata.copy()
    model = estimator(adata)
    model.init_data()
    model.fit(num_epochs=0, pbar=False)
    model.get_betas().iloc[:] = 0
    assert set(adata.obsm) == {"spatial"}
    assert not adata.uns
    assert list(adata.obs) == list(before.obs)
    np.testing.assert_array_equal(adata.X, before.X)
    np.testing.assert_array_equal(adata.layers["imputed_count"], before.X)
    assert model.get_betas().to_numpy().any()


# --- one path -------------------------------------------------------------------------------------


def sections(n=240):
    parts = [tissue(n, seed=k, noise=0.3) for k in range(2)]
    adata = ad.concat(parts, keys=["one/a", "two"], label="section", index_unique="-")
    adata.layers["imputed_count"][adata.obs["section"] == "two", 7] = 1.0  # RecB is constant there
    adata.layers["imputed_count"][adata.obs["section"] == "one/a", 3] = 2.0  # and Tf3 here
    return adata


@pytest.mark.parametrize("kind", ["lasso", "bayesian", "ard"])
@pytest.mark.parametrize("name", ["one/a", "two"])
def test_a_section_alone_gives_the_same_digits(name, kind):
    adata = sections()
    settings = config(section_key="section", heldout_folds=4, seed=5, estimator=kind)
    whole = run(fit_job(prepare(adata, settings, lr=PAIRS), settings), bar=False)
    at = (adata.obs["section"] == name).to_numpy()
    model = estimator(adata[at].copy())
    model.fit(num_epochs=0, pbar=False, seed=5, heldout_folds=4, estimator=kind)
    alone = model.get_betas()
    every = pd.DataFrame(whole.values[at], columns=whole.columns)
    np.testing.assert_array_equal(every[alone.columns], alone)
    missing = [column for column in every if column not in alone]
    assert missing == (["beta_Tf3"] if name == "one/a" else [])
    assert not every[missing].to_numpy().any()
    table = whole.score_table()
    table = table[table["section"] == name].set_index("cluster")
    for label, score in model.heldout_scores.items():
        assert table.loc[str(label), "heldout_r2"] == score
        assert table.loc[str(label), "r2"] == model.scores[label]


def test_starmap_section_alone_gives_the_same_digits(starmap_path):
    adata = ad.read_h5ad(starmap_path)
    names = ["fos", "egr1", "junb", "cux2", "rorb", "tbr1"]
    pairs = pd.DataFrame({"ligand": ["SST", "NPY", "BDNF"], "receptor": ["Tacr1", "QRFPR", "X"]})
    settings = config(target_gene="Slc17a7", regulators=names, layer=None, section_key="batch",
                      cluster_annot="cell_type", heldout_folds=5)  # fmt: skip
    whole = run(fit_job(prepare(adata, settings, lr=pairs), settings), bar=False)
    assert list(whole.modulators) == [*names, "sst$tacr1", "npy$qrfpr"]
    at = (adata.obs["batch"] == "BZ1").to_numpy()
    model = estimator(adata[at].copy(), "slc17a7", regulators=names, layer=None, lr=pairs,
                      cluster_annot="cell_type")  # fmt: skip
    model.fit(num_epochs=0, pbar=False)
    every = pd.DataFrame(whole.values[at], columns=whole.columns)
    np.testing.assert_array_equal(every[model.get_betas().columns], model.get_betas())
    assert len(whole.fits) == 48


def test_estimator_with_sections_names_scores_by_section():
    model = estimator(sections(), section_key="section")
    model.fit(num_epochs=0, pbar=False)
    assert ("one/a", 2) in model.scores
    assert model.train_df.shape == (480, 1 + len(model.modulators))
    np.testing.assert_array_equal(
        model.train_df["Tf3"], model.adata.to_df("imputed_count")["Tf3"]
    )


# --- the job --------------------------------------------------------------------------------------


def test_the_job_tells_how_it_stands_and_closes():
    adata = sections()
    settings = config(section_key="section", heldout_folds=3)
    seen = list(_drained(fit_job(prepare(adata, settings, lr=PAIRS), settings)))
    metrics = {key: value for step in seen for key, value in step.metrics.items()}
    assert set(metrics) >= {"r2/one/a · 2", "heldout/one/a · 2", "r2/two · 7"}
    done = [step.done for step in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1].total == 8
    job = fit_job(prepare(adata, settings, lr=PAIRS), settings)
    next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)


def _drained(job):
    while True:
        try:
            yield next(job)
        except StopIteration:
            return


def test_a_foreign_progress_bar_is_told():
    class Bar:
        n = 0

        def update(self, n):
            self.n += n

    bar = Bar()
    estimator(tissue()).fit(num_epochs=0, pbar=bar, skip_clusters=[2])
    assert bar.n == 4


def test_networks_are_not_there_yet():
    model = estimator(tissue())
    with pytest.raises(UnavailableError, match="num_epochs=0"):
        model.fit()
    settings = config(num_epochs=5)
    with pytest.raises(UnavailableError, match="num_epochs"):
        next(fit_job(prepare(tissue(), settings, lr=PAIRS), settings))


# --- held-out blocks ------------------------------------------------------------------------------


def test_folds_divide_the_cells_into_compact_blocks():
    xy = np.random.default_rng(0).uniform(0, 100, (1000, 2))
    folds = spatial_folds(xy, 5, seed=1)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(1000))
    assert {len(fold) for fold in folds} == {200}
    assert all(np.array_equal(a, b) for a, b in zip(folds, spatial_folds(xy, 5, 1), strict=True))
    member = np.empty(1000, int)
    for k, fold in enumerate(folds):
        member[fold] = k
    nearest = np.argsort(np.linalg.norm(xy[:, None] - xy[None], axis=2), axis=1)[:, 1]
    assert np.mean(member == member[nearest]) > 0.8  # 0.2 if cells were dealt one by one


def test_folds_need_five_cells_each():
    xy = np.random.default_rng(0).uniform(0, 100, (24, 2))
    assert spatial_folds(xy, 5) == []
    assert spatial_folds(xy, 0) == []
    assert len(spatial_folds(xy, 4)) == 4


def test_heldout_r2_sees_through_overfitting():
    rng = np.random.default_rng(0)
    genes = ["Y", *(f"T{i}" for i in range(60))]
    adata = ad.AnnData(rng.gamma(2, 1, (90, 61)), var=pd.DataFrame(index=genes))
    adata.obs["k"] = "a"
    adata.obsm["spatial"] = rng.uniform(0, 100, (90, 2))
    model = SpatialCellularProgramsEstimator(
        adata, "Y", cluster_annot="k", layer=None, regulators=genes[1:], use_ligands=False
    )
    model.fit(num_epochs=0, pbar=False)
    assert model.scores["a"] > 0.5
    assert model.heldout_scores["a"] < 0.0


# --- on disk --------------------------------------------------------------------------------------


def test_export_and_load_on_other_cells(tmp_path):
    model = estimator(tissue(noise=0.2), regulators=[*REGULATORS, "Silent"])
    with pytest.raises(NotFittedError):
        model.export(tmp_path)
    model.fit(num_epochs=0, pbar=False)
    path = model.export(tmp_path / "models")
    assert path == tmp_path / "models" / "Target_estimator.safetensors"
    assert path.stat().st_size < 10_000
    other = tissue(60, seed=9)
    loaded = estimator(other, "RecC", regulators=["Tf3"], use_ligands=False)
    loaded.load(path)
    assert loaded.target_gene == "Target"
    assert loaded.modulators == model.modulators
    assert loaded.dropped_modulators == ["Silent"]
    assert loaded.scores == model.scores
    assert loaded.heldout_scores == model.heldout_scores
    assert loaded.config == model.config
    betas = loaded.get_betas()
    for label, row in model.models.items():
        at = (other.obs["cell_type_int"] == label).to_numpy()
        assert (betas[at] == row).all(axis=None)
    again = estimator(model.adata)
    again.load(path)
    pd.testing.assert_frame_equal(again.get_betas(), model.get_betas())
    assert loaded.init_data()[1].shape == (60, 6)


def test_load_refuses_what_is_no_model(tmp_path):
    from celldyn.persist import save_tensors

    model = estimator(tissue())
    wrong = save_tensors(tmp_path / "x.safetensors", {"a": np.zeros(1)}, {"format": "other"})
    (tmp_path / "y.safetensors").write_text("garbage")
    for path in (wrong, tmp_path / "y.safetensors", tmp_path / "nowhere"):
        with pytest.raises(CelldynError):
            model.load(path)
    model.fit(num_epochs=0, pbar=False)
    path = model.export(tmp_path)
    poor = tissue()
    poor = poor[:, [name for name in poor.var_names if name != "RecA"]].copy()
    with pytest.raises(MissingKeyError, match="RecA"):
        estimator(poor, lr=PAIRS[1:2]).load(path)


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"target_gene": "Targett"}, MissingKeyError, "Target"),
        ({"layer": "nolayer"}, MissingKeyError, "nolayer"),
        ({"cluster_annot": "kind"}, MissingKeyError, "kind"),
        ({"section_key": "slice"}, MissingKeyError, "slice"),
        ({"regulators": ["Tf9"]}, MissingKeyError, "Tf9"),
        ({"regulators": None}, ConfigError, "colinks_path"),
        ({"lr": None}, ConfigError, "ligand-receptor"),
        ({"skip_clusters": [5]}, ConfigError, "5"),
        ({"regulators": [], "use_ligands": False}, PriorError, "modulate"),
    ],
)
def test_wrong_input_is_one_sentence_before_any_work(options, error, says):
    with pytest.raises(error, match=says) as caught:
        prepare(tissue(), config(**options))
    assert "\n" not in str(caught.value)


def test_a_grn_without_the_gene_and_values_that_are_not_finite():
    grn = RegulatoryFactory(links=pd.DataFrame({"source": ["Tf1"], "target": ["RecA"]}))
    with pytest.raises(PriorError, match="no regulator of Target"):
        prepare(tissue(), config(regulators=None), grn=grn, lr=PAIRS)
    adata = tissue()
    adata.layers["imputed_count"][3, 1] = np.nan
    with pytest.raises(DataError, match="Tf1"):
        prepare(adata, config(), lr=PAIRS)


def test_no_pair_in_the_data_is_a_note_and_not_an_end():
    pairs = pd.DataFrame({"ligand": ["Foo"], "receptor": ["Bar"]})
    inputs = prepare(tissue(), config(), lr=pairs)
    assert inputs.modulators.names == REGULATORS
    assert "ligand-receptor" in inputs.notes[0]


def test_betas_before_fit_say_so():
    with pytest.raises(NotFittedError, match="fit"):
        estimator(tissue()).get_betas()


@pytest.mark.parametrize(
    "wrong", [{"radius": 0}, {"heldout_folds": 1}, {"estimator": "ridge"}, {"score_threshold": 1.0}]
)
def test_config_refuses(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        config(**wrong)


def test_config_survives_json():
    settings = config(skip_clusters=[1, "a/b"], lr="liana:cellchatdb")
    assert settings.skip_clusters == ["1", "a/b"]
    assert BetasConfig.model_validate_json(settings.model_dump_json()) == settings
