"""What the estimator reads: modulators, and the design made of them."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from betas_tissue import REGULATORS, estimator, tissue

from celldyn.betas import (
    RegulatoryFactory,
    SpatialCellularProgramsEstimator,
)
from celldyn.errors import (
    DataError,
)


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
