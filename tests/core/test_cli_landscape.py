"""`celldyn landscape`: a landscape learned, asked and gone on with, all from files."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pytest
from landscape_input_cases import lsd_adata

from celldyn.cli import main
from celldyn.cli_tree import add_tree_arguments, apply_tree
from celldyn.data import read, write
from celldyn.errors import ConfigError
from celldyn.landscape import LSD, LSDConfig
from celldyn.landscape.results import read_effect, read_screen

QUICK = (
    "-q", "--z-dim", "3", "--x-encoder", "16,8", "--z-decoder", "16,8", "--potential", "8,8",
    "--path-len", "4", "--num-walks", "24", "--batch-size", "12", "--num-epochs", "2",
)  # fmt: skip
FEW = ("--cluster-key", "clusters", "--n-null", "0", "--n-bootstrap", "20", "--time", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("landscape")
    adata = lsd_adata(60)
    angle = np.linspace(0, 3, 60)
    adata.obsm["X_umap"] = np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    write(adata, made / "in.h5ad")
    del adata.layers["raw"]
    write(adata, made / "no_counts.h5ad")
    return made


def landscape(what, folder, file, output, *more):
    return main(["landscape", what, str(folder / file), "-o", str(folder / output), *more])


@pytest.fixture(scope="module")
def fitted(folder):
    model = ("--model", str(folder / "m.safetensors"))
    way = ("--pseudotime", "dpt_pseudotime")
    assert landscape("fit", folder, "in.h5ad", "out.h5ad", *way, *model, *QUICK) == 0
    return "out.h5ad"


def test_a_landscape_from_the_command_line(folder, fitted, capsys):
    adata = read(folder / fitted)
    lsd = LSD.from_adata(adata, "cpu")
    assert (lsd.epoch, lsd.cfg.model.z_dim, lsd.cfg.walks.path_len) == (2, 3, 4)
    assert adata.obsm["X_cell_state"].shape == (60, 3)
    same = LSD.load(folder / "m.safetensors", adata, "cpu")
    np.testing.assert_array_equal(
        same.get_adata().obs["potential"], adata.obs["potential"].to_numpy()
    )
    assert main(["landscape", "show", str(folder / fitted)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Landscape of 60 cells and 12 genes in 3 dimensions, 2 epochs\n")


def test_it_tells_its_losses(folder, capsys):
    way = ("--root", "cell0", "--root", "cell1")
    assert landscape("fit", folder, "in.h5ad", "root.h5ad", *way, *QUICK) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 epochs, in nats per count: loss ")
    assert "Held-out counts: " in said
    assert said.endswith(f"Written: {folder / 'root.h5ad'}\n")
    assert read(folder / "root.h5ad").obs["dpt_pseudotime"].iloc[0] < 0.1


@pytest.mark.parametrize(
    "way",
    [
        ("--root-cluster", "clusters=early"),
        ("--transition", "connectivities"),
        ("--pseudotime", "dpt_pseudotime", "--phylogeny", "clusters:early>late"),
    ],
)
def test_every_way_leads_to_a_landscape(folder, way):
    assert landscape("fit", folder, "in.h5ad", "way.h5ad", *way, *QUICK) == 0
    assert "potential" in read(folder / "way.h5ad").obs


def test_it_goes_on_with_what_a_file_holds(folder, fitted):
    more = ("--resume", "-q", "--num-epochs", "3")
    assert landscape("fit", folder, fitted, "more.h5ad", *more) == 0
    assert LSD.from_adata(read(folder / "more.h5ad"), "cpu").epoch == 5


def test_fates(folder, fitted, capsys):
    way = ("--cluster-key", "clusters", "--time-range", "2", "--n-runs", "4", "--paths", "-q")
    assert landscape("fates", folder, fitted, "fates.h5ad", *way) == 0
    said = capsys.readouterr().out
    assert said.startswith("Fates of 60 cells: early ")
    adata = read(folder / "fates.h5ad")
    np.testing.assert_allclose(adata.obsm["fate_probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert set(adata.obs["fate"]) <= {"early", "late"}
    assert adata.obsm["fate_paths"].shape == (60, 5)


def test_a_perturbation(folder, fitted, capsys):
    change = ("--genes", "gene3", "--change", "set", "--value", "2", "--name", "up", "-q")
    where = ("--cells-where", "clusters=early")
    assert landscape("perturb", folder, fitted, "up.h5ad", *change, *where, *FEW) == 0
    said = capsys.readouterr().out
    assert "of 30 cells" in said.splitlines()[0]
    effect = read_effect(read(folder / "up.h5ad"), "up")
    np.testing.assert_array_equal(effect.cells, np.arange(30))
    assert effect.perturbation.genes["gene3"].value == 2


def test_a_screen(folder, fitted, capsys):
    table = folder / "screen.csv"
    more = ("--genes", "gene3", "gene4", "--toward", "late", "--csv", str(table), "-q")
    assert landscape("screen", folder, fitted, "screen.h5ad", *more, *FEW) == 0
    assert "gene3" in capsys.readouterr().out
    screen = read_screen(read(folder / "screen.h5ad"))
    assert set(screen.genes) == {"gene3", "gene4"}
    assert len(pd.read_csv(table)) == len(screen.table()) == 4


@pytest.mark.parametrize("method", ["field", "transitions"])
def test_streamlines(folder, fitted, capsys, method):
    table = folder / f"{method}.csv"
    figure = folder / f"{method}.png"
    more = ("--method", method, "--csv", str(table), "--figure", str(figure), "-q")
    assert landscape("streamlines", folder, fitted, "lines.h5ad", *more) == 0
    said = capsys.readouterr().out
    adata = read(folder / "lines.h5ad")
    assert adata.obsm["lsd_arrows_X_umap"].shape == (60, 2)
    n_lines = int(said.split()[0])
    assert pd.read_csv(table)["line"].nunique() == n_lines
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("what", "file", "more", "said"),
    [
        ("fit", "in.h5ad", (), "nothing says which way cells go"),
        ("fit", "in.h5ad", ("--root", "nobody"), "there is no cell nobody"),
        ("fit", "in.h5ad", ("--root-cluster", "early"), "write --root-cluster column=value"),
        ("fit", "in.h5ad", ("--pseudotime", "time"), "there is no column 'time' in obs"),
        ("fit", "in.h5ad", ("--pseudotime", "clusters"), "not numbers"),
        ("fit", "in.h5ad", ("--transition", "T"), "obsp has no 'T'"),
        ("fit", "in.h5ad", ("--resume",), "holds no landscape"),
        ("fit", "in.h5ad", ("--pseudotime", "dpt_pseudotime", "--z-dim", "0"), "z_dim"),
        ("fit", "in.h5ad", ("--pseudotime", "dpt_pseudotime", "--path-len", "1"), "path_len"),
        ("fit", "in.h5ad", ("--pseudotime", "dpt_pseudotime", "--phylogeny", "clusters:x"),
         "is no phylogeny"),
        ("fit", "in.h5ad", ("--pseudotime", "dpt_pseudotime", "--model", "m.pt"), "safetensors"),
        ("fit", "in.h5ad", ("--config", "nowhere.json", "--root", "cell0"), "cannot be read"),
        ("fit", "no_counts.h5ad", ("--root", "cell0"), "layer 'raw' with the raw counts"),
        ("fit", "no_counts.h5ad", ("--root", "cell0", "--prepare"), "no raw counts are in X"),
        ("fates", "in.h5ad", ("--cluster-key", "clusters"), "holds no landscape"),
        ("fates", "out.h5ad", ("--cluster-key", "types"), "no column 'types'"),
        ("perturb", "out.h5ad", ("--genes", "gene3", "--value", "2", *FEW), "has no value"),
        ("perturb", "out.h5ad", ("--genes", "gene3", "--change", "set", *FEW), "give --value"),
        ("perturb", "out.h5ad", ("--genes", "Sox2", *FEW), "Sox2"),
        ("screen", "out.h5ad", ("--cells-where", "clusters=x", *FEW), "there are early, late"),
        ("streamlines", "out.h5ad", ("--embedding", "X_tsne"), "'X_tsne'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_sentence(folder, fitted, capsys, what, file, more, said):
    assert landscape(what, folder, file, "never.h5ad", "-q", *more) == 2
    told = capsys.readouterr().err
    assert told.startswith("celldyn: ")
    assert said in told
    assert "Traceback" not in told
    assert not (folder / "never.h5ad").exists()


def test_a_landscape_that_goes_on_stays_the_same_model(folder, fitted, capsys):
    assert landscape("fit", folder, fitted, "never.h5ad", "--resume", "-q", "--z-dim", "4") == 2
    assert "stays the model that it is" in capsys.readouterr().err


def test_leaves_of_a_tree_are_options_and_are_checked_as_they_are_set():
    parser = argparse.ArgumentParser()
    add_tree_arguments(parser, LSDConfig)
    words = ["--z-dim", "5", "--potential", "8,4", "--no-resample", "--min-af", "none",
             "--wasserstein-schedule-max-epoch", "7"]  # fmt: skip
    cfg = LSDConfig()
    apply_tree(cfg, parser.parse_args(words))
    assert cfg.model.z_dim == 5
    assert cfg.model.layer_dims.potential == (8, 4)
    assert cfg.walks.resample is False
    assert cfg.optimizer.kl_schedule.min_af is None
    assert cfg.optimizer.wasserstein_schedule.max_epoch == 7
    assert cfg.optimizer.kl_schedule.max_epoch == 100
    with pytest.raises(ConfigError, match="z_dim"):
        apply_tree(cfg, parser.parse_args(["--z-dim", "0"]))
