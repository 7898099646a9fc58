"""A mesh whose vertices move many times a second: trails and arrows of cells on their way."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Surface
from numpy.typing import NDArray

from napari_celldyn.layers.canvas import active_kept

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_celldyn.layers.colours import RGBA


class MovingMesh:
    """One layer of triangles in the plane; each move writes their corners alone.

    Of 24,000 quads that takes 2 ms, where `layer.vertices = vertices` takes 18 and napari's
    Vectors 40 to 100, since those make everything anew.

    Parameters
    ----------
    viewer
        The viewer itself, not napari's proxy of it.
    name
        Of the layer.
    vertices, faces
        (m, 2) x and y, and (k, 3).
    rgba
        (m, 4) colours of the vertices.
    unit
        As napari names it.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        name: str,
        vertices: NDArray[np.floating],
        faces: NDArray[np.intp],
        rgba: RGBA,
        unit: str,
    ) -> None:
        self._viewer = viewer
        self.layer = Surface(
            (_in_order(vertices), faces),
            vertex_colors=rgba,
            name=name,
            shading="none",
            blending="translucent_no_depth",
            units=(unit, unit),
            metadata={"celldyn": True},
        )
        self._vertices, self._settled = _in_order(vertices), True
        with active_kept(viewer):
            viewer.add_layer(self.layer)

    @property
    def vertices(self) -> NDArray[np.float32]:
        """(m, 2) where the corners are, x first."""
        return self._vertices[:, ::-1]

    def move(self, vertices: NDArray[np.floating]) -> None:
        """Draw the corners at (m, 2) places."""
        self._vertices = _in_order(vertices)
        self._settled = write_vertices(self._viewer, self.layer, self._vertices) is False
        if self._settled:
            self.layer.vertices = self._vertices

    def settle(self) -> None:
        """Tell the layer itself where its corners are by now."""
        if not self._settled:
            self.layer.vertices = self._vertices
            self._settled = True

    def close(self) -> None:
        """Take the layer away."""
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)


def write_vertices(viewer: Any, layer: Surface, vertices: NDArray[np.float32]) -> bool:  # noqa: ANN401
    """Write the corners of a mesh to the graphics card; False where that cannot be done.

    Parameters
    ----------
    viewer
        With a window, or it draws nothing.
    layer
        Of as many vertices, in the plane.
    vertices
        (m, 2), in the layer's own order of axes.
    """
    # napari offers no way to move vertices alone; where it is otherwise made, the slow way holds.
    with suppress(AttributeError, KeyError, TypeError, ValueError, IndexError):
        node = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node
        mesh = node.mesh_data
        if len(mesh.get_vertices()) != len(vertices):
            return False
        corners = np.zeros((len(vertices), 3), np.float32)
        corners[:, :2] = vertices[:, ::-1]
        mesh.set_vertices(corners)  # read when something else of the layer changes
        node._vertices.set_data(corners[mesh.get_faces()], convert=True)
        node.update()
        return True
    return False


def _in_order(vertices: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return places in napari's order of axes."""
    return np.ascontiguousarray(np.asarray(vertices)[:, ::-1], np.float32)
