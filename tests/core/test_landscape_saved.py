"""A landscape on disk: the same in a new process, goes on training, refused if a byte is off."""

from __future__ import annotations

import json
import subprocess
import sys

import anndata
import numpy as np
import pytest
import torch
from landscape_input_cases import lsd_adata, trained_lsd
from scipy import sparse

from celldyn.errors import ConfigError, DataError, FileFormatError
from celldyn.landscape import LSD
from celldyn.landscape.saved import checksum, load_model
from celldyn.persist import load_tensors, save_tensors


@pytest.fixture(scope="module")
def lsd():
    return trained_lsd()


def states(model):
    return model.get_adata().obsm["X_cell_state"]


def same_networks(one, other):
    mine, theirs = one.networks.state_dict(), other.networks.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in mine.items())


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"likelihood": "nb", "B_dim": 3},
        {"library": "inferred", "confinement": 0.1},
        {"library": "reference"},
    ],
)
def test_a_loaded_model_says_the_same(model, tmp_path):
    lsd = trained_lsd(**model)
    other = LSD.load(lsd.save(tmp_path / "m.safetensors"), lsd_adata(), "cpu")
    np.testing.assert_array_equal(states(other), states(lsd))
    assert other.cfg == lsd.cfg
    assert other.history.equals(lsd.history)
    assert (other.epoch, other.genes, other.notes) == (lsd.epoch, lsd.genes, lsd.notes)
    np.testing.assert_array_equal(other.walks, lsd.walks)
    np.testing.assert_allclose(other.P.toarray(), lsd.P.toarray(), rtol=1e-12)


def test_training_goes_on_as_if_it_had_never_stopped(tmp_path):
    whole, half = trained_lsd(epochs=4), trained_lsd(epochs=2)
    other = LSD.load(half.save(tmp_path / "m.safetensors"), lsd_adata(), "cpu")
    other.train(2)
    assert same_networks(other, whole)
    assert other.history.equals(whole.history)
    assert not same_networks(other, half)


def test_training_may_start_adam_afresh_and_then_differs(tmp_path):
    from dataclasses import replace

    from celldyn.landscape.saved import save_model

    half = trained_lsd(epochs=2)
    path = save_model(tmp_path / "m.safetensors", replace(half.saved, optimiser={}))
    other = LSD.load(path, lsd_adata(), "cpu")
    other.train(2)
    assert not same_networks(other, trained_lsd(epochs=4))


def test_a_new_process_gives_the_same_states(lsd, tmp_path):
    path = lsd.save(tmp_path)
    assert path.name == "lsd_model.safetensors"
    lsd.adata.write_h5ad(tmp_path / "a.h5ad")
    script = (
        "import sys, anndata, numpy as np; from celldyn.landscape import LSD;"
        "m = LSD.load(sys.argv[1], anndata.read_h5ad(sys.argv[2]), 'cpu');"
        "np.save(sys.argv[3], m.get_adata().obsm['X_cell_state'])"
    )
    made = tmp_path / "z.npy"
    arguments = [str(tmp_path), str(tmp_path / "a.h5ad"), str(made)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)
    np.testing.assert_allclose(np.load(made), states(lsd), atol=1e-6)


def test_genes_are_found_in_any_order_and_others_are_left_out(lsd, tmp_path):
    path = lsd.save(tmp_path / "m.safetensors")
    adata = lsd_adata()
    other_gene = adata[:, :1].copy()
    other_gene.var_names = ["another"]
    more = anndata.concat([other_gene, adata], axis=1, merge="first", pairwise=True)
    shuffled = more[:, np.random.default_rng(1).permutation(13)].copy()
    other = LSD.load(path, shuffled, "cpu")
    assert other.genes == lsd.genes
    np.testing.assert_array_equal(states(other), states(lsd))
    with pytest.raises(DataError, match=r"lacks 2 genes of the model \(gene0, gene1\)"):
        LSD.load(path, adata[:, 2:], "cpu")


def test_walks_of_other_cells_are_left_behind(lsd, tmp_path):
    path = lsd.save(tmp_path / "m.safetensors")
    other = LSD.load(path, lsd_adata()[::-1].copy(), "cpu")
    assert other.walks is None
    assert other.P is None
    assert any("walks are of other cells" in note for note in other.notes)
    np.testing.assert_array_equal(states(other)[::-1], states(lsd))


def test_a_config_that_is_not_that_of_the_networks_is_not_saved(tmp_path):
    lsd = trained_lsd()
    lsd.cfg.model.z_dim = 4
    with pytest.raises(ConfigError, match=r"cfg\.model was changed"):
        lsd.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_flipped_byte_is_refused(lsd, tmp_path):
    path = lsd.save(tmp_path / "m.safetensors")
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    for at in rng.integers(start, len(whole), 20):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(flipped))
        with pytest.raises(FileFormatError, match="damaged"):
            load_model(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError):
        load_model(path)


def with_model(header, **changes):
    made = json.loads(json.dumps(header))
    made["config"]["model"] |= changes
    return made


HEADERS = {
    "wide": lambda h: with_model(h, z_dim=1024),
    "wider than allowed": lambda h: with_model(h, z_dim=10**12),
    "huge": lambda h: with_model(h, layer_dims={"x_encoder": [65_536, 65_536]}),
    "other likelihood": lambda h: with_model(h, likelihood="nb"),
    "no list": lambda h: with_model(h, layer_dims="rm -rf /"),
    "config": lambda h: {**h, "config": {"__class__": "os.system"}},
    "genes": lambda h: {**h, "genes": ["a"]},
    "many genes": lambda h: {**h, "genes": [str(k) for k in range(10**5)]},
    "same genes": lambda h: {**h, "genes": ["a"] * 12},
    "no genes": lambda h: {**h, "genes": 12},
    "epoch": lambda h: {**h, "epoch": -1},
    "epoch of text": lambda h: {**h, "epoch": "2"},
    "seed": lambda h: {**h, "walks_seed": 0.5},
    "history": lambda h: {**h, "history": "rm -rf /"},
    "later": lambda h: {**h, "version": 99},
    "other": lambda h: {**h, "format": "celldyn.vae"},
    "without": lambda h: {k: v for k, v in h.items() if k != "cells"},
}


@pytest.mark.parametrize("change", list(HEADERS))
def test_a_header_from_anywhere_does_nothing(lsd, tmp_path, change):
    """The checksum is made right again: what is refused is refused by its content."""
    tensors, header = load_tensors(lsd.save(tmp_path / "m.safetensors"))
    made = HEADERS[change](header)
    made["checksum"] = checksum(tensors, made)
    path = save_tensors(tmp_path / "other.safetensors", tensors, made)
    with pytest.raises(FileFormatError):
        load_model(path)


def first(tensors, prefix):
    return next(name for name in sorted(tensors) if name.startswith(prefix))


def changed(tensors, prefix, change):
    name = first(tensors, prefix)
    return {**tensors, name: change(tensors[name])}


TENSORS = {
    "more": lambda t: {**t, "model.extra": np.zeros(3, np.float32)},
    "fewer": lambda t: {k: v for k, v in t.items() if k != "model.log_theta"},
    "double": lambda t: {k: v.astype(np.float64) for k, v in t.items()},
    "turned": lambda t: {k: v.T for k, v in t.items()},
    "NaN": lambda t: changed(t, "model.log_theta", lambda v: v * np.nan),
    "variance": lambda t: changed(
        t, "model.x_encoder.norm.0.running_var", lambda v: -np.ones_like(v)
    ),
    "adam of none": lambda t: {**t, "adam.exp_avg.nothing": np.zeros(3, np.float32)},
    "adam of another kind": lambda t: {**t, "adam.momentum.log_theta": np.zeros(12, np.float32)},
    "adam of another shape": lambda t: changed(t, "adam.exp_avg.", lambda v: v[..., :1]),
    "adam below 0": lambda t: changed(t, "adam.exp_avg_sq.", lambda v: v - 1),
    "walks of text": lambda t: {**t, "walks": np.zeros((3, 4), np.uint8)},
    "walks below 0": lambda t: {**t, "walks": np.full((3, 4), -1, np.int32)},
    "chances outside": lambda t: changed(t, "prior.indices", lambda v: v + 10**6),
    "chances backwards": lambda t: changed(t, "prior.indptr", lambda v: v[::-1]),
    "chances below 0": lambda t: changed(t, "prior.data", lambda v: -v),
    "half of the chances": lambda t: {k: v for k, v in t.items() if k != "prior.data"},
}


@pytest.mark.parametrize("change", list(TENSORS))
def test_tensors_that_do_not_fit_are_refused(lsd, tmp_path, change):
    tensors, header = load_tensors(lsd.save(tmp_path / "m.safetensors"))
    made = {name: np.ascontiguousarray(value) for name, value in TENSORS[change](tensors).items()}
    header["checksum"] = checksum(made, header)
    path = save_tensors(tmp_path / "other.safetensors", made, header)
    with pytest.raises(FileFormatError):
        load_model(path)


def test_walks_beyond_the_cells_of_their_digest_are_no_memory_beyond_them(lsd, tmp_path):
    tensors, header = load_tensors(lsd.save(tmp_path / "m.safetensors"))
    tensors["walks"] = np.full((3, 4), 10**6, np.int32)
    header["checksum"] = checksum(tensors, header)
    path = save_tensors(tmp_path / "other.safetensors", tensors, header)
    with pytest.raises(FileFormatError, match="walks"):
        LSD.load(path, lsd_adata(), "cpu")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="is not there"):
        load_model(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(FileFormatError, match="not a model"):
        load_model(tmp_path / "text.safetensors")
    save_tensors(tmp_path / "other.safetensors", {"a": np.zeros(2)}, {"format": "celldyn.vae"})
    with pytest.raises(FileFormatError, match="not a landscape"):
        load_model(tmp_path / "other.safetensors")


def test_chances_of_ones_own_are_kept(tmp_path):
    adata = lsd_adata()
    lsd = LSD(adata, trained_lsd().cfg, "cpu")
    lsd.set_prior_transition(sparse.csr_matrix(adata.obsp["connectivities"]))
    lsd.prepare_walks()
    lsd.train(1)
    other = LSD.load(lsd.save(tmp_path / "m.safetensors"), adata, "cpu")
    assert abs(other.P - lsd.P).max() < 1e-12
