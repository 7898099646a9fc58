"""An environment saved to a file of its own, and opened on the tissue in view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from celldyn.devices import aside_job
from celldyn.errors import CelldynError, DataError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.environment_training import Learned
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.environment.fitted import FittedEnvironment
    from celldyn.jobs import Job
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.jobs import JobRunner
    from napari_celldyn.widgets.environment_data import ModalityRows
    from napari_celldyn.widgets.environment_model import EnvironmentShelf

OURS, THEIRS = "Environments (*.safetensors)", "CellTRIP policies (*.weights)"


class EnvironmentFiles(QWidget):
    """Two buttons: save the environment, and open one.

    Parameters
    ----------
    runner
        Runs the jobs.
    shelf
        The environment of the tissue in view.
    modalities
        Say which parts of the tissue an opened environment is of.
    """

    opened = Signal(object)
    """An environment was read (`Learned`)."""

    def __init__(
        self,
        runner: JobRunner,
        shelf: EnvironmentShelf,
        modalities: ModalityRows,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._runner, self._shelf, self._modalities = runner, shelf, modalities
        self.save_button, self.open_button = QPushButton("Save model…"), QPushButton("Open model…")
        self.save_button.setToolTip("Write the environment, without the data, to its own file")
        self.open_button.setToolTip(
            "Read an environment that was trained on the modalities that stand above; or the "
            "authors' .weights, with the .pre file of the same name beside it"
        )
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
        """Offer to save where there is an environment."""
        self.save_button.setEnabled(self._shelf.learned is not None)

    def save(self, path: Path) -> JobHandle | None:
        """Start to write the environment; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        try:
            fitted = self._shelf.require().fitted
            handle = self._runner.submit(
                f"Saving {path.name}", lambda: save_job(fitted, path), system="environment"
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def open(self, path: Path) -> JobHandle | None:
        """Start to read an environment; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        sources = tuple(each.source for each in self._modalities.chosen())
        try:
            handle = self._runner.submit(
                f"Opening {path.name}",
                lambda: open_file_job(path, sources),
                system="environment",
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
            self, "Save the environment", "environment.safetensors", OURS
        )
        if path:
            target = Path(path)
            self.save(target if target.suffix else target.with_suffix(".safetensors"))

    def _ask_and_open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open an environment", "", f"{OURS};;{THEIRS}")
        if path:
            self.open(Path(path))


def save_job(fitted: FittedEnvironment, path: Path) -> Job[None]:
    """Write an environment to a file."""
    from celldyn.environment.saved import save

    yield from aside_job(lambda: save(fitted, path), "writing", path.name)


def open_file_job(path: Path, sources: tuple[str, ...]) -> Job[Learned]:
    """Read an environment.

    Parameters
    ----------
    path
        A file of ours, or the authors' `.weights` with a `.pre` of the same name beside it.
    sources
        Of which parts of the tissue its modalities are, in order.

    Raises
    ------
    FileFormatError
        If it cannot be read.
    DataError
        If it has more or fewer modalities.
    """
    from celldyn.environment.opening import open_policy

    theirs = path.suffix == ".weights"
    pre = preprocessing_beside(path) if theirs else None
    mask = path.with_suffix(".mask") if theirs and path.with_suffix(".mask").exists() else None
    fitted = yield from aside_job(lambda: open_policy(path, pre, mask), "reading", path.name)
    n = len(fitted.preprocessing.maps)
    if n != len(sources):
        raise DataError(
            f"the environment is of {n} modalities and {len(sources)} are chosen above",
            "choose as many, in the order of its training",
        )
    return Learned(fitted, sources)


def preprocessing_beside(path: Path) -> Path:
    """Return the authors' `.pre` of a `.weights` file: its name, without an iteration's number."""
    stem = path.stem
    plain = stem.rsplit("-", 1)[0] if stem.rsplit("-", 1)[-1].isdigit() else stem
    found = (path.with_name(f"{name}.pre") for name in (stem, plain))
    return next((each for each in found if each.exists()), path.with_suffix(".pre"))
