"""Which genes are changed, in which cells, and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError
from celldyn.perturbation.change import KNOCK_OUT, Change
from celldyn.perturbation.matrices import Block, Floats
from celldyn.perturbation.names import checked_cells, positions

Matrix = TypeVar("Matrix")

_FORMAT = 1
_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Perturbation:
    """Which genes are changed, to what, in which cells, and until when.

    Parameters
    ----------
    genes
        Change per gene name; at least one.
    cells
        None for all; a boolean mask (n_obs,); integer positions; or obs names. Names stay right
        when cells are filtered or reordered, so a window keeps names.
    released_at
        Time at which the genes are let go, in the unit of the engine's time; None holds them
        throughout.

    Raises
    ------
    DataError
        If there is no gene or no cell, cells are of no known kind, or the time is not positive.
    """

    genes: Mapping[str, Change]
    cells: NDArray[Any] | None = None
    released_at: float | None = None

    def __post_init__(self) -> None:
        genes = {str(name): change for name, change in self.genes.items()}
        if not genes:
            raise DataError("the perturbation changes no gene", "name at least one")
        for name, change in genes.items():
            if not isinstance(change, Change):
                raise DataError(
                    f"what happens to {name} is {change!r}", "give a Change, such as KNOCK_OUT"
                )
        if self.released_at is not None and not (0 < self.released_at < np.inf):
            raise DataError(f"released_at is {self.released_at!r}", "give a time above 0, or None")
        object.__setattr__(self, "genes", genes)
        object.__setattr__(
            self, "cells", None if self.cells is None else checked_cells(self.cells)
        )

    @classmethod
    def knock_out(cls, *genes: str, cells: ArrayLike | None = None) -> Self:
        """Knock out one gene or several at once."""
        return cls(dict.fromkeys(genes, KNOCK_OUT), _array(cells))

    @classmethod
    def multiply(cls, factors: Mapping[str, float], *, cells: ArrayLike | None = None) -> Self:
        """Multiply genes by factors: below 1 a knock-down, above 1 an over-expression."""
        return cls({g: Change("multiply", value) for g, value in factors.items()}, _array(cells))

    @classmethod
    def set_to(cls, levels: Mapping[str, float], *, cells: ArrayLike | None = None) -> Self:
        """Hold genes at levels, in the unit of the expression."""
        return cls({g: Change("set", value) for g, value in levels.items()}, _array(cells))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Perturbation):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def active(self, time: float) -> bool:
        """Whether the genes are held at this time."""
        return self.released_at is None or time < self.released_at

    def rows(self, obs: Any) -> NDArray[np.intp]:  # noqa: ANN401
        """Return the positions of the perturbed cells, sorted, each once.

        Parameters
        ----------
        obs
            An AnnData, its obs names, or the number of cells.

        Raises
        ------
        DataError
            If a mask or a position does not fit, or names are needed and only a number is given.
        MissingKeyError
            If a named cell is not there.
        """
        names = getattr(obs, "obs_names", obs)
        n_obs = int(names) if isinstance(names, int | np.integer) else len(names)
        if self.cells is None:
            return np.arange(n_obs)
        if self.cells.dtype == bool:
            if self.cells.size != n_obs:
                raise DataError(
                    f"the mask of the perturbed cells has {self.cells.size} entries for {n_obs} "
                    "cells",
                    "give one per cell",
                )
            return np.flatnonzero(self.cells)
        if self.cells.dtype.kind in "iu":
            if self.cells.size and self.cells.max() >= n_obs:
                raise DataError(
                    f"cell {int(self.cells.max())} is perturbed, and there are {n_obs} cells",
                    "count them from 0",
                )
            return np.unique(self.cells).astype(np.intp)
        if isinstance(names, int | np.integer):
            raise DataError(
                "the perturbed cells are given by name", "give the obs names to find them in"
            )
        return positions(self.cells, names, "cell")

    def factor_and_offset(self, gene_names: Sequence[str]) -> tuple[Floats, Floats]:
        """Return what becomes of each gene's expression in a perturbed cell.

        Parameters
        ----------
        gene_names
            (n_genes,) names of the columns.

        Returns
        -------
        factor and offset, (n_genes,) each: x becomes factor · x + offset.

        Raises
        ------
        MissingKeyError
            If a perturbed gene is not among them.
        """
        factor, offset = np.ones(len(gene_names)), np.zeros(len(gene_names))
        where = positions(list(self.genes), gene_names, "gene", keep_order=True)
        factor[where] = [change.factor for change in self.genes.values()]
        offset[where] = [change.offset for change in self.genes.values()]
        return factor, offset

    def apply(
        self,
        matrix: Matrix,
        gene_names: Sequence[str],
        *,
        obs_names: Sequence[str] | None = None,
        floor: float | None = 0.0,
    ) -> Matrix:
        """Return the expression after the change; the matrix given stays as it is.

        Parameters
        ----------
        matrix
            (n_obs, n_genes) dense, CSR or CSC.
        gene_names
            (n_genes,) names of the columns.
        obs_names
            (n_obs,) names of the rows, where cells are given by name.
        floor
            Nothing that is changed falls below this; None for expression that may be negative,
            as when it was standardised.

        Returns
        -------
        The same kind of matrix; integers stay integers if the result is whole.

        Raises
        ------
        MissingKeyError, DataError
            If a gene or cell is not there, or the names do not fit the matrix.
        """
        given: Any = matrix
        shape: tuple[int, int] = given.shape
        for what, names, size in (("gene", gene_names, shape[1]), ("obs", obs_names, shape[0])):
            if names is not None and len(names) != size:
                raise DataError(
                    f"there are {len(names)} {what} names for a matrix of {shape}", "give all"
                )
        factor, offset = self.factor_and_offset(gene_names)
        rows = self.rows(shape[0] if obs_names is None else obs_names)
        genes = np.flatnonzero((factor != 1.0) | (offset != 0.0))
        block = Block(rows, genes, factor[genes], offset[genes], floor)
        changed: Matrix = block.changed(matrix)
        return changed

    def describe(self, n_obs: int | None = None) -> str:
        """Say in one line what is done, as the title of a job."""
        parts = [change.describe(gene) for gene, change in self.genes.items()]
        if len(parts) > _NAMED:
            parts = [*parts[:_NAMED], f"{len(parts) - _NAMED} more"]
        said = ", ".join(parts)
        if self.cells is not None:
            named = self.cells.dtype.kind == "O"
            n = int(self.cells.sum()) if self.cells.dtype == bool else np.unique(self.cells).size
            whole = f" of {n_obs}" if n_obs is not None and not named else ""
            said += f" in {n}{whole} cell{'' if n == 1 else 's'}"
        if self.released_at is not None:
            said += f" until t = {self.released_at:g}"
        return said

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers that JSON holds and `from_dict` reads."""
        cells: dict[str, Any] | None = None
        if self.cells is not None and self.cells.dtype == bool:
            cells = {"n_obs": self.cells.size, "positions": np.flatnonzero(self.cells).tolist()}
        elif self.cells is not None:
            key = "names" if self.cells.dtype.kind == "O" else "positions"
            cells = {key: self.cells.tolist()}
        genes = {
            g: {"kind": change.kind, "value": change.value} for g, change in self.genes.items()
        }
        return {
            "format": _FORMAT,
            "genes": genes,
            "cells": cells,
            "released_at": self.released_at,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        DataError
            If a part is missing or of the wrong kind.
        """
        try:
            genes = {g: Change(item["kind"], item["value"]) for g, item in values["genes"].items()}
            cells, released_at = values.get("cells"), values.get("released_at")
            array: NDArray[Any] | None = None
            if cells is not None and "n_obs" in cells:
                array = np.zeros(int(cells["n_obs"]), dtype=bool)
                array[np.array(cells["positions"], dtype=np.intp)] = True
            elif cells is not None and "names" in cells:
                array = np.array([str(name) for name in cells["names"]], dtype=object)
            elif cells is not None:
                array = np.array(cells["positions"], dtype=np.intp)
            return cls(genes, array, None if released_at is None else float(released_at))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                "this does not describe a perturbation", "give what Perturbation.to_dict wrote"
            ) from error


def _array(cells: ArrayLike | None) -> NDArray[Any] | None:
    return None if cells is None else np.asarray(cells)
