"""Counts where the model reads them: rows in memory, or on a device, made dense there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.vae.inputs import CountRows, Csr, Ints

if TYPE_CHECKING:
    import torch

    Part: TypeAlias = Callable[[int, int], CountRows | torch.Tensor]
    DensePart: TypeAlias = Callable[[int, int], torch.Tensor]


class CountStore(Protocol):
    """Counts of one modality that minibatches are taken from."""

    def pool(self, at: Ints) -> Part:
        """Return what gives the counts of rows at[start:stop], in this order."""


class HostStore:
    """Rows of a matrix in memory, which the kernels of the CPU read as they are."""

    def __init__(self, csr: Csr) -> None:
        self._csr = csr

    def pool(self, at: Ints) -> Part:
        """Return what gives the counts of rows at[start:stop], in this order."""
        csr = self._csr
        return lambda start, stop: CountRows(csr, at[start:stop])


class DeviceStore:
    """A sparse matrix on a device; a minibatch of it is made dense there.

    Parameters
    ----------
    csr
        The matrix.
    device
        Where it is put.
    """

    def __init__(self, csr: Csr, device: torch.device | str) -> None:
        import torch

        self._device, self._n_features = device, csr.n_features
        self._host_indptr = csr.indptr
        self._indptr = torch.from_numpy(csr.indptr).to(device)
        self._indices = torch.from_numpy(_owned(csr.indices)).to(device)
        self._data = torch.from_numpy(_owned(csr.data)).to(device)

    def pool(self, at: Ints) -> DensePart:
        """Return what gives the counts of rows at[start:stop], in this order: (n, n_features)."""
        import torch

        per_row = self._host_indptr[at + 1] - self._host_indptr[at]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(per_row)])
        rows = torch.from_numpy(_owned(at)).to(self._device)
        # Known here, so that no batch waits for the device to say how many entries it has.
        return lambda start, stop: self._dense(rows[start:stop], int(ends[stop] - ends[start]))

    def _dense(self, rows: torch.Tensor, n_entries: int) -> torch.Tensor:
        import torch

        begins = self._indptr[rows]
        per_row = self._indptr[rows + 1] - begins
        ends = per_row.cumsum(0)
        counting = torch.arange(n_entries, device=self._device)
        row = torch.repeat_interleave(
            torch.arange(len(rows), device=self._device), per_row, output_size=n_entries
        )
        places = counting + (begins - ends + per_row)[row]
        dense = torch.zeros(len(rows) * self._n_features, device=self._device)
        dense.scatter_(0, row * self._n_features + self._indices[places], self._data[places])
        return dense.view(len(rows), self._n_features)


class DenseStore:
    """A dense matrix on a device: the fastest, where there is room."""

    def __init__(self, csr: Csr, device: torch.device | str) -> None:
        import torch

        n_obs = csr.shape[0]
        self._device = device
        self._dense = torch.empty(csr.shape, device=device)
        sparse = DeviceStore(csr, device)
        step = max((1 << 26) // csr.n_features, 1)
        every = np.arange(n_obs)
        part = sparse.pool(every)
        for start in range(0, n_obs, step):
            block = part(start, min(start + step, n_obs))
            self._dense[start : start + step] = block

    def pool(self, at: Ints) -> DensePart:
        """Return what gives the counts of rows at[start:stop], in this order: (n, n_features)."""
        import torch

        rows = torch.from_numpy(_owned(at)).to(self._device)
        return lambda start, stop: self._dense.index_select(0, rows[start:stop])


def _owned(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that torch may hold: a read-only one is copied."""
    return array if array.flags.writeable else array.copy()
