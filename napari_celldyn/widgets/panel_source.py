"""Which genes a panel has, in which order, and where their betas go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QLineEdit, QWidget

from celldyn.errors import ConfigError
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.path_edit import PathEdit

if TYPE_CHECKING:
    from napari_celldyn.workspace import Workspace

ENDING = ".betas.zarr"
_PROPOSED = 10


class PanelSource(QWidget):
    """Asks for what a panel needs beside the model of one gene.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.genes = QLineEdit()
        self.genes.setPlaceholderText("every gene that can be modelled")
        self.genes.setToolTip("Genes, separated by commas or blanks; empty for all")
        self.order = QComboBox()
        self.order.setToolTip("Which genes are fitted first")
        self.most = NumberBox(0, whole=True)
        self.most.setSpecialValueText("all")
        self.most.setToolTip("At most this many genes, the first in their order")
        self.proposed = NumberBox(0, 1000, whole=True)
        self.proposed.setToolTip(
            "Without a GRN: how many genes that vary with a gene stand in for its regulators"
        )
        self.store = _FolderEdit("a folder for the betas")
        self.store.setToolTip("Genes are written there one by one; a run goes on where it stopped")
        self._lay_out()
        listen(self, workspace.data_changed, self._on_data)
        self._on_data()

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("genes", self.genes)
        form.addRow("order", self.order)
        form.addRow("at most", self.most)
        form.addRow("proposed", self.proposed)
        form.addRow("store", self.store)

    def values(self, *, has_network: bool) -> dict[str, Any]:
        """Return the fields of `PanelConfig` that one gene has not.

        Parameters
        ----------
        has_network
            Whether a GRN or regulators are given: then none are proposed.
        """
        self._fill_order()
        names = self.genes.text().replace(",", " ").split()
        return {
            "genes": names or None,
            "order": self.order.currentText(),
            "max_genes": int(self.most.number()) or None,
            "propose": 0 if has_network else int(self.proposed.number()),
        }

    def folder(self) -> Path:
        """Return where the betas go.

        Raises
        ------
        ConfigError
            If no folder is named.
        """
        text = self.store.text()
        if text is None:
            raise ConfigError("no folder for the betas is named", "choose one beside the tissue")
        return Path(text)

    def _on_data(self) -> None:
        self._fill_order()
        self.setEnabled(self._workspace.adata is not None)
        self.store.set_text(_place_for(self._workspace.origin))

    def _fill_order(self) -> None:
        from celldyn.betas.panel import PanelConfig

        if not self.order.count():
            self.order.addItems(get_args(PanelConfig.model_fields["order"].annotation))
            self.proposed.setValue(_PROPOSED)


class _FolderEdit(PathEdit):
    """A path to a folder that may not be there yet."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "")

    def _look(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, f"Choose {self._what}", self.text() or "", f"Stores (*{ENDING})"
        )
        if path:
            self.set_text(path if path.endswith(".zarr") else path + ENDING)


def _place_for(origin: Path | None) -> str | None:
    """Return a folder beside the tissue's file; where nothing may be written, in the home."""
    from celldyn.data import samples

    if origin is None:
        return None
    of_samples = {samples.path(name) for name in samples.names()}
    beside = origin.parent
    if origin in of_samples or not os.access(beside, os.W_OK):
        beside = Path.home()
    return str(beside / (origin.name.partition(".")[0] + ENDING))
