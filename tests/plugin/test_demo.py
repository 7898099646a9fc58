"""The README's first command, as the shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

import celldyn
from celldyn.betas import read_result
from celldyn.data import samples


def demo(tmp_path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "napari_celldyn.demo", "--out", str(tmp_path / "out"), *arguments],
        env={**os.environ, "CELLDYN_VIRTUAL_SCREEN": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_leaves_pictures_and_the_result_and_names_them(tmp_path):
    from imageio.v3 import imread

    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("window.png", "window_types.png", "two_niches_betas.h5ad"):
        assert str(tmp_path / "out" / name) in done.stdout
    picture = imread(tmp_path / "out" / "window.png")[..., :3].astype(int)
    red = (picture[..., 0] > 150) & (picture[..., 1] < 80) & (picture[..., 2] < 80)
    assert picture.shape[1] > 1000
    assert red.mean() > 0.01, "the map of a positive beta is red"
    assert "betas_Target1" in celldyn.read(tmp_path / "out" / "two_niches_betas.h5ad").obsm


def test_it_does_the_same_on_a_tissue_of_ones_own(tmp_path):
    adata = samples.load("three_sections")
    del adata.uns["truth"]
    celldyn.write(adata, tmp_path / "mine.h5ad")
    done = demo(tmp_path, "--data", str(tmp_path / "mine.h5ad"), "--gene", "HK_3")
    assert done.returncode == 0, done.stdout + done.stderr
    result = read_result(celldyn.read(tmp_path / "out" / "mine_betas.h5ad"), "hk_3")
    assert result.config.regulators, "proposed by the data, as there is no network"
    assert np.isfinite(result.values).all()


def test_it_does_without_cell_types(tmp_path):
    adata = samples.load("two_niches")
    adata.obs = adata.obs[[]]
    adata.uns.clear()
    celldyn.write(adata, tmp_path / "bare.h5ad")
    done = demo(tmp_path, "--data", str(tmp_path / "bare.h5ad"), "--gene", "Target1")
    assert done.returncode == 0, done.stdout + done.stderr
    result = read_result(celldyn.read(tmp_path / "out" / "bare_betas.h5ad"), "Target1")
    assert [fitted.status for fitted in result.fits] == ["fitted"]
    np.testing.assert_allclose(result.values.mean(axis=0), result.coefficients[0], atol=1e-6)


def test_a_wrong_file_is_one_sentence(tmp_path):
    (tmp_path / "notes.h5ad").write_text("not a tissue")
    done = demo(tmp_path, "--data", str(tmp_path / "notes.h5ad"))
    assert done.returncode == 2
    said = [line for line in done.stdout.splitlines() if line.startswith("celldyn:")]
    assert len(said) == 1
    assert "notes.h5ad" in said[0]
    assert "Traceback" not in done.stderr
