"""A modality read in blocks of cells: AnnData in memory or on disk, or any matrix.

A block is dense float64 whatever the modality is stored as, so that what is computed of it does
not depend on how it is stored. Shapes: n cells, G raw features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import counted, listed, reason
from celldyn.errors import CelldynError, DataError, MissingKeyError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]

BLOCK_NUMBERS = 1 << 20
"""Numbers that are made dense at once."""

_GAP = 2
"""Reading on over rows that are not wanted is cheaper than many reads, up to this many per row."""


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """The matrix of anndata's AnnCollection, several files as one, whose rows are read alone."""

    data: Any
    dtype: np.dtype[Any] = field(default=np.dtype(np.float32))
    group: None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n_obs, n_features)."""
        n, n_features = self.data.shape
        return int(n), int(n_features)

    def __getitem__(self, rows: Any) -> Any:  # noqa: ANN401
        whole = np.arange(self.shape[0])
        return self.data[whole[rows]].X


@dataclass(frozen=True, eq=False)
class Modality:
    """One modality, read in blocks.

    Parameters
    ----------
    data
        (n, G) AnnData in memory or backed, of which X is read; anndata's AnnCollection of several;
        an array; or a sparse matrix.
    name
        What an error calls it.
    columns
        (G',) which columns are wanted, in which order; None for all.

    Raises
    ------
    DataError
        If it has no cells or no features, is no table of numbers, or is on disk stored by columns.
    """

    data: Any
    name: str = "modality 0"
    columns: Ints | None = field(default=None)

    def __post_init__(self) -> None:
        shape = getattr(self.data, "shape", ())
        if len(shape) != 2 or self._matrix is None:
            raise DataError(
                f"{self.name} is no table of cells by features",
                "give an AnnData with X, an array, or a sparse matrix",
            )
        for n, what in zip(shape, ("cells", "features"), strict=True):
            if n == 0:
                raise DataError(
                    f"{self.name} has no {what}", "check the filters that were applied to it"
                )
        dtype = np.dtype(getattr(self._matrix, "dtype", float))
        if dtype.kind not in "biuf":
            raise DataError(f"{self.name} holds {dtype} instead of numbers", "write it as float32")
        if self._on_disk and getattr(self._matrix, "format", "") == "csc":
            raise DataError(
                f"{self.name} is on disk stored by columns, so that no cell can be read alone",
                "read it into memory, or save it as a CSR matrix",
            )

    @property
    def n(self) -> int:
        """Cells."""
        return int(self.data.shape[0])

    @property
    def n_features(self) -> int:
        """Features, of those that are wanted."""
        return int(self.data.shape[1]) if self.columns is None else len(self.columns)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of all features, as the data have them; numbers where they have none."""
        names = getattr(self.data, "var_names", None)
        return tuple(map(str, range(self.data.shape[1]) if names is None else names))

    @property
    def _on_disk(self) -> bool:
        return bool(getattr(self.data, "isbacked", False)) or stays_on_disk(self._matrix)

    @cached_property
    def _view(self) -> tuple[Any, Ints | None, Ints | None]:
        """What is read, and which rows and columns of it: views of what is on disk stay there."""
        data = self.data
        base = getattr(data, "_adata_ref", None)
        if base is None or not data.is_view or not (data.isbacked or stays_on_disk(base.X)):
            return data, None, None
        rows = base.obs_names.get_indexer(data.obs_names)
        columns = base.var_names.get_indexer(data.var_names)
        same = np.array_equal(columns, np.arange(base.n_vars))
        return base, rows.astype(np.intp), None if same else columns.astype(np.intp)

    @cached_property
    def _matrix(self) -> Any:  # noqa: ANN401
        whole = self._view[0]
        if type(whole).__name__ in ("AnnCollection", "AnnCollectionView"):
            return Collected(whole)
        matrix = whole.X if hasattr(whole, "obs_names") else whole
        if getattr(matrix, "format", None) in ("csr", "csc", None):
            return matrix if hasattr(matrix, "shape") else None
        return matrix.tocsr()

    def blocks(
        self, cells: Ints | None = None, *, most: int | None = None
    ) -> Iterator[tuple[Ints, Floats]]:
        """Yield cells, and their raw values, until all wanted ones were given.

        What is on disk is read in the order of the file.

        Parameters
        ----------
        cells
            Positions of the wanted cells; None for all.
        most
            Cells of a block; None for what `BLOCK_NUMBERS` allows.

        Yields
        ------
        (m,) positions of cells, and (m, G') float64, the caller's own.

        Raises
        ------
        DataError
            If a value is not finite, or the file can no longer be read.
        """
        wanted = np.arange(self.n) if cells is None else np.asarray(cells, np.intp)
        _, rows, _ = self._view
        at = wanted if rows is None else rows[wanted]
        order = np.argsort(at, kind="stable")
        wanted, at = wanted[order], at[order]
        size = max(BLOCK_NUMBERS // max(self.data.shape[1], 1), 1)
        size = size if most is None else max(min(size, most), 1)
        for start in range(0, len(at), size):
            part = slice(start, start + size)
            yield wanted[part], self._checked(self._read(at[part]), wanted[part])

    def _read(self, at: Ints) -> Floats:
        """Return rows of the matrix, whose numbers rise, dense and with the wanted columns."""
        try:
            block = self._rows(at)
        except CelldynError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            if not self._on_disk:
                raise
            raise DataError(
                f"{self.name} can no longer be read from disk ({reason(error)})",
                "open the file again, or read it into memory",
            ) from error
        block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        _, _, columns = self._view
        for chosen in (columns, self.columns):
            block = block if chosen is None else block[:, chosen]
        return np.array(block, np.float64, order="C")

    def _rows(self, at: Ints) -> Any:  # noqa: ANN401
        first, last = int(at[0]), int(at[-1]) + 1
        if last - first == len(at):
            return self._matrix[first:last]
        if self._on_disk and last - first <= _GAP * len(at):
            return self._matrix[first:last][at - first]
        return self._matrix[at]

    def _checked(self, block: Floats, cells: Ints) -> Floats:
        if np.isfinite(block.sum()) or np.isfinite(block).all():
            return block
        row, column = np.argwhere(~np.isfinite(block))[0]
        raise DataError(
            f"{self.name} holds {block[row, column]} for {self._cell(cells[row])} and feature "
            f"{self._feature(int(column))}",
            "fill in or take out what is missing",
        )

    def require_not_negative(self, block: Floats, cells: Ints, why: str) -> None:
        """Raise DataError if a value is below 0, which cannot be counted or logged."""
        if block.min(initial=0.0) >= 0:
            return
        row, column = np.argwhere(block < 0)[0]
        raise DataError(
            f"{self.name} holds {block[row, column]:g} for {self._cell(cells[row])} and feature "
            f"{self._feature(int(column))}, which has no {why}",
            "give raw counts, or leave the modality out of log_modalities and sample_counts",
        )

    def _cell(self, at: int) -> str:
        names = getattr(self.data, "obs_names", None)
        return f"cell {at}" if names is None else f"cell {names[at]}"

    def _feature(self, column: int) -> str:
        at = column if self.columns is None else int(self.columns[column])
        return self.feature_names[at]


def stays_on_disk(matrix: Any) -> bool:  # noqa: ANN401
    """Whether a matrix is on disk: anndata's sparse data set, or an array of HDF5 or zarr."""
    return hasattr(matrix, "group") or (hasattr(matrix, "chunks") and hasattr(matrix, "attrs"))


def by_name(modality: Modality, names: tuple[str, ...]) -> Modality:
    """Return a modality with its features in the order of `names`, others left out.

    A modality without names of its own, or with numbers for names, is taken to be in that order.

    Raises
    ------
    MissingKeyError
        If a feature is missing.
    DataError
        If there are no names and another number of features.
    """
    own = modality.feature_names
    if own == names:
        return modality
    if own == tuple(map(str, range(len(own)))):
        if len(own) != len(names):
            raise DataError(
                f"{modality.name} has {counted(len(own), 'feature')}, and "
                f"{len(names):,} were prepared",
                "give the same features in the same order, or an AnnData with their names",
            )
        return modality
    import pandas as pd

    index = pd.Index(own)
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise DataError(
            f"feature {str(twice)!r} of {modality.name} is there more than once",
            "call adata.var_names_make_unique()",
        )
    at = index.get_indexer(pd.Index(names))
    if (at < 0).any():
        missing = [names[i] for i in np.flatnonzero(at < 0)]
        raise MissingKeyError(
            f"{modality.name} lacks {counted(len(missing), 'feature')} that were prepared: "
            f"{listed(missing, 5)}",
            "give data with the same features",
        )
    return Modality(modality.data, modality.name, at.astype(np.intp))


def as_modalities(data: Any) -> list[Modality]:  # noqa: ANN401
    """Return modalities of a MuData, of one table, or of several.

    Raises
    ------
    DataError
        If there are none, or one is no table of cells by features.
    """
    if hasattr(data, "mod"):
        return [Modality(each, f"modality {name!r}") for name, each in data.mod.items()]
    if hasattr(data, "shape") and not (isinstance(data, np.ndarray) and data.ndim > 2):
        data = [data]
    given = list(data)
    if not given:
        raise DataError("there is no modality", "give at least one table of cells by features")
    return [
        each if isinstance(each, Modality) else Modality(each, f"modality {k}")
        for k, each in enumerate(given)
    ]
