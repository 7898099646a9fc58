"""One Surface layer that holds just what is in view, made anew as the camera moves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Surface
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_celldyn.layers.colours import RGBA, Limits
from napari_celldyn.layers.view_region import GridIndex, Region, View, view_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

MARGINS = (1.0, 0.5, 0.25, 0.0)
"""What is drawn beyond the edges of the window, in widths of it: the most that is affordable."""

ZOOM_STEP = 1.25
"""Zooming by more than this draws anew: lines have a width in pixels, few marks more detail."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles with a value each corner, and a place in the texture.

    Parameters
    ----------
    xy
        (n, 2) float32 corners, x first.
    faces
        (m, 3) corners of the triangles.
    owner
        (n,) the mark that each corner belongs to: what its value is looked up by.
    texcoords
        (n, 2) float32 place in the texture, each in [0, 1].
    """

    xy: NDArray[np.float32]
    faces: NDArray[np.integer]
    owner: NDArray[np.integer]
    texcoords: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What of the marks is on the canvas.

    Parameters
    ----------
    region
        The rectangle that it covers.
    pixels_per_unit
        The zoom that it was made for.
    n_shown, n_there
        Marks that are drawn, of how many that lie in the region.
    """

    region: Region
    pixels_per_unit: float
    n_shown: int
    n_there: int


class Marks(ABC):
    """Things that can be drawn as triangles of a texture, those in view only.

    Attributes
    ----------
    index
        Finds those in a region.
    least_margin
        What is drawn beyond the edges of the window even where not all can be drawn.
    """

    index: GridIndex
    least_margin = 0.0

    @abstractmethod
    def choose(self, region: Region) -> tuple[NDArray[np.integer], int]:
        """Return which marks to draw of a region, and about how many there are in it."""

    @abstractmethod
    def affords(self, region: Region) -> bool:
        """Whether all of a region can be drawn without being felt."""

    @abstractmethod
    def mesh(self, rows: NDArray[np.integer], pixels_per_unit: float) -> Mesh:
        """Return the triangles of some marks for one zoom."""

    @abstractmethod
    def texture(self, pixels_per_unit: float) -> NDArray[np.uint8]:
        """Return the (height, width, 4) picture that the colours are multiplied by at a zoom."""


class ViewMesh:
    """Draws marks in view.

    Parameters
    ----------
    viewer
        Whose camera to follow; call `follow` when it has moved.
    marks
        What to draw.
    values
        (n,) float32 value of each mark, NaN for none; all alike if not given.
    colormap
        From value to colour.
    limits
        The values at the ends of the colormap.
    options
        Passed on to `napari.layers.Surface` (name, units, metadata, ...).
    """

    def __init__(
        self,
        viewer: ViewerModel,
        marks: Marks,
        colormap: Colormap,
        limits: Limits = (0.0, 1.0),
        values: NDArray[np.float32] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        self._viewer = viewer
        self.marks = marks
        self._values = values
        self._anchors = _anchors(marks.index.region)
        self.drawn: Drawn | None = None
        nothing = np.empty((0, 2), np.float32)
        vertices, faces, values_there, texcoords = self._arrays(
            Mesh(nothing, np.empty((0, 3), np.uint32), np.empty(0, np.intp), nothing)
        )
        self.layer = Surface(
            (vertices, faces, values_there),
            colormap=colormap,
            contrast_limits=limits,
            texture=marks.texture(1.0),
            texcoords=texcoords,
            shading="none",
            blending="translucent_no_depth",
            **options,
        )

    def follow(self) -> bool:
        """Draw what is in view now; say whether anything was done."""
        if not self.layer.visible:
            return False
        view = view_of(self._viewer, self.layer)
        if self._still_good(view):
            return False
        self._draw(view)
        return True

    def redraw(self) -> None:
        """Draw anew whatever the camera does."""
        self._draw(view_of(self._viewer, self.layer))

    def set_marks(self, marks: Marks, values: NDArray[np.float32] | None = None) -> None:
        """Draw other marks in the same layer."""
        self.marks, self._values = marks, values
        self._anchors = _anchors(marks.index.region)
        self.redraw()

    def set_colours(
        self, values: NDArray[np.float32] | None, colormap: Colormap, limits: Limits
    ) -> None:
        """Colour the marks by (n,) values; None gives all of them the value 0."""
        self._values = values
        self.layer.colormap = colormap
        self.layer.contrast_limits_range = limits
        self.layer.contrast_limits = limits
        self.redraw()

    def _still_good(self, view: View) -> bool:
        drawn = self.drawn
        if drawn is None or drawn.n_shown == 0 < drawn.n_there:  # now perhaps few enough
            return False
        ratio = view.pixels_per_unit / drawn.pixels_per_unit
        return drawn.region.contains(view.region) and 1 / ZOOM_STEP < ratio < ZOOM_STEP

    def _draw(self, view: View) -> None:
        marks, scale = self.marks, view.pixels_per_unit
        grown = [view.region.grown(margin) for margin in MARGINS]
        least = view.region.grown(marks.least_margin)
        region = next((wide for wide in grown if marks.affords(wide)), least)
        rows, there = marks.choose(region)
        empty = self.drawn is not None and self.drawn.n_shown == 0 == len(rows)
        self.drawn = Drawn(region, scale, len(rows), there)
        if empty:  # before and after
            return
        vertices, faces, values, texcoords = self._arrays(marks.mesh(rows, scale))
        layer = self.layer
        # Texture last, and once: napari unrolls the texture's places at each of its events.
        with layer.events.texture.blocker(), layer.events.texcoords.blocker():
            layer.texture = None
            layer.texcoords = texcoords
            layer.data = (vertices, faces, values)
            layer.texture = marks.texture(scale)

    def _arrays(self, mesh: Mesh) -> tuple[NDArray[Any], ...]:
        """Return what napari asks for, with two corners that hold the layer's extent in place."""
        n = len(mesh.xy)
        vertices = np.empty((n + 2, 2), np.float32, order="F")  # see layers/quads.py
        vertices[:n], vertices[n:] = mesh.xy[:, ::-1], self._anchors[:, ::-1]
        points = np.array([[n, n, n], [n + 1, n + 1, n + 1]], mesh.faces.dtype)
        faces = np.concatenate([mesh.faces, points])
        values = np.zeros(n + 2, np.float32)
        if self._values is not None:
            values[:n] = self._values[mesh.owner]
        texcoords = np.concatenate([mesh.texcoords, np.zeros((2, 2), np.float32)])
        return vertices, faces, values, texcoords


def _anchors(region: Region) -> NDArray[np.float32]:
    return np.array([[region.x0, region.y0], [region.x1, region.y1]], np.float32)


def plain(colour: tuple[float, float, float, float]) -> Colormap:
    """Return a colormap of one colour."""
    return Colormap([colour, colour], name="plain", nan_color=colour)


def stepped(table: RGBA) -> tuple[Colormap, Limits]:
    """Return the colormap and limits that give value i the colour of row i; NaN the last row."""
    if len(table) == 2:  # no card draws a colormap of a single step
        table = table[[0, 0, 1]]
    n = len(table) - 1
    edges = np.linspace(0.0, 1.0, n + 1)
    steps = Colormap(
        table[:-1], name="categories", controls=edges, interpolation="zero", nan_color=table[-1]
    )
    return steps, (-0.5, n - 0.5)
