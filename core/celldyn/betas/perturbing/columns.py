"""The modulators of all genes together: each column of the design is made once for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.modulators import Modulators
from celldyn.betas.perturbing.diffuse import Signal


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One kind of pair: received signal times expression of a partner.

    Parameters
    ----------
    signals
        The received signals.
    ligand
        (n_signals,) the feature that is sent.
    radius
        (n_signals,) how far it reaches.
    signal, partner
        (n_pairs,) the signal, and the feature, of each pair.
    """

    signals: tuple[Signal, ...]
    ligand: Ints
    radius: Floats
    signal: Ints
    partner: Ints

    def __len__(self) -> int:
        return len(self.signal)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The modulators of all fitted genes: regulators, ligand-receptor and ligand-TF pairs.

    Parameters
    ----------
    regulators
        (n_regulators,) their features.
    lr, tfl
        The two kinds of pairs.
    of_gene
        For each gene the columns of its modulators, in their order.
    """

    regulators: Ints
    lr: Side
    tfl: Side
    of_gene: Mapping[str, Ints]

    def __len__(self) -> int:
        return len(self.regulators) + len(self.lr) + len(self.tfl)

    @property
    def bounds(self) -> tuple[int, int]:
        """The first column of each kind of pair."""
        return len(self.regulators), len(self.regulators) + len(self.lr)


class ColumnTable:
    """Collects the columns of one gene after the other."""

    def __init__(self) -> None:
        self._kinds: tuple[dict[object, int], ...] = ({}, {}, {})
        self._of_gene: dict[str, list[Ints]] = {}

    def add(self, gene: str, m: Modulators) -> None:
        """Take in the modulators of a gene; a column is that of another gene if it reads alike."""
        wanted: tuple[list[Any], ...] = (
            list(m.regulators),
            [(ligand, m.radii[ligand], partner) for ligand, partner in m.lr],
            [(ligand, m.radii[ligand], partner) for ligand, partner in m.tfl],
        )
        self._of_gene[gene] = [
            np.array([table.setdefault(key, len(table)) for key in keys], np.intp)
            for table, keys in zip(self._kinds, wanted, strict=True)
        ]

    def columns(self, features: Iterable[str]) -> Columns:
        """Return the columns of all genes so far."""
        place = {name: k for k, name in enumerate(features)}
        regulators, lr, tfl = self._kinds
        starts = (0, len(regulators), len(regulators) + len(lr))
        of_gene = {
            gene: np.concatenate([start + at for start, at in zip(starts, parts, strict=True)])
            for gene, parts in self._of_gene.items()
        }
        own = np.array([place[str(name)] for name in regulators], np.intp)
        return Columns(own, _side(lr, place), _side(tfl, place), of_gene)


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What the columns' changes are made of; rows are signals or features, columns cells.

    The change of a pair is signal · d_partner + partner · d_signal.
    """

    signal: Floats
    d_signal: Floats
    partner: Floats
    d_partner: Floats

    def at(self, cells: Ints) -> Factors:
        """Return those of some cells."""
        every = (self.signal, self.d_signal, self.partner, self.d_partner)
        return Factors(*(part[:, cells] for part in every))

    def changed(self, side: Side) -> NDArray[np.bool_]:
        """Return which pairs change in some cell."""
        of_signal, of_partner = _any(self.d_signal), _any(self.d_partner)
        changed: NDArray[np.bool_] = of_signal[side.signal] | of_partner[side.partner]
        return changed

    def of_pairs(self, side: Side, pairs: Ints, cells: slice, out: Floats) -> None:
        """Write the changes of some pairs in some cells into (n_pairs, n_cells) `out`."""
        signal, partner = side.signal[pairs], side.partner[pairs]
        np.multiply(self.signal[signal, cells], self.d_partner[partner, cells], out=out)
        out += self.partner[partner, cells] * self.d_signal[signal, cells]


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """The change of every column of the design, ready to be made for any cells.

    Parameters
    ----------
    regulators
        (n_features, n_cells) change of a feature where it is a regulator.
    lr, tfl
        Of the pairs.
    """

    regulators: Floats
    lr: Factors
    tfl: Factors

    def at(self, cells: Ints) -> Slopes:
        """Return those of some cells."""
        return Slopes(self.regulators[:, cells], self.lr.at(cells), self.tfl.at(cells))

    def changed(self, columns: Columns) -> NDArray[np.bool_]:
        """Return which columns change in some cell."""
        own = _any(self.regulators)[columns.regulators]
        return np.concatenate([own, self.lr.changed(columns.lr), self.tfl.changed(columns.tfl)])

    def of_columns(self, columns: Columns, wanted: Ints, cells: slice) -> Floats:
        """Return the (len(wanted), n_cells) change of some columns, in ascending order."""
        out = np.empty((len(wanted), cells.stop - cells.start))
        first, second = np.searchsorted(wanted, columns.bounds)
        out[:first] = self.regulators[columns.regulators[wanted[:first]], cells]
        for part, factors, side, start in (
            (slice(first, second), self.lr, columns.lr, columns.bounds[0]),
            (slice(second, len(wanted)), self.tfl, columns.tfl, columns.bounds[1]),
        ):
            factors.of_pairs(side, wanted[part] - start, cells, out[part])
        return out


def _any(rows: Floats) -> NDArray[np.bool_]:
    """Return which rows have a number other than 0."""
    some: NDArray[np.bool_] = np.any(rows, axis=1)
    return some


def _side(table: Mapping[object, int], place: Mapping[str, int]) -> Side:
    pairs: list[tuple[str, float, str]] = list(table)  # type: ignore[arg-type]
    of_signal: dict[Signal, int] = {}
    signal = [
        of_signal.setdefault(Signal(ligand, radius), len(of_signal)) for ligand, radius, _ in pairs
    ]
    return Side(
        signals=tuple(of_signal),
        ligand=np.array([place[s.ligand] for s in of_signal], np.intp),
        radius=np.array([s.radius for s in of_signal]),
        signal=np.array(signal, np.intp),
        partner=np.array([place[partner] for *_, partner in pairs], np.intp),
    )
