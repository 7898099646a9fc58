"""`celldyn environment`: virtual cells trained and kept from files, with the seed's options."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pytest
from environment_model_cases import config, same, tables
from environment_reference_cases import PolicyLike, SettingsLike, write_weights

from celldyn.cli import main
from celldyn.environment.checkpoints import Checkpoints, newest, open_checkpoint
from celldyn.environment.config import PRESETS
from celldyn.environment.event_log import read_events
from celldyn.environment.fitting import fit_job
from celldyn.environment.mask_file import read_mask
from celldyn.environment.saved import load, save
from celldyn.errors import ConfigError, FileFormatError
from celldyn.jobs import run

QUICK = (
    "-q", "--dim", "2", "--num_cells_min", "6", "--num_cells_max", "10", "--num_environments", "3",
    "--update_timesteps", "4_00", "--max_timesteps", "1_200", "--epoch_size", "200",
    "--batch_size", "100", "--update_iterations", "2", "--min_time", ".8", "--max_time", "1.2",
    "--eval_time", ".4", "--pinning-epochs", "1", "--pinning-batches", "2", "--seed", "3",
    "--warm-start-steps", "3", "--critic-updates", "1",
)  # fmt: skip
TASK = ("--log_modalities", "0", "--target_modalities", "1", "--spatial", "1", "--pca_dim", "4",
        "0")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("environment")
    genes, places = tables()
    genes.write_h5ad(made / "genes.h5ad")
    places.write_h5ad(made / "places.h5ad")
    both = genes.copy()
    both.obsm["spatial"] = places.X
    both.write_h5ad(made / "both.h5ad")
    both[:10].write_h5ad(made / "first.h5ad")
    both[10:].write_h5ad(made / "second.h5ad")
    return made


def train(folder, *words, files=("genes.h5ad", "places.h5ad"), name="m", task=TASK):
    paths = [str(folder / file) for file in files]
    where = ("--checkpoint_dir", str(folder / "kept"), "--checkpoint_name", name)
    return main(["environment", "train", *paths, *task, *QUICK, *where, *words])


@pytest.fixture(scope="module")
def model(folder):
    assert train(folder, "--checkpoint_iterations", "1") == 0
    return folder / "kept" / "m.safetensors"


def test_the_seeds_options_train_as_python_does(folder, model, capsys):
    expected = run(fit_job(tables(), config(checkpoint_iterations=1), device="cpu"), bar=False)
    got = load(model)
    assert got.config == expected.config
    same(got, expected)
    assert main(["environment", "show", str(model)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Virtual cells in 2 dimensions")
    assert "Attention: 2 heads, 1 block\n" in said
    assert "Modality 0: 6 features as 4 (seen)\n" in said
    assert "Modality 1: 2 features as 2 (told, coordinates)\n" in said


def test_it_keeps_checkpoints_a_mask_and_a_log(folder, model):
    kept = folder / "kept"
    n_updates = load(model).updates
    assert n_updates >= 3
    names = {path.name for path in kept.glob("m-*")}
    assert names == {f"m-{k:04}.safetensors" for k in range(1, n_updates + 1)}
    assert newest(kept, "m").name == f"m-{n_updates:04}.safetensors"
    assert read_mask(kept / "m.mask").all()
    events = [event["Event"] for event in read_events(kept / "m.log.jsonl")]
    assert events == [
        "Begin Training", *["Rollout", "Update", "Save Checkpoint"] * n_updates, "Finish Training",
    ]  # fmt: skip


def test_a_training_goes_on_from_a_checkpoint_bit_for_bit(folder, model):
    output = ("-o", str(folder / "resumed.safetensors"), "--logfile", "none")
    start = folder / "kept" / "m-0001.safetensors"
    words = ("--checkpoint", str(start), "--checkpoint_iterations", "1")
    assert train(folder, *words, *output, name="again") == 0
    same(load(folder / "resumed.safetensors"), load(model))


def test_only_networks_may_be_taken(folder, model):
    words = ("--checkpoint", str(model), "--networks-only", "--max_timesteps", "400")
    files = ("first.h5ad", "first.h5ad::obsm/spatial")
    assert train(folder, *words, "--logfile", "none", files=files, name="other") == 0
    other = load(folder / "kept" / "other.safetensors")
    assert other.updates in (1, 2)
    assert len(other.obs_names) == 10
    assert other.preprocessing.maps[0].names == load(model).preprocessing.maps[0].names
    bad = ("--checkpoint", str(model), "--max_timesteps", "9999")
    assert train(folder, *bad, "--logfile", "none", files=files, name="no") == 2


@pytest.mark.parametrize(
    "files",
    [
        ("both.h5ad", "both.h5ad::obsm/spatial"),
        ("--merge_files", "first.h5ad", "second.h5ad",
         "--merge_files", "first.h5ad::obsm/spatial", "second.h5ad::obsm/spatial"),
    ],
)  # fmt: skip
def test_modalities_are_parts_of_files_or_several_files(folder, model, files, monkeypatch):
    monkeypatch.chdir(folder)
    words = ["environment", "train", *files, *TASK, *QUICK, "--checkpoint-dir", "parts",
             "--checkpoint-name", "p", "--logfile", "none"]  # fmt: skip
    assert main(words) == 0
    one, other = load(folder / "parts" / "p.safetensors"), load(model)
    assert one.obs_names == other.obs_names
    np.testing.assert_array_equal(
        one.policy.state_dict()["critic.weight"], other.policy.state_dict()["critic.weight"]
    )


def test_cells_may_be_held_out_and_read_from_disk(folder, capsys):
    words = ("--backed", "--train_split", ".8", "--partition_cols", "section", "--logfile", "cli")
    assert train(folder, *words, name="held") == 0
    fitted = load(folder / "kept" / "held.safetensors")
    assert fitted.train_mask.sum() == round(0.8 * 24)
    assert fitted.config.backed
    assert fitted.config.partition_cols == ["section"]
    said = capsys.readouterr().out.splitlines()
    events = [json.loads(line)["Event"] for line in said if line.startswith("{")]
    assert events[0] == "Begin Training"
    assert events[-1] == "Finish Training"
    assert "reward/pinning" in "\n".join(said)


def test_options_with_commas_and_dashes_mean_the_same(folder, model):
    task = ("--log-modalities=0", "--target-modalities=1", "--spatial", "1", "--pca-dim", "4,0")
    words = ("--logfile=none", "--checkpoint-iterations=1")
    assert train(folder, *words, name="dashes", task=task) == 0
    same(load(folder / "kept" / "dashes.safetensors"), load(model))


def test_the_preset_of_the_seed_is_there(folder):
    words = ("--preset", "seed", "--no_bootstrap", "--logfile", "none", "--max_timesteps", "400")
    assert train(folder, *words, name="seed") == 0
    used = load(folder / "kept" / "seed.safetensors").config
    assert used.no_bootstrap
    assert used.dim == 2  # what is given comes on top
    given = {name: getattr(used, name) for name in PRESETS["seed"] if name not in ("dim",)}
    assert given == {name: value for name, value in PRESETS["seed"].items() if name in given}


def test_files_of_celltrip_become_ours(tmp_path, capsys):
    rng = np.random.default_rng(0)
    counts, places = rng.poisson(4.0, (20, 9)) + 1.0, rng.normal(size=(20, 2))
    write_weights(tmp_path / "m-0003.weights", PolicyLike(3, 4, [2]))
    SettingsLike(counts, places).write(tmp_path / "m.pre")
    (tmp_path / "m.mask").write_text("1.0\n" * 20)
    paths = [str(tmp_path / name) for name in ("m-0003.weights", "m.pre", "m.mask")]
    output = str(tmp_path / "ours.safetensors")
    words = ["environment", "import", paths[0], "--pre", paths[1], "--mask", paths[2]]
    assert main([*words, "--spatial", "1", "-o", output]) == 0
    said = capsys.readouterr().out
    assert "Note: Imported from m-0003.weights with 2 heads" in said
    assert load(output).train_mask.all()
    same(open_checkpoint(paths[0]), open_checkpoint(tmp_path / "m-0003.weights"))
    assert main(["environment", "show", paths[0]]) == 2
    assert "give its .pre file" in capsys.readouterr().err
    (tmp_path / "m.pre").unlink()
    with pytest.raises(FileFormatError, match=r"m\.pre is not beside it"):
        open_checkpoint(paths[0])


def test_training_goes_on_from_files_of_celltrip(tmp_path):
    genes, places = tables()
    write_weights(tmp_path / "m-0800.weights", PolicyLike(2, 4, [2]))
    SettingsLike(np.asarray(genes.X, float), np.asarray(places.X, float)).write(tmp_path / "m.pre")
    genes.write_h5ad(tmp_path / "g.h5ad")
    places.write_h5ad(tmp_path / "p.h5ad")
    words = ["environment", "train", str(tmp_path / "g.h5ad"), str(tmp_path / "p.h5ad"), *QUICK]
    start = ["--checkpoint", str(tmp_path / "m-0800.weights"), "--checkpoint_dir", str(tmp_path)]
    assert main([*words, *start, "--checkpoint_name", "on", "--logfile", "none"]) == 0
    fitted = load(tmp_path / "on.safetensors")
    assert fitted.preprocessing.maps[0].names == tuple(genes.var_names)
    assert fitted.timesteps >= 1200
    # No imitation takes what they had learned from it, and one short course changes little.
    before = open_checkpoint(tmp_path / "m-0800.weights").policy.self_out.weight
    assert (fitted.policy.self_out.weight - before).abs().max() < 0.05


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lr", "fast"), "lr"),
        (("--train_split", "1.5"), "train_split"),
        (("--target_modalities", "7"), "names modality 7, and there are 2"),
        (("--partition_cols", "donor"), "no column 'donor'"),
        (("--train_mask", "nothing"), "nothing"),
        (("-o", "model.pt"), "end it in .safetensors"),
        (("-o", "s3://bucket/model.safetensors"), "is not on this machine"),
        (("--logfile", "s3://bucket/log"), "is not on this machine"),
        (("--checkpoint", "none.safetensors"), "is not there"),
        (("--checkpoint", "."), "holds no checkpoint"),
        (("--checkpoint_name", "a/b"), "no name of a checkpoint"),
        (("--flush_iterations", "0"), "flush_iterations"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder, capsys, words, said, monkeypatch):
    monkeypatch.chdir(folder)
    assert train(folder, "--logfile", "none", *words, name="bad") == 2
    told = capsys.readouterr()
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert not (folder / "kept" / "bad.safetensors").exists()


def test_what_does_not_go_together_is_one_sentence(folder, model, capsys):
    start = ("--checkpoint", str(model))
    task = ("--logfile", "none")
    assert main(["environment", "train"]) == 2
    assert "no modality was given" in capsys.readouterr().err
    assert train(folder, *start, "--dim", "3", *task) == 2
    assert "dim of m.safetensors is 2, and 3 was given" in capsys.readouterr().err
    assert train(folder, *start, "--attention_heads", "4", *task) == 2
    assert "attention_heads of m.safetensors is 2" in capsys.readouterr().err
    assert train(folder, *start, "--preset", "seed", *task) == 2
    assert "leave out --preset" in capsys.readouterr().err
    assert train(folder, *task, files=("both.h5ad", "both.h5ad::obsm/nothing")) == 2
    assert "'obsm/nothing' is no part" in capsys.readouterr().err
    merge = ("--merge-files", str(folder / "first.h5ad"), str(folder / "first.h5ad"))
    assert train(folder, *merge, *task, files=()) == 2
    assert "cells of the same name" in capsys.readouterr().err
    other = anndata.AnnData(np.ones((3, 2), np.float32))
    other.var_names = ["a", "b"]
    other.write_h5ad(folder / "strange.h5ad")
    merge = ("--merge-files", str(folder / "first.h5ad"), str(folder / "strange.h5ad"))
    assert train(folder, *merge, *task, files=()) == 2
    assert "no feature in common" in capsys.readouterr().err


def test_who_stops_it_is_told_how_it_goes_on(folder, capsys, monkeypatch):
    def stopped(self, fitted):
        path = kept(self, fitted)
        if fitted.updates == 2:
            raise KeyboardInterrupt
        return path

    kept = Checkpoints.__call__
    monkeypatch.setattr(Checkpoints, "__call__", stopped)
    words = ("--checkpoint_iterations", "1", "--keep-checkpoints", "1", "--logfile", "none")
    assert train(folder, *words, name="stop") == 130
    assert "go on from " in (said := capsys.readouterr().err)
    assert said.endswith("stop-0002.safetensors with --checkpoint.\n")
    assert [path.name for path in (folder / "kept").glob("stop-*")] == ["stop-0002.safetensors"]


# --- checkpoints ------------------------------------------------------------------------------


def test_only_the_newest_checkpoints_may_stay(folder, model, tmp_path):
    from dataclasses import replace

    fitted = load(model)
    kept = Checkpoints(tmp_path, "c", keep=2)
    for k in (9, 10_000, 10_001):
        kept(replace(fitted, updates=k))
    assert sorted(path.name for path in tmp_path.glob("c-*")) == [
        "c-10000.safetensors", "c-10001.safetensors",
    ]  # fmt: skip
    save(replace(fitted, updates=5), tmp_path / "d-0005.safetensors")
    assert newest(tmp_path).name == "c-10001.safetensors"
    assert newest(tmp_path, "d").name == "d-0005.safetensors"
    assert open_checkpoint(tmp_path).updates == 10_001
    with pytest.raises(ConfigError, match="0 checkpoints"):
        Checkpoints(tmp_path, "c", keep=0)
