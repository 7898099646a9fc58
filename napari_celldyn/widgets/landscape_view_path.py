"""The path that noise takes most easily from one clicked cell to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton

from celldyn import keys
from celldyn.errors import DataError
from celldyn.jobs import Job
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_view_part import ViewPart
from napari_celldyn.widgets.landscape_view_source import TRAIN
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from celldyn.landscape import ActionPath
    from celldyn.landscape.potential import Landscape
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_view_source import LandscapeSource

HOW = "Click a cell, then a second one with Shift."


class PathPart(ViewPart):
    """Finds and draws the path of least action between two chosen cells.

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
        super().__init__(session, source, parent)
        self._route = session.route
        self._points: NDArray[np.float64] | None = None
        self._ends: tuple[int, int] | None = None
        self.button, self.clear = QPushButton("Path between two cells"), QPushButton("Clear")
        self.uphill = QCheckBox("from the lower cell to the higher one")
        self.told = wrapped()
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 2)
        buttons.addWidget(self.clear, 1)
        self.column.addLayout(buttons)
        self.column.addWidget(self.uphill)
        self.column.addWidget(self.told)
        self.uphill.setToolTip("Against the flow, as a reprogrammed cell would have to go")
        self.button.clicked.connect(lambda: self.attempt(self.find_path))
        self.clear.clicked.connect(self._on_clear)
        self.uphill.clicked.connect(self._on_uphill)
        listen(self, self.workspace.selection_changed, self.refresh)
        for view in (session.embedding, session.landscape):
            listen(self, view.changed, self._draw_line)
        self.finish()

    def find_path(self) -> None:
        """Start to find the path between the two chosen cells.

        Raises
        ------
        CelldynError
            If there are not two, or the tissue has no model.
        """
        chosen = self.workspace.selection
        if len(chosen) != 2:
            raise DataError(f"{len(chosen)} cells are chosen, not two", HOW.rstrip(".").lower())
        z, potential = self.source.states(), self.source.networks().potential
        V = self.source.potential()
        low, high = sorted(chosen.tolist(), key=lambda cell: float(V[cell]))
        start, end = (low, high) if self.uphill.isChecked() else (high, low)

        def draw(found: tuple[ActionPath, NDArray[np.intp]]) -> None:
            path, cells = found
            self._points, self._ends = path.points, (start, end)
            self._tell(path)
            self._route.show_cells(cells)
            self._draw_line()
            self.refresh()

        self.run("Path of least action", lambda: _path_job(potential, z, start, end), draw)

    def refresh(self) -> None:
        """Say what is missing, or offer the path."""
        n, can = len(self.workspace.selection), self.source.has_model
        self.button.setEnabled(can and n == 2 and self.running is None)
        self.button.setToolTip(
            "Of all ways from one to the other that which takes least against the flow"
            if can
            else f"The path is found by a model, which this tissue has not: {TRAIN}"
        )
        self.clear.setEnabled(self._points is not None)
        if self._points is None:
            self.told.setText(HOW if n != 2 else "")
            self.told.setVisible(n != 2 and can)

    def on_other_tissue(self) -> None:
        """Forget the path of the tissue before."""
        self._points = self._ends = None

    def on_written(self, written: frozenset[str]) -> None:
        """Take a path away whose landscape is another now."""
        if written & {keys.LANDSCAPE_INFO.path(), keys.CELL_STATE.path()}:
            self._on_clear()

    # --- drawing ------------------------------------------------------------------------------

    def _draw_line(self) -> None:
        """Draw the path on what is shown among the embeddings."""
        landscape, embedding = self.session.landscape, self.session.embedding
        key = landscape.key if landscape.shown else embedding.key
        if self._points is None or not key:
            return
        from celldyn.landscape.moving import path_on

        places = np.array(self.workspace.require().obsm[key], np.float64)[:, :2]
        self._route.show_line(path_on(self._points, self.source.states(), places), key)

    def _tell(self, path: ActionPath) -> None:
        names = self.workspace.require().obs_names
        first, last = (names[cell] for cell in self._ends or (0, 0))
        share = path.action / path.effort if path.effort > 0 else 0.0
        climbs = f"{path.barrier:.3g}" if path.barrier > 1e-6 else "nothing"
        said = f"{first} → {last}: it climbs {climbs} over its start; action {path.action:.3g}"
        self.told.setText(f"{said}, {share:.0%} of the effort.")
        self.told.setVisible(True)

    def _on_uphill(self) -> None:
        if self._points is not None and len(self.workspace.selection) == 2:
            self.attempt(self.find_path)

    def _on_clear(self) -> None:
        self._points = self._ends = None
        self._route.hide()
        self.refresh()


def _path_job(
    potential: Landscape, z: NDArray[np.float32], start: int, end: int
) -> Job[tuple[ActionPath, NDArray[np.intp]]]:
    """Find the path, and the cells along it."""
    from scipy.spatial import cKDTree

    from celldyn.landscape.path import least_action_path_job

    path = yield from least_action_path_job(potential, z[start], z[end])
    _, cells = cKDTree(z).query(path.points)
    cells = np.concatenate([[start], np.asarray(cells, np.intp), [end]])
    return path, cells
