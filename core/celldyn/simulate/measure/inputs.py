"""What is measured: molecules block by block, one table in memory or a stream, and their cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.errors import DataError, MissingKeyError

MoleculeSource: TypeAlias = Any
"""A `Molecules`, a mapping or data frame of columns, or an iterable of such blocks."""

BLOCK = 1 << 19
"""Molecules worked on at once: some 0.1 s of work, some tens of megabytes."""
_NEEDED = ("x", "y", "gene", "cell_id")


@dataclass(frozen=True, slots=True)
class MoleculeBlock:
    """The columns of a run of molecules.

    Parameters
    ----------
    x, y
        (m,) places in µm, in the canvas of their section.
    gene
        (m,) positions in the list of genes.
    cell_id
        (m,) source cell; -1 for none.
    landed_cell_id
        (m,) cell that the place lies in; -1 for none.
    section
        (m,) positions in the list of sections.
    first
        Number of the first molecule in the whole stream, which fixes their noise.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    gene: NDArray[Any]
    cell_id: NDArray[Any]
    landed_cell_id: NDArray[Any]
    section: NDArray[Any]
    first: int

    def __len__(self) -> int:
        return len(self.x)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(m,) numbers of the molecules in the whole stream."""
        return np.arange(self.first, self.first + len(self))


def molecule_blocks(molecules: MoleculeSource, n_genes: int) -> Iterator[MoleculeBlock]:
    """Read molecules block by block.

    Parameters
    ----------
    molecules
        An object or mapping with x, y (µm), gene (code) and cell_id, and if there is one
        landed_cell_id (else the source counts) and section (else all are of the first); or an
        iterable of such, as from the row groups of a file.
    n_genes
        How many genes there are.

    Raises
    ------
    DataError
        If a column is missing, its length differs, or a gene is out of range.
    """
    first = 0
    for given in _several(molecules):
        columns = _columns(given)
        size = len(columns["x"])
        _check(columns, size, n_genes)
        for start in range(0, size, BLOCK):
            part = {name: column[start : start + BLOCK] for name, column in columns.items()}
            yield MoleculeBlock(**part, first=first + start)
        first += size


def n_molecules(molecules: MoleculeSource) -> int | None:
    """Return how many molecules there are; None while unknown."""
    held = molecules if isinstance(molecules, list | tuple) else _several(molecules)
    if not isinstance(held, list | tuple):
        return None
    return sum(len(_column(part, "x", needed=True)) for part in held)


def require_cells(cells: pd.DataFrame) -> None:
    """Raise unless the cells have the columns that are needed and are numbered from 0."""
    missing = [name for name in ("celltype", "section", "x", "y") if name not in cells]
    if missing:
        raise MissingKeyError(f"the cells have no column {missing[0]!r}", "give all their columns")
    if "cell_id" in cells and not np.array_equal(cells["cell_id"], np.arange(len(cells))):
        raise DataError(
            "the cells are not numbered 0, 1, 2, ...", "give all cells of the tissue in order"
        )


def _several(molecules: MoleculeSource) -> Iterable[Any]:
    single = isinstance(molecules, Mapping) or hasattr(molecules, "x")
    return [molecules] if single else molecules


def _columns(given: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    columns = {name: _column(given, name, needed=True) for name in _NEEDED}
    landed = _column(given, "landed_cell_id", needed=False)
    section = _column(given, "section", needed=False)
    columns["landed_cell_id"] = landed if len(landed) else columns["cell_id"]
    columns["section"] = section if len(section) else np.zeros(len(columns["x"]), np.int16)
    return columns


def _column(given: Any, name: str, *, needed: bool) -> NDArray[Any]:  # noqa: ANN401
    # A data frame has both; its items are its columns, its attributes may be methods.
    by_item = isinstance(given, Mapping) or hasattr(given, "columns")
    held = given.get(name) if by_item else getattr(given, name, None)
    if held is None and needed:
        raise DataError(f"the molecules have no column {name!r}", f"give {', '.join(_NEEDED)}")
    return np.zeros(0) if held is None else np.asarray(held)


def _check(columns: Mapping[str, NDArray[Any]], size: int, n_genes: int) -> None:
    for name, column in columns.items():
        if column.shape != (size,):
            raise DataError(
                f"column {name!r} of the molecules has shape {column.shape}, not ({size},)",
                "give one value per molecule",
            )
    gene = columns["gene"]
    if gene.dtype.kind not in "iu":
        raise DataError(
            f"the molecules' gene is {gene.dtype}", "give the gene's position in the list of genes"
        )
    if size and (gene.min() < 0 or gene.max() >= n_genes):
        wrong = int(gene.min()) if gene.min() < 0 else int(gene.max())
        raise DataError(
            f"a molecule is of gene {wrong}, and there are {n_genes} genes",
            "number them from 0 in the order of gene_names",
        )
