"""How far cells went, and along how long a way: what a perturbation amounts to.

Shapes: T frames, n cells, d dimensions of the space or features of a modality; leading axes of
frames come first. Source: specs/environment.md C (effect sizes; equation 9 of the paper).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def displacement(start: ArrayLike, end: ArrayLike) -> Floats:
    """Return how far each cell went, ‖x_T − x_0‖, (..., n) of positions (..., n, d)."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    if a.shape != b.shape:
        raise DataError(
            f"cells are {a.shape} at the start and {b.shape} at the end", "give the same cells"
        )
    found: Floats = np.linalg.norm(b - a, axis=-1)
    return found


def effect_size(start: ArrayLike, end: ArrayLike) -> float:
    """Return the mean over cells of how far they went: the paper's effect size."""
    return float(displacement(start, end).mean())


def path_length(frames: ArrayLike, *, mean_of_dimensions: bool = False) -> Floats:
    """Return the length of each cell's way, (n,).

    Parameters
    ----------
    frames
        (T, n, d).
    mean_of_dimensions
        Whether a step counts as the mean of |Δx| over dimensions, as the authors' notebooks have
        it, and not as its length, as their paper has it.
    """
    x = np.asarray(frames)
    if x.ndim != 3:
        raise DataError(f"frames are of shape {x.shape}", "give (times, cells, dimensions)")
    length = np.zeros(x.shape[1])
    for before, after in pairwise(x):
        change = np.asarray(after, np.float64) - before
        step = np.abs(change).mean(-1) if mean_of_dimensions else np.linalg.norm(change, axis=-1)
        length += step
    return length


def trajectory_length(frames: ArrayLike, *, mean_of_dimensions: bool = False) -> float:
    """Return the mean over cells of the length of their ways; see `path_length`."""
    return float(path_length(frames, mean_of_dimensions=mean_of_dimensions).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """What happened to each cell.

    Parameters
    ----------
    displacement
        (n,) ‖x_T − x_0‖.
    length
        (n,) Σ_t ‖x_t+1 − x_t‖.
    shift
        (n,) ‖x_T − x_T of the control‖; None without a control.
    """

    displacement: Floats
    length: Floats
    shift: Floats | None = None

    @classmethod
    def of(cls, frames: ArrayLike, control: ArrayLike | None = None) -> Effect:
        """Measure frames (T, n, d), beside those of a run without the perturbation."""
        x = np.asarray(frames)
        shift = None if control is None else displacement(np.asarray(control)[-1], x[-1])
        return cls(displacement(x[0], x[-1]), path_length(x), shift)

    @property
    def size(self) -> float:
        """Mean displacement."""
        return float(self.displacement.mean())

    def table(self, groups: ArrayLike | None = None) -> pd.DataFrame:
        """Return mean effect, length and shift over all cells and over each group of them.

        Parameters
        ----------
        groups
            (n,) names; None: all cells only.
        """
        import pandas as pd

        rows = []
        for name, cells in group_masks(groups, len(self.displacement)):
            row: dict[str, object] = {
                "group": name,
                "n_cells": int(cells.sum()),
                "effect": float(self.displacement[cells].mean()),
                "length": float(self.length[cells].mean()),
            }
            if self.shift is not None:
                row["shift"] = float(self.shift[cells].mean())
            rows.append(row)
        return pd.DataFrame(rows)


ALL = "all"
"""What the group of all cells is called."""


def group_masks(groups: ArrayLike | None, n: int) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the mask of all cells, then one per group, by name.

    Raises
    ------
    DataError
        If there is not one name per cell.
    """
    masks = [(ALL, np.ones(n, dtype=bool))]
    if groups is None:
        return masks
    names = np.asarray(groups).astype(str)
    if names.shape != (n,):
        raise DataError(
            f"there are {names.size} names of groups for {n} cells", "give one per cell"
        )
    return masks + [(str(name), names == name) for name in np.unique(names)]
