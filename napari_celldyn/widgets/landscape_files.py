"""A landscape saved to a file of its own, and opened on the tissue in view."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.landscape_training import Learned, open_job, save_job
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.jobs import JobRunner
    from napari_celldyn.widgets.landscape_model import ModelShelf
    from napari_celldyn.widgets.landscape_ready import LandscapeReady

PATTERNS = "Landscapes (*.safetensors)"


class ModelFiles(QWidget):
    """Two buttons: save the model, and open one.

    Parameters
    ----------
    runner
        Runs the jobs.
    shelf
        The model of the tissue in view.
    ready
        Says which counts and genes an opened model reads.
    """

    opened = Signal(object)
    """A model was read, with where the cells of the tissue stand on it (`Learned`)."""

    def __init__(
        self,
        runner: JobRunner,
        shelf: ModelShelf,
        ready: LandscapeReady,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._runner, self._shelf, self._ready = runner, shelf, ready
        self.save_button, self.open_button = QPushButton("Save model…"), QPushButton("Open model…")
        self.save_button.setToolTip("Write the landscape, without the data, to a file of its own")
        self.open_button.setToolTip("Read a landscape that was learned of the same genes")
        self.sentence, self.jobs = ErrorSentence(), CardPlace(runner)
        line = QHBoxLayout()
        line.addWidget(self.save_button)
        line.addWidget(self.open_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(line)
        column.addWidget(self.sentence)
        column.addWidget(self.jobs)
        self.save_button.clicked.connect(self._ask_and_save)
        self.open_button.clicked.connect(self._ask_and_open)

    def refresh(self) -> None:
        """Offer to save where there is a model."""
        self.save_button.setEnabled(self._shelf.is_there)

    def save(self, path: Path) -> JobHandle | None:
        """Start to write the model; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        try:
            work = self._shelf.job(partial(save_job, path=path))
            handle = self._runner.submit(
                f"Saving {path.name}",
                work,
                system="landscape",
                on_result=lambda found: self._shelf.keep(found[0]),
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def open(self, path: Path) -> JobHandle | None:
        """Start to read a model; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        try:
            tissue, layer = self._ready.tissue(), self._ready.layer_key
            handle = self._runner.submit(
                f"Opening {path.name}",
                lambda: open_job(path, tissue, layer),
                system="landscape",
                writes={keys.LANDSCAPE_INFO.path()},
                on_result=self._on_opened,
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def _on_opened(self, learned: Learned) -> None:
        self.opened.emit(learned)
        self.jobs.clear()

    def _ask_and_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the landscape", "landscape.safetensors", PATTERNS
        )
        if path:
            target = Path(path)
            self.save(target if target.suffix else target.with_suffix(".safetensors"))

    def _ask_and_open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a landscape", "", PATTERNS)
        if path:
            self.open(Path(path))
