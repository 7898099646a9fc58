"""Columns about cells, of one table or of a table per modality, as codes and numbers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data.categories import named
from celldyn.data.words import counted, listed
from celldyn.errors import DataError, MissingKeyError
from celldyn.vae.inputs import Floats, Groups
from celldyn.vae.roles import ONE_GROUP

if TYPE_CHECKING:
    from anndata import AnnData

MAX_CATEGORIES = 1000
"""A column with more distinct values, and one for every second cell, is no grouping of cells."""


@dataclass(frozen=True, slots=True, eq=False)
class CellTable:
    """Where a column about the cells is looked for.

    Parameters
    ----------
    cells
        (n_obs,) names of the cells.
    tables
        Tables of some or all of them; the first that has a column gives it, and the later ones
        fill in what cells that table does not have.
    """

    cells: pd.Index
    tables: tuple[pd.DataFrame, ...]

    @classmethod
    def of_anndata(cls, adata: AnnData) -> CellTable:
        """Return the obs of an AnnData."""
        return cls(adata.obs_names, (adata.obs,))

    @classmethod
    def of_mudata(cls, mdata: Any, modalities: Sequence[str]) -> CellTable:  # noqa: ANN401
        """Return the obs of a MuData, then those of these modalities."""
        return cls(mdata.obs.index, (mdata.obs, *(mdata.mod[key].obs for key in modalities)))

    def column(self, name: str, role: str) -> pd.Series:
        """Return a column for all cells.

        Parameters
        ----------
        name
            The column.
        role
            The parameter that names it, for the sentence of an error.

        Raises
        ------
        MissingKeyError
            If no table has it; it names those that are spelt alike.
        DataError
            If a table has it twice, or names of cells that are not unique.
        """
        having = [table for table in self.tables if name in table.columns]
        if not having:
            raise MissingKeyError(
                f"{role} names {name!r}, which is no column of obs", self._remedy(name)
            )
        for table in having:
            if list(table.columns).count(name) > 1:
                raise DataError(f"obs has two columns {name!r}", "rename one of them")
        first, *others = having
        if len(first) == len(self.cells) and first.index.equals(self.cells):
            only: pd.Series = first[name]
            return only
        for table in having:
            if not table.index.is_unique:
                raise DataError(
                    "a modality has names of cells that stand more than once",
                    "call obs_names_make_unique() on it, then update() on the MuData",
                )
        values = first[name].astype(object).reindex(self.cells)  # whole numbers stay whole
        lacks = ~self.cells.isin(first.index)
        for table in others:
            fills = lacks & self.cells.isin(table.index)
            values[fills] = table[name].astype(object).reindex(self.cells[fills])
            lacks &= ~fills
        return values.infer_objects()

    def _remedy(self, name: str) -> str:
        there = list(dict.fromkeys(str(key) for table in self.tables for key in table.columns))
        folded = {key.casefold(): key for key in there}
        near = difflib.get_close_matches(name.casefold(), list(folded), n=5, cutoff=0.6)
        if near:
            return f"did you mean {listed(folded[key] for key in near)}"
        return f"its columns are: {listed(there, 40)}"


def groups_of(table: CellTable, key: str, role: str, known: Sequence[str] = ()) -> Groups:
    """Return a column as codes.

    Parameters
    ----------
    table
        Where it is looked for.
    key
        The column; `ONE_GROUP` for none.
    role
        The parameter that names it.
    known
        Categories that come first, whether a cell has them or not: those of a model that these
        cells are a query to.

    Returns
    -------
    Groups whose names are `known`, then what else occurs, sorted as the column's categories are.

    Raises
    ------
    MissingKeyError
        If there is no such column.
    DataError
        If a cell has no value there, or nearly every cell has one of its own.
    """
    if key == ONE_GROUP:
        return Groups.one(len(table.cells))
    held = named(table.column(key, role))
    missing = int(np.count_nonzero(held.codes < 0))
    if missing:
        raise DataError(
            f"{role} names obs[{key!r}], which has no value for {counted(missing, 'cell')} of "
            f"{len(held):,}",
            "name a category for them, leave these cells out, or choose another column",
        )
    held = held.remove_unused_categories()
    found = [str(name) for name in held.categories]
    if len(found) > MAX_CATEGORIES and 2 * len(found) > len(held):
        raise DataError(
            f"{role} names obs[{key!r}], which has {len(found):,} different values in "
            f"{len(held):,} cells and groups none of them",
            "name a column with a category for each batch, donor or protocol",
        )
    names = tuple(dict.fromkeys((*known, *found)))
    at = {name: place for place, name in enumerate(names)}
    places = np.array([at[name] for name in found], np.int64)
    return Groups(key, names, places[held.codes])


def numbers_of(table: CellTable, key: str, role: str) -> Floats:
    """Return a column of numbers: (n_obs,) float32.

    Raises
    ------
    MissingKeyError
        If there is no such column.
    DataError
        If it holds no numbers, or a value is missing or not finite.
    """
    column = table.column(key, role)
    if not pd.api.types.is_numeric_dtype(column):
        raise DataError(
            f"{role} names obs[{key!r}], which holds names and no numbers",
            "name a column of numbers, or give it as a categorical key",
        )
    values: NDArray[np.float64] = column.to_numpy(np.float64, na_value=np.nan)
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise DataError(
            f"{role} names obs[{key!r}], which has no finite number for {counted(wrong, 'cell')} "
            f"of {len(values):,}",
            "fill them in, leave these cells out, or choose another column",
        )
    return values.astype(np.float32)


def size_factors_of(table: CellTable, key: str) -> Floats:
    """Return known library sizes: (n_obs,) float32 above 0; raises as `numbers_of` does."""
    values = numbers_of(table, key, "size_factor_key")
    wrong = int(np.count_nonzero(values <= 0))
    if wrong:
        raise DataError(
            f"size_factor_key names obs[{key!r}], which is 0 or less in {counted(wrong, 'cell')}",
            "give a size above 0 for every cell, or leave these cells out",
        )
    return values
