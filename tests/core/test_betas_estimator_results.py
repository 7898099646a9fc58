"""Betas as a result: summarised, written on the AnnData, and read back from a file."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, REGULATORS, tissue

from celldyn import keys
from celldyn.betas import BetasConfig, fit, fit_job, prepare, read_result, write_result
from celldyn.betas.results import spread
from celldyn.data import records
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import run

SETTINGS = BetasConfig(
    target_gene="Target",
    cluster_annot="type",
    section_key="section",
    regulators=[*REGULATORS, "Silent"],
    heldout_folds=3,
    num_epochs=0,
    skip_clusters=["a/b"],
)


@pytest.fixture(scope="module")
def adata():
    parts = [tissue(90, seed=k, noise=0.2, labels=("a/b", "NA", "c · d")) for k in range(2)]
    return ad.concat(parts, keys=["slice/1", "2"], label="section", index_unique="-")


@pytest.fixture(scope="module")
def result(adata):
    return run(fit_job(prepare(adata, SETTINGS, lr=PAIRS), SETTINGS), bar=False)


def assert_same(first, second):
    for name in (
        "gene",
        "modulators",
        "kinds",
        "dropped",
        "config",
        "species",
        "seconds",
        "notes",
    ):
        assert getattr(first, name) == getattr(second, name), name
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.coefficients, second.coefficients)
    pd.testing.assert_frame_equal(first.score_table(), second.score_table())


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_round_trip_through_a_file(adata, result, tmp_path, ending):
    adata = adata.copy()
    written = write_result(adata, result)
    assert written == {"obsm/betas_Target", "uns/betas_Target", "uns/records"}
    path = tmp_path / f"tissue.{ending}"
    getattr(adata, f"write_{ending}")(path)
    again = ad.read_h5ad(path) if ending == "h5ad" else ad.read_zarr(path)
    assert_same(read_result(again, "Target"), result)
    info = again.uns["celldyn"]["betas_Target"]
    assert list(info["columns"]) == result.columns
    assert again.obsm["betas_Target"].dtype == np.float64
    line = records(again)[-1]
    assert line["action"] == "betas.fit"
    assert line["config"]["regulators"] == [*REGULATORS, "Silent"]


def test_names_with_slashes_survive_and_skipped_rows_are_zero(adata, result):
    assert result.dropped == {"slice/1": ("Silent",), "2": ("Silent",)}
    scores = result.score_table()
    assert set(scores["section"]) == {"slice/1", "2"}
    assert set(scores["cluster"]) == {"a/b", "NA", "c · d"}
    skipped = scores[scores["cluster"] == "a/b"]
    assert set(skipped["status"]) == {"skipped"}
    assert skipped["r2"].isna().all()
    assert not result.values[(adata.obs["type"] == "a/b").to_numpy()].any()
    assert scores["n_cells"].sum() == 180


def test_gene_with_a_slash_has_a_key(adata, result):
    from dataclasses import replace

    adata = adata.copy()
    written = write_result(adata, replace(result, gene="H2/Q7"))
    assert "obsm/betas_H2%2FQ7" in written
    assert read_result(adata, "H2/Q7").gene == "H2/Q7"


def test_writing_again_replaces_and_keeps_other_keys(adata, result):
    adata = adata.copy()
    adata.uns["celldyn"] = {"mine": 1}
    write_result(adata, result)
    write_result(adata, result)
    assert adata.uns["celldyn"]["mine"] == 1
    assert len(adata.uns["celldyn"][keys.RECORDS.name]) == 2


def test_table_ranks_modulators_by_mean_absolute_beta(result):
    table = result.table()
    assert list(table.columns) == ["modulator", "kind", "mean_abs", "mean", "sd", "n_nonzero"]
    assert list(table["mean_abs"]) == sorted(table["mean_abs"], reverse=True)
    row = table.set_index("modulator").loc["Tf2"]
    beta = result.values[:, 1 + list(result.modulators).index("Tf2")]
    assert row["mean_abs"] == pytest.approx(np.abs(beta).mean())
    assert row["mean"] == pytest.approx(beta.mean())
    assert row["sd"] == pytest.approx(beta.std())
    assert row["kind"] == "regulator"
    assert row["n_nonzero"] == 4  # two sections, two clusters that were not skipped
    kinds = table.set_index("modulator")["kind"]
    assert kinds["LigA$RecA"] == "ligand-receptor"


def test_score_table_tells_how_each_cluster_fared(result):
    scores = result.score_table()
    fitted = scores[scores["status"] == "fitted"]
    assert len(fitted) == 4
    assert (fitted["r2"] == fitted["seed_r2"]).all()
    assert (fitted["r2"] > 0.2).all()
    assert fitted["heldout_r2"].notna().all()


def test_fit_writes_what_it_fitted():
    adata = tissue(90)
    config = BetasConfig(
        target_gene="Target", regulators=REGULATORS, use_ligands=False, heldout_folds=0
    )
    result = fit(adata, config, bar=False)
    assert_same(read_result(adata, "Target"), result)
    assert result.score_table()["heldout_r2"].isna().all()


def test_reading_what_is_not_there_names_what_is(adata, result):
    adata = adata.copy()
    with pytest.raises(MissingKeyError, match="it has none"):
        read_result(adata, "Target")
    write_result(adata, result)
    with pytest.raises(MissingKeyError, match="Target"):
        read_result(adata, "Myc")


def test_damaged_and_foreign_results_are_refused(adata, result):
    with pytest.raises(DataError, match="fit again"):
        write_result(adata[:10].copy(), result)
    adata = adata.copy()
    write_result(adata, result)
    adata.obsm["betas_Target"] = adata.obsm["betas_Target"][:, :-1]
    with pytest.raises(DataError, match="damaged"):
        read_result(adata, "Target")
    write_result(adata, result)
    adata.uns["celldyn"]["betas_Target"]["scores"] = "no JSON"
    with pytest.raises(DataError, match="damaged"):
        read_result(adata, "Target")
    write_result(adata, result)
    adata.uns["celldyn"]["betas_Target"]["schema"] = 99
    with pytest.raises(DataError, match="later version"):
        read_result(adata, "Target")


def test_spread_gives_cells_without_a_fit_zero():
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(spread(rows, np.array([1, -1, 0])), [[3, 4], [0, 0], [1, 2]])
    assert spread(np.empty((0, 2)), np.array([-1])).tolist() == [[0, 0]]
