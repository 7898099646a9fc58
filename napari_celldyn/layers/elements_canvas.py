"""The layers of outlines, molecules and domains: their order, their colours, what is in view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray
from psygnal import Signal

from napari_celldyn.layers.canvas import active_kept
from napari_celldyn.layers.domains import domains_layer, keep_width
from napari_celldyn.layers.elements_colour import TissueColours
from napari_celldyn.layers.elements_loading import LoadedOutlines
from napari_celldyn.layers.molecules import MoleculeMarks, gene_table, gene_values
from napari_celldyn.layers.outlines import OutlineMarks, Style
from napari_celldyn.layers.tissue import TissueView
from napari_celldyn.layers.view_follower import ViewFollower
from napari_celldyn.layers.view_mesh import ViewMesh, plain, stepped

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

    from napari_celldyn.handle import JobHandle
    from napari_celldyn.layers.elements_detail import Detail

RANKS = {"cells": 0, "nuclei": 1, "tissue": 2, "molecules": 3, "domains": 4}
"""From the bottom of the layer list to its top."""

ALL = 0.95
"""Outlines of this share of the cells stand in for the dots of all."""

WITHIN = Style(line=0.8, fill=0.16, line_pixels=1.4)
"""How outlines look that do not bear the colours of the cells."""


@dataclass(eq=False)
class Shown:
    """One element that is on the canvas, or on its way there.

    Parameters
    ----------
    name, rank
        What it is called, and where it stands among the layers.
    again
        Shows it anew, for a tissue that is drawn elsewhere; None where that cannot be done.
    layer, mesh
        What draws it; None while it is read.
    cells
        (n,) the cell of each outline, -1 for none; None where nobody says.
    n_cells
        How many cells its outlines can stand for.
    genes
        The genes of molecules, in the order of their colours.
    detail
        Reads molecules again where they were thinned; None where they need not be.
    handle
        The job that reads it.
    """

    name: str
    rank: str
    again: Callable[[], object] | None = None
    layer: Layer | None = None
    mesh: ViewMesh | None = None
    cells: NDArray[np.integer] | None = None
    n_cells: int = 0
    genes: list[str] = field(default_factory=list)
    detail: Detail | None = None
    handle: JobHandle | None = None

    @property
    def seen(self) -> bool:
        """Whether any of it is drawn."""
        drawn = None if self.mesh is None else self.mesh.drawn
        return drawn is not None and drawn.n_shown > 0 and bool(self.mesh.layer.visible)

    @property
    def note(self) -> str:
        """One line on how much of it is drawn."""
        if self.layer is None:
            progress = None if self.handle is None else self.handle.progress
            share = None if progress is None else progress.fraction
            return "reading…" if not share else f"reading… {share:.0%}"
        if self.mesh is None or self.mesh.drawn is None:
            return ""
        drawn, marks = self.mesh.drawn, self.mesh.marks
        if isinstance(marks, MoleculeMarks):
            return marks.table.words if self.detail is None else self.detail.words
        if drawn.n_shown == 0 < drawn.n_there:
            return f"zoom in to see outlines ({drawn.n_there:,} are in view)"
        return f"{len(marks.index):,} outlines"


class ElementsCanvas:
    """Draws elements beside the cells of a tissue and keeps the drawing true.

    Outlines are drawn where few enough are in view, and then stand in for the dots of the cells.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    tissue
        Draws the cells.
    """

    changed = Signal()
    """What is drawn, or how much of it, has changed."""

    settled = Signal()
    """The camera has come to rest."""

    def __init__(self, viewer: ViewerModel, tissue: TissueView) -> None:
        self.viewer, self._tissue = viewer, tissue
        self.shown: dict[str, Shown] = {}
        self._colours = TissueColours(tissue)
        self._follower = ViewFollower(viewer, self._meshes)
        self._follower.drawn.connect(self._on_drawn)
        self._follower.settled.connect(self._on_settled)
        tissue.shown_changed.connect(self.recolour)
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """Stop listening."""
        self._follower.close()
        self._tissue.shown_changed.disconnect(self.recolour)
        self.viewer.layers.events.removed.disconnect(self._on_removed)

    # --- drawing ------------------------------------------------------------------------------

    def draw_outlines(self, shown: Shown, held: LoadedOutlines) -> None:
        """Put outlines on the canvas."""
        shown.cells = held.cells
        if held.cells is not None:
            shown.n_cells = len(np.unique(held.cells[held.cells >= 0]))
        ink = self._colours.ink(self.viewer)
        shown.mesh = ViewMesh(self.viewer, held.marks, plain(ink), **self._options(shown))
        self._add(shown, shown.mesh.layer)
        self.recolour()
        self._begin(shown)

    def draw_molecules(self, shown: Shown, marks: MoleculeMarks) -> None:
        """Put molecules on the canvas, each gene in its colour."""
        shown.genes = shown.genes or sorted(marks.table.gene_names)
        colours, limits = stepped(gene_table(len(shown.genes)))
        values = gene_values(marks.table, shown.genes)
        shown.mesh = ViewMesh(self.viewer, marks, colours, limits, values, **self._options(shown))
        self._add(shown, shown.mesh.layer)
        self._begin(shown)

    def exchange_molecules(self, shown: Shown, marks: MoleculeMarks) -> None:
        """Draw other molecules of the same genes in the same layer."""
        if shown.mesh is not None and shown.mesh.marks is not marks:
            shown.mesh.set_marks(marks, gene_values(marks.table, shown.genes))
            self._on_drawn()

    def draw_domains(self, shown: Shown, domains: dict[str, Any]) -> None:
        """Put named outlines on the canvas."""
        ink = self._colours.ink(self.viewer)
        self._add(shown, domains_layer(domains, ink, **self._options(shown)))
        self._on_settled()
        self.changed.emit()

    def remove(self, shown: Shown) -> None:
        """Take the layer of an element away."""
        if shown.layer is not None and shown.layer in self.viewer.layers:
            self.viewer.layers.remove(shown.layer)
        self.recolour()
        self._on_drawn()

    def recolour(self) -> None:
        """Give the outlines of the cells the tissue's colours, else those of the nuclei."""
        bearers = self._bearers()
        for shown in self.shown.values():
            mesh = shown.mesh
            if mesh is None or not isinstance(mesh.marks, OutlineMarks):
                continue
            if shown in bearers and shown.cells is not None:
                mesh.marks.style = Style()
                mesh.set_colours(*self._colours.of(shown.cells))
            else:
                mesh.marks.style = WITHIN
                mesh.set_colours(None, plain(self._colours.ink(self.viewer)), (0.0, 1.0))

    def _bearers(self) -> list[Shown]:
        """Return the outlines that stand for cells: of nuclei only where there are no others."""
        there = [shown for shown in self.shown.values() if shown.n_cells]
        lowest = min((RANKS[shown.rank] for shown in there), default=None)
        return [shown for shown in there if RANKS[shown.rank] == lowest]

    def _begin(self, shown: Shown) -> None:
        if shown.mesh is None:
            return
        shown.mesh.layer.events.visible.connect(self._on_visible)
        shown.mesh.redraw()
        self._on_drawn()
        if (note := shown.note).startswith("zoom in"):
            self.viewer.status = f"{shown.name}: {note}"

    def _options(self, shown: Shown) -> dict[str, Any]:
        unit = self._tissue.unit
        return {"name": shown.name, "units": (unit, unit), "metadata": {"celldyn": True}}

    def _add(self, shown: Shown, layer: Layer) -> None:
        """Add a layer at its place among ours, leaving the active one active."""
        layers = self.viewer.layers
        ranks = {s.layer: RANKS[s.rank] for s in self.shown.values() if s.layer is not None}
        if self._tissue.layer is not None:
            ranks[self._tissue.layer] = RANKS["tissue"]
        above = [i for i, other in enumerate(layers) if ranks.get(other, -1) > RANKS[shown.rank]]
        shown.layer = layer
        with active_kept(self.viewer):
            self.viewer.add_layer(layer)
            if above:
                layers.move(len(layers) - 1, above[0])

    # --- following ----------------------------------------------------------------------------

    def _meshes(self) -> list[ViewMesh]:
        return [shown.mesh for shown in self.shown.values() if shown.mesh is not None]

    def _on_drawn(self) -> None:
        bearers = self._bearers()
        # Of several sections one may be shown: the dots of the others are still needed.
        for_all = sum(shown.n_cells for shown in bearers) >= ALL * len(self._tissue.display_xy)
        self._colours.stand_in(here=for_all and any(shown.seen for shown in bearers))
        self.changed.emit()

    def _on_settled(self) -> None:
        for shown in self.shown.values():
            if isinstance(shown.layer, Shapes):
                keep_width(shown.layer, self.viewer.scene.camera.zoom)
        self.settled.emit()

    def _on_visible(self, _event: Event) -> None:
        self._follower.soon()

    def _on_removed(self, event: Event) -> None:
        for shown in [s for s in self.shown.values() if s.layer is event.value]:
            del self.shown[shown.name]
            self.remove(shown)
