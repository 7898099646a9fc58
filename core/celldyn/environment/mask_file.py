"""Which cells were trained on, as a text of one number a line: the reference's `.mask` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.data.words import counted, reason
from celldyn.errors import FileFormatError
from celldyn.persist import atomic_path


def write_mask(path: Path | str, mask: ArrayLike) -> Path:
    """Write a mask, (n,) bool: 1 for a cell that is trained on, 0 for one held out."""
    path = Path(path)
    values = np.asarray(mask, np.bool_).reshape(-1)
    with atomic_path(path) as draft:
        draft.write_text("".join(f"{float(value)}\n" for value in values), encoding="ascii")
    return path


def read_mask(path: Path | str, n_cells: int | None = None) -> NDArray[np.bool_]:
    """Return a mask, (n,) bool.

    Parameters
    ----------
    path
        What `write_mask` or CellTRIP wrote.
    n_cells
        How many cells it has to be of; None for any.

    Raises
    ------
    FileFormatError
        If it is missing, has something else than zeros and ones, or is of other cells.
    """
    path = Path(path)
    try:
        words = path.read_text(encoding="utf-8").replace(",", " ").split()
        values = np.array(words, np.float64)
    except OSError as error:
        raise FileFormatError(
            f"the mask {path} cannot be read ({reason(error)})", "check the path"
        ) from error
    except ValueError as error:
        raise FileFormatError(
            f"{path.name} is no mask: it has something else than numbers",
            "give a text of one 0 or 1 per cell",
        ) from error
    if not len(values) or not np.isin(values, (0.0, 1.0)).all():
        raise FileFormatError(
            f"{path.name} is no mask: it has something else than 0 and 1",
            "give a text of one 0 or 1 per cell",
        )
    if n_cells is not None and len(values) != n_cells:
        raise FileFormatError(
            f"{path.name} is of {counted(len(values), 'cell')}, and the data have {n_cells:,}",
            "give the mask of these cells",
        )
    return np.asarray(values == 1.0)
