"""The part of an LSD model that draws how cells flow on an embedding, or on the tissue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn import keys
from celldyn.data.words import listed
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job, run
from celldyn.landscape.graph import Floats
from celldyn.landscape.lsd_base import LSDBase
from celldyn.landscape.places import as_places
from celldyn.landscape.projecting import Projection, project_velocity_job
from celldyn.landscape.states import CellStates
from celldyn.landscape.streams import Streamlines, streamlines_job
from celldyn.landscape.transitions import boltzmann_transitions

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_OF_STATES = {keys.POTENTIAL(): "V", keys.PSEUDOTIME(): "pseudotime", keys.ENTROPY(): "entropy"}
"""Columns that the model itself knows."""


@dataclass(frozen=True, slots=True, eq=False)
class CellFlow:
    """How cells flow on an embedding.

    Parameters
    ----------
    embedding
        Its key in obsm.
    places, arrows
        (n, c) of the cells.
    streams
        The lines that follow the arrows.
    """

    embedding: str
    places: Floats
    arrows: Floats
    streams: Streamlines


class StreamMixin(LSDBase):
    """Streamlines; see `LSD`."""

    def stream_lines(
        self,
        embedding: str = "X_umap",
        color: str | None = "clusters",
        *,
        method: Projection = "field",
        adata: AnnData | None = None,
        density: float = 1.0,
        smooth: float = 1.0,
        size: float | None = None,
        alpha: float = 0.8,
        title: str | None = None,
        axes: Axes | None = None,
        save: Path | str | None = None,
    ) -> Axes:
        """Draw the lines along which cells flow, over the cells.

        Parameters
        ----------
        embedding
            Key in obsm: an embedding, or the coordinates of the tissue, "spatial"; of three axes
            the first two are drawn.
        color
            Column of obs, or "potential", "lsd_pseudotime", "entropy"; None draws cells grey.
        method
            "field": the learned field −∇V itself. "transitions": the chances of going from cell
            to cell downhill, as sclsd draws them; see `project_transitions`.
        adata
            Of the same cells, where the embedding and the column are; by default the model's.
        density, smooth
            Of the lines; see `streamlines`.
        size, alpha
            Of the dots.
        title
            By default the name of the column.
        axes
            Where to draw; by default on a new figure.
        save
            Name of a file, .png, .svg or .pdf, that the figure is written to.

        Returns
        -------
        The axes; `axes.figure` is the figure.

        Raises
        ------
        NotFittedError
            If the model is not trained.
        MissingKeyError
            If there is no such embedding or column.
        ConfigError
            If the method is not known, or the file cannot be a figure.
        """
        from celldyn.plots.landscape_flow import plot_streamlines
        from celldyn.plots.landscape_style import axes_of, save_figure

        drawn_on = self._same_cells(adata)
        job = self.stream_lines_job(
            embedding, method=method, adata=adata, density=density, smooth=smooth
        )
        flow = run(job, bar=False)
        column, palette = self._coloured_by(drawn_on, color)
        drawn = plot_streamlines(
            flow.places, flow.streams, column, palette=palette, size=size, alpha=alpha, axes=axes,
            title=(color or "") if title is None else title, tissue=embedding == keys.SPATIAL(),
        )  # fmt: skip
        if save is not None:
            save_figure(axes_of(drawn)[0], save)
        return drawn

    def stream_lines_job(
        self,
        embedding: str = "X_umap",
        *,
        method: Projection = "field",
        adata: AnnData | None = None,
        density: float = 1.0,
        smooth: float = 1.0,
    ) -> Job[CellFlow]:
        """Find the lines along which cells flow, as a job; parameters are those of `stream_lines`.

        On an embedding the neighbours are those of the model's graph. On the tissue they are the
        cells near by: an arrow points to where nearby cells are further on.
        """
        places = _places(self._same_cells(adata), embedding)
        states = yield from self.states_job()
        graph = None if embedding == keys.SPATIAL() else self._inputs.connectivities
        chances = None
        if method == "transitions":
            chances = boltzmann_transitions(self._graph(), states.V)
        arrows = yield from project_velocity_job(
            states.z, self._downhill(states), places, graph, method=method, transitions=chances
        )
        streams = yield from streamlines_job(places, arrows, density=density, smooth=smooth)
        return CellFlow(embedding, places, arrows, streams)

    def _downhill(self, states: CellStates) -> Floats:
        """Return −∇V of the cells, (n, d)."""
        import torch

        with torch.no_grad():
            parts = torch.split(torch.from_numpy(states.z), 1 << 14)
            steep = torch.cat([self.potential.gradient(part) for part in parts])
        return np.asarray(-steep.double().numpy())

    def _graph(self) -> Any:  # noqa: ANN401
        graph = self._inputs.connectivities
        if graph is None:
            raise MissingKeyError(
                "the data set has no neighbour graph", "compute neighbours first"
            )
        return graph

    def _same_cells(self, adata: AnnData | None) -> AnnData:
        if adata is not None and adata.n_obs != self._inputs.n_obs:
            raise DataError(
                f"the data set has {adata.n_obs} cells, and the model {self._inputs.n_obs}",
                "give one of the same cells in the same order",
            )
        return self.adata if adata is None else adata

    def _coloured_by(self, adata: AnnData, color: str | None) -> tuple[Any, dict[str, str] | None]:
        """Return values that cells are coloured by, and the colours of names."""
        from celldyn.data.categories import is_categorical, named, obs_column
        from celldyn.data.palette import category_colours

        if color is None:
            return None, None
        if color in _OF_STATES and color not in adata.obs:
            return getattr(run(self.states_job(), bar=False), _OF_STATES[color]), None
        column = obs_column(adata, color)
        if not is_categorical(column):
            return column, None
        names = [str(name) for name in named(column).categories]
        return column, dict(zip(names, category_colours(adata, color), strict=True))


def _places(adata: AnnData, embedding: str) -> Floats:
    """Return the places of cells on an embedding, with or without "X_" before its name."""
    for key in (embedding, f"X_{embedding}"):
        if key in adata.obsm:
            found = np.asarray(adata.obsm[key], np.float64)
            return as_places(found[:, :3] if found.ndim == 2 else found, adata.n_obs)
    raise MissingKeyError(
        f"there is no embedding {embedding!r} in obsm", f"there are {listed(adata.obsm)}"
    )
