"""What the layers ask of the shown column: what it depends on, its table, its isolated part."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from napari_celldyn.layers.colours import FADED_ALPHA, PLAIN, RGBA, Limits, category_table

if TYPE_CHECKING:
    from anndata import AnnData
    from napari.utils.colormaps import Colormap

    from celldyn.data import Column, Source
    from napari_celldyn.layers.base import CellsLayer


def keys_of(source: Source | None) -> frozenset[str]:
    """Return the keys that a coloured column depends on, as the workspace announces them."""
    if source is None:
        return frozenset()
    if source.slot == "obs":
        return frozenset({f"obs/{source.key}", keys.COLOURS.path(column=source.key)})
    more = {f"layers/{source.plus}"} if source.plus else set()
    return frozenset({source.slot, f"{source.slot}/{source.key}", *more})


def cell_table(adata: AnnData, column: Column | None) -> pd.DataFrame:
    """Return the name of every cell and the shown value, for napari's features of a layer."""
    table: dict[str, Any] = {"cell": adata.obs_names.to_numpy()}
    if column is not None and column.label != "cell":
        table[column.label] = (
            column.values
            if column.codes is None
            else pd.Categorical.from_codes(column.codes, categories=column.categories)
        )
    return pd.DataFrame(table)


def isolated_codes(column: Column | None, isolated: Collection[str] | None) -> list[int] | None:
    """Return the codes of the isolated categories; None where none are, or there are no codes."""
    if isolated is None or column is None or column.categories is None:
        return None
    return [code for code, name in enumerate(column.categories) if name in isolated]


def paint(
    cells: CellsLayer,
    n_obs: int,
    held: Column | None,
    isolated: Collection[str] | None,
    colormap: Colormap,
    limits: Limits | None,
) -> None:
    """Colour the cells by a column: categories by their colours, values by the colormap.

    Parameters
    ----------
    cells
        What to colour.
    n_obs
        How many they are.
    held
        The column; None leaves the cells plain.
    isolated
        The categories shown alone; None shows all.
    colormap, limits
        For values.
    """
    codes = isolated_codes(held, isolated)
    if held is not None and held.rgba is not None:
        cells.set_rgba(_faded(held.rgba, held.codes, codes))
    elif held is not None and held.codes is not None:
        cells.set_codes(held.codes, category_table(held.colours or [], codes))
    elif held is not None and held.values is not None and limits is not None:
        cells.set_values(held.values, limits, colormap)
    else:
        cells.set_rgba(np.tile(np.array(PLAIN, np.float32), (n_obs, 1)))


def of_cells(held: Column | None, cells: NDArray[np.intp]) -> Column | None:
    """Return a column of some cells only."""
    if held is None or (held.values is None and held.codes is None):
        return held
    return replace(
        held,
        values=None if held.values is None else held.values[cells],
        codes=None if held.codes is None else held.codes[cells],
        rgba=None if held.rgba is None else held.rgba[cells],
    )


def _faded(rgba: RGBA, codes: NDArray[np.integer] | None, isolated: list[int] | None) -> RGBA:
    """Return colours with those of cells faded that are of no isolated category."""
    if isolated is None or codes is None:
        return rgba
    found = rgba.copy()
    found[~np.isin(codes, isolated), 3] = FADED_ALPHA
    return found
