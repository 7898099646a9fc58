"""What the parts of the landscape's view share: a sentence, a job at a time, its card."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QSizePolicy, QSlider, QVBoxLayout, QWidget

from celldyn.errors import CelldynError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.jobs import Job
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_view_source import LandscapeSource


class ViewPart(QWidget):
    """A column of controls with an error's sentence and a job's card below.

    Parameters
    ----------
    session
        What the viewer's docks share.
    source
        What the tissue has.
    """

    def __init__(
        self, session: Session, source: LandscapeSource, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.source = session, source
        self.workspace = session.workspace
        self.sentence, self.card_place = ErrorSentence(), CardPlace(session.runner)
        self.running: JobHandle | None = None
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(4)
        listen(self, self.workspace.data_changed, self._on_data)
        listen(self, self.workspace.keys_changed, self._on_keys)

    def finish(self) -> None:
        """Put the sentence and the card under what stands in the column."""
        self.column.addWidget(self.sentence)
        self.column.addWidget(self.card_place)
        self.refresh()

    def refresh(self) -> None:
        """Offer what the tissue in view has."""

    def attempt(self, act: Callable[[], object]) -> bool:
        """Do something; say the sentence if it cannot be done, and whether it could."""
        self.sentence.say("")
        try:
            act()
        except CelldynError as error:
            self.sentence.say(str(error))
            return False
        return True

    def run(
        self, title: str, make: Callable[[], Job[Any]], then: Callable[[Any], object]
    ) -> JobHandle:
        """Run a job whose result is drawn, not written; one that still runs is stopped first.

        Parameters
        ----------
        title
            On its card.
        make
            Makes the job, in its thread, of arrays that nobody else holds.
        then
            Draws the result, unless another tissue has been opened meanwhile.
        """
        if self.running is not None:
            self.running.cancel()
        tissue = self.workspace.adata

        def draw(found: Any) -> None:  # noqa: ANN401
            self.card_place.clear()
            if self.workspace.adata is tissue:
                self.attempt(lambda: then(found))

        handle = self.session.runner.submit(title, make, system="landscape", on_result=draw)
        self.running = handle
        self.card_place.show_job(handle)
        handle.finished.connect(lambda _state: self._on_finished(handle))
        self.refresh()
        return handle

    def on_other_tissue(self) -> None:
        """Forget what was found of the tissue before."""

    def _on_finished(self, handle: JobHandle) -> None:
        if self.running is handle:
            self.running = None
            self.refresh()

    def _on_data(self) -> None:
        if self.running is not None:
            self.running.cancel()
            self.running = None
        self.sentence.say("")
        self.card_place.clear()
        self.on_other_tissue()
        self.refresh()

    def _on_keys(self, written: frozenset[str]) -> None:
        self.on_written(written)
        self.refresh()

    def on_written(self, written: frozenset[str]) -> None:
        """Forget what was found from keys that were written anew."""


def slider(low: int, high: int, value: int, tip: str) -> QSlider:
    """Return a horizontal slider that may be as narrow as there is room."""
    made = QSlider(Qt.Orientation.Horizontal)
    made.setRange(low, high)
    made.setValue(value)
    made.setToolTip(tip)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return made


def form() -> QFormLayout:
    """Return a form that is no wider than the dock."""
    made = QFormLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setVerticalSpacing(3)
    made.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return made
