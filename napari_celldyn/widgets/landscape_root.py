"""Where differentiation begins: in cells that were clicked, or in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import DataError
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from napari_celldyn.workspace import Workspace

CELLS, CLUSTER = "the chosen cells", "a cluster"

NONE_CHOSEN = "Click the earliest cells, or lasso them (Shift-S)."

_NAMED = 3
_LETTERS = 8


class RootChoice(QWidget):
    """Asks for the cells in which it all begins.

    Parameters
    ----------
    workspace
        The tissue in view, and which cells are chosen there.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.kind = QComboBox()
        self.kind.addItems([CELLS, CLUSTER])
        self.kind.setToolTip("Click the earliest cells on tissue or embedding, or lasso them")
        self.column, self.cluster = cluster_box(), cluster_box()
        self.words = wrapped()
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("root", self.kind)
        form.addRow("column", self.column)
        form.addRow("cluster", self.cluster)
        form.addRow(self.words)
        self._form = form
        self.kind.currentTextChanged.connect(self._on_kind)
        self.column.currentTextChanged.connect(self._on_column)
        self.cluster.currentTextChanged.connect(self._tell)
        listen(self, workspace.data_changed, self.refresh)
        listen(self, workspace.keys_changed, self._on_keys)
        listen(self, workspace.selection_changed, self._tell)
        self.refresh()

    @property
    def of_cluster(self) -> bool:
        """Whether a cluster is asked for, not cells."""
        return self.kind.currentText() == CLUSTER

    def cells(self) -> NDArray[np.intp]:
        """Return the positions of the root cells.

        Raises
        ------
        DataError
            If there is none.
        """
        at = self._positions()
        if not len(at):
            raise DataError(
                "no root is chosen",
                "click the earliest cells, draw a lasso round them (Shift-S), or choose a cluster",
            )
        return at

    def inputs(self) -> dict[str, Any]:
        """Return what was chosen, as a record keeps it."""
        if self.of_cluster:
            return {"root": self.cluster.currentText(), "cluster_key": self.column.currentText()}
        names = self._workspace.require().obs_names[self.cells()]
        return {"root": [str(name) for name in names], "cluster_key": None}

    def describe(self) -> str:
        """Name the root in a few words."""
        adata, at = self._workspace.adata, self._positions()
        if self.of_cluster:
            return f"{self.cluster.currentText()} ({len(at):,} cells)"
        names = [] if adata is None else [str(adata.obs_names[k]) for k in at[:_NAMED]]
        more = len(at) - len(names)
        said = ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
        return said or "no cell is chosen yet"

    def _positions(self) -> NDArray[np.intp]:
        adata, column = self._workspace.adata, self.column.currentText()
        if not self.of_cluster:
            return self._workspace.selection
        if adata is None or column not in adata.obs:
            return np.empty(0, np.intp)
        return np.flatnonzero(
            adata.obs[column].astype(str).to_numpy() == self.cluster.currentText()
        )

    # --- following ----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look again which columns there are."""
        offer_clusters(self.column, self._workspace.adata)
        self._on_column()
        self._on_kind()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith("obs/") for path in written):
            self.refresh()

    def _on_column(self) -> None:
        offer(self.cluster, clusters_of(self._workspace.adata, self.column.currentText()))
        self._tell()

    def _on_kind(self) -> None:
        for part in (self.column, self.cluster):
            part.setVisible(self.of_cluster)
            if (label := self._form.labelForField(part)) is not None:
                label.setVisible(self.of_cluster)
        self._tell()

    def _tell(self, *_: object) -> None:
        there = len(self._positions()) > 0
        self.words.setText(f"Begins with {self.describe()}." if there else NONE_CHOSEN)
        self.changed.emit()


def cluster_box() -> QComboBox:
    """Return a list that a long name does not make wide."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_LETTERS)
    return box


def offer(box: QComboBox, names: list[str]) -> None:
    """List these; the one that was chosen stays if it is among them."""
    held = box.currentText()
    with signals_blocked(box):
        box.clear()
        box.addItems(names)
        box.setCurrentText(held)


def offer_clusters(box: QComboBox, adata: Any) -> None:  # noqa: ANN401
    """List the columns of obs that can be clusters, the likeliest in front."""
    from celldyn.data import type_columns

    offer(box, [] if adata is None else type_columns(adata))


def clusters_of(adata: Any, column: str) -> list[str]:  # noqa: ANN401
    """Return the clusters that cells are in, in the order of their names."""
    if adata is None or column not in adata.obs:
        return []
    return sorted(set(adata.obs[column].dropna().astype(str)))
