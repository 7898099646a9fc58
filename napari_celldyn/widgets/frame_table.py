"""A pandas table on screen: sortable, its numbers short, its rows clickable."""

from __future__ import annotations

from typing import Any

import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

_ROLE = Qt.ItemDataRole
_SORT = _ROLE.UserRole
_ROWS_IN_SIGHT = 12
_WIDEST = 150
_SLACK = 6
"""Pixels that napari's style adds to a header and its hint does not tell."""


class FrameModel(QAbstractTableModel):
    """A DataFrame as Qt sees it; the frame is replaced whole."""

    def __init__(self, frame: pd.DataFrame | None = None) -> None:
        super().__init__()
        self._frame = pd.DataFrame() if frame is None else frame

    @property
    def frame(self) -> pd.DataFrame:
        """What is shown."""
        return self._frame

    def set_frame(self, frame: pd.DataFrame) -> None:
        """Show another frame."""
        self.beginResetModel()
        self._frame = frame
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Qt: rows."""
        return 0 if parent is not None and parent.isValid() else len(self._frame)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Qt: columns."""
        return 0 if parent is not None and parent.isValid() else self._frame.shape[1]

    def data(self, index: QModelIndex, role: int = _ROLE.DisplayRole) -> Any:  # noqa: ANN401
        """Qt: the text, sort key or alignment of one field."""
        value = self._frame.iat[index.row(), index.column()]
        number = isinstance(value, float | int) or hasattr(value, "dtype")
        if role == _SORT:
            if number:
                return float("-inf") if pd.isna(value) else float(value)
            return str(value)
        if role in (_ROLE.DisplayRole, _ROLE.ToolTipRole):
            return _short(value)
        if role == _ROLE.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if number else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = _ROLE.DisplayRole
    ) -> Any:  # noqa: ANN401
        """Qt: the name of a column."""
        if role == _ROLE.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return str(self._frame.columns[section])
        return None


class FrameTable(QTableView):
    """Shows a DataFrame; a click on a row says which."""

    chosen = Signal(int)
    """Position of the clicked row in the frame, whatever the sorting."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = FrameModel()
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(_SORT)
        self._sorted.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setModel(self._sorted)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(20)
        self.horizontalHeader().setStretchLastSection(True)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.setWordWrap(False)
        self.clicked.connect(self._clicked)
        self.activated.connect(self._clicked)

    @property
    def frame(self) -> pd.DataFrame:
        """What is shown, in its own order."""
        return self._model.frame

    def show_frame(self, frame: pd.DataFrame) -> None:
        """Show a frame in its own order until a header is clicked."""
        fresh = list(frame.columns) != list(self._model.frame.columns)
        self.setSortingEnabled(False)
        self._model.set_frame(frame)
        self._fit_height(len(frame))
        # Without this, enabling sorts by whatever column the header has in mind.
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self._sorted.sort(-1)
        self.setSortingEnabled(True)
        if fresh and len(frame):
            self.resizeColumnsToContents()
        for column in range(frame.shape[1] if len(frame) else 0):
            wanted = max(self.columnWidth(column), self.sizeHintForColumn(column))
            self.setColumnWidth(column, min(wanted, _WIDEST))

    def _fit_height(self, n_rows: int) -> None:
        """Take the height of the rows, up to a dozen; more scroll."""
        rows = min(max(n_rows, 3), _ROWS_IN_SIGHT) * self.verticalHeader().defaultSectionSize()
        bars = self.horizontalHeader().sizeHint().height()
        bars += self.horizontalScrollBar().sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(rows + bars + _SLACK)

    def filter(self, text: str) -> None:
        """Keep the rows whose first column contains `text`."""
        self._sorted.setFilterKeyColumn(0)
        self._sorted.setFilterFixedString(text)

    def select(self, row: int) -> None:
        """Mark a row of the frame."""
        index = self._sorted.mapFromSource(self._model.index(row, 0))
        if index.isValid():
            self.selectRow(index.row())

    def _clicked(self, index: QModelIndex) -> None:
        self.chosen.emit(self._sorted.mapToSource(index).row())


def _short(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f":
        return "–" if pd.isna(value) else f"{float(value):.3g}"
    return str(value)
