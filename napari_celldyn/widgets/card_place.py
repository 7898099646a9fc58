"""The place in a dock where the card of its latest job stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_celldyn.widgets.job_card import JobCard

if TYPE_CHECKING:
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.jobs import JobRunner


class CardPlace(QWidget):
    """Shows the card of one job at a time, the latest; empty before the first.

    Parameters
    ----------
    runner
        Forgets a job whose card is dismissed.
    shows_metrics
        Whether cards list the latest metrics; no where they have a table of their own.
    """

    def __init__(
        self,
        runner: JobRunner,
        parent: QWidget | None = None,
        *,
        shows_metrics: bool = True,
    ) -> None:
        super().__init__(parent)
        self._runner, self._shows_metrics = runner, shows_metrics
        self.card: JobCard | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    def show_job(self, handle: JobHandle) -> None:
        """Show the card of a job in place of the last one's."""
        self.clear()
        self.card = JobCard(handle, shows_metrics=self._shows_metrics)
        self.card.dismissed.connect(self._dismiss)
        self._layout.addWidget(self.card)

    def clear(self) -> None:
        """Take the card away."""
        if self.card is not None:
            self._layout.removeWidget(self.card)
            self.card.setParent(None)
            self.card.deleteLater()
            self.card = None

    def _dismiss(self, handle: JobHandle) -> None:
        self._runner.dismiss(handle)
        self.clear()
