"""One block of an expression matrix changed, the rest left as it is; dense and sparse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """The cells and genes of a matrix whose expression x becomes factor · x + offset.

    Parameters
    ----------
    rows, genes
        Positions of the cells and of the genes, each once.
    factor, offset
        One per changed gene.
    floor
        Nothing that is changed falls below this; None for no floor.
    """

    rows: NDArray[np.intp]
    genes: NDArray[np.intp]
    factor: Floats
    offset: Floats
    floor: float | None

    def changed(self, matrix: Any) -> Any:  # noqa: ANN401
        """Return a changed copy of a dense, CSR or CSC matrix, of the same kind."""
        if not hasattr(matrix, "format"):  # every sparse matrix and array has one
            dense = np.asarray(matrix)
            values = self._after(dense[np.ix_(self.rows, self.genes)])
            result = dense.astype(_type_for(dense.dtype, values), copy=True)
            result[np.ix_(self.rows, self.genes)] = values
            return result
        form = matrix.format
        compressed = matrix.copy() if form in ("csr", "csc") else matrix.tocsr()
        return self._changed_sparse(compressed).asformat(form)

    def _after(self, values: NDArray[Any]) -> Floats:
        after: Floats = values * self.factor + self.offset
        return after if self.floor is None else np.maximum(after, self.floor)

    def _changed_sparse(self, matrix: Any) -> Any:  # noqa: ANN401
        """Take the block out of a compressed matrix and put the new one in its place."""
        matrix.sum_duplicates()
        by_row = matrix.format == "csr"
        n_outer, n_inner = matrix.shape if by_row else matrix.shape[::-1]
        outer, inner = (self.rows, self.genes) if by_row else (self.genes, self.rows)
        # Where each cell and gene stands in the block; -1 outside it.
        at_outer, at_inner = np.full(n_outer, -1), np.full(n_inner, -1)
        at_outer[outer], at_inner[inner] = np.arange(outer.size), np.arange(inner.size)
        i = np.repeat(at_outer, np.diff(matrix.indptr))
        j = at_inner[matrix.indices]
        hit = np.flatnonzero((i >= 0) & (j >= 0))
        i, j = (i[hit], j[hit]) if by_row else (j[hit], i[hit])
        values = np.zeros((self.rows.size, self.genes.size))
        values[i, j] = matrix.data[hit]
        values = self._after(values)
        dtype = _type_for(matrix.dtype, values)
        matrix = matrix.astype(dtype, copy=False)
        matrix.data[hit] = 0
        matrix.eliminate_zeros()
        row, gene = np.nonzero(values)
        place = self.rows[row], self.genes[gene]
        return matrix + type(matrix)((values[row, gene].astype(dtype), place), shape=matrix.shape)


def _type_for(dtype: np.dtype[Any], values: Floats) -> np.dtype[Any]:
    """Return the matrix's type, or float64 where integers cannot hold the values."""
    if dtype.kind in "iub":
        whole = np.array_equal(values, np.rint(values)) and dtype.kind != "b"
        fits = whole and (
            not values.size
            or (np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max)
        )
        return dtype if fits else np.dtype(np.float64)
    return dtype
