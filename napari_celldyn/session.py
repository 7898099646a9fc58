"""One session per viewer: the workspace, the tissue view, the mouse and the jobs it has."""

from __future__ import annotations

import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any

from napari_celldyn.workspace import Workspace

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_celldyn.interact import Interaction
    from napari_celldyn.jobs import JobRunner
    from napari_celldyn.layers import TissueView
    from napari_celldyn.layers.agents import AgentsView
    from napari_celldyn.layers.arrows import ArrowsView
    from napari_celldyn.layers.elements import ElementsView
    from napari_celldyn.layers.embedding import EmbeddingView
    from napari_celldyn.layers.landscape import TerrainView
    from napari_celldyn.layers.landscape_journey import Journey
    from napari_celldyn.layers.landscape_marks import LandscapeMouse
    from napari_celldyn.layers.landscape_route import RouteView
    from napari_celldyn.layers.streamlines import StreamlinesView

_OF_VIEWER: weakref.WeakValueDictionary[int, Session] = weakref.WeakValueDictionary()


class Session:
    """What the docks of one viewer share; each part is made when it is first asked for.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self.workspace = Workspace.of(viewer)

    @property
    def viewer(self) -> ViewerModel:
        """The viewer itself, not napari's proxy of it."""
        viewer = self._viewer()
        if viewer is None:
            raise ReferenceError("the viewer of this session is gone")
        return viewer

    def belongs_to(self, viewer: object) -> bool:
        """Whether this is the session of `viewer`, and not of one that had its id before."""
        return self._viewer() is viewer

    @cached_property
    def tissue(self) -> TissueView:
        """Draws the cells of the workspace as one layer."""
        from napari_celldyn.layers import TissueView

        return TissueView(self.viewer, self.workspace)

    @cached_property
    def embedding(self) -> EmbeddingView:
        """Draws the cells a second time, among their states."""
        from napari_celldyn.layers.embedding import EmbeddingView

        return EmbeddingView(self.viewer, self.workspace, self.tissue)

    @cached_property
    def arrows(self) -> ArrowsView:
        """Draws arrows over the cells, with a key."""
        from napari_celldyn.layers.arrows import ArrowsView

        return ArrowsView(self.viewer, self.workspace)

    @cached_property
    def landscape(self) -> TerrainView:
        """Draws the cells on their potential, in 3-D beside the tissue."""
        from napari_celldyn.layers.landscape import TerrainView

        return TerrainView(self.viewer, self.workspace, self.tissue, self.embedding)

    @cached_property
    def landscape_mouse(self) -> LandscapeMouse:
        """Turns hover and click in 3-D into cells of the workspace."""
        from napari_celldyn.layers.landscape_marks import LandscapeMouse

        return LandscapeMouse(self.viewer, self.workspace, self.tissue, self.landscape)

    @cached_property
    def journey(self) -> Journey:
        """Shows cells on their way downhill."""
        from napari_celldyn.layers.landscape_journey import Journey

        parts = (self.viewer, self.workspace, self.tissue, self.embedding, self.landscape)
        return Journey(*parts)

    @cached_property
    def streamlines(self) -> dict[str, StreamlinesView]:
        """Draw lines of flow on the "tissue", the "embedding" and the "landscape"."""
        from napari_celldyn.layers.streamlines import NAME, StreamlinesView

        grounds = {
            "tissue": self.tissue,
            "embedding": self.embedding,
            "landscape": self.landscape,
        }
        return {
            where: StreamlinesView(self.viewer, self.workspace, ground, f"{NAME} on the {where}")
            for where, ground in grounds.items()
        }

    @cached_property
    def agents(self) -> AgentsView:
        """Draws cells where a virtual environment has them."""
        from napari_celldyn.layers.agents import AgentsView

        return AgentsView(self.viewer, self.workspace, self.tissue)

    @cached_property
    def route(self) -> RouteView:
        """Draws one path from a cell to another."""
        from napari_celldyn.layers.landscape_route import RouteView

        parts = (self.viewer, self.workspace, self.tissue, self.embedding, self.landscape)
        return RouteView(*parts)

    @cached_property
    def elements(self) -> ElementsView:
        """Draws outlines, molecules and domains beside the cells."""
        from napari_celldyn.layers.elements import ElementsView

        return ElementsView(self.viewer, self.workspace, tissue=self.tissue, runner=self.runner)

    @cached_property
    def interaction(self) -> Interaction:
        """Turns hover, click and lasso on the cells into cells of the workspace."""
        from napari_celldyn.interact import Interaction

        others = [self.embedding]
        return Interaction(self.viewer, self.workspace, self.tissue, others, self.agents)

    @cached_property
    def runner(self) -> JobRunner:
        """Runs the long work that this viewer's docks start."""
        from napari_celldyn.jobs import JobRunner

        return JobRunner.of_viewer(self.viewer)


def session(viewer: Any) -> Session:  # noqa: ANN401
    """Return the session of a viewer, made on first use and gone with the viewer."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # napari hands plugins a proxy
    known = _OF_VIEWER.get(id(viewer))
    if known is not None and known.belongs_to(viewer):
        return known
    made = _OF_VIEWER[id(viewer)] = Session(viewer)

    def keep(_event: object) -> None:
        """Hold `made`: the viewer's own emitter keeps it exactly as long as the viewer lives.

        A global table could not, since the parts of a session hold the viewer in their turn.
        """
        _ = made

    viewer.layers.events.removed.connect(keep)
    return made
