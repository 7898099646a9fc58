"""Keeps what is drawn in step with the camera, one layer at a time and never twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_celldyn.layers.view_mesh import ViewMesh

if TYPE_CHECKING:
    from napari.components import ViewerModel

FOLLOW_MS = 60
"""While the camera moves, layers are looked at this often."""

SETTLED_MS = 600
"""The camera stands still after this long."""


class ViewFollower:
    """Redraws meshes as the camera moves.

    Each turn of the event loop redraws one mesh, so that the window stays alive between two.

    Parameters
    ----------
    viewer
        Whose camera.
    meshes
        Returns what is to be kept in step.
    """

    drawn = Signal()
    """Something was drawn anew."""

    settled = Signal()
    """The camera has come to rest."""

    def __init__(self, viewer: ViewerModel, meshes: Callable[[], list[ViewMesh]]) -> None:
        self._viewer, self._meshes = viewer, meshes
        self._todo: list[ViewMesh] = []
        self._timer, self._rest = QTimer(), QTimer()
        for timer, interval, slot in (
            (self._timer, FOLLOW_MS, self._on_time),
            (self._rest, SETTLED_MS, self.settled.emit),
        ):
            timer.setSingleShot(True)
            timer.setInterval(interval)
            timer.timeout.connect(slot)
        for emitter in self._emitters():
            emitter.connect(self._on_move)

    def soon(self) -> None:
        """Bring every mesh in step at the next turns of the event loop."""
        if not self._timer.isActive():
            self._timer.start()
        self._rest.start()

    def close(self) -> None:
        """Follow no more."""
        self._timer.stop()
        self._rest.stop()
        for emitter in self._emitters():
            emitter.disconnect(self._on_move)

    def _emitters(self) -> list[Any]:
        camera = self._viewer.scene.camera.events
        return [camera.center, camera.zoom, camera.angles, self._viewer.canvas.events.size,
                self._viewer.dims.events.ndisplay]  # fmt: skip

    def _on_move(self, _event: object) -> None:
        self.soon()

    def _on_time(self) -> None:
        if not self._todo:
            self._todo = self._meshes()
        known = self._meshes()
        while self._todo:
            mesh = self._todo.pop()
            if mesh in known and mesh.follow():
                self.drawn.emit()
                break
        if self._todo:
            QTimer.singleShot(0, self._on_time)
