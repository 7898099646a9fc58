"""By how much a gene follows each of its modulator genes: the derivatives of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.betas.field import BetaField
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.modulators import Modulators
from celldyn.errors import DataError, MissingKeyError

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = "Mapping[str, ArrayLike] | pd.DataFrame"

_VALUES_AT_ONCE = 1 << 20


def splash(
    field: BetaField,
    levels: Table,
    received: Table,
    received_tfl: Table | None = None,
    *,
    beta_scale_factor: float = 1.0,
    beta_cap: float | None = None,
) -> pd.DataFrame:
    """Return the derivatives of a gene's model by each of its modulator genes, in every cell.

    For y = b0 + Σ b_tf TF + Σ b_lr wL R + Σ b_lt wL' TF, where wL is what a cell receives of a
    ligand: dy/dTF = b_tf + Σ b_lt wL', dy/dR = Σ b_lr wL where R > 0, else 0, and
    dy/dwL = Σ b_lr R + Σ b_lt TF. What one gene does in several roles is summed.

    Parameters
    ----------
    field
        The betas of the gene.
    levels
        Expression by gene, (n_obs,) each, as a table or a mapping: of receptors and of the
        factors in ligand-TF pairs, 0 where they do not count.
    received, received_tfl
        By ligand, (n_obs,) each, what reaches each cell: for ligand-receptor pairs, and for
        ligand-TF pairs (`received` if it is None).
    beta_scale_factor
        Multiplies the terms of pairs.
    beta_cap
        Sums are clipped to ± this; None for no cap.

    Returns
    -------
    (n_obs, n_modulator_genes) float64, columns in alphabetical order; the index is that of
    `levels` if it is a table.

    Raises
    ------
    MissingKeyError
        If a gene or ligand is not there.
    DataError
        If a column has not one value per cell.
    """
    import pandas as pd

    m, n_obs = field.modulators, field.n_obs
    terms = Terms.of(m, _genes_of_terms(m))
    tables = {
        "receptor": _rows(levels, [r for _, r in m.lr], n_obs),
        "ligand": _rows(received, [ligand for ligand, _ in m.lr], n_obs),
        "tfl factor": _rows(levels, [tf for _, tf in m.tfl], n_obs),
        "tfl ligand": _rows(
            received if received_tfl is None else received_tfl, [x for x, _ in m.tfl], n_obs
        ),
    }
    out = np.empty((n_obs, len(terms.labels)))
    step = max(_VALUES_AT_ONCE // max(len(terms.column), 1), 1)
    for start in range(0, n_obs, step):
        cells = np.arange(start, min(start + step, n_obs))
        part = {role: rows[:, cells] for role, rows in tables.items()}
        factors = pair_factors(
            len(m.regulators),
            part["ligand"],
            part["receptor"],
            part["tfl ligand"],
            part["tfl factor"],
            beta_scale_factor,
        )
        out[cells] = terms.derivatives(field.values(cells)[:, 1:].T, factors, beta_cap).T
    index = levels.index if isinstance(levels, pd.DataFrame) else None
    return pd.DataFrame(out, columns=list(terms.labels), index=index)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The terms of a model's derivatives, sorted by what they are derivatives by.

    Parameters
    ----------
    labels
        (n_labels,) what the derivatives are by.
    column
        (n_terms,) modulator whose beta each term has.
    order
        (n_terms,) where each term stands in `pair_factors`.
    starts
        (n_labels,) first term of each label.
    """

    labels: tuple[Any, ...]
    column: Ints
    order: Ints
    starts: Ints

    @classmethod
    def of(cls, modulators: Modulators, names: Sequence[Any]) -> Terms:
        """Sort the terms by their labels, (n_terms,) in the order of `pair_factors`."""
        m = modulators
        n_tf, n_lr, n_tfl = len(m.regulators), len(m.lr), len(m.tfl)
        lr, tfl = np.arange(n_tf, n_tf + n_lr), np.arange(n_tf + n_lr, n_tf + n_lr + n_tfl)
        column = np.concatenate([np.arange(n_tf), lr, lr, tfl, tfl]).astype(np.intp)
        labels = sorted(set(names))
        place = {name: k for k, name in enumerate(labels)}
        at = np.array([place[name] for name in names], np.intp)
        order = np.argsort(at, kind="stable")
        starts = np.searchsorted(at[order], np.arange(len(labels))).astype(np.intp)
        return cls(tuple(labels), column[order], order, starts)

    def derivatives(self, betas: Floats, factors: Floats, cap: float | None) -> Floats:
        """Return the (n_labels, n_cells) sums of beta times factor.

        Parameters
        ----------
        betas
            (n_modulators, n_cells), or (n_modulators, 1) where all cells share them.
        factors
            (n_terms, n_cells) from `pair_factors`.
        cap
            The sums are clipped to ± this.
        """
        if not len(self.labels):
            return np.zeros((0, factors.shape[1]))
        products = factors[self.order]
        products *= betas[self.column]
        sums: Floats = np.add.reduceat(products, self.starts, axis=0)
        return sums if cap is None else np.clip(sums, -cap, cap, out=sums)


def pair_factors(
    n_regulators: int,
    signal: Floats,
    receptor: Floats,
    tfl_signal: Floats,
    tfl_factor: Floats,
    scale: float,
) -> Floats:
    """Return what multiplies the beta of each term: (n_terms, n_cells).

    In order: derivatives by regulators, receptors, their ligands, factors, and their ligands.

    Parameters
    ----------
    n_regulators
        Regulators have the factor 1.
    signal, receptor
        (n_lr, n_cells) received ligand, and receptor, of each ligand-receptor pair.
    tfl_signal, tfl_factor
        (n_tfl, n_cells) the same of each ligand-TF pair.
    scale
        Multiplies the factors of pairs.
    """
    ones = np.ones((n_regulators, signal.shape[1]))
    pairs = [signal * (receptor > 0), receptor, tfl_signal, tfl_factor]
    return np.concatenate([ones, *(scale * part for part in pairs)])


def _genes_of_terms(m: Modulators) -> list[str]:
    """Return the gene that each term is a derivative by."""
    receptors, ligands = [r for _, r in m.lr], [ligand for ligand, _ in m.lr]
    factors, tfl_ligands = [tf for _, tf in m.tfl], [ligand for ligand, _ in m.tfl]
    return [*m.regulators, *receptors, *ligands, *factors, *tfl_ligands]


def _rows(table: Table, names: Sequence[str], n_obs: int) -> Floats:
    """Return the columns of a table of these names as (len(names), n_obs) rows."""
    rows = np.empty((len(names), n_obs))
    for k, name in enumerate(names):
        if name not in table:
            raise MissingKeyError(f"{name} is a modulator and has no values", "give them too")
        values: NDArray[Any] = np.asarray(table[name], np.float64)
        if values.shape != (n_obs,):
            raise DataError(
                f"{name} has values of shape {values.shape} for {n_obs} cells", "give one per cell"
            )
        rows[k] = values
    return rows
