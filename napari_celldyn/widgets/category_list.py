"""The categories of the present colour as a list of chips; draws only the rows in sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QFontMetrics, QKeyEvent, QMouseEvent, QPainter
from qtpy.QtWidgets import (
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

AnyIndex = QModelIndex | QPersistentModelIndex

CHIP = 14
"""Side of a colour chip, in pixels."""

PADDING = 5
"""Room around a chip and between the parts of a row, in pixels."""

FADED = 0.4
"""Opacity of the rows of categories that are not shown."""


@dataclass(frozen=True, slots=True)
class Category:
    """One row of the legend."""

    name: str
    colour: str
    count: int


class CategoryModel(QAbstractListModel):
    """The rows of the legend, and which of them are shown."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[Category] = []
        self._isolated: frozenset[str] | None = None

    @property
    def rows(self) -> list[Category]:
        """What is listed."""
        return self._rows

    def put(self, rows: Sequence[Category], isolated: frozenset[str] | None) -> None:
        """List other categories."""
        self.beginResetModel()
        self._rows, self._isolated = list(rows), isolated
        self.endResetModel()

    def isolate(self, isolated: frozenset[str] | None) -> None:
        """Fade all rows but these; None fades none."""
        self._isolated = isolated
        self.dataChanged.emit(self.index(0), self.index(max(len(self._rows) - 1, 0)))

    def is_shown(self, row: int) -> bool:
        """Whether the cells of a row are on screen."""
        return self._isolated is None or self._rows[row].name in self._isolated

    def rowCount(self, parent: AnyIndex | None = None) -> int:
        """Return the number of categories."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: ANN401
        """Return a row's name; the count is told by the tooltip also."""
        if not index.isValid():
            return None
        row = self._rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return row.name
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{row.name}: {row.count:,} cells"
        return None


class CategoryDelegate(QStyledItemDelegate):
    """Paints a row: chip, name, count at the right; all in the theme's own colours."""

    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        """Return the height of a row; its width is the list's."""
        return QSize(60, max(option.fontMetrics.height(), CHIP) + PADDING)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        """Draw one row."""
        model = index.model()
        row = model.rows[index.row()]
        painter.save()
        style = option.widget.style()
        style.drawPrimitive(
            QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget
        )
        painter.setOpacity(1.0 if model.is_shown(index.row()) else FADED)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(row.colour))
        painter.drawRoundedRect(chip_rect(option.rect), 3, 3)
        self._paint_text(painter, option, row)
        painter.restore()

    def _paint_text(self, painter: QPainter, option: QStyleOptionViewItem, row: Category) -> None:
        metrics = QFontMetrics(option.font)
        count = f"{row.count:,}"
        room = option.rect.adjusted(CHIP + 2 * PADDING, 0, -PADDING, 0)
        name_room = room.width() - metrics.horizontalAdvance(count) - 2 * PADDING
        name = metrics.elidedText(row.name, Qt.TextElideMode.ElideMiddle, name_room)
        painter.setPen(option.widget.palette().color(option.widget.foregroundRole()))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(room, middle | Qt.AlignmentFlag.AlignLeft, name)
        painter.drawText(room, middle | Qt.AlignmentFlag.AlignRight, count)


def chip_rect(row: QRect) -> QRect:
    """Where the chip of a row is."""
    return QRect(row.left() + PADDING, row.center().y() - CHIP // 2 + 1, CHIP, CHIP)


class CategoryList(QListView):
    """A list of categories to click on.

    Emits `isolate_asked(name, add)` for a click on a name (`add` with Ctrl), and
    `colour_asked(name)` for a double-click on a chip.
    """

    isolate_asked = Signal(str, bool)
    colour_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = CategoryModel(self)
        self.setModel(self.rows)
        self.setItemDelegate(CategoryDelegate(self))
        self.setUniformItemSizes(True)  # else all rows are measured, seen or not
        self.setSelectionMode(QListView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.setToolTip("Click: show alone; Ctrl-click: add; double-click a chip: recolour")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Isolate the category whose name was clicked."""
        super().mousePressEvent(event)
        index = self.indexAt(event.pos())
        if event.button() != Qt.MouseButton.LeftButton or not index.isValid():
            return
        if not self._on_chip(index, event.pos()):
            add = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
            self.isolate_asked.emit(index.data(), add)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Ask for another colour if a chip was hit; elsewhere it is one more click."""
        index = self.indexAt(event.pos())
        if index.isValid() and self._on_chip(index, event.pos()):
            self.colour_asked.emit(index.data())
        else:
            self.mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Space or Enter does what a click does; C asks for a colour."""
        index = self.currentIndex()
        if index.isValid() and event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return):
            add = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
            self.isolate_asked.emit(index.data(), add)
        elif index.isValid() and event.key() == Qt.Key.Key_C and not event.modifiers():
            self.colour_asked.emit(index.data())
        else:
            super().keyPressEvent(event)

    def viewportEvent(self, event: QEvent) -> bool:
        """Show a hand over the chips, which can be double-clicked."""
        if event.type() == QEvent.Type.MouseMove:
            index = self.indexAt(event.pos())
            on_chip = index.isValid() and self._on_chip(index, event.pos())
            shape = Qt.CursorShape.PointingHandCursor if on_chip else Qt.CursorShape.ArrowCursor
            self.viewport().setCursor(shape)
        return super().viewportEvent(event)

    def _on_chip(self, index: QModelIndex, position: QPoint) -> bool:
        return chip_rect(self.visualRect(index)).adjusted(-3, -3, 3, 3).contains(position)
