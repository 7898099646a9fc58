"""R² of each cluster, or of each gene of a panel, as it is fitted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_celldyn.widgets.frame_table import FrameTable

if TYPE_CHECKING:
    from celldyn.jobs import Progress
    from napari_celldyn.handle import JobHandle

EVERY_S = 0.3
"""The table of a thousand genes is not laid out at every one of them."""

_COLUMNS = {"r2": "R²", "heldout": "held-out"}


class ScoreBoard(QWidget):
    """A table that grows while a job runs; gone when the job is over and its results are shown."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what, self._best_first, self._drawn_at = "cluster", False, 0.0
        self.table = FrameTable()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        self._handle: JobHandle | None = None
        self.setVisible(False)

    def follow(
        self, handle: JobHandle, what: str = "cluster", *, best_first: bool = False
    ) -> None:
        """Show the scores of this job from now on.

        Parameters
        ----------
        handle
            The job.
        what
            What its scores are of.
        best_first
            Whether the best held-out score stands first, or what came first.
        """
        self.clear()
        self._what, self._best_first, self._drawn_at = what, best_first, 0.0
        self._handle = handle
        handle.progressed.connect(self._on_progress)
        handle.finished.connect(self._on_finished)

    def clear(self) -> None:
        """Forget the job."""
        if self._handle is not None:
            self._handle.progressed.disconnect(self._on_progress)
            self._handle.finished.disconnect(self._on_finished)
        self._handle = None
        self.table.show_frame(pd.DataFrame())
        self.setVisible(False)

    def _on_progress(self, _progress: Progress) -> None:
        now = time.monotonic()
        if self._handle is None or now - self._drawn_at < EVERY_S:
            return
        self._drawn_at = now
        rows: dict[str, dict[str, float]] = {}
        for name, history in self._handle.metrics.items():
            kind, _, cluster = name.partition("/")
            if kind in _COLUMNS:
                rows.setdefault(cluster, {})[_COLUMNS[kind]] = history[-1][1]
        if rows:
            frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(_COLUMNS.values()))
            if self._best_first:
                frame = frame.sort_values("held-out", ascending=False, kind="stable")
            self.table.show_frame(frame.rename_axis(self._what).reset_index())
            self.setVisible(True)

    def _on_finished(self, _state: object) -> None:
        self.clear()
