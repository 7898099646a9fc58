"""Ligand-receptor and ligand-TF pairs of many targets, from tables that are parsed once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from celldyn.betas.modulators import LIGANDS_PER_TF, Pair
from celldyn.betas.names import NameMap

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celldyn.betas.grn_factory import Regulatory

Pairs = tuple[tuple[Pair, ...], dict[str, float]]


class PairTable:
    """The pairs that a data set can show, for one target after another.

    It gives what `choose_lr_pairs` gives. Targets that are in no pair, which most are, share one
    answer.

    Parameters
    ----------
    table
        ligand, receptor, signaling; complexes resolved.
    names
        The data set's gene names.
    radius, contact_distance
        How far ligands of the classes in `secreted` reach, and the others.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        names: NameMap,
        *,
        radius: float,
        contact_distance: float,
        secreted: Collection[str],
    ) -> None:
        known = names.rows(table, ["ligand", "receptor"])
        self._pairs: list[Pair] = list(zip(known["ligand"], known["receptor"], strict=True))
        reach = np.where(known["signaling"].isin(list(secreted)), radius, contact_distance)
        self._reach = [float(length) for length in reach]
        parts = {name: {name, *names.parts(name)} for pair in self._pairs for name in pair}
        self._touching: dict[str, set[int]] = {}
        for row, (ligand, receptor) in enumerate(self._pairs):
            for gene in parts[ligand] | parts[receptor]:
                self._touching.setdefault(gene, set()).add(row)
        self._untouched = self._without(())

    def of(self, target: str) -> Pairs:
        """Return the pairs that the target is no part of, and the reach of each ligand."""
        touching = self._touching.get(target)
        return self._untouched if touching is None else self._without(touching)

    @property
    def ligands(self) -> list[str]:
        """Every ligand of the table, in alphabetical order."""
        return sorted({ligand for ligand, _ in self._pairs})

    def _without(self, rows: Collection[int]) -> Pairs:
        """Of equal pairs the first row holds; a ligand's first row gives its reach."""
        kept = [row for row in range(len(self._pairs)) if row not in rows]
        radii: dict[str, float] = {}
        seen: dict[Pair, float] = {}
        for row in kept:
            seen.setdefault(self._pairs[row], self._reach[row])
        for (ligand, _), length in seen.items():
            radii.setdefault(ligand, length)
        return tuple(seen), radii


class LigandScores:
    """Ligand-target scores ranked once per transcription factor, for one target after another.

    It gives what `choose_tfl_pairs` gives.

    Parameters
    ----------
    matrix
        Ligand-target scores: genes in rows, ligands in columns.
    names
        The data set's gene names.
    ligands
        Every ligand that some target may have.
    cutoff
        Scores count above this.
    grn, adata
        The network that pairs must not close a loop in, and the data set that it is asked about.
    """

    def __init__(
        self,
        matrix: pd.DataFrame,
        names: NameMap,
        ligands: Iterable[str],
        *,
        cutoff: float,
        grn: Regulatory | None,
        adata: AnnData,
    ) -> None:
        self._matrix, self._names, self._cutoff = matrix, names, cutoff
        self._ligands = sorted(set(ligands))
        self._adata, self._grn = adata, grn
        self._upstream: dict[str, frozenset[str]] = {}
        self._rows, self._columns = set(matrix.index), set(matrix.columns)

    def of(
        self, target: str, regulators: Iterable[str], ligands: Mapping[str, float]
    ) -> tuple[Pair, ...]:
        """Return the pairs of ligands and regulators of a target, regulators alphabetically."""
        chosen = sorted(set(regulators))
        as_spelt = not self._rows.isdisjoint(chosen) and not self._columns.isdisjoint(ligands)
        ranking = self._exact if as_spelt else self._folded
        pairs: list[Pair] = []
        for tf in chosen:
            best = [name for name in ranking.of(tf) if name in ligands][:LIGANDS_PER_TF]
            pairs += [
                (ligand, tf) for ligand in best if not {target, tf} & self._regulators_of(ligand)
            ]
        return tuple(pairs)

    def _regulators_of(self, ligand: str) -> frozenset[str]:
        if self._grn is None:
            return frozenset()
        if ligand not in self._upstream:
            self._upstream[ligand] = frozenset(self._grn.get_regulators(self._adata, ligand))
        return self._upstream[ligand]

    @cached_property
    def _exact(self) -> _Ranking:
        return _Ranking(self._matrix, self._ligands, self._cutoff)

    @cached_property
    def _folded(self) -> _Ranking:
        matrix, find = self._matrix, self._names.find
        rows = [find(str(name), case_free=True) or name for name in matrix.index]
        columns = [find(str(name), case_free=True) or name for name in matrix.columns]
        spelt = matrix.set_axis(rows, axis=0).set_axis(columns, axis=1)
        return _Ranking(spelt, self._ligands, self._cutoff)


class _Ranking:
    """For a transcription factor its ligands with a score above the cutoff, best first."""

    def __init__(self, matrix: pd.DataFrame, ligands: list[str], cutoff: float) -> None:
        unique = matrix.loc[:, ~matrix.columns.duplicated()]
        self._ligands = [name for name in ligands if name in unique.columns]
        self._scores = unique[self._ligands].to_numpy(float)
        self._row: dict[str, int] = {}
        for row, name in enumerate(matrix.index):
            self._row.setdefault(str(name), row)
        self._cutoff = cutoff
        self._known: dict[str, list[str]] = {}

    def of(self, tf: str) -> list[str]:
        """Return the ligands; none if the matrix lacks the factor. Equal scores go by name."""
        if tf not in self._known:
            at = self._row.get(tf)
            row = np.empty(0) if at is None else np.nan_to_num(self._scores[at], nan=0.0)
            order = np.argsort(-row, kind="stable")
            self._known[tf] = [self._ligands[i] for i in order if row[i] > self._cutoff]
        return self._known[tf]
