"""How layers of ours come onto a canvas that a person works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel


@contextmanager
def active_kept(viewer: ViewerModel) -> Iterator[None]:
    """Leave the active layer active: napari makes every new layer the active one."""
    layers = viewer.layers
    active = layers.selection.active
    yield
    if active is not None and active in layers:
        layers.selection.active = active


def ink(viewer: ViewerModel) -> str:
    """Return the colour that stands out from the canvas."""
    background = np.asarray(viewer.canvas.background_color, float)[:3]
    return "white" if background.mean() < 0.5 else "black"
