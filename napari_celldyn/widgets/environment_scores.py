"""How well positions tell held-out cells, beside simple methods, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.environment_modalities import Modality, tables
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_root import offer
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.environment.quality_results import Quality
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_model import EnvironmentShelf


class EnvironmentScores(QWidget):
    """Brings all cells to rest, and shows how well held-out ones are told.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The environment of the tissue in view.
    """

    def __init__(
        self, session: Session, shelf: EnvironmentShelf, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._workspace, self._runner, self._shelf = session.workspace, session.runner, shelf
        self.quality: Quality | None = None
        self._names: dict[str, int] = {}
        self.button, self.sentence = QPushButton("Score held-out cells"), ErrorSentence()
        self.button.setToolTip(
            "All cells are brought to rest; what held-out ones tell is compared with the truth, "
            "and beside it stand simple methods trained on the same cells"
        )
        self.jobs, self.target = CardPlace(self._runner), QComboBox()
        self.words, self.table = wrapped(), FrameTable()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.button, self.sentence, self.jobs, self.target, self.words, self.table):
            column.addWidget(part)
        self.button.clicked.connect(self.run)
        self.target.currentTextChanged.connect(self._show_target)
        listen(self, self._workspace.data_changed, self.refresh)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self.refresh()

    def run(self) -> JobHandle | None:
        """Start to score; None, and a sentence, if that cannot be."""
        from celldyn.environment.quality import quality_job

        self.sentence.say("")
        try:
            learned, adata = self._shelf.require(), self._workspace.require()
            parts = tables(adata, [Modality(source, "", "") for source in learned.sources])
            handle = self._runner.submit(
                "Scores of the environment",
                lambda: quality_job(learned.fitted, parts),
                system="environment",
                writes={keys.ENVIRONMENT_QUALITY.path()},
                on_result=self._write,
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def _write(self, found: Quality) -> None:
        from celldyn.environment.quality_results import write_quality

        self.jobs.clear()
        self._workspace.announce(write_quality(self._workspace.require(), found))

    def refresh(self) -> None:
        """Show the scores that the tissue has."""
        adata, self.quality = self._workspace.adata, None
        self.sentence.say("")
        if adata is not None and keys.ENVIRONMENT_QUALITY.name in adata.uns.get(
            keys.CELLDYN.name, {}
        ):
            from celldyn.environment.quality_results import read_quality

            try:
                self.quality = read_quality(adata)
            except CelldynError as error:
                self.sentence.say(str(error))
        learned = self._shelf.learned if self.quality is not None else None
        names = {} if self.quality is None or learned is None else self.quality.tables
        self._names = {learned.sources[k]: k for k in names} if learned is not None else {}
        offer(self.target, list(self._names))
        self.target.setVisible(len(self._names) > 1)
        self.words.setVisible(bool(self._names))
        self.table.setVisible(bool(self._names))
        if self._names:
            self.words.setText(str(self.quality))
            self._show_target(self.target.currentText())

    def _on_keys(self, written: frozenset[str]) -> None:
        if written & {keys.ENVIRONMENT_QUALITY.path(), keys.ENVIRONMENT_INFO.path()}:
            self.refresh()

    def _show_target(self, name: str) -> None:
        if self.quality is None or name not in self._names:
            self.table.show_frame(pd.DataFrame())
            return
        table = self.quality.tables[self._names[name]]
        self.table.show_frame(table.rename_axis("method").reset_index())
