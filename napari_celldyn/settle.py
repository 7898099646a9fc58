"""The whole tissue stays in view while the window around it still finds its size."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari.components import ViewerModel

_AFTER_MS = (0, 250, 1000, 2500)
"""Docks open at once, a window that has just been started takes a second or two."""


def keep_in_view(viewer: ViewerModel) -> None:
    """Fit the view again while docks and windows open, until a person has moved it.

    Parameters
    ----------
    viewer
        With a tissue that has just been put in view.
    """
    held = weakref.ref(viewer)
    last: tuple[float, ...] | None = _state(viewer)

    def again() -> None:
        nonlocal last
        there = held()
        if there is None or last is None:
            return
        if _state(there) != last:  # someone looks at something: leave it
            last = None
            return
        there.reset_view()
        last = _state(there)

    for delay in _AFTER_MS:
        QTimer.singleShot(delay, again)


def _state(viewer: ViewerModel) -> tuple[float, ...]:
    camera = viewer.scene.camera
    return (camera.zoom, *camera.center, *camera.angles)
