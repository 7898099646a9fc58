"""What counts as a fate: every cluster, some that are ticked, or minima of the landscape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import DataError
from napari_celldyn.widgets.landscape_root import cluster_box, clusters_of, offer_clusters
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.vae_columns import ColumnChecks, KeyColumn

if TYPE_CHECKING:
    from napari_celldyn.workspace import Workspace

EVERY, SOME, MINIMA = "every cluster", "the clusters ticked", "minima of the landscape"
TIPS = {
    EVERY: "A cell's fate is the cluster that it comes to in the time given",
    SOME: "Only these end a path: cells that come to none of them are undecided",
    MINIMA: "Where the flow of all cells gathers; named after the cluster there",
}


class EndsChoice(QWidget):
    """Asks which clusters, of which column, are fates.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.column = cluster_box()
        self.column.setToolTip("Column of obs whose clusters cells come to")
        self.kind = QComboBox()
        self.kind.addItems([EVERY, SOME, MINIMA])
        self.ticks = ColumnChecks("Clusters that are fates")
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("clusters", self.column)
        form.addRow("fates are", self.kind)
        form.addRow(self.ticks)
        self.column.currentTextChanged.connect(self._on_column)
        self.kind.currentTextChanged.connect(self._on_kind)
        self.ticks.picked.connect(self.changed)
        listen(self, workspace.data_changed, self._on_data)
        listen(self, workspace.keys_changed, self._on_keys)
        self._on_data()

    def clusters(self) -> str:
        """Return the column of clusters.

        Raises
        ------
        DataError
            If the tissue has none.
        """
        if not (name := self.column.currentText()):
            raise DataError(
                "the tissue has no column of clusters",
                "lasso cells and name them in the Tissue dock, or open a file with clusters",
            )
        return name

    def terminal(self) -> Any:  # noqa: ANN401  (None, names, or "found")
        """Return what `cell_fates_job` takes as `terminal`.

        Raises
        ------
        DataError
            If clusters are to be ticked and none is.
        """
        kind = self.kind.currentText()
        if kind == MINIMA:
            return "found"
        if kind == EVERY:
            return None
        if not (names := self.ticks.columns()):
            raise DataError("no cluster is ticked as a fate", "tick some, or take every cluster")
        return tuple(names)

    def _on_data(self) -> None:
        with signals_blocked(self.ticks):
            self.ticks.choose([])
        offer_clusters(self.column, self._workspace.adata)
        self._on_column()
        self._on_kind()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith("obs/") for path in written):
            offer_clusters(self.column, self._workspace.adata)
            self._on_column()

    def _on_column(self, *_: object) -> None:
        names = clusters_of(self._workspace.adata, self.column.currentText())
        self.ticks.offer([KeyColumn(name, None) for name in names])
        self.changed.emit()

    def _on_kind(self, *_: object) -> None:
        kind = self.kind.currentText()
        self.kind.setToolTip(TIPS[kind])
        self.ticks.setVisible(kind == SOME)
        self.changed.emit()
