"""Models on disk: whole or not at all, and nothing of a stranger's file is run."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from celldyn.errors import FileFormatError
from celldyn.persist import atomic_path, load_tensors, save_tensors


def test_a_file_is_replaced_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "deep" / "model.txt"
    with atomic_path(target) as draft:
        draft.write_text("first")

    def fail_halfway():
        with atomic_path(target) as draft:
            draft.write_text("second, half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert target.read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["model.txt"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "store.zarr"
    for name in ("a", "b"):
        with atomic_path(target) as draft:
            draft.mkdir()
            (draft / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]


def test_a_folder_stays_when_the_block_made_nothing(tmp_path):
    target = tmp_path / "store.zarr"
    target.mkdir()
    (target / "a").write_text("a")
    with pytest.raises(FileNotFoundError), atomic_path(target):
        pass
    assert (target / "a").read_text() == "a"


def test_arrays_and_header_come_back(tmp_path):
    tensors = {"w": np.arange(6.0).reshape(2, 3)[:, ::-1], "i": np.array([1, 2], np.int32)}
    tensors["one number"] = np.array(2.5)
    header = {"gene": "Myc/µ", "scores": {"A": 0.5}}
    save_tensors(tmp_path / "m.safetensors", tensors, header)
    back, said = load_tensors(tmp_path / "m.safetensors")
    assert said == header
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape


NO_MODELS = {
    "empty": b"",
    "text": b"text",
    "pickle": pickle.dumps({"a": 1}),
    "huge header": b"\xff" * 7 + b"\x7f" + b"{}",
    "no header of ours": b"\x02" + b"\0" * 7 + b"{}",
}


@pytest.mark.parametrize("content", NO_MODELS.values(), ids=NO_MODELS)
def test_what_is_no_model_is_one_sentence(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"m\.safetensors is not a model"):
        load_tensors(tmp_path / "m.safetensors")


def test_a_header_nested_without_end_is_one_sentence(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "m.safetensors"
    save_file({"w": np.zeros(2)}, path, metadata={"celldyn": "[" * 200_000})
    with pytest.raises(FileFormatError, match=r"m\.safetensors is not a model"):
        load_tensors(path)


def test_a_missing_model_is_one_sentence(tmp_path):
    with pytest.raises(FileFormatError, match="is not there; check the path"):
        load_tensors(tmp_path / "gone.safetensors")
