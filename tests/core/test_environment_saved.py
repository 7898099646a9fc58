"""Environments on disk: all comes back, a training goes on bit for bit, and no file does harm."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from environment_model_cases import config, same, tables, trained

from celldyn.environment.fitting import fit_job
from celldyn.environment.mask_file import read_mask, write_mask
from celldyn.environment.saved import load, pack, save, unpack
from celldyn.errors import FileFormatError
from celldyn.jobs import run
from celldyn.persist import checksum, load_tensors, save_tensors


def test_all_of_an_environment_comes_back(tmp_path):
    fitted = trained()
    back = load(save(fitted, tmp_path / "a.safetensors"))
    same(back, fitted)
    np.testing.assert_array_equal(back.train_mask, fitted.train_mask)
    for mine, its in zip(back.preprocessing.maps, fitted.preprocessing.maps, strict=True):
        assert mine.names == its.names
        x = np.abs(np.random.default_rng(0).normal(size=(5, its.n_raw)))
        np.testing.assert_array_equal(mine.forward(x.copy()), its.forward(x.copy()))
    x = torch.randn(7, 2)
    embedded = fitted.policy.embed(torch.randn(7, 4))
    torch.testing.assert_close(
        back.policy.mean_action(x, x, embedded), fitted.policy.mean_action(x, x, embedded),
        rtol=0, atol=0,
    )  # fmt: skip
    assert all(parameter.requires_grad for parameter in back.policy.parameters())
    assert not back.policy.training


def test_a_file_may_do_without_what_training_needs(tmp_path):
    fitted = replace(trained(), train_mask=None, history=[], notes=())
    whole = save(fitted, tmp_path / "whole.safetensors")
    small = save(fitted, tmp_path / "small.safetensors", resume=False)
    assert small.stat().st_size < 0.5 * whole.stat().st_size
    back = load(small)
    assert back.resume == {}
    assert back.train_mask is None
    assert back.updates == fitted.updates >= 3


def test_a_resumed_training_is_one_that_never_stopped(tmp_path):
    whole = run(fit_job(tables(), config(), device="cpu"), bar=False)
    kept = []
    first = config(max_timesteps=400, checkpoint_iterations=1)
    run(fit_job(tables(), first, device="cpu", checkpoint=kept.append), bar=False)
    assert kept[0].updates == 1
    start = load(save(kept[0], tmp_path / "a.safetensors"))
    resumed = run(fit_job(tables(), config(), start=start, device="cpu"), bar=False)
    assert resumed.updates == whole.updates >= 3
    same(resumed, whole)


def test_names_that_are_none(tmp_path):
    with pytest.raises(FileFormatError, match=r"end it in \.safetensors"):
        save(trained(), tmp_path / "a.pt")
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(FileFormatError, match="is a folder"):
        save(trained(), tmp_path / "b.safetensors")
    with pytest.raises(FileFormatError, match="is not there"):
        load(tmp_path / "c.safetensors")


# --- files that are not ours, or not any more -------------------------------------------------


def changed(what, value):
    """Return tensors and a header of which one part was changed, with a checksum that fits."""
    tensors, header = pack(trained())
    tensors, header = dict(tensors), json.loads(json.dumps(header))
    if what in tensors:
        if value is None:
            tensors.pop(what)
        else:
            tensors[what] = value(tensors[what])
    elif value is None:
        header.pop(what)
    else:
        header[what] = value(header[what])
    header["checksum"] = checksum(tensors, header)
    return tensors, header


def huge(shape):
    """Return an array that says it is large and is not."""
    return lambda _: np.broadcast_to(np.float32(0), shape)


def with_nan(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("format", lambda _: "another"),
        ("format", None),
        ("config", None),
        ("config", lambda held: held | {"dim": 3}),
        ("config", lambda held: held | {"dim": 10**9}),
        ("config", lambda held: held | {"attention_blocks": 64}),
        ("config", lambda held: held | {"attention_heads": 3}),
        ("config", lambda held: held | {"evil": 1}),
        ("config", lambda _: [1]),
        ("inputs", lambda _: [0, 1]),
        ("inputs", lambda _: [7]),
        ("targets", lambda _: [0]),
        ("targets", lambda _: [1, 1]),
        ("targets", lambda _: ["1"]),
        ("targets", lambda _: [True]),
        ("updates", lambda _: -1),
        ("timesteps", lambda _: 1e400),
        ("history", lambda _: [[1]]),
        ("history", lambda _: [{"reward": "high"}]),
        ("obs_names", lambda held: held[:-1]),
        ("obs_names", lambda _: 3),
        ("notes", lambda _: None),
        ("preprocessing", lambda held: held | {"modalities": held["modalities"][:1]}),
        ("train_mask", lambda mask: mask.astype(np.float32)),
        ("policy.critic.weight", None),
        ("policy.critic.weight", with_nan),
        ("policy.critic.weight", lambda array: array.astype(np.float64)),
        ("policy.critic.weight", lambda array: array[:, :-1]),
        ("policy.return_scale.square", lambda array: array * -1),
        ("policy.of_features.weight", huge((16, 2))),
        ("pinning.0.last.weight", huge((5, 4))),
        ("preprocessing.0/components", with_nan),
        ("preprocessing.0/std", lambda array: array * 0),
        ("resume.kl_beta", with_nan),
    ],
)
def test_a_header_that_lies_is_one_sentence(what, value):
    with pytest.raises(FileFormatError) as caught:
        unpack(*changed(what, value))
    assert len(str(caught.value)) < 300


def test_later_versions_and_flipped_bytes_are_told(tmp_path):
    with pytest.raises(FileFormatError, match="later version"):
        unpack(*changed("version", lambda _: 2))
    tensors, header = pack(trained())
    tensors = dict(tensors)
    tensors["policy.critic.bias"] = tensors["policy.critic.bias"] + 1
    with pytest.raises(FileFormatError, match="checksum"):
        unpack(tensors, header)
    file = save(trained(), tmp_path / "a.safetensors")
    whole = file.read_bytes()
    for cut in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(FileFormatError):
            load(file)
    file.write_bytes(struct.pack("<Q", 2**60) + whole[8:])
    with pytest.raises(FileFormatError):
        load(file)


def test_another_model_of_ours_is_no_environment(tmp_path):
    save_tensors(tmp_path / "a.safetensors", {"x": np.zeros(2)}, {"format": "celldyn.vae"})
    with pytest.raises(FileFormatError, match="not a virtual cell environment"):
        load(tmp_path / "a.safetensors")
    tensors, header = load_tensors(tmp_path / "a.safetensors")
    assert header["format"] == "celldyn.vae"
    assert set(tensors) == {"x"}


# --- masks ------------------------------------------------------------------------------------


def test_masks_are_texts_of_one_number_a_cell(tmp_path):
    mask = np.array([True, False, True])
    file = write_mask(tmp_path / "a.mask", mask)
    assert file.read_text() == "1.0\n0.0\n1.0\n"
    np.testing.assert_array_equal(read_mask(file, 3), mask)
    np.savetxt(file, mask.astype(float))
    np.testing.assert_array_equal(read_mask(file), mask)
    file.write_text("1,0,1")
    np.testing.assert_array_equal(read_mask(file), mask)


@pytest.mark.parametrize(
    ("text", "said"),
    [("1 0 x", "than numbers"), ("1 0 0.5", "than 0 and 1"), ("", "than 0 and 1"),
     ("nan", "than 0 and 1"), ("1 0", "is of 2 cells, and the data have 3")],
)  # fmt: skip
def test_masks_that_are_none(tmp_path, text, said):
    (tmp_path / "a.mask").write_text(text)
    with pytest.raises(FileFormatError, match=said):
        read_mask(tmp_path / "a.mask", 3)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_mask(tmp_path / "b.mask")


def test_a_training_does_not_go_on_elsewhere(tmp_path):
    start = trained()
    with pytest.raises(FileFormatError, match="on other cells"):
        run(fit_job([each[::-1] for each in tables()], start=start, device="cpu"), bar=False)
    other = start.config.replace(num_environments=2)
    with pytest.raises(FileFormatError, match="of another training"):
        run(fit_job(tables(), other, start=start, device="cpu"), bar=False)
