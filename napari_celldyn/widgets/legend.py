"""What the colours mean: categories to isolate and recolour, or the ends of a colour bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_celldyn.widgets.category_list import Category, CategoryList
from napari_celldyn.widgets.labels import elided, wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.range_panel import RangePanel

if TYPE_CHECKING:
    from celldyn.data import Column
    from napari_celldyn.layers import TissueView
    from napari_celldyn.workspace import Workspace

ROWS_IN_SIGHT = 12
"""A longer list scrolls."""


class LegendWidget(QWidget):
    """The legend of whatever colours the cells.

    Parameters
    ----------
    workspace
        What the viewer shows.
    tissue
        Draws the cells; the column it shows is explained here, its colour bar edited.
    """

    def __init__(
        self,
        workspace: Workspace,
        tissue: TissueView,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._workspace, self._tissue = workspace, tissue
        self._column: Column | None = None
        self._build()
        listen(self, tissue.shown_changed, self._show)
        listen(self, workspace.data_changed, self._show)
        listen(self, workspace.isolated_changed, self._show_isolated)
        self._show()

    def _build(self) -> None:
        self.title, self.note = elided(), wrapped()
        self.show_all = QPushButton("Show all")
        self.show_all.clicked.connect(self._show_every)
        self.categories, self.range = CategoryList(), RangePanel()
        self.categories.isolate_asked.connect(self.isolate)
        self.categories.colour_asked.connect(self.ask_colour)
        self.range.limits_edited.connect(self._set_limits)
        self.range.colormap_edited.connect(self._set_colormap)
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.show_all)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(head)
        for item in (self.categories, self.range, self.note):
            column.addWidget(item)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    # --- what the workspace and the tissue say -------------------------------------------------

    def _show(self) -> None:
        held = self._tissue.column if self._workspace.adata is not None else None
        if held is not self._column or held is None:
            self._column = held
            self._show_column(held)
        if held is not None and held.values is not None and self._tissue.limits is not None:
            self.range.show_limits(self._tissue.limits)
            self.range.show_colormap(self._tissue.colormap)

    def _show_column(self, held: Column | None) -> None:
        is_categorical = held is not None and held.codes is not None
        is_continuous = held is not None and held.values is not None
        self.categories.setVisible(is_categorical)
        self.range.setVisible(is_continuous)
        self.show_all.setVisible(is_categorical and self._workspace.isolated is not None)
        n_missing = 0
        if held is None:
            self.title.setText("No column is shown." if self._workspace.adata is not None else "")
        elif held.codes is not None:
            n_missing = self._show_categories(held, held.codes)
        elif held.values is not None:
            self.title.setText(held.label)
            self.title.setToolTip(held.label)
            self.range.show_values(held.values, diverging=held.diverging)
            n_missing = int(np.isnan(held.values).sum())
        self.note.setText(f"{n_missing:,} cells without a value are grey")
        self.note.setVisible(n_missing > 0)

    def _show_categories(self, held: Column, codes: NDArray[np.integer]) -> int:
        names, hues = held.categories or [], held.colours or []
        counts = np.bincount(codes + 1, minlength=len(names) + 1)
        rows = [
            Category(name, hue, int(count))
            for name, hue, count in zip(names, hues, counts[1:], strict=True)
        ]
        self.title.setText(f"{held.label} ({len(rows):,})")
        self.title.setToolTip(f"{held.label}: {len(rows):,} categories")
        self.categories.rows.put(rows, self._workspace.isolated)
        self._fit_height(len(rows))
        return int(counts[0])

    def _fit_height(self, n_rows: int) -> None:
        row = max(self.categories.sizeHintForRow(0), 1)
        frame = 2 * self.categories.frameWidth() + 2
        self.categories.setFixedHeight(row * min(max(n_rows, 1), ROWS_IN_SIGHT) + frame)

    def _show_isolated(self) -> None:
        isolated = self._workspace.isolated
        self.categories.rows.isolate(isolated)
        self.show_all.setVisible(isolated is not None)

    # --- what the user does --------------------------------------------------------------------

    def isolate(self, name: str, add: bool = False) -> None:  # noqa: FBT001, FBT002  (Qt's order)
        """Show one category alone, or all if it was alone; `add` puts it to, or off, the rest."""
        before = self._workspace.isolated or frozenset()
        alone = frozenset({name})
        after = before ^ alone if add else alone - before if before == alone else alone
        self._workspace.isolated = after or None

    def _show_every(self) -> None:
        self._workspace.isolated = None

    def ask_colour(self, name: str) -> None:
        """Open a dialog for the colour of one category, which changes when it is accepted."""
        row = next(row for row in self.categories.rows.rows if row.name == name)
        dialog = QColorDialog(QColor(row.colour), self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(f"Colour of {name}")
        dialog.colorSelected.connect(lambda colour: self.recolour(name, colour.name()))
        dialog.open()

    def recolour(self, name: str, colour: str) -> None:
        """Give one category another colour, "#rrggbb"; kept with the data under scanpy's key."""
        source = self._workspace.colour
        if source is not None and source.slot == "obs":
            self._workspace.set_category_colour(source.key, name, colour)

    def _set_limits(self, low: float, high: float) -> None:
        self._tissue.limits = (low, high)

    def _set_colormap(self, name: str) -> None:
        self._tissue.colormap = name
