"""Whether an embedding stands beside the tissue, and which; a UMAP where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session

SHOW = "Draw the cells a second time where the embedding has them; colours and choice are shared"
NOTHING_OPEN = "No tissue is open"
NONE_THERE = "This tissue has no embedding (X_umap, X_pca, …): compute a UMAP"


class EmbeddingPanel(QWidget):
    """Shows and hides the embedding beside the tissue.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._view = session.workspace, session.embedding
        self._runner = session.runner
        self.check, self.key = QCheckBox("beside the tissue"), QComboBox()
        self.key.setToolTip("Which table of obsm")
        self.key.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.key.setMinimumContentsLength(6)
        self.compute = QPushButton("Compute UMAP")
        self.compute.setToolTip(
            "From the latent space or the principal components if there are any, else from X"
        )
        self.message, self.card_place = ErrorSentence(), CardPlace(self._runner)
        line = QHBoxLayout()
        line.addWidget(self.check)
        line.addWidget(self.key, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(line)
        for part in (self.compute, self.message, self.card_place):
            column.addWidget(part)
        self.check.clicked.connect(self._toggle)
        self.key.activated.connect(self._choose)
        self.compute.clicked.connect(self.run)
        listen(self, self._view.changed, self._refresh)
        listen(self, self._workspace.data_changed, self._on_data)
        self._refresh()

    def _refresh(self) -> None:
        there, shown = self._view.keys, self._view.key
        held = shown or self.key.currentText()
        with signals_blocked(self.key):
            self.key.clear()
            self.key.addItems(there)
            self.key.setCurrentText(held)
        is_open = self._workspace.adata is not None
        self.check.setChecked(shown is not None)
        self.check.setEnabled(bool(there))
        self.check.setToolTip(SHOW if there else NONE_THERE if is_open else NOTHING_OPEN)
        self.key.setVisible(bool(there))
        self.compute.setVisible(is_open and keys.UMAP.name not in there)

    def _on_data(self) -> None:
        self.message.say("")
        self.card_place.clear()
        self._refresh()

    def _toggle(self) -> None:
        if self.check.isChecked():
            self._choose()
        else:
            self._view.hide()

    def _choose(self) -> None:
        self.message.say("")
        if not self.check.isChecked():
            return
        try:
            self._view.show(self.key.currentText())
        except CelldynError as error:
            self.message.say(str(error))

    # --- a UMAP -------------------------------------------------------------------------------

    def run(self) -> JobHandle | None:
        """Start to make a UMAP; None, and a sentence, if it cannot be made."""
        from celldyn.data import umap_input, umap_job

        self.message.say("")
        try:
            matrix = umap_input(self._workspace.require())
            handle = self._runner.submit(
                f"UMAP of {matrix.shape[0]:,} cells",
                lambda: umap_job(matrix),
                system="data",
                writes={keys.UMAP.path()},
                on_result=self._write,
            )
        except CelldynError as error:
            self.message.say(str(error))
            return None
        self.card_place.show_job(handle)
        return handle

    def _write(self, layout: NDArray[np.float32]) -> None:
        self._workspace.require().obsm[keys.UMAP.name] = layout
        self._workspace.announce({keys.UMAP.path()})
        self._view.show(keys.UMAP.name)
        self.card_place.clear()
