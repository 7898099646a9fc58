"""In which cells genes are changed: all, the chosen ones, a category, or around a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import DataError
from napari_celldyn.layers.reach import ReachRings
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox

if TYPE_CHECKING:
    from napari_celldyn.session import Session

ALL, CHOSEN, NEAR, OF = "all cells", "the chosen cells", "cells near the chosen ones", "cells of…"
_RADIUS = 100.0


class CellChoice(QWidget):
    """Asks for the cells of a perturbation.

    Parameters
    ----------
    session
        What the viewer's docks share: the selection by click and lasso, and where cells are.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._workspace = session, session.workspace
        self.scope = QComboBox()
        self.scope.addItems([ALL, CHOSEN, NEAR, OF])
        self.scope.setToolTip("Click cells on the canvas, or draw a lasso, to choose them")
        self.column, self.category = QComboBox(), QComboBox()
        self.radius = NumberBox(0.0)
        self.radius.setValue(_RADIUS)
        self.radius.setToolTip("In the unit of the scale bar")
        self.count = QLabel()
        self.rings = ReachRings(session.viewer)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("in", self.scope)
        form.addRow("column", self.column)
        form.addRow("category", self.category)
        form.addRow("within", self.radius)
        form.addRow("", self.count)
        self._form = form
        self.scope.currentTextChanged.connect(self._on_scope)
        self.column.currentTextChanged.connect(self._on_column)
        for signal in (self.category.currentTextChanged, self.radius.valueChanged):
            signal.connect(self._tell)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        listen(self, self._workspace.selection_changed, self._tell)
        listen(self, session.tissue.rebuilt, self._tell)
        self.destroyed.connect(self.rings.close)
        self._on_data()

    def showEvent(self, event: QShowEvent) -> None:
        """Draw how far the radius reaches."""
        super().showEvent(event)
        self._draw_reach()

    def hideEvent(self, event: QHideEvent) -> None:
        """Take the circles away with the dock."""
        super().hideEvent(event)
        self.rings.hide()

    def clear(self) -> None:
        """Take all cells."""
        self.scope.setCurrentText(ALL)

    def cells(self) -> NDArray[Any] | None:
        """Return the names of the cells; None for all.

        Raises
        ------
        DataError
            If there is none.
        """
        adata = self._workspace.require()
        at = self._positions()
        if at is None:
            return None
        if not len(at):
            raise DataError(
                "no cell is chosen", "click cells, draw a lasso round some, or take all cells"
            )
        names: NDArray[Any] = adata.obs_names.to_numpy(dtype=object)[at]
        return names

    def _positions(self) -> NDArray[np.intp] | None:
        scope, chosen = self.scope.currentText(), self._workspace.selection
        adata = self._workspace.adata
        if adata is None or scope == ALL:
            return None
        if scope == CHOSEN:
            return chosen
        if scope == NEAR:
            tissue = self._session.tissue
            near = [
                tissue.cells_in_radius(xy, float(self.radius.number()))
                for xy in tissue.display_xy[chosen]
            ]
            return np.unique(np.concatenate(near)) if near else np.empty(0, np.intp)
        column = self.column.currentText()
        if column not in adata.obs:
            return np.empty(0, np.intp)
        held = adata.obs[column].astype(str).to_numpy()
        return np.flatnonzero(held == self.category.currentText())

    def _on_scope(self) -> None:
        scope = self.scope.currentText()
        for part, shown in (
            (self.column, scope == OF), (self.category, scope == OF), (self.radius, scope == NEAR),
        ):  # fmt: skip
            part.setVisible(shown)
            if (label := self._form.labelForField(part)) is not None:
                label.setVisible(shown)
        self._tell()

    def _on_data(self) -> None:
        from celldyn.data import type_columns

        adata = self._workspace.adata
        held = self.column.currentText()
        with signals_blocked(self.column):
            self.column.clear()
            self.column.addItems([] if adata is None else type_columns(adata))
            self.column.setCurrentText(held)
        self._on_column()
        self._on_scope()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith("obs/") for path in written):
            self._on_data()

    def _on_column(self) -> None:
        adata, column = self._workspace.adata, self.column.currentText()
        there = adata is not None and column in adata.obs
        names = sorted(set(adata.obs[column].dropna().astype(str))) if there and adata else []
        held = self.category.currentText()
        with signals_blocked(self.category):
            self.category.clear()
            self.category.addItems(names)
            self.category.setCurrentText(held)
        self._tell()

    def _tell(self) -> None:
        at, adata = self._positions(), self._workspace.adata
        if adata is None:
            self.count.setText("")
        else:
            n = adata.n_obs if at is None else len(at)
            self.count.setText(f"{n:,} of {adata.n_obs:,} cells")
        self._draw_reach()
        self.changed.emit()

    def _draw_reach(self) -> None:
        if self.scope.currentText() != NEAR or not self.isVisible():
            self.rings.hide()
            return
        tissue = self._session.tissue
        chosen = self._workspace.selection
        chosen = chosen[chosen < len(tissue.display_xy)]
        self.rings.show(tissue.display_xy[chosen], float(self.radius.number()), tissue.unit)
