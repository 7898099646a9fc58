"""A preset of crypts: cells that mature along an axis of the tissue."""

from __future__ import annotations

import math
from typing import Any

from celldyn.simulate.presets.common import Composition, blend, canvas, morphology

_TYPES = ["Stem", "Transit amplifying", "Enterocyte", "Goblet", "Fibroblast", "Immune"]
_NICHE: Composition = {"Stem": 0.85, "Transit amplifying": 0.15}
_WALLS: Composition = {"Transit amplifying": 0.40, "Enterocyte": 0.42, "Goblet": 0.18}
_AROUND: Composition = {"Fibroblast": 0.62, "Immune": 0.38}

_PITCH_UM, _ROW_UM = 112.0, 450.0
"""From one crypt to the next, and from one row of them to the next."""
_MOST = 100
"""Beyond so many crypts they grow with the canvas instead."""
_DEPTH, _WIDTH, _WALL, _BASE = 0.62, 0.66, 0.3, 0.4
"""Depth over the row's height, width over the pitch; wall, and niche's radius, over the width."""

_SHARES = [(0.053, _NICHE), (0.214, _WALLS), (0.733, _AROUND)]
"""Shares of the cells that lie in niches, in walls and around: those that the geometry gives."""

_NUCLEI = {
    "Stem": morphology(38.0, 1.6, orientation_mode="radial"),
    "Transit amplifying": morphology(42.0, 1.5, orientation_mode="radial"),
    "Enterocyte": morphology(45.0, 1.7, orientation_mode="radial"),
    "Goblet": morphology(34.0, 1.2),
    "Fibroblast": morphology(36.0, 2.8, boundary_noise_apt=0.05),
    "Immune": morphology(28.0, 1.05, cv_area=0.15, boundary_noise_apt=0.04),
}


def values(n_cells: int) -> dict[str, Any]:
    """Return rows of crypts, open to the bottom; a cell's true time grows from base to mouth."""
    width, height = canvas(n_cells, 150.0, aspect=1.5)
    columns, rows = _grid(width, height)
    pitch, row_um = width / columns, height / rows
    breadth, depth = _WIDTH * pitch, _DEPTH * row_um
    niche = {"name": "stem niche", "composition": dict(_NICHE), "shape": 0.1,
             "size_um": round(_BASE * breadth, 1)}  # fmt: skip
    walls = {"name": "crypt", "pattern": "crypt", "composition": dict(_WALLS),
             "size_um": round(depth, 1), "orientation": 180.0,
             "shape": round(min(breadth / depth, 1.0), 3)}  # fmt: skip
    structures: list[dict[str, Any]] = []
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * pitch, (row + 0.5) * row_um
            base = y - 0.5 * depth + _BASE * breadth
            structures += [
                {"spec": niche, "x": round(x, 1), "y": round(base, 1)},
                {"spec": walls, "x": round(x, 1), "y": round(y, 1)},
            ]
    return {
        "canvas_size": (width, height),
        "min_distance_um": 5.5,
        "n_celltype": len(_TYPES),
        "n_genes": 240,
        "n_markers": 20,
        "marker_mu": 1.6,
        "celltype_labels": _TYPES,
        "celltype_proportion": blend(_SHARES, _TYPES),
        "domain_labels": ["mucosa"],
        "prototypes": structures,
        "default_morphology": morphology(40.0),
        "celltype_morphology": _NUCLEI,
        "dynamics": {"potential": "tree", "n_fates": 2, "time_from": "y", "n_genes": 40},
    }


def _grid(width: float, height: float) -> tuple[int, int]:
    """Return columns and rows of crypts: of natural size, or fewer and larger ones."""
    larger = max(1.0, math.sqrt(width / _PITCH_UM * height / _ROW_UM / _MOST))
    return (
        max(1, round(width / (_PITCH_UM * larger))),
        max(1, round(height / (_ROW_UM * larger))),
    )
