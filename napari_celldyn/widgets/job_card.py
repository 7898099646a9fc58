"""Jobs as cards: how far each is, how long it takes, how to stop it, why it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_celldyn.handle import JobHandle
from napari_celldyn.jobs import JobRunner
from napari_celldyn.widgets import theme_colours
from napari_celldyn.widgets.card_parts import (
    LatestValues,
    button,
    details_box,
    duration,
    show_text,
)
from napari_celldyn.widgets.dock import Beside
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.worker import JobState

if TYPE_CHECKING:
    import napari

STEPS = 1000
"""Of the progress bar."""
MIN_WIDTH = 240
"""In pixels; a dock that is wider by itself pushes the window off a small screen."""


class JobCard(QFrame):
    """Shows one job and lets the user pause, resume, cancel and, once it is over, dismiss it.

    Parameters
    ----------
    handle
        The job. The card listens to its signals and asks nothing by itself.
    shows_metrics
        Whether it lists the latest metrics; no where they have a table of their own.
    """

    dismissed = Signal(object)

    def __init__(
        self, handle: JobHandle, parent: QWidget | None = None, *, shows_metrics: bool = True
    ) -> None:
        super().__init__(parent)
        self.handle, self._shows_metrics = handle, shows_metrics
        self.setObjectName("JobCard")
        self.title = QElidingLabel(handle.title)
        self.title.setToolTip(f"{handle.title} ({handle.system})")
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.state = QLabel()
        self.bar = QProgressBar()
        self.stage = QElidingLabel()
        self.figures = QElidingLabel()
        self.metrics = LatestValues()
        self.sentence = ErrorSentence()
        self.details = details_box()
        self.pause_button = button("Pause", "Stand still at the next step", self._pause_or_resume)
        self.cancel_button = button("Cancel", "Stop; nothing is written", handle.cancel)
        self.details_button = button("Details", "Show where it happened")
        self.details_button.setCheckable(True)
        self.details_button.toggled.connect(self.details.setVisible)
        self.copy_button = button("Copy", "Copy the details, for a report", self._copy)
        self.dismiss_button = button("Dismiss", "Take this card away", self._dismiss)
        self._lay_out()
        handle.changed.connect(self.refresh)
        self.refresh()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme: napari gives the window another style sheet."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._recolour()

    def refresh(self) -> None:
        """Show the job as it is now."""
        handle, state = self.handle, self.handle.state
        self.state.setText("cancelling…" if handle.cancelling else str(state))
        self._refresh_bar()
        progress = handle.progress
        parts = [progress.stage, progress.message] if progress and not state.over else []
        show_text(self.stage, " · ".join(part for part in parts if part))
        show_text(self.figures, " · ".join(self._figures()))
        if self._shows_metrics:
            self.metrics.show_latest(handle.metrics)
        self.sentence.say(handle.error)
        self._refresh_buttons()
        self._recolour()

    # --- parts --------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        head, foot = QHBoxLayout(), QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.state)
        for made in (self.pause_button, self.cancel_button, self.details_button,
                       self.copy_button, self.dismiss_button):  # fmt: skip
            foot.addWidget(made)
        foot.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(4)
        layout.addLayout(head)
        for part in (self.bar, self.stage, self.figures, self.metrics, self.sentence):
            layout.addWidget(part)
        layout.addLayout(foot)
        layout.addWidget(self.details)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def _refresh_bar(self) -> None:
        state, progress = self.handle.state, self.handle.progress
        fraction = progress.fraction if progress else None
        self.bar.setVisible(state in (JobState.RUNNING, JobState.PAUSED))
        if state is JobState.RUNNING and fraction is None:
            self.bar.setRange(0, 0)  # busy: how much there is to do is not known
            return
        self.bar.setRange(0, STEPS)
        self.bar.setValue(round(STEPS * (fraction or 0.0)))

    def _figures(self) -> list[str]:
        handle, figures = self.handle, []
        if handle.state is JobState.QUEUED:
            return ["waits for another job to end"]
        if handle.rate is not None and not handle.state.over:
            figures.append(f"{handle.rate:.3g}/s")
        if handle.eta_s is not None and handle.state is JobState.RUNNING:
            figures.append(f"{duration(handle.eta_s)} left")
        return [*figures, f"{duration(handle.elapsed_s)} elapsed"]

    def _refresh_buttons(self) -> None:
        handle, over = self.handle, self.handle.state.over
        self.pause_button.setText("Resume" if handle.pausing else "Pause")
        self.pause_button.setVisible(not over)
        self.cancel_button.setVisible(not over)
        for part in (self.pause_button, self.cancel_button):
            part.setEnabled(not handle.cancelling)
        has_details = bool(handle.failure and handle.failure.details)
        self.details_button.setVisible(has_details)
        self.copy_button.setVisible(has_details)
        self.dismiss_button.setVisible(over)
        if handle.failure and not self.details.toPlainText():
            self.details.setPlainText(handle.failure.details)

    def _recolour(self) -> None:
        failed = self.handle.state is JobState.FAILED
        colour = (theme_colours.error() if failed else theme_colours.border()).name()
        edge = f"border-left: 4px solid {colour};" if failed else ""
        style = f"#JobCard {{ border: 1px solid {colour}; {edge} border-radius: 3px; }}"
        if style != self.styleSheet():
            self.setStyleSheet(style)

    # --- clicks -------------------------------------------------------------------------------

    def _pause_or_resume(self) -> None:
        if self.handle.pausing:
            self.handle.resume()
        else:
            self.handle.pause()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(f"{self.handle.error}\n\n{self.details.toPlainText()}")

    def _dismiss(self) -> None:
        self.dismissed.emit(self.handle)


class JobList(Beside):
    """Cards of all jobs of a runner, in a scroll area."""

    def __init__(self, runner: JobRunner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runner = runner
        self._cards: list[JobCard] = []
        self._empty = QLabel("No job has been started yet.")
        self._empty.setWordWrap(True)
        inside = QWidget()
        self._layout = QVBoxLayout(inside)
        self._layout.setContentsMargins(4, 4, 4, 4)
        self._layout.addWidget(self._empty)
        self._layout.addStretch()
        self.setWidget(inside)
        self.setMinimumWidth(MIN_WIDTH)
        for handle in runner.handles:
            self._add(handle)
        runner.submitted.connect(self._add)
        runner.dismissed.connect(self._take_away)

    @property
    def cards(self) -> tuple[JobCard, ...]:
        """The cards from top to bottom."""
        return tuple(self._cards)

    def _add(self, handle: JobHandle) -> None:
        card = JobCard(handle)
        card.dismissed.connect(self._runner.dismiss)
        self._cards.insert(0, card)
        self._layout.insertWidget(0, card)
        self._empty.setVisible(False)

    def _take_away(self, handle: JobHandle) -> None:
        for card in [card for card in self._cards if card.handle is handle]:
            self._cards.remove(card)
            self._layout.removeWidget(card)
            card.setParent(None)
            card.deleteLater()
        self._empty.setVisible(not self._cards)


class JobsWidget(JobList):
    """The dock widget: the jobs of this viewer."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(JobRunner.of_viewer(napari_viewer))
