"""Cells and their outlines as one geopandas table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from celldyn.errors import DataError, UnavailableError
from celldyn.simulate.shapes.outlines import CellShapes


def cell_geodataframe(cells: pd.DataFrame, shapes: CellShapes) -> Any:  # noqa: ANN401
    """Return the cells as a `geopandas.GeoDataFrame`.

    Parameters
    ----------
    cells
        (n_cells) rows.
    shapes
        Their outlines.

    Returns
    -------
    The columns of `cells`, `geometry` (cell outlines, active) and `nucleus` (theirs), in µm on
    the canvas of each cell's section.

    Raises
    ------
    DataError
        If numbers of cells differ.
    UnavailableError
        If geopandas is not installed.
    """
    if len(cells) != shapes.n_cells:
        raise DataError(
            f"{len(cells)} cells have {shapes.n_cells} outlines", "give one outline per cell"
        )
    try:
        import geopandas
    except ImportError as error:
        raise UnavailableError("geopandas is not installed", "pip install geopandas") from error
    nucleus = geopandas.GeoSeries(shapes.polygons("nucleus"), index=cells.index)
    return geopandas.GeoDataFrame(cells.assign(nucleus=nucleus), geometry=shapes.polygons("cell"))
