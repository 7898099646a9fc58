"""The betas of one gene as something to compute with: compact where they do not vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats, Ints, codes_of
from celldyn.betas.modulators import KINDS, Modulators, Pair
from celldyn.betas.results import BetasResult
from celldyn.betas.stored import read_result
from celldyn.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

_SIGNS: dict[str, str] = {KINDS[1]: "$", KINDS[2]: "#"}


@dataclass(frozen=True, slots=True, eq=False)
class BetaField:
    """The betas of one gene in every cell.

    Parameters
    ----------
    gene
        The target.
    modulators
        The modulators, in the order of the columns.
    coefficients
        (n_fits, 1 + n_modulators) mean betas of each section and cluster, the intercept first.
    fit_of_cell
        (n_obs,) row of `coefficients` of each cell; −1 where a cell has none: its betas are 0.
    dense
        (n_obs, 1 + n_modulators) betas of every cell where they vary inside a cluster; None where
        each cell has those of its fit.
    """

    gene: str
    modulators: Modulators
    coefficients: Floats
    fit_of_cell: Ints
    dense: NDArray[Any] | None = None

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.fit_of_cell)

    def values(self, cells: Ints | None = None) -> Floats:
        """Return the (n_cells, 1 + n_modulators) betas of some cells, of all by default."""
        if self.dense is not None:
            return np.asarray(self.dense if cells is None else self.dense[cells], np.float64)
        none = np.zeros((1, self.coefficients.shape[1]))
        rows = np.concatenate([self.coefficients, none])
        return rows[self.fit_of_cell if cells is None else self.fit_of_cell[cells]]

    @classmethod
    def of(cls, result: BetasResult, fit_of_cell: Ints) -> BetaField:
        """Return the field of a result whose cells belong to these fits (see `fit_of_cells`)."""
        plain = cls(result.gene, modulators_of(result), result.coefficients, fit_of_cell)
        if not len(result.fits) or np.array_equal(plain.values(), result.values):
            return plain
        return cls(result.gene, plain.modulators, result.coefficients, fit_of_cell, result.values)


def read_field(adata: AnnData, gene: str) -> BetaField:
    """Return the betas of a gene that are on the AnnData; raises as `read_result` does."""
    result = read_result(adata, gene)
    return BetaField.of(result, fit_of_cells(adata, result))


def fit_of_cells(adata: AnnData, result: BetasResult) -> Ints:
    """Return which fit of a result each cell belongs to, by its section and cluster; −1 for none.

    Raises
    ------
    MissingKeyError
        If the columns that it was fitted by are gone.
    """
    codes, clusters = codes_of(adata, result.config.cluster_annot)
    section_codes, sections = codes_of(adata, result.config.section_key)
    fit_of = {
        (fit.section, fit.cluster): k
        for k, fit in enumerate(result.fits)
        if fit.status != "skipped"
    }
    table = np.array([[fit_of.get((s, c), -1) for c in clusters] for s in sections], np.intp)
    return table.reshape(len(sections), len(clusters))[section_codes, codes]


def modulators_of(result: BetasResult) -> Modulators:
    """Return the modulators of a result by role, read off their names.

    Raises
    ------
    DataError
        If a name is not that of its kind.
    """
    regulators: list[str] = []
    pairs: dict[str, list[Pair]] = {KINDS[1]: [], KINDS[2]: []}
    for name, kind in zip(result.modulators, result.kinds, strict=True):
        if kind == KINDS[0]:
            regulators.append(name)
            continue
        ligand, sign, partner = name.partition(_SIGNS.get(kind, " "))
        if not sign:
            raise DataError(f"the betas of {result.gene} have a modulator {name!r}", "fit again")
        pairs[kind].append((ligand, partner))
    lr, tfl = tuple(pairs[KINDS[1]]), tuple(pairs[KINDS[2]])
    return Modulators(tuple(regulators), lr, tfl, dict(result.radii))
