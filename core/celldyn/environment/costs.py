"""What a run will take, told before it begins: bytes of memory, and seconds.

Shapes: B environments, n cells, d dimensions, h = 4 d, T frames, G raw features that are told.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from celldyn.data.words import counted
from celldyn.devices import free_memory
from celldyn.environment.attention import MASK_CELLS
from celldyn.errors import DataError

USABLE = 0.8
"""Share of free memory that a run may take."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run takes.

    Parameters
    ----------
    state_bytes
        While cells move: states, embeddings, attention.
    frames_bytes
        Positions that are kept, in memory.
    told_bytes
        What is told from them.
    steps
        Steps of all environments together.
    step_seconds
        Of one of them; None where it was not measured.
    """

    state_bytes: int
    frames_bytes: int
    told_bytes: int
    steps: int
    step_seconds: float | None = None

    @property
    def bytes(self) -> int:
        """All memory at its highest."""
        return self.state_bytes + self.frames_bytes + self.told_bytes

    @property
    def seconds(self) -> float | None:
        """How long the run takes; None where it was not measured."""
        return None if self.step_seconds is None else self.steps * self.step_seconds

    def __str__(self) -> str:
        took = "" if self.seconds is None else f", about {_duration(self.seconds)}"
        return f"{counted(self.steps, 'step')}, {in_words(self.bytes)} of memory{took}"


def memory_of(
    n_cells: int,
    dim: int,
    *,
    n_environments: int = 1,
    n_frames: int = 0,
    n_told: int = 0,
    frames_in_memory: bool = True,
    with_velocities: bool = False,
    n_seen: int | None = None,
    steps: int = 0,
) -> Cost:
    """Return what memory a run takes.

    Parameters
    ----------
    n_cells, dim, n_environments
        n, d, B.
    n_frames
        T.
    n_told
        G, raw features that are told of every frame; 0 where none are.
    frames_in_memory
        Whether frames are kept there, not in a file.
    with_velocities
        Whether velocities are kept, too.
    n_seen
        How many other cells a cell sees; None: all.
    steps
        Steps that are made.
    """
    B, n, d = n_environments, n_cells, dim
    h, seen = 4 * d, n if n_seen is None else min(n_seen, n)
    # Measured: up to 16 h numbers a cell are alive at once within a block, of any number of cells.
    state = 4 * B * n * (18 * h + 6 * d)
    mask = 4 * min(n, MASK_CELLS) * (seen if n <= MASK_CELLS or n_seen is not None else 2 * seen)
    frame = 4 * B * n * d * (2 if with_velocities else 1)
    return Cost(
        state_bytes=state + mask,
        frames_bytes=n_frames * frame if frames_in_memory else 0,
        told_bytes=4 * n_frames * B * n * n_told,
        steps=steps,
    )


def free_bytes(device: torch.device) -> int:
    """Return what memory is free where a run is to be."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def require_memory(cost: Cost, device: torch.device) -> None:
    """Refuse a run that would not fit.

    Raises
    ------
    DataError
        With what it needs, what there is, and what would help.
    """
    own = free_memory()
    there = free_bytes(device)
    kept = cost.frames_bytes + cost.told_bytes
    on_device = cost.state_bytes if device.type == "cuda" else cost.bytes
    if on_device > USABLE * there:
        short, need = there, on_device
    elif kept > USABLE * own:
        short, need = own, kept
    else:
        return
    if cost.told_bytes > max(cost.state_bytes, cost.frames_bytes):
        remedy = "keep fewer frames (skip_time), or take positions alone (impute=False)"
    elif cost.frames_bytes > cost.state_bytes:
        remedy = "keep fewer frames (skip_time), or stream them to a .npy file (store_states)"
    else:
        remedy = "take fewer cells or environments at once"
    raise DataError(
        f"this run needs {in_words(need)} of memory and {in_words(short)} are free", remedy
    )


def in_words(n_bytes: float) -> str:
    """Say a size in GB or MB."""
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
