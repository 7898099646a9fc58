"""`celldyn vae`: counts in, a latent space and what is ambient out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vae_data_cases import multiome, tissue

from celldyn import keys
from celldyn.cli import main
from celldyn.data import read, write

QUICK = ["-q", "--max-epochs", "2", "--n-hidden", "16", "--n-latent", "3", "--batch-size", "32"]


@pytest.fixture
def folder(tmp_path):
    write(tissue(), tmp_path / "in.h5ad")
    multiome().write(tmp_path / "in.h5mu")
    (tmp_path / "bad.h5mu").write_bytes(b"no file of its kind")
    return tmp_path


def vae(folder, file, output, *more):
    return main(["vae", str(folder / file), "-o", str(folder / output), *QUICK, *more])


def test_a_tissue_from_the_command_line(folder, capsys):
    words = ("--batch-key", "embryo", "--nn-conditioning-covariate-keys", "experiment,donor")
    assert vae(folder, "in.h5ad", "out.h5ad", *words) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 epochs, ")
    for shown in ("trained, nats a cell", "held out, nats a cell", "-ELBO", "KL library"):
        assert shown in said
    table = said.split("Share of ambient RNA:\n")[1].splitlines()
    assert table[0].split()[-4:] == ["group", "share", "low", "high"]
    for row, group in zip(table[1:4], ("e1", "e2", "e3"), strict=True):
        words = row.split()
        assert words[-4] == group
        low, share, high = float(words[-2]), float(words[-3]), float(words[-1])
        assert 0 <= low <= share <= high <= 1
    assert "Note: nn_conditioning_covariate_keys: obs['donor'] has one category" in said
    assert said.endswith(f"Written: {folder / 'out.h5ad'}\n")
    adata = read(folder / "out.h5ad")
    assert adata.obsm[keys.LATENT.name].shape == (adata.n_obs, 3)
    assert np.isfinite(adata.obsm[keys.LATENT.name]).all()
    setup = json.loads(adata.uns["celldyn"][keys.VAE_SETUP.name])
    assert setup["given"]["batch_key"] == "embryo"
    assert setup["roles"]["conditioning"] == ["experiment"]


def test_counts_left_on_disk_give_the_same(folder, capsys):
    words = ("--batch-key", "embryo", "--seed", "3")
    assert vae(folder, "in.h5ad", "held.h5ad", *words) == 0
    assert vae(folder, "in.h5ad", "backed.h5ad", *words, "--backed") == 0
    assert vae(folder, "in.h5ad", "shards.h5ad", *words, "--backed", "--memory-budget-gb",
               "0.000004") == 0  # fmt: skip
    capsys.readouterr()
    held, backed, shards = (read(folder / f"{name}.h5ad") for name in ("held", "backed", "shards"))
    latent = held.obsm[keys.LATENT.name]
    np.testing.assert_allclose(backed.obsm[keys.LATENT.name], latent, atol=1e-5)
    assert shards.obsm[keys.LATENT.name].shape == latent.shape  # in another order, so not the same
    np.testing.assert_array_equal(shards.X.toarray(), held.X.toarray())


def test_several_modalities(folder, capsys):
    import mudata

    words = ("--batch-key", "well", "--modalities", "atac,rna")
    assert vae(folder, "in.h5mu", "out.h5mu", *words) == 0
    assert "10 cells not measured in rna" in capsys.readouterr().out
    with mudata.set_options(pull_on_update=False):
        written = mudata.read_h5mu(folder / "out.h5mu")
    setup = json.loads(written.uns["celldyn"][keys.VAE_SETUP.name])
    assert [each["name"] for each in setup["modalities"]] == ["atac", "rna"]
    assert written.obsm[keys.LATENT.name].shape == (written.n_obs, 6)


def test_several_modalities_left_on_disk(folder, capsys):
    import mudata

    assert vae(folder, "in.h5mu", "out.h5mu", "--batch-key", "well", "--backed") == 0
    assert "Written" in capsys.readouterr().out
    with mudata.set_options(pull_on_update=False):
        written = mudata.read_h5mu(folder / "out.h5mu")
    assert written.obsm[keys.LATENT.name].shape == (written.n_obs, 6)
    for key, part in multiome().mod.items():
        np.testing.assert_array_equal(written.mod[key].X.toarray(), part.X.toarray())


@pytest.mark.parametrize(
    ("file", "output", "words", "says"),
    [
        ("in.h5ad", "out.csv", ["--batch-key", "embryo"], "only .h5ad and .zarr"),
        ("no.h5ad", "out.h5ad", ["--batch-key", "embryo"], "no.h5ad is not there"),
        ("no.h5mu", "out.h5mu", ["--batch-key", "embryo"], "no.h5mu is not there"),
        ("in.h5ad", "out.h5ad", [], "Either batch_key or ambient_covariate_keys must be provided"),
        (
            "in.h5ad",
            "out.h5ad",
            ["--batch-key", "embryo", "--dispersion-key", "embryo"],
            "batch_key cannot be combined",
        ),
        ("in.h5ad", "out.h5ad", ["--batch-key", "embyro"], "did you mean embryo"),
        ("in.h5ad", "out.h5ad", ["--batch-key", "embryo", "--n-latent", "0"], "n_latent must"),
        (
            "in.h5ad",
            "out.h5ad",
            ["--batch-key", "embryo", "--modalities", "rna"],
            "in.h5ad has one modality; leave out --modalities",
        ),
        ("in.h5mu", "out.h5ad", ["--batch-key", "well"], "give a name that ends in .h5mu"),
        ("in.h5mu", "out.h5mu", ["--batch-key", "well", "--layers", "rna"], "--layers has 'rna'"),
        ("bad.h5mu", "out.h5mu", ["--batch-key", "well"], "bad.h5mu is damaged"),
        ("in.h5mu", "in.h5ad/out.h5mu", ["--batch-key", "well"], "could not be written"),
        (
            "in.h5mu",
            "out.h5mu",
            ["--batch-key", "well", "--modalities", "protein"],
            "no modality 'protein'; there are rna, atac",
        ),
    ],
)
def test_a_mistake_is_one_sentence(folder, capsys, file, output, words, says):
    assert vae(folder, file, output, *words) == 2
    held = capsys.readouterr()
    assert says in held.err
    assert held.err.startswith("celldyn: ")
    assert held.err.count("\n") == 1
    assert not (folder / output).exists()
