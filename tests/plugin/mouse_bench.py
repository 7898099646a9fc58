"""A viewer with a tissue of 10 x 10 cells, and the canvas's own mouse over it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import anndata as ad
import numpy as np
from qtpy.QtTest import QTest

from napari_celldyn.interact import Interaction
from napari_celldyn.layers import TissueView
from napari_celldyn.layers.embedding import EmbeddingView
from napari_celldyn.workspace import Workspace


class Bench:
    """A viewer with a tissue of 10 x 10 cells, 10 units apart, and a mouse."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        xy = np.stack(np.meshgrid(np.arange(10), np.arange(10)), -1).reshape(-1, 2) * 10.0
        self.adata = ad.AnnData(np.arange(200, dtype=np.float32).reshape(100, 2))
        self.adata.var_names = ["Gad1", "Sst"]
        self.adata.obs_names = [f"cell{i}" for i in range(100)]
        self.adata.obs["cell_type"] = np.where(xy[:, 0] < 45, "Astro", "Neuron")
        self.adata.obsm["spatial"] = xy
        self.workspace = Workspace()
        self.tissue = TissueView(viewer, self.workspace)
        self.embedding = EmbeddingView(viewer, self.workspace, self.tissue)
        self.interaction = Interaction(viewer, self.workspace, self.tissue, [self.embedding])
        self.workspace.open(self.adata)

    # the canvas's own mouse events, at the pixel where a point of the tissue is drawn

    def pixel(self, x: float, y: float) -> np.ndarray:
        canvas = self.viewer.window._qt_viewer.canvas
        at = [canvas._map_canvas2world(p, canvas.view) for p in ((0, 0), (1, 0), (0, 1))]
        origin, right, down = np.array(at)[:, -2:]
        step = np.column_stack([right - origin, down - origin])
        return np.linalg.solve(step, np.array([y, x]) - origin)

    def mouse(self, kind: str, point: tuple[float, float], **options: Any) -> None:
        backend = self.viewer.window._qt_viewer.canvas._scene_canvas._backend
        options = {"modifiers": (), **options}
        getattr(backend, f"_vispy_mouse_{kind}")(pos=self.pixel(*point), **options)

    def drag(self, path: Sequence[tuple[float, float]], modifiers: Sequence = ()) -> None:
        self.mouse("press", path[0], button=1, modifiers=modifiers)
        for point in path[1:]:
            self.mouse("move", point, modifiers=modifiers)
            QTest.qWait(20)  # napari drops moves that come faster
        self.mouse("release", path[-1], button=1, modifiers=modifiers)

    def click(self, x: float, y: float, modifiers: Sequence = ()) -> None:
        self.drag([(x, y)], modifiers)

    def draw_round(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Drag the mouse once round a rectangle, in small steps."""
        (x0, y0), (x1, y1) = low, high
        steps = np.linspace(0, 1, 6)[:, None]
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], float)
        path = np.vstack([a + steps * (b - a) for a, b in pairwise(corners)])
        self.drag([tuple(point) for point in path])
