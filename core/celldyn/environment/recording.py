"""Frames of a run: kept in memory, or streamed to a file.

Shapes: T frames, n cells, d dimensions; B environments, or no such axis for a single one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.data.words import reason
from celldyn.errors import ConfigError, FileFormatError

Store: TypeAlias = Literal["cpu"] | str | Path | None
"""Where frames go: "cpu" (memory), a .npy file, or None (only the last is kept)."""


class Recorder:
    """Takes frames as they come.

    Parameters
    ----------
    most
        How many there can be.
    shape
        Of one frame.
    store
        "cpu", or a .npy file that is written as the run goes.

    Raises
    ------
    ConfigError
        If the store is neither.
    FileFormatError
        If the file cannot be written.
    """

    def __init__(self, most: int, shape: tuple[int, ...], store: Store = "cpu") -> None:
        self.count, self.path = 0, checked_store(store)
        self._last_only = store is None
        size = (1 if self._last_only else most, *shape)
        if self.path is None:
            self._frames: NDArray[np.float32] = np.empty(size, np.float32)
            return
        try:
            self._frames = np.lib.format.open_memmap(
                self.path, mode="w+", dtype=np.float32, shape=size
            )
        except OSError as error:
            raise FileFormatError(
                f"frames cannot be written to {self.path} ({reason(error)})",
                "choose another file, or keep them in memory with store_states='cpu'",
            ) from error

    def take(self, frame: Tensor) -> None:
        """Keep a frame."""
        at = 0 if self._last_only else self.count
        out = torch.from_numpy(self._frames[at])
        out.copy_(frame.detach().reshape(out.shape))
        self.count += 1

    def frames(self) -> NDArray[np.float32]:
        """Return the frames that came, (T, ...); of a file, as they lie on disk."""
        n = min(self.count, 1) if self._last_only else self.count
        if self.path is None:
            return self._frames if n == len(self._frames) else self._frames[:n].copy()
        whole, self._frames = self._frames, np.empty((0,), np.float32)
        shape = whole.shape
        whole.flush()  # type: ignore[attr-defined]
        del whole
        if n < shape[0]:
            _shorten(self.path, (n, *shape[1:]))
        kept: NDArray[np.float32] = np.load(self.path, mmap_mode="r")
        return kept

    def close(self) -> None:
        """Let go of what is held; a file that is not finished is removed."""
        self._frames = np.empty((0,), np.float32)
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def checked_store(store: Store) -> Path | None:
    """Return the file of a store, None for memory."""
    if store is None or store in ("cpu", "cuda", "mps", "device"):
        return None
    if not isinstance(store, str | Path) or Path(store).suffix != ".npy":
        raise ConfigError(
            f"store_states is {str(store)!r}", "give 'cpu', a file that ends in .npy, or None"
        )
    return Path(store)


def _shorten(path: Path, shape: tuple[int, ...]) -> None:
    """Cut a .npy file to fewer frames; its header keeps its length."""
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape})
    with path.open("r+b") as file:
        first = file.read(12)
        # Magic, version, and the length of the header in 2 bytes, or in 4 since version 2.
        text = 10 if first[6] == 1 else 12
        room = int.from_bytes(first[8:text], "little")
        file.seek(text)
        file.write(header.encode("ascii").ljust(room - 1) + b"\n")
        file.truncate(text + room + 4 * math.prod(shape))


def frame_steps(time: float, skip_time: float, delta: float) -> tuple[int, int]:
    """Return how many steps a time is, and how many there are between frames.

    Raises
    ------
    ConfigError
        If a time is not positive.
    """
    for what, value in (("time", time), ("skip_time", skip_time)):
        if not 0 < value < np.inf:
            raise ConfigError(f"{what} is {value!r} s", "give a number of seconds above 0")
    return max(round(time / delta), 1), max(round(skip_time / delta), 1)


def frames_of(steps: int, every: int) -> int:
    """Return the most frames of a run: the start, every so many steps, and the end."""
    return 1 + math.ceil(steps / every)
