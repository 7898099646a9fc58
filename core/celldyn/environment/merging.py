"""Several tables of cells as one modality, in memory or left on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from celldyn.data.words import listed
from celldyn.environment.preprocessing_blocks import stays_on_disk
from celldyn.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData


def merge_adatas(tables: Sequence[AnnData], names: Sequence[str] | None = None) -> AnnData:
    """Return the cells of several tables, one after the other, with the features that all have.

    Parameters
    ----------
    tables
        The tables. Where any is on disk, so is the whole: anndata's AnnCollection, whose rows are
        read in blocks; else it is an AnnData.
    names
        What an error calls them.

    Raises
    ------
    DataError
        If there is none, they share no feature, or two cells have one name.
    """
    import pandas as pd

    if not tables:
        raise DataError("there is no table to merge", "give at least one")
    called = [f"table {k}" for k in range(len(tables))] if names is None else list(names)
    if len(tables) == 1:
        return tables[0]
    cells = pd.Index([name for table in tables for name in table.obs_names])
    if not cells.is_unique:
        raise DataError(
            f"{listed(called, 4)} have cells of the same name, such as "
            f"{str(cells[cells.duplicated()][0])!r}",
            "give cells names that tell tables apart",
        )
    if not set.intersection(*(set(table.var_names) for table in tables)):
        raise DataError(
            f"{listed(called, 4)} have no feature in common", "merge tables of one modality"
        )
    if any(table.isbacked or stays_on_disk(table.X) for table in tables):
        from anndata.experimental import AnnCollection

        return AnnCollection(list(tables), join_vars="inner", join_obs="inner")
    import anndata

    return anndata.concat(list(tables), join="inner")
