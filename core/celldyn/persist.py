"""Models on disk: safetensors and JSON, written whole or not at all; never pickle."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import CelldynError, FileFormatError


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `target` that replaces it when the block ends well.

    The block writes a file or a folder there. If it raises, or the process dies, `target` is what
    it was before.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        draft = room / target.name
        yield draft
        if target.is_dir():
            target.rename(room / "old")  # a folder cannot be replaced in one step
            try:
                draft.rename(target)
            except OSError:
                (room / "old").rename(target)
                raise
        else:
            draft.replace(target)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def save_tensors(
    path: Path | str, tensors: Mapping[str, NDArray[Any]], header: Mapping[str, Any]
) -> Path:
    """Write named arrays and a JSON header to one safetensors file, atomically."""
    from safetensors.numpy import save_file

    whole = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with atomic_path(path) as draft:
        save_file(whole, draft, metadata={"celldyn": json.dumps(header)})
    return Path(path)


def load_tensors(path: Path | str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises
    ------
    FileFormatError
        If it is missing, is not safetensors, or was not written by celldyn.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"{path} is not there", "check the path")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["celldyn"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
        raise FileFormatError(
            f"{path.name} is not a model that celldyn saved",
            "give a .safetensors file written by celldyn's export or save",
        ) from error
    if not isinstance(header, dict):
        raise FileFormatError(f"{path.name} has a damaged header", "export the model again")
    return tensors, header


def checksum(tensors: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all names, shapes and bytes, and of the header's other values."""
    whole = hashlib.sha256()
    rest = {key: value for key, value in header.items() if key != "checksum"}
    whole.update(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        whole.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


@contextmanager
def unpacking(
    tensors: Mapping[str, NDArray[Any]],
    header: Mapping[str, Any],
    file_format: str,
    version: int,
    *,
    what: str,
    kind: str,
    remedy: str,
) -> Iterator[None]:
    """Check the header of a model, and say in a sentence whatever goes wrong within the block.

    Parameters
    ----------
    tensors, header
        What `load_tensors` read.
    file_format, version
        What the header has to name, and the latest version that is understood.
    what, kind
        What sentences call it: "the landscape", "a landscape".
    remedy
        What to give instead.

    Raises
    ------
    FileFormatError
        If it is something else, damaged, or written by a later version.
    """
    try:
        if header["format"] != file_format:
            raise ValueError(header["format"])
        if int(header["version"]) > version:
            raise FileFormatError(f"{what} was written by a later version", "install that version")
        if header["checksum"] != checksum(tensors, header):
            raise FileFormatError(
                f"{what} is damaged: its values do not fit its checksum",
                "take another copy of the file, or train again",
            )
        yield
    except FileFormatError:
        raise
    except (CelldynError, KeyError, TypeError, ValueError, AttributeError, RuntimeError,
            OverflowError, IndexError, RecursionError) as error:  # fmt: skip
        raise FileFormatError(f"this is not {kind}, or it is damaged", remedy) from error
