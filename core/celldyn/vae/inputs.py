"""What the model is trained on: counts and codes, apart from any AnnData."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    Tensor: TypeAlias = torch.Tensor

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """One column of obs as codes.

    Parameters
    ----------
    key
        The column; "" where there is none, and all cells are one group.
    names
        Categories that cells have, sorted as the column's categories are.
    codes
        (n_obs,) positions in `names`.
    """

    key: str
    names: tuple[str, ...]
    codes: Ints

    @classmethod
    def one(cls, n_obs: int) -> Groups:
        """Return a single group of all cells."""
        return cls("", ("all",), np.zeros(n_obs, np.int64))

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Csr:
    """Counts in rows, sparse.

    Parameters
    ----------
    indptr
        (n + 1,) int64.
    indices
        (n_entries,) int32, rising within a row.
    data
        (n_entries,) float32 whole numbers above 0.
    n_features
        Columns.
    """

    indptr: Ints
    indices: NDArray[np.int32]
    data: Floats
    n_features: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n_features)."""
        return len(self.indptr) - 1, self.n_features


class CountMatrix(Protocol):
    """Counts of all cells, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_obs, n_features)."""

    def rows(self, at: Ints) -> Csr:
        """Return the counts of these cells, in this order."""


@dataclass(frozen=True, slots=True, eq=False)
class CountRows:
    """Counts of a minibatch: some rows of a matrix that is in memory, without copying it.

    Parameters
    ----------
    csr
        The matrix.
    at
        (n_cells,) which of its rows, in which order.
    """

    csr: Csr
    at: Ints

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True, eq=False)
class Modality:
    """One matrix of counts.

    Parameters
    ----------
    name
        "rna", "atac", ...; of an AnnData "rna".
    features
        (n_features,) names.
    counts
        (n_obs, n_features).
    present
        (n_obs,) whether a cell was measured in it: whether it has any count.
    totals
        (n_obs,) float64 sum of its counts.
    """

    name: str
    features: tuple[str, ...]
    counts: CountMatrix
    present: NDArray[np.bool_]
    totals: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class VAEInputs:
    """All that training needs of a data set.

    Parameters
    ----------
    modalities
        In the caller's order.
    ambient, scaling, conditioning, encoder
        Any number of keys each.
    dispersion, library
        One key each.
    batch
        The batch key; None without.
    continuous
        (n_obs, n_keys) float32 as they are in obs; `continuous_keys` are their names.
    size_factor
        (n_obs,) known library sizes; None where they are learned.
    notes
        Sentences for the user: cells without counts, keys with one category.
    """

    modalities: tuple[Modality, ...]
    ambient: tuple[Groups, ...]
    dispersion: Groups
    library: Groups
    scaling: tuple[Groups, ...] = ()
    conditioning: tuple[Groups, ...] = ()
    encoder: tuple[Groups, ...] = ()
    batch: Groups | None = None
    continuous: Floats | None = None
    continuous_keys: tuple[str, ...] = ()
    size_factor: Floats | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def n_obs(self) -> int:
        """Cells."""
        return len(self.dispersion.codes)


@dataclass(slots=True, eq=False)
class Batch:
    """A minibatch of B cells.

    Parameters
    ----------
    counts
        Per modality: rows of a sparse matrix (on the CPU), or a dense (B, n_features) tensor.
    present
        Per modality (B,) bool; None where all these cells have it.
    ambient, scaling, conditioning, encoder
        (B, n_keys) int64, each column offset by the categories of the keys before it, so that it
        names a row of the keys' tables put on top of each other.
    dispersion, library, batch
        (B,) int64 codes.
    continuous
        (B, n_continuous) float32; None without.
    log_size_factor
        (B,) float32; None without.
    log_totals
        Per modality (B,) float32 log of each cell's sum of counts, at least 0; None: not known.
    """

    counts: tuple[CountRows | Tensor, ...]
    present: tuple[Tensor | None, ...]
    ambient: Tensor
    scaling: Tensor
    conditioning: Tensor
    encoder: Tensor
    dispersion: Tensor
    library: Tensor
    batch: Tensor
    continuous: Tensor | None = None
    log_size_factor: Tensor | None = None
    log_totals: tuple[Tensor, ...] | None = None

    def __len__(self) -> int:
        return len(self.dispersion)
