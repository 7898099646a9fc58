"""What the presets share: canvases that follow the number of cells, and shares of types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Composition = Mapping[str, float]
"""Share of each cell type; sums to 1."""

_STEPS = 10_000


def canvas(n_cells: int, area_per_cell_um2: float, aspect: float = 1.0) -> tuple[float, float]:
    """Return width and height in µm of a canvas for `n_cells`; `aspect` is width over height."""
    height = math.sqrt(n_cells * area_per_cell_um2 / aspect)
    return round(aspect * height, 1), round(height, 1)


def blend(parts: list[tuple[float, Composition]], names: list[str]) -> list[float]:
    """Return the shares of the types where each composition has the weight beside it.

    Parameters
    ----------
    parts
        (weight, composition); weights need not sum to 1.
    names
        Every cell type, in the order of the result.

    Returns
    -------
    One share per name, in steps of 0.0001; they sum to 1.
    """
    sums = [sum(weight * of.get(name, 0.0) for weight, of in parts) for name in names]
    parts_per = [round(_STEPS * value / sum(sums)) for value in sums]
    parts_per[parts_per.index(max(parts_per))] += _STEPS - sum(parts_per)
    return [number / _STEPS for number in parts_per]


def morphology(area: float, elongation: float = 1.0, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a nucleus by its mean area in µm² and its long over its short axis."""
    return {"mean_area": area, "elongation": elongation, **more}
