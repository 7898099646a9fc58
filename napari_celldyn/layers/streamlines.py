"""Lines of flow over the cells: on the tissue, on an embedding, on the landscape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from napari.layers import Surface
from napari.utils.colormaps import Colormap
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from napari_celldyn.layers import colours
from napari_celldyn.layers.canvas import active_kept, ink
from napari_celldyn.layers.landscape_ribbons import Ribbons, ribbons

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.workspace import Workspace

NAME = "streamlines"
_SPEED_STOPS = (
    (0.78, 0.90, 1.00),
    (1.00, 0.96, 0.62),
    (1.00, 0.60, 0.18),
    (0.93, 0.16, 0.22),
)
"""Slow to fast, bright throughout: lines lie on dark ground and on cells of any colour."""


SPEEDS = Colormap(list(_SPEED_STOPS), name="speeds")

WIDTH = 1 / 170
"""Of a line where the flow is fast, in sides of what is drawn on."""

RIM = 0.4
"""Of the dark rim to either side of a line, in widths of it."""

SLOWEST = 0.5
"""Width of a line where nothing flows, in widths of one where the flow is fast."""

FAST = 95.0
"""Percentile of the speeds from which on a line is at its widest."""

ABOVE = (0.001, 0.003)
"""Of rim and line over the cells on the landscape, in sides of what is drawn on."""


class Ground(Protocol):
    """What lines are drawn on: a view of the cells, flat or in space."""

    rebuilt: Any

    @property
    def unit(self) -> str:
        """Of the canvas, as napari names it."""

    def points_on_canvas(self, xy: ArrayLike, /) -> NDArray[np.float64]:
        """Return where points of its coordinates are, (n, 2) or (n, 3); none while hidden."""


@dataclass(frozen=True, slots=True)
class Style:
    """How lines are drawn.

    Parameters
    ----------
    width
        In usual widths.
    colour
        "ink" stands out from the canvas; "speed" is a colour for each speed; else "#rrggbb".
    heads
        Whether an arrow's head stands in the middle of each.
    """

    width: float = 1.0
    colour: str = "ink"
    heads: bool = True


class StreamlinesView:
    """Draws one set of lines on one ground; they go when the ground is drawn elsewhere.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        Its tissue: with another one the lines go.
    ground
        What they lie on, in whose coordinates they are.
    name
        Of the layer.
    """

    changed = Signal()
    """Other lines are shown, or none any more."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        ground: Ground,
        name: str = NAME,
    ) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace, self._ground, self._name = workspace, ground, name
        self._lines: list[NDArray[np.float64]] = []
        self._speeds: NDArray[np.float64] = np.empty(0)
        self._key: str | None = None
        self._style = Style()
        self._layer: Surface | None = None
        workspace.data_changed.connect(self.hide)
        ground.rebuilt.connect(self._on_rebuilt)
        self._viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Surface | None:
        """The layer of all lines; None while there is none."""
        return self._layer

    @property
    def style(self) -> Style:
        """How they are drawn; setting it draws them anew."""
        return self._style

    @style.setter
    def style(self, style: Style) -> None:
        if style != self._style:
            self._style = style
            if self._layer is not None:
                self._draw()

    @property
    def speeds(self) -> tuple[float, float] | None:
        """The speeds at the two ends of the colours; None while nothing is drawn."""
        return None if self._layer is None else _limits(self._speeds)

    def show(
        self,
        lines: Sequence[NDArray[np.floating]],
        speeds: Sequence[NDArray[np.floating]],
        key: str | None = None,
    ) -> None:
        """Draw lines in place of those that are shown.

        Parameters
        ----------
        lines
            (m_i, 2) each, in the coordinates of the ground; those of one point are left out.
        speeds
            (m_i,) each, how fast the flow is there.
        key
            The embedding that they are on: they are drawn while the ground shows that one. None
            is a ground that has but one, such as the tissue.
        """
        kept = [i for i, line in enumerate(lines) if len(line) > 1]
        self._lines = [np.asarray(lines[i], float) for i in kept]
        self._speeds = np.concatenate([np.empty(0), *(np.asarray(speeds[i]) for i in kept)])
        self._key = key
        self._draw()
        self.changed.emit()

    def hide(self) -> None:
        """Take the lines away."""
        self._lines, self._speeds = [], np.empty(0)
        if self._layer is not None:
            self._clear()
            self.changed.emit()

    def close(self) -> None:
        """Take the layer away and stop listening."""
        self._clear()
        self._workspace.data_changed.disconnect(self.hide)
        self._ground.rebuilt.disconnect(self._on_rebuilt)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    # --- drawing ------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._clear()
        if self._key is not None and getattr(self._ground, "key", None) != self._key:
            return
        if not self._lines or not len(self._ground.points_on_canvas(self._lines[0])):
            return
        mesh = self._mesh()
        in_space = mesh.vertices.shape[1] == 3
        self._layer = Surface(
            (mesh.vertices[:, ::-1], mesh.faces),
            vertex_colors=mesh.colours,
            name=self._name,
            shading="none",
            blending="translucent" if in_space else "translucent_no_depth",
            units=(self._ground.unit,) * mesh.vertices.shape[1],
            metadata={"celldyn": True},
        )
        with active_kept(self._viewer):
            self._viewer.add_layer(self._layer)

    def _mesh(self) -> _Mesh:
        points = np.concatenate(self._lines)
        side = float(np.ptp(points, axis=0).max()) or 1.0
        share = np.clip(self._speeds / (np.percentile(self._speeds, FAST) or 1.0), 0.0, 1.0)
        taper = np.concatenate([_taper(len(line)) for line in self._lines])
        thick = self._style.width * WIDTH * side
        widths = thick * taper * (SLOWEST + (1 - SLOWEST) * np.sqrt(share))
        heads, rim = self._style.heads, RIM * thick
        outer = ribbons(self._lines, widths + 2 * rim, heads=heads, head_width=thick + 0.8 * rim)
        inner = ribbons(self._lines, widths, heads=heads, head_width=thick)
        places = [self._on_ground(part, i) for i, part in enumerate((outer, inner))]
        dark = np.array([1.0, 1.0, 1.0] if ink(self._viewer) == "black" else [0.0, 0.0, 0.0])
        colour = self._colours(inner)
        rims = np.column_stack([np.tile(dark, (len(outer.point), 1)), 0.55 * taper[outer.point]])
        return _Mesh(
            np.concatenate(places),
            np.concatenate([outer.faces, inner.faces + len(outer.vertices)]),
            np.concatenate([rims, colour]).astype(np.float32),
        )

    def _on_ground(self, part: Ribbons, i: int) -> NDArray[np.float64]:
        places = self._ground.points_on_canvas(part.vertices)
        if places.shape[1] == 3:
            cells = float(getattr(self._ground, "clearance", 0.0))
            places[:, 2] += cells + ABOVE[i] * float(np.ptp(places[:, :2], axis=0).max())
        return places

    def _colours(self, part: Ribbons) -> NDArray[np.floating]:
        if self._style.colour == "speed":
            low, high = _limits(self._speeds)
            shades = colours.shade(self._speeds, (low, high), SPEEDS)
            return shades[part.point]
        name = self._style.colour
        colour = ink(self._viewer) if name == "ink" else name
        return np.tile(colours.category_table([colour])[0], (len(part.point), 1))

    # --- following ----------------------------------------------------------------------------

    def _on_rebuilt(self) -> None:
        """Lie on what is drawn anew; while that is away, be away too and come back with it."""
        if self._lines:
            self._draw()

    def _on_removed(self, event: Event) -> None:
        if self._layer is not None and event.value is self._layer:  # a person deleted it
            self._layer = None
            self._lines, self._speeds = [], np.empty(0)
            self.changed.emit()

    def _clear(self) -> None:
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


@dataclass(frozen=True, slots=True)
class _Mesh:
    """Vertices on the canvas, (m, 2 or 3); faces, (k, 3); and RGBA, (m, 4)."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.intp]
    colours: NDArray[np.float32]


def _limits(speeds: NDArray[np.floating]) -> tuple[float, float]:
    low, high = (float(x) for x in np.percentile(speeds, (2, 98)))
    return (low, high) if high > low else (low, low + 1.0)


def _taper(n_points: int) -> NDArray[np.float64]:
    """Return the width along a line of so many points, in [0, 1]: it begins as a thread."""
    along = np.linspace(0.0, 1.0, n_points)
    return np.minimum(0.15 + along / 0.35, 1.0)
