"""What may modulate a gene: transcription factors, ligand-receptor and ligand-TF pairs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.names import NameMap

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celldyn.betas.grn_factory import Regulatory

Pair: TypeAlias = tuple[str, str]
Kind: TypeAlias = Literal["regulator", "ligand-receptor", "ligand-TF"]

KINDS: tuple[Kind, ...] = ("regulator", "ligand-receptor", "ligand-TF")
LIGANDS_PER_TF = 5


@dataclass(frozen=True, slots=True)
class Modulators:
    """The modulators of one gene, in the order of the columns of its model.

    Parameters
    ----------
    regulators
        Transcription factors.
    lr
        (ligand, receptor) pairs; either may be a complex, sub-units joined by "_".
    tfl
        (ligand, transcription factor) pairs.
    radii
        How far each ligand reaches.
    """

    regulators: tuple[str, ...] = ()
    lr: tuple[Pair, ...] = ()
    tfl: tuple[Pair, ...] = ()
    radii: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.regulators) + len(self.lr) + len(self.tfl)

    @property
    def lr_names(self) -> list[str]:
        """Ligand-receptor pairs as "Ligand$Receptor"."""
        return [f"{ligand}${receptor}" for ligand, receptor in self.lr]

    @property
    def tfl_names(self) -> list[str]:
        """Ligand-TF pairs as "Ligand#TF"."""
        return [f"{ligand}#{tf}" for ligand, tf in self.tfl]

    @property
    def names(self) -> list[str]:
        """All modulators: regulators, ligand-receptor pairs, ligand-TF pairs."""
        return [*self.regulators, *self.lr_names, *self.tfl_names]

    @property
    def groups(self) -> NDArray[np.intp]:
        """(n_modulators,) lasso groups: 1 regulators, 2 ligand-receptor, 3 ligand-TF pairs."""
        return np.repeat([1, 2, 3], [len(self.regulators), len(self.lr), len(self.tfl)])

    @property
    def parents(self) -> NDArray[np.intp]:
        """(n_modulators,) the regulator that a ligand-TF pair acts through; −1 for none."""
        place = {name: k for k, name in enumerate(self.regulators)}
        plain = [-1] * (len(self.regulators) + len(self.lr))
        return np.array([*plain, *(place.get(tf, -1) for _, tf in self.tfl)], np.intp)

    @property
    def kinds(self) -> list[Kind]:
        """(n_modulators,) what each modulator is."""
        return [KINDS[group - 1] for group in self.groups]

    @property
    def features(self) -> list[str]:
        """Genes and complexes whose expression the model reads, sorted."""
        pairs = {name for pair in (*self.lr, *self.tfl) for name in pair}
        return sorted(pairs | set(self.regulators))

    def select(self, keep: NDArray[np.bool_]) -> Modulators:
        """Return the modulators at which `keep`, (n_modulators,), is true."""
        kept = iter(keep)
        return Modulators(
            tuple(name for name in self.regulators if next(kept)),
            tuple(pair for pair in self.lr if next(kept)),
            tuple(pair for pair in self.tfl if next(kept)),
            self.radii,
        )


def choose_lr_pairs(
    table: pd.DataFrame,
    names: NameMap,
    target: str,
    *,
    radius: float,
    contact_distance: float,
    secreted: Collection[str],
) -> tuple[tuple[Pair, ...], dict[str, float]]:
    """Return the ligand-receptor pairs that the data set can show, and each ligand's radius.

    A row counts if all its genes are in the data set and none is the target. Of equal pairs the
    first row holds; of a ligand's rows the first one gives its radius.

    Parameters
    ----------
    table
        ligand, receptor, signaling; complexes resolved.
    secreted
        Classes in `signaling` that reach as far as `radius`; others reach `contact_distance`.
    """
    known = names.rows(table, ["ligand", "receptor"])
    touched = {
        name
        for name in {*known["ligand"], *known["receptor"]}
        if target in (name, *names.parts(name))
    }
    known = known[~(known["ligand"].isin(touched) | known["receptor"].isin(touched))]
    known = known.drop_duplicates(["ligand", "receptor"])
    reach = np.where(known["signaling"].isin(list(secreted)), radius, contact_distance)
    radii: dict[str, float] = {}
    for ligand, length in zip(known["ligand"], reach, strict=True):
        radii.setdefault(ligand, float(length))
    return tuple(zip(known["ligand"], known["receptor"], strict=True)), radii


def choose_tfl_pairs(
    matrix: pd.DataFrame,
    names: NameMap,
    target: str,
    regulators: Iterable[str],
    ligands: Iterable[str],
    *,
    cutoff: float,
    adata: AnnData,
    grn: Regulatory | None,
) -> tuple[Pair, ...]:
    """Return the (ligand, TF) pairs through which a ligand acts on a regulator of the target.

    For each regulator its five best ligands with a score above `cutoff`, best first; regulators
    in alphabetical order. With a network, pairs are left out whose ligand is itself regulated by
    the target or by that regulator, since those would close a loop.

    Parameters
    ----------
    matrix
        Ligand-target scores: genes in rows, ligands in columns.
    """
    scores = _in_spelling_of(matrix, names, sorted(set(regulators)), sorted(set(ligands)))
    upstream: dict[str, frozenset[str]] = {}
    pairs: list[Pair] = []
    for tf, row in zip(scores.index, scores.to_numpy(), strict=True):
        for at in np.argsort(-row, kind="stable")[:LIGANDS_PER_TF]:
            ligand = str(scores.columns[at])
            if not row[at] > cutoff:
                break
            if grn is not None and ligand not in upstream:
                upstream[ligand] = frozenset(grn.get_regulators(adata, ligand))
            if not {target, tf} & upstream.get(ligand, frozenset()):
                pairs.append((ligand, str(tf)))
    return tuple(pairs)


def _in_spelling_of(
    matrix: pd.DataFrame, names: NameMap, rows: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    """Return the part of the matrix with these rows and columns, missing scores as 0."""
    if not set(rows) & set(matrix.index) or not set(columns) & set(matrix.columns):
        spell_rows = {name: names.find(name, case_free=True) or name for name in matrix.index}
        spell_columns = {name: names.find(name, case_free=True) or name for name in matrix.columns}
        matrix = matrix.rename(index=spell_rows, columns=spell_columns)
    matrix = matrix.loc[~matrix.index.duplicated(), ~matrix.columns.duplicated()]
    there = [name for name in rows if name in matrix.index]
    sending = [name for name in columns if name in matrix.columns]
    return matrix.loc[there, sending].fillna(0.0)
