"""Whether walks keep to a phylogeny of clusters, and to which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QPushButton, QVBoxLayout, QWidget

from celldyn.errors import CelldynError, DataError, MissingKeyError
from napari_celldyn.widgets.landscape_root import (
    cluster_box,
    clusters_of,
    offer,
    offer_clusters,
)
from napari_celldyn.widgets.landscape_tree import TreeEditor
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari_celldyn.workspace import Workspace

GRAPH = "connectivities"


class PhylogenyChoice(QWidget):
    """Asks for a phylogeny of the clusters of a column; switched off at first.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.check = QCheckBox("only along a phylogeny")
        self.check.setToolTip("A walk stays in its cluster, or goes on to one that comes from it")
        self.column, self.root = cluster_box(), cluster_box()
        self.root.setToolTip("The cluster in which it begins, for what is proposed")
        self.propose_button = QPushButton("Propose")
        self.propose_button.setToolTip("Read off the neighbour graph which cluster follows which")
        self.editor = TreeEditor()
        self.sentence = ErrorSentence()
        self._lay_out()
        self.check.toggled.connect(self._on_check)
        self.column.currentTextChanged.connect(self._on_column)
        self.propose_button.clicked.connect(self.propose)
        self.editor.changed.connect(self._tell)
        listen(self, workspace.data_changed, self._on_data)
        listen(self, workspace.keys_changed, self._on_keys)
        self._on_data()

    def _lay_out(self) -> None:
        self.inside = QWidget()
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("clusters", self.column)
        form.addRow("begin with", self.root)
        form.addRow("", self.propose_button)
        within = QVBoxLayout(self.inside)
        within.setContentsMargins(12, 0, 0, 0)
        within.addLayout(form)
        within.addWidget(self.editor)
        within.addWidget(self.sentence)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.check)
        column.addWidget(self.inside)
        self.inside.setVisible(False)

    def value(self) -> tuple[str, Mapping[str, Sequence[str]]] | None:
        """Return the column and its phylogeny; None if walks need not keep to one.

        Raises
        ------
        DataError
            If a line is wrong, or there is none.
        """
        if not self.check.isChecked():
            return None
        children = self.editor.children_of()
        if not children:
            raise DataError(
                "the phylogeny is empty", "propose one, write lines, or take the tick away"
            )
        return self.column.currentText(), children

    def propose(self) -> None:
        """Fill in what the neighbour graph says."""
        from celldyn.data import labels
        from celldyn.landscape import infer_phylogeny

        self.sentence.say("")
        try:
            adata = self._workspace.require()
            if GRAPH not in adata.obsp:
                raise MissingKeyError(
                    "the tissue has no neighbour graph, obsp['connectivities']", "prepare it first"
                )
            names = labels(adata, self.column.currentText())
            graph = adata.obsp[GRAPH]
            self.editor.put(infer_phylogeny(graph, names, self.root.currentText()))
        except CelldynError as error:
            self.sentence.say(str(error))

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        self.check.setChecked(False)
        self.editor.clear()
        self.sentence.say("")
        self._offer()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith("obs/") for path in written):
            self._offer()

    def _offer(self) -> None:
        offer_clusters(self.column, self._workspace.adata)
        self._on_column()

    def _on_column(self, *_: object) -> None:
        names = clusters_of(self._workspace.adata, self.column.currentText())
        offer(self.root, names)
        self.sentence.say("")
        self.editor.set_names(names)

    def _on_check(self, on: bool) -> None:  # noqa: FBT001  (Qt's signal)
        self.inside.setVisible(on)
        self.changed.emit()

    def _tell(self) -> None:
        self.changed.emit()
