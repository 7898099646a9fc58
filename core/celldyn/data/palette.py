"""Colours of categories: those stored with the data first, then ones that most eyes tell apart."""

from __future__ import annotations

import colorsys
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn import keys

if TYPE_CHECKING:
    from anndata import AnnData

MISSING_COLOUR = "#bdbdbd"
"""What a cell without a category is painted in."""

PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#56b4e9",
    "#cc79a7",
    "#6900ff",
    "#e1e196",
    "#4b78ff",
    "#b40f2d",
    "#69f0f0",
    "#87f05a",
    "#78b45a",
    "#3cf0c3",
    "#a52d78",
    "#693cc3",
    "#ff6987",
    "#4ba5ff",
    "#4b693c",
    "#c300a5",
)
"""The six strong colours of Okabe and Ito, then those farthest from all before in CIELAB, as seen
with normal sight, deuteranopia and protanopia (Machado et al. 2009), legible on black or white."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_GOLDEN = 0.618033988749895


def default_colours(n: int) -> list[str]:
    """Return `n` colours: the palette, and beyond it hues turned by the golden angle."""
    return [*PALETTE[:n], *(_generated(i) for i in range(n - len(PALETTE)))]


def _generated(i: int) -> str:
    hue, lightness, strength = (0.1 + i * _GOLDEN) % 1, 0.40 + 0.1 * (i % 4), 0.55 + 0.2 * (i % 3)
    rgb = colorsys.hls_to_rgb(hue, lightness, strength)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def category_colours(adata: AnnData, column: str) -> list[str]:
    """Return the colour of each category of an obs column, in the order of its categories.

    Those in `uns["<column>_colors"]` (scanpy's convention) come first; where there are none, or
    too few, or one is no colour, the palette fills in.

    Returns
    -------
    (n_categories,) "#rrggbb".

    Raises
    ------
    MissingKeyError
        If obs has no such column.
    """
    from celldyn.data.categories import named, obs_column

    n = len(named(obs_column(adata, column)).categories)
    stored = adata.uns.get(keys.COLOURS(column=column))
    return stored_colours(stored, n)


def stored_colours(stored: Any, n: int) -> list[str]:  # noqa: ANN401
    """Return `n` colours, from what is stored where that can be used, else from the palette."""
    colours = default_colours(n)
    if stored is None or isinstance(stored, dict):
        return colours
    for i, item in enumerate(list(np.atleast_1d(stored))[:n]):
        colours[i] = _as_hex(item) or colours[i]
    return colours


def _as_hex(item: Any) -> str | None:  # noqa: ANN401
    if isinstance(item, str) and _HEX.fullmatch(item):
        return item.lower()
    from matplotlib.colors import to_hex  # names such as "red", and rows of numbers

    try:
        return str(to_hex(str(item) if isinstance(item, str) else tuple(item)))
    except (TypeError, ValueError):
        return None
