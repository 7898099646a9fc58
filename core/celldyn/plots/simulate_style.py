"""What the simulator's figures share: classes of genes and their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from celldyn.data.palette import default_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOUSEKEEPING, SILENT = "housekeeping", "silent"
CLASS_COLOURS = {"marker": "#009e73", HOUSEKEEPING: "#e69f00", SILENT: "#999999"}
"""The three classes of the priors."""
_MARKER = "_mkr"
_NEUTRAL = {HOUSEKEEPING: "#aaaaaa", SILENT: "#dddddd"}


def gene_classes(gene_type: pd.Series) -> pd.Series:
    """Return "<type> marker", "housekeeping", "silent", or a named gene's own kind."""
    kinds = gene_type.astype(str)
    plain = kinds.map({"hk": HOUSEKEEPING, "silence": SILENT}).fillna(kinds)
    marker = kinds.str.endswith(_MARKER)
    named: pd.Series = plain.where(~marker, kinds.str.removesuffix(_MARKER) + " marker")
    return named


def class_colours(classes: pd.Series, celltypes: list[str]) -> dict[str, str]:
    """Return a colour per class that is there: markers as their types, the rest in greys.

    Parameters
    ----------
    classes
        From `gene_classes`.
    celltypes
        Cell types in the order of their colours.
    """
    there = list(dict.fromkeys(classes))
    own = [f"{name} marker" for name in celltypes]
    extra = [name for name in there if name not in own and name not in _NEUTRAL]
    colours = default_colours(len(celltypes) + len(extra))
    known = dict(zip([*own, *extra], colours, strict=True)) | _NEUTRAL
    order = [*(name for name in own if name in there), *extra]
    order += [name for name in _NEUTRAL if name in there]
    return {name: known[name] for name in order}


def bare(axes: Axes) -> None:
    """Take away the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)
