"""Figure of a region of a simulated tissue: nuclei, cells and molecules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data.palette import default_colours
from celldyn.errors import ConfigError
from celldyn.plots.simulate_style import bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from celldyn.simulate import Simulation

Region = tuple[float, float, float, float]

_CELLS_SHOWN = 250
"""Cells of a region when none is asked for."""
_LOOKS: tuple[tuple[Literal["cell", "nucleus"], float, str], ...] = (
    ("cell", 0.25, "#666666"),
    ("nucleus", 0.75, "#333333"),
)
"""Outline, opacity, and colour of its edge."""
_MOLECULE_COLOUR, _LEAKED_COLOUR = "#111111", "#d55e00"


def tissue(
    simulation: Simulation,
    *,
    region: Region | None = None,
    section: int = 0,
    molecules: bool = True,
) -> Figure:
    """Draw nuclei, cells and molecules of a region in one picture.

    Parameters
    ----------
    simulation
        From `simulate_job`.
    region
        Left, top, right and bottom in µm; by default a square in the middle of the canvas that
        holds about 250 cells.
    section
        Which section.
    molecules
        Whether molecules are drawn; only those of the cells in the region are made.

    Returns
    -------
    Cells and nuclei in the colours of their types; molecules as dots, leaked ones in a colour of
    their own; y grows downwards, as in an image.

    Raises
    ------
    ConfigError
        If there is no such section, or the region has no extent.
    """
    from matplotlib.figure import Figure

    from celldyn.simulate.region import molecules_of

    config = simulation.config
    if not 0 <= section < config.n_sections:
        raise ConfigError(f"there is no section {section}", f"there are {config.n_sections}")
    left, top, right, bottom = region or _middle(simulation)
    if not (left < right and top < bottom):
        raise ConfigError("the region has no extent", "give left < right and top < bottom")
    rows = _within(simulation, (left, top, right, bottom), section)
    figure = Figure(figsize=(9, 7), layout="tight")
    axes = figure.add_subplot()
    _outlines(axes, simulation, rows)
    if molecules and rows.size:
        _dots(axes, molecules_of(simulation, rows), (left, top, right, bottom))
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.set(xlabel="x (µm)", ylabel="y (µm)")
    axes.set_title(f"{rows.size} cells of {config.section_names[section]}")
    bare(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False)
    return figure


def _middle(simulation: Simulation) -> Region:
    config = simulation.config
    width, height = config.canvas_um
    side = float(np.sqrt(width * height * min(1.0, _CELLS_SHOWN / max(config.section_sizes))))
    w, h = min(side, width), min(side, height)
    return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2


def _within(simulation: Simulation, region: Region, section: int) -> NDArray[np.intp]:
    left, top, right, bottom = region
    cells = simulation.cells
    inside = cells["x"].between(left, right) & cells["y"].between(top, bottom)
    here = cells["section"].cat.codes == section
    return np.flatnonzero((inside & here).to_numpy())


def _outlines(axes: Axes, simulation: Simulation, rows: NDArray[np.intp]) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba_array

    types = simulation.cells["celltype"]
    names = [str(name) for name in types.cat.categories]
    colours = to_rgba_array(default_colours(len(names)))
    codes = types.cat.codes.to_numpy()[rows]
    for kind, alpha, edge in _LOOKS:
        faces = colours[codes]
        faces[:, 3] = alpha
        corners = simulation.shapes.vertices(kind, rows)
        axes.add_collection(
            PolyCollection(list(corners), facecolors=faces, edgecolors=edge, linewidths=0.4)
        )
    for code in np.unique(codes):
        axes.scatter([], [], marker="s", color=colours[code], label=names[code])


def _dots(axes: Axes, molecules: pd.DataFrame, region: Region) -> None:
    left, top, right, bottom = region
    seen = molecules[molecules["x"].between(left, right) & molecules["y"].between(top, bottom)]
    leaked = seen["is_leaked"].to_numpy(dtype=bool)
    for chosen, colour, label in (
        (~leaked, _MOLECULE_COLOUR, "molecule"),
        (leaked, _LEAKED_COLOUR, "leaked molecule"),
    ):
        if chosen.any():
            part = seen[chosen]
            axes.scatter(part["x"], part["y"], s=1.6, color=colour, linewidths=0, label=label)
