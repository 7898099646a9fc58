"""Columns of obs as categories with names: what cells are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celldyn.data.words import counted, listed
from celldyn.errors import DataError, MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData


def obs_column(adata: AnnData, name: str) -> pd.Series:
    """Return a column of obs.

    Raises
    ------
    MissingKeyError
        If there is none of that name; it lists those there are.
    """
    if name not in adata.obs:
        there = listed(adata.obs.columns, 40)
        raise MissingKeyError(f"obs has no column {name!r}", f"its columns are: {there}")
    column: pd.Series = adata.obs[name]
    return column


def is_categorical(column: pd.Series) -> bool:
    """Whether a column names things (text, categories, true/false) and is not a number."""
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def named(column: pd.Series) -> pd.Categorical:
    """Return a column as categories that are strings, in their own order; missing stay missing."""
    held = pd.Categorical(column)
    codes, names = pd.factorize(held.categories.astype(str).astype(object))
    merged = np.append(codes, -1)[held.codes]  # 1 and "1" get the same name, a missing one none
    return pd.Categorical.from_codes(merged, categories=pd.Index(names, dtype=object))


_TYPE_WORDS = (
    "celltype", "subclass", "cluster", "leiden", "louvain", "annotation", "label", "type", "class",
)  # fmt: skip
_MAX_TYPES = 500


def type_columns(adata: AnnData) -> list[str]:
    """Return the obs columns that can say what type a cell is, the likeliest first.

    A column can if it has 2 to 500 distinct values, none of them missing and none a fraction.
    """

    def can(column: pd.Series) -> bool:
        if column.dtype.kind == "f" or column.isna().any():
            return False
        return 2 <= int(column.nunique()) <= _MAX_TYPES

    def rank(name: str) -> tuple[bool, int]:
        plain = name.casefold().replace("_", "").replace(" ", "")
        hits = [i for i, word in enumerate(_TYPE_WORDS) if word in plain]
        return not is_categorical(adata.obs[name]), min(hits, default=len(_TYPE_WORDS))

    return sorted((str(name) for name in adata.obs.columns if can(adata.obs[name])), key=rank)


def labels(adata: AnnData, column: str) -> pd.Categorical:
    """Return what each cell is called in a column of obs.

    A name like "NA" is a name and not a missing value. Categories without a cell are left out.

    Returns
    -------
    (n_obs,) with categories that are strings.

    Raises
    ------
    MissingKeyError
        If obs has no such column.
    DataError
        If a cell has no value there.
    """
    held = named(obs_column(adata, column))
    missing = np.flatnonzero(held.codes < 0)
    if missing.size:
        first = str(adata.obs_names[missing[0]])
        raise DataError(
            f"obs[{column!r}] has no value for {counted(missing.size, 'cell')}, first {first!r}",
            "name them or leave them out",
        )
    return held.remove_unused_categories()
