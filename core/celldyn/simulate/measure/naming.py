"""Names of the rows of large tables, and tables that take them on trust."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pandas as pd

_BLOCK = 1 << 16
"""Names made at once: pandas and numpy would take millions without a pause for other threads."""


def row_names(unit: str, numbers: Sequence[int]) -> pd.Index[str]:
    """Return the names of rows: unit_0, unit_1, ..."""
    names = np.empty(len(numbers), dtype=object)
    for start in range(0, len(numbers), _BLOCK):
        part = numbers[start : start + _BLOCK]
        # A list of them is three times as fast as numpy's texts, which would be taken apart again.
        names[start : start + _BLOCK] = [f"{unit}_{k}" for k in part]
    return pd.Index(names, dtype=object)


def known_names() -> AbstractContextManager[Any]:
    """Let AnnData take names on trust.

    To find out that they differ it would hash every one and keep the table: a third of a second
    without a sign of life, and 0.1 GB, per million.
    """
    import anndata

    if hasattr(anndata.settings, "check_uniqueness"):
        kept: AbstractContextManager[Any] = anndata.settings.override(check_uniqueness=False)
        return kept
    return nullcontext()
