"""Columns of obs that can be a key of the VAE: which there are, and why one cannot serve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QListWidget, QListWidgetItem, QWidget
from superqt.utils import signals_blocked

if TYPE_CHECKING:
    from anndata import AnnData

MOST_NUMBERS = 200
"""A column of whole numbers with more of them counts something; it names no groups."""

_ROWS_IN_SIGHT = 4
_ROW = 18
"""Pixels of one row."""


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One column of obs.

    Parameters
    ----------
    name
        The column.
    n
        How many categories cells have in it; None for one of numbers.
    problem
        Why it cannot be a key, in a sentence; empty if it can.
    """

    name: str
    n: int | None
    problem: str = ""

    @property
    def words(self) -> str:
        """What the list says: the name, and how many categories it has."""
        if self.problem:
            return f"{self.name} · cannot serve"
        return self.name if self.n is None else f"{self.name} · {self.n:,}"


def key_columns(adata: AnnData, seen: dict[str, KeyColumn | None]) -> list[KeyColumn]:
    """Return the columns that name groups of cells; those that cannot serve come last.

    Parameters
    ----------
    adata
        The tissue.
    seen
        Columns that were looked at before, and need not be again: to find the categories of a
        million cells takes a while. Those that are looked at now are put there.
    """
    names = [str(name) for name in adata.obs.columns]
    for name in names:
        if name not in seen:
            seen[name] = _looked_at(adata, name)
    found = [seen[name] for name in names]
    return sorted((one for one in found if one is not None), key=lambda one: bool(one.problem))


def number_columns(adata: AnnData) -> list[KeyColumn]:
    """Return the columns of numbers; those with a number missing come last."""
    found = []
    for name in map(str, adata.obs.columns):
        column = adata.obs[name]
        if column.dtype.kind not in "fiu":
            continue
        values = column.to_numpy(np.float64, na_value=np.nan)
        wrong = np.flatnonzero(~np.isfinite(values))
        problem = _without(name, adata, wrong, "number") if wrong.size else ""
        found.append(KeyColumn(name, None, problem))
    return sorted(found, key=lambda one: bool(one.problem))


def _looked_at(adata: AnnData, name: str) -> KeyColumn | None:
    from celldyn.data.categories import is_categorical

    column = adata.obs[name]
    if not is_categorical(column):
        whole = column.dtype.kind in "iu"
        if not whole or (column.nunique() > MOST_NUMBERS and column.nunique() < len(column)):
            return None
    codes, names = pd.factorize(column)
    n = len(names)
    missing = np.flatnonzero(codes < 0)
    if missing.size:
        return KeyColumn(name, n, _without(name, adata, missing, "value"))
    if n == len(column) and n > 1:
        return KeyColumn(
            name,
            n,
            f"obs[{name!r}] names every cell by itself; choose what groups of cells share.",
        )
    if n == 1:
        return KeyColumn(
            name, n, f"obs[{name!r}] has one value for all cells; choose another column, or none."
        )
    return KeyColumn(name, n)


def _without(name: str, adata: AnnData, cells: np.ndarray, what: str) -> str:
    from celldyn.data.words import counted

    first = adata.obs_names[cells[0]]
    return (
        f"obs[{name!r}] has no {what} for {counted(len(cells), 'cell')}, first {str(first)!r}; "
        "fill it in, or choose another column."
    )


class ColumnBox(QComboBox):
    """Chooses one column, or none."""

    def __init__(self, none: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._none = none
        self.setToolTip(tip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.offer([])

    def offer(self, columns: Iterable[KeyColumn]) -> None:
        """List these columns; the one that was chosen stays if it is among them."""
        held = self.column()
        with signals_blocked(self):
            self.clear()
            self.addItem(self._none, None)
            for one in columns:
                self.addItem(one.words, one.name)
                if one.problem:
                    self.setItemData(self.count() - 1, one.problem, Qt.ItemDataRole.ToolTipRole)
            self.choose(held)

    def column(self) -> str | None:
        """Return the chosen column."""
        name: str | None = self.currentData()
        return name

    def choose(self, name: str | None) -> None:
        """Choose a column; one that is not listed chooses none."""
        self.setCurrentIndex(max(self.findData(name), 0) if name is not None else 0)


class ColumnChecks(QListWidget):
    """Chooses any number of columns."""

    picked = Signal()

    def __init__(self, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip(tip)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.itemChanged.connect(self._on_changed)
        self.offer([])

    def offer(self, columns: Sequence[KeyColumn]) -> None:
        """List these columns; those that were chosen stay if they are among them."""
        held = set(self.columns())
        with signals_blocked(self):
            self.clear()
            for one in columns:
                item = QListWidgetItem(one.words, self)
                item.setData(Qt.ItemDataRole.UserRole, one.name)
                item.setToolTip(one.problem)
                item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled)
                chosen = one.name in held
                item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
            if not columns:
                QListWidgetItem("(no such column)", self).setFlags(Qt.ItemFlag.NoItemFlags)
        rows = min(max(len(columns), 1), _ROWS_IN_SIGHT)
        self.setFixedHeight(rows * _ROW + 2 * self.frameWidth() + 4)

    def columns(self) -> list[str]:
        """Return the chosen columns, in the order of the list."""
        items = [self.item(k) for k in range(self.count())]
        return [
            str(item.data(Qt.ItemDataRole.UserRole))
            for item in items
            if item is not None and item.checkState() == Qt.CheckState.Checked
        ]

    def choose(self, names: Iterable[str]) -> None:
        """Choose these columns and no others."""
        wanted = set(names)
        with signals_blocked(self):
            for k in range(self.count()):
                item = self.item(k)
                chosen = item.data(Qt.ItemDataRole.UserRole) in wanted
                item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
        self.picked.emit()

    def _on_changed(self, _item: QListWidgetItem) -> None:
        self.picked.emit()
