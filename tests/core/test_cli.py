"""The command line: options out of the configs, results in files, mistakes in one sentence."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Literal

import numpy as np
import pytest

from celldyn import data
from celldyn.betas import BetasConfig, read_result
from celldyn.cli import main
from celldyn.cli_arguments import add_config_arguments, given_parameters
from celldyn.config import Config, param
from celldyn.data import samples
from celldyn.errors import ConfigError
from celldyn.simulate import SimulationConfig, acceptance
from celldyn.simulate.presets import preset, preset_names


class Kinds(Config):
    gene: str = param(..., "A gene.")
    radius_um: float = param(100.0, "A reach, 50% of it.", unit="µm", gt=0, le=500)
    layer: str | None = param("counts", "A layer.")
    use_ligands: bool = param(True, "Whether they count.")
    kernel: Literal["a", "b"] = param("a", "One of two.")
    skip: list[str] = param([], "Left out.")
    shares: list[float] | None = param(None, "Numbers.")
    canvas: float | tuple[float, float] | None = param(None, "A side.")
    tables: dict[str, float] = param({}, "Has no place here.")


def parse(*words):
    parser = argparse.ArgumentParser()
    add_config_arguments(parser, Kinds)
    return given_parameters(Kinds, parser.parse_args(words))


def test_only_what_was_given_is_given():
    assert parse() == {}


def test_every_kind_of_parameter_is_understood():
    config = Kinds(
        **parse(
            *("--gene", "Myc", "--radius-um", "30.5", "--layer", "none", "--no-use-ligands"),
            *("--kernel", "b", "--skip", "a,b", "--skip", "c", "--shares", "0.2,0.8"),
            *("--canvas", "7"),
        )
    )
    assert config == Kinds(
        gene="Myc",
        radius_um=30.5,
        layer=None,
        use_ligands=False,
        kernel="b",
        skip=["a", "b", "c"],
        shares=[0.2, 0.8],
        canvas=7,
    )


def test_bounds_are_the_configs_own():
    with pytest.raises(ConfigError, match="radius_um must be greater than 0"):
        Kinds(gene="a", **parse("--radius-um", "0"))
    with pytest.raises(ConfigError, match="gene is required"):
        Kinds(**parse())


def test_help_tells_unit_bounds_and_default(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "A reach, 50% of it. [µm, > 0, ≤ 500, default: 100.0]" in text
    assert "A gene. [required]" in text
    assert "--use-ligands, --no-use-ligands" in text
    assert "tables" not in text


@pytest.mark.parametrize("config", [BetasConfig, SimulationConfig])
def test_the_real_configs_have_options(config):
    parser = argparse.ArgumentParser()
    add_config_arguments(parser, config)
    assert "--seed" in parser.format_help()
    assert given_parameters(config, parser.parse_args(["--seed", "3"])) == {"seed": "3"}


# --- the commands -----------------------------------------------------------------------------


def test_betas_fits_and_writes(tmp_path, capsys):
    out = tmp_path / "fitted.h5ad"
    words = ["betas", str(samples.path("two_niches")), "--target-gene", "Target1", "Target2"]
    words += ["--cluster-annot", "cell_type", "--regulators", "Tf1,Tf2", "--no-use-ligands"]
    assert main([*words, "--heldout-folds", "0", "-q", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Target2: 2 modulators" in said
    assert "Macrophage" in said
    adata = data.read(out)
    result = read_result(adata, "Target1")
    assert result.modulators == ("Tf1", "Tf2")
    assert result.config.heldout_folds == 0
    assert adata.obsm["betas_Target2"].shape == (adata.n_obs, 3)
    assert [step["config"]["target_gene"] for step in data.records(adata)] == [
        "Target1",
        "Target2",
    ]


def test_demo_finds_what_drives_the_gene(tmp_path, capsys):
    out = tmp_path / "demo.zarr"
    assert main(["demo", "-q", "-o", str(out)]) == 0
    assert "Target1" in capsys.readouterr().out
    result = read_result(data.read(out), "Target1")
    assert set(result.table()["modulator"][:3]) >= {"Tf1", "Tf2"}


def test_simulate_makes_a_tissue_and_repeats_it(tmp_path, capsys):
    recipe = tmp_path / "tissue.yaml"
    recipe.write_text("simulation:\n  n_cells: 80\n  n_celltype: 2\n  n_genes: 12\n")
    made = []
    for name, words in (("a", []), ("b", []), ("c", ["--seed", "5", "--n-cells", "60"])):
        out = tmp_path / f"{name}.h5ad"
        assert main(["simulate", str(recipe), "-q", "-o", str(out), *words]) == 0
        made.append(data.read(out))
    assert "80 cells of 2 types" in capsys.readouterr().out
    np.testing.assert_array_equal(made[0].X.toarray(), made[1].X.toarray())
    assert made[2].n_obs == 60


def simulate(*words):
    return main(["simulate", *map(str, words)])


def test_presets_are_listed_with_what_they_are(capsys):
    assert simulate("--list-presets") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == preset_names()
    assert all(line.split("\t")[1] for line in lines)


def test_a_preset_takes_the_place_of_a_file(tmp_path, capsys):
    out = tmp_path / "tissue.h5ad"
    words = ("--preset", "tumour-immune", "--n-cells", "150", "--seed", "3", "-q", "-o", out)
    assert simulate(*words) == 0
    said = capsys.readouterr().out
    assert said.startswith("150 cells of 6 types")
    assert said.endswith(f"Written: {out}\n")
    adata = data.read(out)
    assert adata.n_obs == 150
    config = json.loads(adata.uns["truth"]["config"])
    assert config["seed"] == 3
    assert SimulationConfig(**config) == preset("tumour-immune", n_cells=150, seed=3)


def test_the_number_of_threads_changes_nothing(tmp_path):
    made = []
    for threads in ("1", "2"):
        out = tmp_path / f"{threads}.h5ad"
        words = ("--preset", "layers", "--n-cells", "200", "--threads", threads, "-q", "-o", out)
        assert simulate(*words) == 0
        made.append(data.read(out))
    np.testing.assert_array_equal(made[0].X.toarray(), made[1].X.toarray())
    np.testing.assert_array_equal(made[0].obsm["cell_radii"], made[1].obsm["cell_radii"])


def test_a_name_without_an_ending_is_a_folder(tmp_path):
    out = tmp_path / "tissue"
    assert simulate("--preset", "blank", "--n-cells", "100", "-q", "-o", out) == 0
    assert {"table.h5ad", "cells.parquet", "nuclei.parquet", "transcripts.parquet"} <= {
        path.name for path in out.iterdir()
    }


def test_the_estimate_makes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert simulate("--preset", "blank", "--n-cells", "1000000", "--estimate") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("1,000,000 cells × 300 genes, about 73.")
    assert not list(tmp_path.iterdir())


def test_check_says_what_was_met_and_all_of_it_was(capsys):
    assert simulate("--preset", "tumour-immune", "--n-cells", "1500", "--check", "-q") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["what", "asked", "met", "tolerance"]
    assert lines[-1].endswith("checks passed.")
    assert "share of leaked molecules" in "\n".join(lines)
    assert not any(line.endswith("FAIL") for line in lines)


def test_a_check_that_fails_is_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(acceptance, "PROPORTION_TOLERANCE", -1.0)
    assert simulate("--preset", "blank", "--n-cells", "200", "--check", "-q") == 1
    said = capsys.readouterr().out
    assert said.count("FAIL") == 3
    passed, total = said.splitlines()[-1].split(" checks")[0].split(" of ")
    assert int(total) - int(passed) == 3


def test_samples_are_listed(capsys):
    assert main(["samples"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == samples.names()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["betas", "nowhere.h5ad", "--target-gene", "A", "-o", "out.h5ad"], "is not there"),
        (["betas", "nowhere.h5ad", "--target-gene", "A", "-o", "out.csv"], "only .h5ad and .zarr"),
        (
            ["betas", "a.h5ad", "--target-gene", "A", "-o", "out.h5ad", "--radius", "-1"],
            "radius must be greater than 0",
        ),
        (["simulate", "nowhere.yaml", "-o", "out.h5ad"], "nowhere.yaml"),
        (["demo", "-o", "out"], "only .h5ad and .zarr"),
        (["simulate", "-o", "out.h5ad"], "neither a file nor a preset was given"),
        (["simulate", "a.yaml", "--preset", "blank", "--check"], "both a file and a preset"),
        (["simulate", "--preset", "blank"], "give -o OUT, --check or --estimate"),
        (["simulate", "--preset", "cortex", "--check"], "there is no preset 'cortex'"),
        (["simulate", "--preset", "blank", "--marker-mu", "-1", "--check"], "marker_mu must"),
        (["simulate", "--preset", "blank", "--n-cells", "few", "--check"], "n_cells must"),
        (["simulate", "--preset", "blank", "-o", "out.csv"], "out.csv ends in .csv"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    held = capsys.readouterr()
    assert says in held.err
    assert held.err.startswith("celldyn: ")
    assert held.err.endswith(".\n")
    assert held.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_no_traceback_reaches_the_shell(tmp_path):
    words = ["betas", "nowhere.h5ad", "--target-gene", "A", "-o", str(tmp_path / "out.h5ad")]
    done = subprocess.run(
        [sys.executable, "-m", "celldyn.cli", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_wrong_second_gene_is_told_before_the_first_is_fitted(tmp_path, capsys):
    out = tmp_path / "out.h5ad"
    status = main(
        ["betas", str(samples.path("two_niches")), "--target-gene", "Target1", "Nonesuch",
         "--cluster-annot", "cell_type", "--regulators", "Tf1", "--no-use-ligands", "-o", str(out)]
    )  # fmt: skip
    assert status == 2
    said = capsys.readouterr()
    assert "Nonesuch" in said.err
    assert said.out == ""
    assert not out.exists()


def test_the_result_is_kept_when_nobody_reads_what_is_printed(tmp_path):
    out = tmp_path / "out.h5ad"
    script = (
        f"{sys.executable} -m celldyn.cli betas {samples.path('two_niches')} "
        "--target-gene Target1 --cluster-annot cell_type --regulators Tf1 --no-use-ligands "
        f"-q -o {out} | head -0"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert out.exists()
