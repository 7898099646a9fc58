"""Rows of a matrix, sparse or dense, in memory or on a device, as dense tensors.

Shapes: n cells, G genes, m cells that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Floats32: TypeAlias = NDArray[np.float32]
Cells: TypeAlias = ArrayLike | Tensor
"""Numbers of cells: an array, or a tensor of whole numbers on any device."""

BLOCK = 1 << 19
"""Numbers that are looked at at once."""
FEW = 1 << 17
"""Up to so many numbers numpy is done before a compiler would be imported."""
SPARSE_BYTES, DENSE_BYTES = 8, 4
"""Of a stored number: an int32 column and a float32, or a float32 alone."""


class Rows(Protocol):
    """A matrix (n, G) whose rows are asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, G)."""
        ...

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        ...

    def take(self, cells: Cells) -> Tensor:
        """Return the rows of these cells in this order, (m, G) float32, a copy."""
        ...

    def to(self, device: torch.device) -> Rows:
        """Return the same matrix on a device."""
        ...


def spread_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: Floats32,
    cells: NDArray[np.int64],
    out: Floats32,
) -> None:
    """Write sparse rows into a dense array.

    Parameters
    ----------
    indptr, indices, data
        (n, G) in compressed rows.
    cells
        (m,) which rows.
    out
        (m, G), filled.
    """
    out[:] = 0.0
    begins = indptr[cells]
    per_row = indptr[cells + 1] - begins
    ends = np.cumsum(per_row)
    places = np.arange(ends[-1] if ends.size else 0) + np.repeat(begins - ends + per_row, per_row)
    out[np.repeat(np.arange(len(cells)), per_row), indices[places]] = data[places]


@dataclass(frozen=True, slots=True, eq=False)
class DenseRows:
    """A dense matrix, in memory or on a device.

    Parameters
    ----------
    values
        (n, G) float32.
    """

    values: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(n, G)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return DENSE_BYTES * self.values.numel()

    def take(self, cells: Cells) -> Tensor:
        """Return the rows of these cells in this order, (m, G) float32, a copy."""
        at = torch.as_tensor(np.asarray(cells) if not isinstance(cells, Tensor) else cells)
        return self.values.index_select(0, at.to(self.values.device, torch.int64))

    def to(self, device: torch.device) -> DenseRows:
        """Return the same matrix on a device."""
        return self if device == self.values.device else DenseRows(self.values.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """A sparse matrix in memory.

    Parameters
    ----------
    indptr
        (n + 1,) int64.
    indices
        (n_entries,) int32, each column once in a row.
    data
        (n_entries,) float32.
    n_columns
        G.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: Floats32
    n_columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, G)."""
        return len(self.indptr) - 1, self.n_columns

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return SPARSE_BYTES * len(self.data) + self.indptr.nbytes

    def take(self, cells: Cells) -> Tensor:
        """Return the rows of these cells in this order, (m, G) float32."""
        at = cells.cpu().numpy() if isinstance(cells, Tensor) else np.asarray(cells)
        at = np.ascontiguousarray(at, np.int64)
        if at.size and not (at.min() >= 0 and at.max() < self.shape[0]):
            raise IndexError(f"cells are numbered 0 to {self.shape[0] - 1}")
        out = np.empty((len(at), self.n_columns), np.float32)
        spread = spread_rows
        if out.size > FEW:
            from celldyn.landscape.row_kernels import spread_rows as spread
        spread(self.indptr, self.indices, self.data, at, out)
        return torch.from_numpy(out)

    def to(self, device: torch.device) -> Rows:
        """Return the same matrix on a device."""
        return self if device.type == "cpu" else DeviceRows.of(self, device)

    def dense_on(self, device: torch.device) -> DenseRows:
        """Return the same matrix, dense, on a device; it is never dense as a whole here."""
        n, n_columns = self.shape
        values = torch.empty((n, n_columns), device=device)
        step = max(BLOCK // n_columns, 1)
        for start in range(0, n, step):
            part = np.arange(start, min(start + step, n))
            values[start : start + step] = self.take(part).to(device)
        return DenseRows(values)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceRows:
    """A sparse matrix on a device, whose rows are made dense there.

    Parameters
    ----------
    indptr, indices, data
        As in `SparseRows`, tensors.
    host_indptr
        (n + 1,) the same as an array: known here, so that nothing waits for the device to say
        how many entries there are.
    n_columns
        G.
    """

    indptr: Tensor
    indices: Tensor
    data: Tensor
    host_indptr: NDArray[np.int64]
    n_columns: int

    @classmethod
    def of(cls, rows: SparseRows, device: torch.device) -> DeviceRows:
        """Put a sparse matrix on a device."""
        parts = [torch.tensor(part, device=device) for part in
                 (rows.indptr, rows.indices, rows.data)]  # fmt: skip
        return cls(parts[0], parts[1], parts[2], rows.indptr, rows.n_columns)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, G)."""
        return len(self.host_indptr) - 1, self.n_columns

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return SPARSE_BYTES * self.data.numel() + 8 * self.indptr.numel()

    def take(self, cells: Cells) -> Tensor:
        """Return the rows of these cells in this order, (m, G) float32."""
        device = self.data.device
        if isinstance(cells, Tensor):
            at, n_entries = cells.to(device, torch.int64), None
        else:
            here = np.ascontiguousarray(cells, np.int64)
            n_entries = int((self.host_indptr[here + 1] - self.host_indptr[here]).sum())
            at = torch.from_numpy(here).to(device)
        begins = self.indptr[at]
        per_row = self.indptr[at + 1] - begins
        ends = per_row.cumsum(0)
        n_entries = int(ends[-1]) if n_entries is None else n_entries
        row = torch.repeat_interleave(
            torch.arange(len(at), device=device), per_row, output_size=n_entries
        )
        places = torch.arange(n_entries, device=device) + (begins - ends + per_row)[row]
        dense = torch.zeros(len(at) * self.n_columns, device=device)
        dense.scatter_(0, row * self.n_columns + self.indices[places], self.data[places])
        return dense.view(len(at), self.n_columns)

    def to(self, device: torch.device) -> DeviceRows:
        """Return the same matrix on a device."""
        if device == self.data.device:
            return self
        return DeviceRows(
            self.indptr.to(device),
            self.indices.to(device),
            self.data.to(device),
            self.host_indptr,
            self.n_columns,
        )
