"""`celldyn environment`: a trained environment asked for rest, perturbations, screens, stages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from environment_model_cases import N_CELLS, tables, trained

from celldyn.cli import main
from celldyn.data import read
from celldyn.environment import (
    BasicManager,
    read_effect,
    read_model,
    read_quality,
    read_screen,
    save,
)

SHORT = ("--rest-time", "1", "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("asked")
    genes, places = tables()
    genes.obs["stage"] = np.repeat(["early", "middle", "late"], N_CELLS // 3)
    places.obs["stage"] = genes.obs["stage"]
    genes.write_h5ad(made / "g.h5ad")
    places.write_h5ad(made / "p.h5ad")
    save(trained(), made / "m.safetensors")
    return made


def asked(what, folder, output, *more, model="m.safetensors", files=("g.h5ad", "p.h5ad")):
    paths = [str(folder / name) for name in files]
    words = ["environment", what, str(folder / model), *paths, "-o", str(folder / output)]
    return main([*words, "--device", "cpu", *more])


def test_cells_come_to_rest(folder, capsys):
    more = ("--time", "2", "--skip-time", "0.5", "--frames", str(folder / "f.npz"), "-q",
            "--starts", "2", "--quality")  # fmt: skip
    assert asked("simulate", folder, "rest.h5ad", *more) == 0
    said = capsys.readouterr().out
    assert "2 starts disagree by" in said
    assert "ridge" in said  # a figure never stands alone
    adata = read(folder / "rest.h5ad")
    manager = BasicManager(fitted=trained(), adatas=tables())
    manager.reset_env()
    times, positions = manager.simulate(2, 0.5, progress_bar=False, impute=False)
    np.testing.assert_array_equal(adata.obsm["X_environment"], positions[-1])
    assert adata.obsm["environment_told_1"].shape == (N_CELLS, 2)
    assert adata.obs["environment_spread"].notna().all()
    assert read_model(adata).updates == trained().updates
    assert "environment" in read_quality(adata).tables[1].index
    frames = np.load(folder / "f.npz")
    np.testing.assert_array_equal(frames["times"], times)
    np.testing.assert_array_equal(frames["positions"], positions)
    assert frames["obs_names"].tolist() == list(adata.obs_names)


def test_a_data_set_that_holds_a_model_is_one(folder, capsys):
    assert asked("simulate", folder, "one.h5ad", "--time", "1", "-q") == 0
    assert asked("simulate", folder, "two.h5ad", "--time", "1", "-q", model="one.h5ad") == 0
    one, two = (read(folder / name).obsm["X_environment"] for name in ("one.h5ad", "two.h5ad"))
    np.testing.assert_array_equal(one, two)
    capsys.readouterr()
    assert main(["environment", "show", str(folder / "two.h5ad")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Virtual cells in 2 dimensions")
    assert "Cells still move after 1 s" in said


def test_features_are_held(folder, capsys):
    more = ("--features", "gene1", "gene2", "--feature-targets", "0", "3", "--clamping", "post",
            "--time", "1", "--skip-time", ".5", "--cells-where", "section=left",
            "--groups", "section", "--name", "both", *SHORT)  # fmt: skip
    assert asked("perturb", folder, "both.h5ad", *more) == 0
    said = capsys.readouterr().out
    assert "left" in said
    effect = read_effect(read(folder / "both.h5ad"), "both")
    manager = BasicManager(fitted=trained(), adatas=tables())
    manager.reset_env()
    manager.simulate(1, store_states=None, impute=False, progress_bar=False)
    left = (tables()[0].obs["section"] == "left").to_numpy()
    manager.add_perturbation(["gene1", "gene2"], 0, [0, 3], "post", cells=left)
    expected = manager.perturbation_effect(1, 0.5)
    np.testing.assert_array_equal(effect.shift, expected.shift.astype(np.float32))
    assert effect.shift[left].mean() > effect.shift[~left].mean()


def test_genes_are_ranked(folder, capsys):
    table = folder / "screen.csv"
    more = ("--genes", "gene0", "gene1", "gene2", "--change", "multiply", "--value", "2",
            "--groups", "section", "--n-control", "3", "--n-random", "3", "--csv", str(table),
            *SHORT)  # fmt: skip
    assert asked("screen", folder, "screen.h5ad", *more) == 0
    assert "gene1" in capsys.readouterr().out
    screen = read_screen(read(folder / "screen.h5ad"))
    assert screen.genes == ("gene0", "gene1", "gene2")
    assert screen.groups == ("all", "left", "right")
    written = pd.read_csv(table)
    assert len(written) == 9
    assert written["shift"].is_monotonic_decreasing


def test_stages_are_recovered(folder, capsys):
    more = ("--column", "stage", "--origin", "early", "--terminal", "late", "--start", "10",
            "--end", "20", "--time", "1", "--at", "10", "15", "20", "--n-pcells", "4",
            "--truth", "middle=15", *SHORT)  # fmt: skip
    assert asked("stages", folder, "between.h5ad", *more) == 0
    said = capsys.readouterr().out
    assert "4 pseudocells over 1 s" in said
    assert "Modality 1 at 15, beside cells of middle:" in said
    assert "environment" in said
    adata = read(folder / "between.h5ad")
    assert adata.shape == (12, 2)
    assert sorted(set(adata.obs["biological_time"])) == [10, 15, 20]
    assert adata.obsm["X_environment"].shape == (12, 2)


@pytest.mark.parametrize(
    ("what", "more", "said"),
    [
        ("simulate", ("--frames", "f.csv"), "end it in .npz"),
        ("simulate", ("--time", "-1"), "time"),
        ("perturb", ("--features", "geneX"), "geneX"),
        ("perturb", ("--features", "gene1", "--feature-targets", "1", "2"), "2 feature-targets"),
        ("perturb", ("--features", "gene1", "--cells-where", "left"), "column=value"),
        ("perturb", ("--features", "gene1", "--groups", "donor"), "no column 'donor'"),
        ("perturb", ("--features", "gene1", "--modality", "4"), "modality 4"),
        ("screen", ("--change", "set"), "nothing says how much to set"),
        ("screen", ("--genes", "geneX"), "geneX"),
        ("stages", ("--column", "stage", "--origin", "early", "--terminal", "never"), "never"),
        ("stages", ("--column", "stage", "--origin", "early", "--terminal", "late",
                    "--truth", "middle"), "--truth stage=time"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(folder, capsys, what, more, said):
    rest = () if what == "simulate" else SHORT
    assert asked(what, folder, "bad.h5ad", *more, *rest, "-q") == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (folder / "bad.h5ad").exists()


def test_models_and_data_that_do_not_fit(folder, capsys):
    assert asked("simulate", folder, "x.h5ad", "-q", files=("p.h5ad",)) == 2
    assert "lacks" in capsys.readouterr().err
    assert asked("simulate", folder, "x.h5ad", "-q", model="g.h5ad") == 2
    assert "holds no virtual environment" in capsys.readouterr().err
    assert asked("simulate", folder, "x.h5ad", "-q", model="none.safetensors") == 2
    assert "is not there" in capsys.readouterr().err
