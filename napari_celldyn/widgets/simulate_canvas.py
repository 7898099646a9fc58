"""The sketch of a tissue on the canvas: two layers of its own, beside the tissue in view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Surface
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from celldyn.data.palette import default_colours

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from celldyn.simulate.shapes.outlines import CellShapes
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.simulate_preview import Sketch

PREVIEW = "preview"
"""What the names of the layers begin with."""
_GAP = 0.06
"""Room between the tissue and its sketch, as a share of the sketch's width."""
_LOOKS = (("cell", "cells", 0.35, 1.0), ("nucleus", "nuclei", 1.0, 0.8))
"""Outline, name, opacity, and brightness of the colours."""


class PreviewLayers:
    """Draws sketches; each takes the place of the last.

    Parameters
    ----------
    place
        The viewer's session; the tissue it shows stays where it is.
    """

    def __init__(self, place: Session) -> None:
        self._place = place
        self.offset = 0.0
        """Where the left edge of the canvas is drawn, µm."""
        self._framed: tuple[float, float, float] | None = None

    @property
    def layers(self) -> list[Surface]:
        """The layers of the sketch that are there."""
        wanted = {f"{PREVIEW}: {name}" for _, name, *_ in _LOOKS}
        return [layer for layer in self._viewer.layers if layer.name in wanted]

    def show(self, sketch: Sketch) -> None:
        """Draw a sketch; the view moves only where another canvas, or another place, is drawn."""
        known = {layer.name: layer for layer in self.layers}
        self.offset = self._beside(sketch.config.canvas_um[0])
        names = [str(name) for name in sketch.cells["celltype"].cat.categories]
        codes = sketch.cells["celltype"].cat.codes.to_numpy()
        for kind, what, opacity, brightness in _LOOKS:
            name = f"{PREVIEW}: {what}"
            mesh = fans(sketch.shapes, kind, codes)
            colours = _steps(len(names), brightness)
            layer = known.get(name)
            if layer is None:
                layer = Surface(mesh, name=name, opacity=opacity, colormap=colours,
                                units=("um", "um"), blending="translucent_no_depth",
                                metadata={"celldyn_preview": True})  # fmt: skip
                self._viewer.layers.append(layer)
            else:
                layer.data = mesh
                layer.colormap = colours
            layer.contrast_limits_range = layer.contrast_limits = (-0.5, len(names) - 0.5)
            layer.translate = (0.0, self.offset)
        frame = (self.offset, *sketch.config.canvas_um)
        if frame != self._framed or not known:
            self._framed = frame
            self._viewer.reset_view()

    def clear(self) -> None:
        """Take the sketch away."""
        self.offset = 0.0
        for layer in self.layers:
            self._viewer.layers.remove(layer)

    @property
    def _viewer(self) -> ViewerModel:
        return self._place.viewer

    def _beside(self, width: float) -> float:
        drawn = self._place.tissue.display_xy
        return float(drawn[:, 0].max() + _GAP * width) if len(drawn) else 0.0


def fans(
    shapes: CellShapes, kind: str, codes: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]]:
    """Return outlines as one mesh of triangles about their centres.

    Parameters
    ----------
    shapes
        (n) outlines.
    kind
        "cell" or "nucleus".
    codes
        (n,) value of each.

    Returns
    -------
    (n (R + 1), 2) vertices as y, x; (n R, 3) triangles; (n (R + 1),) values.
    """
    ring = shapes.vertices(kind)  # type: ignore[arg-type]
    n, n_rays = ring.shape[:2]
    points = np.concatenate([shapes.centre[:, None, :], ring], axis=1)[:, :, ::-1]
    k = np.arange(n_rays)
    fan = np.stack([np.zeros_like(k), 1 + k, 1 + (k + 1) % n_rays], axis=1)
    faces = (np.arange(n)[:, None, None] * (n_rays + 1) + fan).reshape(-1, 3)
    values = np.repeat(np.asarray(codes, np.float32), n_rays + 1)
    return points.reshape(-1, 2).astype(np.float32), faces, values


def _steps(n: int, brightness: float) -> Colormap:
    rgb = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in default_colours(n)]
    table = np.column_stack([brightness * np.array(rgb), np.ones(n)])
    return Colormap(
        table, name="cell types", controls=np.linspace(0.0, 1.0, n + 1), interpolation="zero"
    )
