"""The store of a panel: what is written is read back, whole, and nothing else is trusted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from panel_tissue import TARGETS, config, fitted, prepared, smooth, tissue

from celldyn import keys
from celldyn.betas.panel import BetaStore, PanelConfig, find_store, panel_job, write_panel
from celldyn.betas.panel.chunk import Chunk, fit_chunk
from celldyn.betas.panel.design import panel_design_job
from celldyn.betas.panel.record import GeneRecord
from celldyn.betas.panel.stored import folder_of, gene_of
from celldyn.data import read, records, write
from celldyn.errors import ConfigError, DataError, FileFormatError, MissingKeyError
from celldyn.jobs import Progress, run


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("store") / "a.zarr", settings=config(heldout_folds=3))


def records_of(inputs, settings):
    design = run(panel_design_job(inputs, settings), bar=False)
    chunk = Chunk(inputs.targets, dict.fromkeys(inputs.genes, "x"))
    steps = fit_chunk(design, settings, chunk)
    return [step for step in steps if not isinstance(step, Progress)]


def test_a_gene_comes_back_as_it_was(tmp_path):
    settings = config(genes=["Target"], num_epochs=1, vision_model="smooth", heldout_folds=3)
    inputs = prepared(smooth(), settings)
    (record,) = records_of(inputs, settings)
    assert record.dense is not None
    store = BetaStore.create(tmp_path / "a.zarr", inputs, settings)
    store.write(record)
    back = BetaStore.open(store.path)
    result, field = back.result("Target"), back["Target"]
    for name in ("gene", "modulators", "kinds", "dropped", "config", "species", "notes", "radii"):
        assert getattr(result, name) == getattr(record.result, name)
    assert repr(result.fits) == repr(record.result.fits)  # NaN among them
    np.testing.assert_array_equal(result.coefficients, record.result.coefficients)
    np.testing.assert_array_equal(result.values, record.dense)
    np.testing.assert_array_equal(field.values(), record.dense)
    np.testing.assert_array_equal(field.values(np.array([3, 1])), record.dense[[3, 1]])
    for one, other in zip(result.states, record.result.states, strict=True):
        assert set(one) == set(other)
        for part in other:
            np.testing.assert_array_equal(one[part], other[part])
            assert one[part].dtype == other[part].dtype
    assert field.modulators.names == list(result.modulators)


def test_a_store_is_a_mapping_of_fields(store):
    assert isinstance(store, Mapping)
    assert list(store) == sorted(TARGETS) == store.genes
    assert len(store) == 4
    assert "Target" in store
    assert "Silent" not in store
    assert 3 not in store
    field = store["Target"]
    assert field.dense is None
    np.testing.assert_array_equal(field.fit_of_cell, store.fit_of_cell)
    table = store.betas("Target")
    np.testing.assert_array_equal(table.to_numpy(), field.values())
    assert list(table.index) == list(store.obs_names)
    assert list(table.columns[:2]) == ["beta0", "beta_Tf1"]
    with pytest.raises(MissingKeyError, match="no betas of Silent"):
        store["Silent"]


def test_scores_of_every_gene_and_cluster(store):
    scores = store.scores()
    assert len(scores) == 4 * 3
    assert list(scores.columns[:4]) == ["gene", "section", "cluster", "n_cells"]
    one = scores[scores["gene"] == "RecA"]["heldout_r2"].to_numpy()
    np.testing.assert_array_equal(one, [fit.heldout_r2 for fit in store.result("RecA").fits])
    table = store.gene_table().set_index("gene")
    assert table.loc["Target", "n_models"] == 3
    assert table.loc["Target", "n_fitted"] == 3
    assert table.loc["Target", "n_modulators"] == len(store.result("Target").modulators)


def test_what_does_not_vary_takes_little_room(store):
    size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    assert size < 60_000  # four dense tables would be 80 kB, and a real tissue has 100 times more


def test_only_columns_that_are_not_zero_are_kept_of_dense_betas(tmp_path):
    settings = config(genes=["Target"])
    inputs = prepared(settings=settings)
    (record,) = records_of(inputs, settings)
    dense = np.zeros((240, record.result.coefficients.shape[1]), np.float32)
    dense[:, [0, 2]] = np.random.default_rng(0).normal(size=(240, 2))
    store = BetaStore.create(tmp_path / "a.zarr", inputs, settings)
    store.write(replace(record, dense=dense))
    import zarr

    group = zarr.open_group(tmp_path / "a.zarr" / "genes" / "Target", mode="r")
    assert group["dense"].shape == (240, 2)
    assert group["dense"].dtype == np.float32
    np.testing.assert_array_equal(store["Target"].values(), dense)


@pytest.mark.parametrize(
    "gene", ["H2-K1", "a/b", "..", ".hidden", "HLA.A", "x y", "α", "c", "%2F"]
)
def test_any_name_of_a_gene_has_a_folder(gene):
    folder = folder_of(gene)
    assert gene_of(folder) == gene
    assert "/" not in folder
    assert not folder.startswith(".")


def test_a_reader_writes_nothing(store):
    reader = BetaStore.open(store.path)
    record = GeneRecord(store.result("Target"), "x")
    with pytest.raises(ConfigError, match="opened to read"):
        reader.write(record)


@pytest.mark.parametrize(
    "change",
    [
        {"score_threshold": 0.3},
        {"radius": 50.0},
        {"skip_clusters": ["2"]},
        {"cluster_annot": None},
    ],
)
def test_a_store_of_another_model_is_left_alone(store, change):
    settings = config(**({"heldout_folds": 3} | change))
    inputs = prepared(settings=settings)
    with pytest.raises(ConfigError, match="other cells or of another model"):
        BetaStore.create(store.path, inputs, settings)
    assert len(BetaStore.open(store.path)) == 4


def test_a_store_of_other_cells_is_left_alone(store):
    settings = config(heldout_folds=3)
    adata = tissue(noise=0.3)
    adata.obsm["spatial"][0] += 1
    with pytest.raises(ConfigError, match="other cells"):
        BetaStore.create(store.path, prepared(adata, settings), settings)
    adata = tissue(noise=0.3)
    adata.layers["imputed_count"][0, 0] += 1  # the cells are the same, the target is not
    inputs = prepared(adata, settings)
    again = BetaStore.create(store.path, inputs, settings)
    with pytest.raises(ConfigError, match="Target fitted on other data"):
        run(panel_job(inputs, settings, again), bar=False)


def test_what_does_not_change_results_may_change(store):
    settings = config(heldout_folds=3, chunk=1, workers=4, order="quick", device="cpu")
    BetaStore.create(store.path, prepared(settings=settings), settings)


def test_it_is_replaced_only_if_asked_and_only_if_it_is_a_store(store, tmp_path):
    path = tmp_path / "a.zarr"
    shutil.copytree(store.path, path)
    settings = config(heldout_folds=2)
    inputs = prepared(settings=settings)
    fresh = BetaStore.create(path, inputs, settings, overwrite=True)
    assert len(fresh) == 0
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no store of betas"):
        BetaStore.create(other, inputs, settings, overwrite=True)
    assert (other / "chapter1.txt").read_text() == "years of work"


def test_names_that_a_disk_cannot_tell_apart_are_refused(tmp_path, monkeypatch):
    settings = config(genes=["Target"])
    inputs = prepared(settings=settings)
    (record,) = records_of(inputs, settings)
    store = BetaStore.create(tmp_path / "a.zarr", inputs, settings)
    store.write(record)
    lower = folder_of("Target").lower()
    monkeypatch.setattr("celldyn.betas.panel.store.folder_of", lambda gene: "Target")
    assert lower == "target"
    other = replace(record, result=replace(record.result, gene="TARGET"))
    with pytest.raises(ConfigError, match="differs in case"):
        store.write(other)


# --- damage --------------------------------------------------------------------------------------


def _attributes(path, **change):
    file = path / "zarr.json"
    held = json.loads(file.read_text())
    held["attributes"] |= change
    file.write_text(json.dumps(held))


def _array(path, **change):
    file = path / "zarr.json"
    held = json.loads(file.read_text())
    file.write_text(json.dumps(held | change))


DAMAGE = {
    "no coefficients": lambda gene: shutil.rmtree(gene / "coefficients"),
    "half a chunk": lambda gene: _cut(gene / "coefficients"),
    "no attributes": lambda gene: (gene / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    ),
    "no JSON": lambda gene: (gene / "zarr.json").write_text("{"),
    "another gene": lambda gene: _attributes(gene, gene="RecA"),
    "scores of no kind": lambda gene: _attributes(gene, scores='[{"a": 1}]'),
    "modulators missing": lambda gene: _attributes(gene, modulators="[]"),
    "a parameter unknown": lambda gene: _attributes(gene, config='{"target_gene": "T", "x": 1}'),
    "a vast array": lambda gene: _array(gene / "coefficients", shape=[3, 10**12]),
    "a few rows more": lambda gene: _array(gene / "coefficients", shape=[4, 9]),
    "an old format": lambda gene: _array(gene / "coefficients", zarr_format=2),
}


def _cut(array):
    chunk = next(file for file in array.rglob("*") if file.is_file() and file.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_gene_is_one_sentence_and_the_others_are_read(store, tmp_path, kind):
    path = tmp_path / "a.zarr"
    shutil.copytree(store.path, path)
    DAMAGE[kind](path / "genes" / "Target")
    broken = BetaStore.open(path)
    with pytest.raises(FileFormatError, match=r"a\.zarr.*Target cannot be read"):
        broken.result("Target")
    assert broken.result("RecA").fits


ROOT = {
    "no store": (lambda path: (path / "zarr.json").unlink(), "is no store"),
    "text": (lambda path: (path / "zarr.json").write_text("hello"), "is no store"),
    "another kind": (lambda path: _attributes(path, kind="image"), "is no store"),
    "later": (lambda path: _attributes(path, schema=99), "later version"),
    "cells missing": (lambda path: shutil.rmtree(path / "obs_names"), "cannot be read"),
    "fits missing": (lambda path: _attributes(path, n_fits=1), "cannot be read"),
    "clusters of no kind": (lambda path: _attributes(path, clusters=3), "cannot be read"),
    "a parameter unknown": (lambda path: _attributes(path, config='{"x": 1}'), "does not know"),
}


@pytest.mark.parametrize("kind", ROOT)
def test_a_damaged_store_is_one_sentence(store, tmp_path, kind):
    path = tmp_path / "a.zarr"
    shutil.copytree(store.path, path)
    damage, says = ROOT[kind]
    damage(path)
    with pytest.raises(FileFormatError, match=says):
        BetaStore.open(path)


def test_a_store_that_is_not_there():
    with pytest.raises(FileFormatError, match="not there"):
        BetaStore.open("/nowhere/a.zarr")


def test_a_store_on_damaged_dense_betas(tmp_path):
    settings = config(genes=["Target"])
    inputs = prepared(settings=settings)
    (record,) = records_of(inputs, settings)
    store = BetaStore.create(tmp_path / "a.zarr", inputs, settings)
    dense = np.ones((240, record.result.coefficients.shape[1]), np.float32)
    store.write(replace(record, dense=dense))
    _array(tmp_path / "a.zarr" / "genes" / "Target" / "dense", shape=[240, 5])
    with pytest.raises(FileFormatError, match="Target cannot be read"):
        store["Target"]


# --- beside the data set -------------------------------------------------------------------------


def test_the_data_set_names_its_store_and_both_can_move(tmp_path):
    adata = tissue(noise=0.3)
    home = tmp_path / "home"
    store = fitted(home / "results" / "a.betas.zarr", adata)
    written = write_panel(adata, store, file_path=home / "a.h5ad")
    assert written == {"var/betas_r2", "var/betas_heldout_r2", "uns/betas_store", "uns/records"}
    assert adata.uns["celldyn"][keys.BETAS_STORE.name] == "results/a.betas.zarr"
    assert adata.var["betas_r2"].notna().sum() == 4
    assert records(adata)[-1]["action"] == "betas.panel"
    write(adata, home / "a.h5ad")
    home.rename(tmp_path / "moved")
    back = read(tmp_path / "moved" / "a.h5ad")
    found = find_store(back, tmp_path / "moved" / "a.h5ad")
    assert found is not None
    assert found.genes == sorted(TARGETS)
    (tmp_path / "moved" / "results" / "a.betas.zarr").rename(tmp_path / "moved" / "a.betas.zarr")
    assert find_store(back, tmp_path / "moved" / "a.h5ad") is not None
    shutil.rmtree(tmp_path / "moved" / "a.betas.zarr")
    with pytest.raises(FileFormatError, match=r"results/a\.betas\.zarr .* not there"):
        find_store(back, tmp_path / "moved" / "a.h5ad")


def test_a_data_set_without_a_store_has_none():
    assert find_store(tissue()) is None


def test_a_store_of_other_cells_is_told(store, tmp_path):
    adata = tissue(100)
    with pytest.raises(DataError, match="240 cells"):
        write_panel(adata, store)
    adata = tissue(noise=0.3)
    write_panel(adata, store)
    with pytest.raises(DataError, match="cells"):
        find_store(adata[:50].copy())


# --- killed --------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from panel_tissue import config, prepared
from celldyn.betas.panel import BetaStore, panel_job
settings = config(heldout_folds=3, chunk=2)
inputs = prepared(settings=settings)
store = BetaStore.create({path!r}, inputs, settings)
for step in panel_job(inputs, settings, store):
    if step.metrics:
        print(step.message, flush=True)
        time.sleep(0.2)
"""


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    path = tmp_path / "a.zarr"
    script = SCRIPT.format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "Target"
        os.kill(process.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
    for name, age in ((".RecA.x1", 3600), (".LigB.x2", 0)):  # what a kill while writing leaves
        (path / "genes" / name / "RecA").mkdir(parents=True)
        os.utime(path / "genes" / name, (time.time() - age,) * 2)
    assert BetaStore.open(path).genes == ["Target"]
    before = (path / "genes" / "Target" / "zarr.json").stat().st_mtime_ns
    settings = config(heldout_folds=3, chunk=2)
    store = fitted(path, settings=settings)
    assert (path / "genes" / "Target" / "zarr.json").stat().st_mtime_ns == before
    there = {item.name for item in (path / "genes").iterdir() if item.is_dir()}
    assert there == {*TARGETS, ".LigB.x2"}  # which another run may be writing
    whole = fitted(tmp_path / "whole.zarr", settings=settings)
    for gene in TARGETS:
        one, other = store.result(gene), whole.result(gene)
        np.testing.assert_allclose(one.values, other.values, atol=1e-9)
        assert [fit.status for fit in one.fits] == [fit.status for fit in other.fits]


def test_reading_many_genes_is_quick(store):
    started = time.process_time()
    for _ in range(5):
        for gene in store:
            store[gene]
    assert (time.process_time() - started) / 20 < 0.05


def test_every_parameter_of_a_panel_comes_back(store):
    assert store.config == config(heldout_folds=3)
    assert isinstance(store.config, PanelConfig)
    assert store.clusters == ("0", "2", "7")
    assert store.sections == ("",)
    assert store.species == "mouse"
