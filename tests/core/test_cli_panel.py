"""`celldyn panel`: a tissue in, a store and a data set that names it out."""

from __future__ import annotations

import numpy as np
import pytest
from panel_tissue import LINKS, PAIRS, TARGETS, tissue

from celldyn.betas.panel import find_store, import_betadata
from celldyn.cli import main
from celldyn.data import read, write


@pytest.fixture
def folder(tmp_path):
    adata = tissue(noise=0.3)
    adata.obs["type"] = adata.obs["type"].astype("category")
    write(adata, tmp_path / "in.h5ad")
    LINKS.to_csv(tmp_path / "grn.csv", index=False)
    PAIRS.to_csv(tmp_path / "lr.csv", index=False)
    return tmp_path


def arguments(folder, *more):
    return ["panel", str(folder / "in.h5ad"), "-o", str(folder / "out.h5ad"), "-q",
            "--genes", ",".join([*TARGETS, "Silent"]), "--colinks-path", str(folder / "grn.csv"),
            "--lr", str(folder / "lr.csv"), "--num-epochs", "0", "--heldout-folds", "3",
            "--cluster-annot", "type", *more]  # fmt: skip


def test_a_panel_from_the_command_line(folder, capsys):
    assert main(arguments(folder, "--export", str(folder / "betadata"))) == 0
    said = capsys.readouterr().out
    assert "Left out: Silent, its expression is the same in every cell" in said
    assert "4 genes in" in said
    adata = read(folder / "out.h5ad")
    store = find_store(adata, folder / "out.h5ad")
    assert store is not None
    assert store.path == folder / "out.betas.zarr"
    assert store.genes == sorted(TARGETS)
    assert adata.var["betas_heldout_r2"]["Target"] > 0.5
    fields = import_betadata(folder / "betadata", adata)
    np.testing.assert_allclose(fields["Target"].values()[:, 0], store["Target"].values()[:, 0])


def test_a_store_that_is_there_is_gone_on_with_only_if_asked(folder, capsys):
    place = ("--store", str(folder / "b.zarr"))
    assert main(arguments(folder, *place, "--max-genes", "1")) == 0
    assert main(arguments(folder, *place)) == 2
    assert "--resume" in capsys.readouterr().err
    before = (folder / "b.zarr" / "genes" / "Target" / "zarr.json").stat().st_mtime_ns
    assert main(arguments(folder, *place, "--resume")) == 0
    assert "4 genes in" in capsys.readouterr().out
    after = (folder / "b.zarr" / "genes" / "Target" / "zarr.json").stat().st_mtime_ns
    assert after == before
    assert main(arguments(folder, *place, "--resume", "--radius", "50")) == 2
    assert "another model" in capsys.readouterr().err
    assert main(arguments(folder, *place, "--overwrite", "--radius", "50")) == 0


def test_candidates_stand_in_where_no_network_is(folder, capsys):
    given = [*arguments(folder), "--propose", "2"]
    at = given.index("--colinks-path")
    assert main(given[:at] + given[at + 2 :]) == 0
    assert "Note: Regulators are genes that vary with the target" in capsys.readouterr().out


def test_what_is_finished_is_kept_when_it_is_interrupted(folder, capsys, monkeypatch):
    def interrupted(job, *, bar):
        for step in job:
            if step.metrics:
                raise KeyboardInterrupt
        raise AssertionError

    monkeypatch.setattr("celldyn.cli_panel.run", interrupted)
    assert main(arguments(folder)) == 130
    assert "1 genes are in" in capsys.readouterr().err
    assert not (folder / "out.h5ad").exists()
