"""A model on disk: the same in a new process, refused if a byte is off, harmless if hostile."""

from __future__ import annotations

import json
import subprocess
import sys

import anndata
import numpy as np
import pytest
from vae_cases import SETUPS, multiome, tissue

from celldyn.errors import ConfigError, FileFormatError, NotFittedError
from celldyn.persist import load_tensors, save_tensors
from celldyn.vae import AmbientRegularizedSCVI, RegularizedMultimodalVI
from celldyn.vae.saved import checksum


def fitted(setup: str, **model):
    adata = tissue()
    AmbientRegularizedSCVI.setup_anndata(adata, **SETUPS[setup])
    made = AmbientRegularizedSCVI(adata, n_hidden=16, n_latent=4, **model)
    made.train(max_epochs=2, batch_size=64)
    return made


@pytest.fixture(scope="module")
def model():
    return fitted("purposes")


@pytest.mark.parametrize("setup", list(SETUPS))
def test_a_loaded_model_says_the_same(setup, tmp_path):
    model = fitted(setup, use_batch_norm="both", n_layers=2)
    model.save(tmp_path / "model")
    other = AmbientRegularizedSCVI.load(tmp_path / "model", tissue())
    np.testing.assert_array_equal(
        other.get_latent_representation(), model.get_latent_representation()
    )
    assert other.get_elbo() == model.get_elbo()
    assert other.history_table.equals(model.history_table)
    assert other.config == model.config
    assert other.get_background_shares().equals(model.get_background_shares())
    np.testing.assert_array_equal(other.validation_indices, model.validation_indices)
    other.train(max_epochs=1)
    assert len(other.history_table) == 3


@pytest.mark.parametrize("mode", ["concatenation", "weighted_mean", "single_encoder"])
def test_several_modalities_too(mode, tmp_path):
    mdata = multiome(missing=10)
    RegularizedMultimodalVI.setup_mudata(mdata, batch_key="batch")
    model = RegularizedMultimodalVI(
        mdata, n_hidden=12, n_latent=3, latent_mode=mode, modality_weights="universal"
    )
    model.train(max_epochs=1)
    model.save(tmp_path / "model", save_anndata=True)
    other = RegularizedMultimodalVI.load(tmp_path / "model")
    np.testing.assert_allclose(
        other.get_latent_representation(), model.get_latent_representation(), atol=1e-6
    )
    with pytest.raises(FileFormatError, match="RegularizedMultimodalVI"):
        AmbientRegularizedSCVI.load(tmp_path / "model")


def test_a_new_process_gives_the_same_states(model, tmp_path):
    model.save(tmp_path / "model", save_anndata=True)
    script = (
        "import sys, numpy as np; from celldyn.vae import AmbientRegularizedSCVI as M;"
        "m = M.load(sys.argv[1]); np.save(sys.argv[2], m.get_latent_representation())"
    )
    made = tmp_path / "z.npy"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model"), str(made)], check=True)
    np.testing.assert_allclose(np.load(made), model.get_latent_representation(), atol=1e-6)


def test_without_data_it_asks_for_some(model, tmp_path):
    path = model.save(tmp_path / "model.safetensors")
    assert path.is_file()
    other = AmbientRegularizedSCVI.load(path)
    with pytest.raises(NotFittedError, match="no data"):
        other.get_latent_representation()
    np.testing.assert_array_equal(
        other.get_latent_representation(tissue()), model.get_latent_representation()
    )


def test_what_is_there_is_not_replaced_unasked(model, tmp_path):
    path = model.save(tmp_path / "model")
    with pytest.raises(ConfigError, match="there already"):
        model.save(path)
    model.save(path, overwrite=True, save_anndata=True)
    assert anndata.read_h5ad(path / "adata.h5ad").shape == (120, 40)
    with pytest.raises(ConfigError, match="folder"):
        model.save(tmp_path / "x.safetensors", save_anndata=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_a_flipped_byte_is_refused(model, tmp_path):
    path = model.save(tmp_path / "model.safetensors")
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    for at in rng.integers(start, len(whole), 20):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(flipped))
        with pytest.raises(FileFormatError, match="damaged"):
            AmbientRegularizedSCVI.load(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError):
        AmbientRegularizedSCVI.load(path)
    path.write_bytes(whole)
    AmbientRegularizedSCVI.load(path)


def _with_spec(header: dict, **changes) -> dict:
    made = json.loads(json.dumps(header))
    made["spec"]["modalities"][0]["config"] |= changes
    made["config"] |= changes
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda h: _with_spec(h, n_hidden=65_536),
        lambda h: _with_spec(h, n_hidden=10**12),
        lambda h: _with_spec(h, n_latent=5),
        lambda h: _with_spec(h, n_layers=32),
        lambda h: {**h, "spec": {**h["spec"], "modalities": h["spec"]["modalities"] * 3}},
        lambda h: {**h, "spec": {**h["spec"], "sizes": {**h["spec"]["sizes"], "ambient": 10**15}}},
        lambda h: {**h, "spec": None},
        lambda h: {**h, "setup": {**h["setup"], "roles": {"ambient": 3}}},
        lambda h: {**h, "config": {"__class__": "os.system"}},
        lambda h: {**h, "history": "rm -rf /"},
        lambda h: {**h, "trainable": {"parts.0.decoder.out.weight": [10**9]}},
        lambda h: {**h, "version": 99},
        lambda h: {**h, "format": "celldyn.betas"},
    ],
)
def test_a_header_from_anywhere_does_nothing(model, tmp_path, change):
    """The checksum is made right again: what is refused is refused by its content."""
    tensors, header = load_tensors(model.save(tmp_path / "model.safetensors"))
    made = change(header)
    made["checksum"] = checksum(tensors, made)
    path = save_tensors(tmp_path / "other.safetensors", tensors, made)
    with pytest.raises(FileFormatError):
        AmbientRegularizedSCVI.load(path)


def test_tensors_of_other_shapes_are_refused(model, tmp_path):
    tensors, header = load_tensors(model.save(tmp_path / "model.safetensors"))
    for made in (
        {**tensors, "model.extra": np.zeros(3, np.float32)},
        {name: value for name, value in tensors.items() if "out.bias" not in name},
        {name: value.astype(np.float64) for name, value in tensors.items()},
        {name: value.T for name, value in tensors.items()},
    ):
        header["checksum"] = checksum(made, header)
        path = save_tensors(tmp_path / "other.safetensors", made, header)
        with pytest.raises(FileFormatError):
            AmbientRegularizedSCVI.load(path)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="is not there"):
        AmbientRegularizedSCVI.load(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(FileFormatError, match="not a model"):
        AmbientRegularizedSCVI.load(tmp_path / "text.safetensors")
