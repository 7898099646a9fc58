"""Putting the cells and features of one matrix where a setup has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from celldyn.data.genes import matrix_of
from celldyn.data.words import counted, listed
from celldyn.errors import DataError
from celldyn.vae.backed import MappedCounts
from celldyn.vae.counts import HeldCounts
from celldyn.vae.csr import map_columns, take_rows
from celldyn.vae.inputs import CountMatrix, Ints
from celldyn.vae.setup_record import ModalitySetup

if TYPE_CHECKING:
    from anndata import AnnData

MIN_SHARED = 0.5
"""A query has at least this share of the features that the model knows."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The matrix of one modality, before it is looked at.

    Parameters
    ----------
    setup
        What it is to become.
    matrix
        As the data set holds it; None where it has no such modality.
    cells
        (n_obs,) its row of each cell, -1 where absent; None if they are the same.
    columns
        (n_matrix_features,) which feature of the setup each column is, -1 for none; None if they
        are the same.
    """

    setup: ModalitySetup
    matrix: Any
    cells: Ints | None
    columns: Ints | None


def places_of(adata: AnnData, cells: pd.Index, name: str) -> Ints | None:
    """Return the row of each cell in a modality; None if that has the same cells."""
    if adata.obs_names.equals(cells):
        return None
    if not adata.obs_names.is_unique or not cells.is_unique:
        raise DataError(
            f"names of cells stand more than once in {name!r}",
            "call obs_names_make_unique() on it",
        )
    if not adata.obs_names.isin(cells).all():
        raise DataError(
            f"{name!r} has cells that the MuData's own obs lacks", "call update() on the MuData"
        )
    return np.asarray(adata.obs_names.get_indexer(cells), np.int64)


def matched(
    adata: AnnData, wanted: ModalitySetup, cells: Ints | None
) -> tuple[Source, tuple[str, ...]]:
    """Match the features of a data set to those of a setup."""
    matrix = matrix_of(adata, wanted.layer)
    names = adata.var_names.astype(str)
    if tuple(names) == wanted.features:
        return Source(wanted, matrix, cells, None), ()
    if not names.is_unique:
        raise DataError(
            f"names of features stand more than once in {wanted.name!r}",
            "call var_names_make_unique() on it",
        )
    columns = np.asarray(pd.Index(wanted.features).get_indexer(names), np.int64)
    n_shared = int(np.count_nonzero(columns >= 0))
    n_wanted = len(wanted.features)
    if n_shared < MIN_SHARED * n_wanted:
        raise DataError(
            f"only {n_shared:,} of the {counted(n_wanted, 'feature')} that the model knows are in "
            f"{wanted.name!r}",
            "give data with the same features, under the same names",
        )
    source = Source(wanted, matrix, cells, columns)
    if n_shared == n_wanted:
        return source, ()
    lacking = pd.Index(wanted.features).difference(names, sort=False)
    note = (
        f"{wanted.name} has no {counted(n_wanted - n_shared, 'feature')} of those that the model "
        f"knows; they count as 0: {listed(lacking, 5)}."
    )
    return source, (note,)


def placed(counts: Any, source: Source, n_obs: int) -> CountMatrix:  # noqa: ANN401
    """Put cells and features where the setup has them."""
    if source.cells is None and source.columns is None:
        held: CountMatrix = counts
        return held
    n_features = len(source.setup.features)
    if not isinstance(counts, HeldCounts):
        cells = np.arange(n_obs, dtype=np.int64) if source.cells is None else source.cells
        return MappedCounts(counts, cells, source.columns, n_features)
    csr = counts.csr if source.cells is None else take_rows(counts.csr, source.cells)
    if source.columns is not None:
        csr = map_columns(csr, source.columns, n_features)
    return HeldCounts(csr)
