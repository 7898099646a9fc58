"""Strata: cells that share one mean and one inverse dispersion per gene, but for their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError, MissingKeyError
from celldyn.simulate.inversion import Floats


@dataclass(frozen=True, slots=True)
class Strata:
    """Means and inverse dispersions by stratum, such as cell type × batch.

    Parameters
    ----------
    mu
        (n_strata, n_genes) mean counts of a cell of size 1.
    theta
        (n_strata, n_genes) inverse dispersion.
    of
        (n_cells,) the stratum of each cell, from 0.
    scale
        (n_cells,) size factors.

    Raises
    ------
    DataError
        If the shapes differ, mu or scale is below 0, theta is not above 0, one of them is not
        finite, or a cell is of no stratum.
    """

    mu: Floats
    theta: Floats
    of: NDArray[np.int32]
    scale: Floats

    def __post_init__(self) -> None:
        # One layout for all, so that a kernel is compiled once.
        for name, kind in (("mu", "f8"), ("theta", "f8"), ("of", "i4"), ("scale", "f8")):
            array = np.ascontiguousarray(getattr(self, name), dtype=kind)
            object.__setattr__(self, name, array)
        n_strata = self.mu.shape[0]
        if self.mu.ndim != 2 or self.theta.shape != self.mu.shape:
            raise DataError(
                f"mu {self.mu.shape} and theta {self.theta.shape} of the strata do not fit",
                "give both as (n_strata, n_genes)",
            )
        if self.of.ndim != 1 or self.scale.shape != self.of.shape:
            raise DataError(
                f"the size factors {self.scale.shape} do not fit {self.of.shape} cells",
                "give one per cell",
            )
        if self.of.size and not 0 <= self.of.min() <= self.of.max() < n_strata:
            raise DataError(
                f"cells are of strata {self.of.min()} to {self.of.max()}",
                f"number them from 0 to {n_strata - 1}",
            )
        require_parameters(self.mu, self.theta, self.scale)

    @classmethod
    def of_types(cls, gpar_df: pd.DataFrame, celltype: ArrayLike, scale: ArrayLike) -> Self:
        """Take the cell types of a gene table as strata; see `sample_counts`."""
        names = _types_of(gpar_df)
        codes = type_codes(celltype, names)
        factors = np.asarray(scale, dtype=np.float64)
        if factors.shape not in ((), codes.shape):
            raise DataError(
                f"the size factors {factors.shape} do not fit {codes.size} cells",
                "give one per cell",
            )
        used = np.flatnonzero(np.bincount(codes, minlength=len(names)))
        of = np.zeros(len(names), dtype=np.int32)
        of[used] = np.arange(used.size)
        pairs = [_parameters(gpar_df, names[k]) for k in used]
        mu, theta = (
            np.array([pair[which] for pair in pairs]).reshape(len(pairs), len(gpar_df))
            for which in (0, 1)
        )
        return cls(mu, theta, of[codes], np.broadcast_to(factors, codes.shape))

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return self.of.size

    @property
    def n_genes(self) -> int:
        """How many genes there are."""
        return int(self.mu.shape[1])


def require_parameters(mu: Floats, theta: Floats, scale: Floats) -> None:
    """Refuse what no negative binomial has.

    Raises
    ------
    DataError
        If mu or scale is below 0, theta is not above 0, or one is not finite.
    """
    for name, values, low in (("mu", mu, True), ("theta", theta, False), ("scale", scale, True)):
        good = np.isfinite(values) & ((values >= 0) if low else (values > 0))
        if not np.all(good):
            raise DataError(
                f"{name} holds {float(values[~good].flat[0])!r}",
                f"it must be finite and {'at least 0' if low else 'above 0'}",
            )


def _types_of(gpar_df: pd.DataFrame) -> list[str]:
    return [str(name).removesuffix("_mu") for name in gpar_df if str(name).endswith("_mu")]


def type_codes(celltype: Any, names: list[str]) -> NDArray[np.int32]:  # noqa: ANN401
    """Return the positions of the cells' types among `names`.

    Parameters
    ----------
    celltype
        (n_cells,) names, as an array, a list or a categorical, or positions.
    names
        Of all types.

    Raises
    ------
    DataError
        If a cell has no type.
    MissingKeyError
        If a cell is of a type that is not there.
    """
    kind = getattr(celltype, "dtype", None)
    named = isinstance(kind, pd.CategoricalDtype) and kind.categories.dtype.kind not in "iu"
    given = celltype if named else np.asarray(celltype)
    if not named and given.dtype.kind in "iu":
        codes = given.astype(np.int64)
        wrong = np.flatnonzero((codes < 0) | (codes >= len(names)))
    else:
        labels = pd.Categorical(given)
        if (labels.codes < 0).any():
            cell = int(np.flatnonzero(labels.codes < 0)[0])
            raise DataError(f"cell {cell} has no cell type", "give one to every cell")
        codes = pd.Index(names).get_indexer(labels.categories)[labels.codes]
        wrong = np.flatnonzero(codes < 0)
    if wrong.size:
        cell = int(wrong[0])
        raise MissingKeyError(
            f"cell {cell} is of type {np.asarray(given)[cell]}, and there is none such among "
            f"{len(names)} types",
            f"its cell types are {', '.join(names)}, in this order if they are given by number",
        )
    return np.asarray(codes, dtype=np.int32)


def _parameters(gpar_df: pd.DataFrame, celltype: str) -> tuple[Floats, Floats]:
    wanted = (f"{celltype}_mu", f"{celltype}_theta")
    missing = [name for name in wanted if name not in gpar_df.columns]
    if missing:
        known = ", ".join(_types_of(gpar_df))
        raise MissingKeyError(
            f"the gene table has no column {missing[0]!r}", f"its cell types are {known}"
        )
    mu, theta = (gpar_df[name].to_numpy(dtype=np.float64) for name in wanted)
    return mu, theta
