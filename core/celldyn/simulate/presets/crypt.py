"""A preset of crypts: cells that mature along an axis of the tissue."""

from __future__ import annotations

from typing import Any

from celldyn.simulate.presets.common import Composition, blend, canvas, morphology

_TYPES = ["Stem", "Transit amplifying", "Enterocyte", "Goblet", "Fibroblast", "Immune"]
_CRYPT: Composition = {
    "Stem": 0.16,
    "Transit amplifying": 0.34,
    "Enterocyte": 0.34,
    "Goblet": 0.16,
}
_AROUND: Composition = {"Fibroblast": 0.62, "Immune": 0.38}

_PITCH_UM = 150.0
"""From one crypt to the next."""
_MOST = 30
"""Beyond so many crypts in a row they grow with the canvas instead."""

_NUCLEI = {
    "Stem": morphology(38.0, 1.6, orientation_mode="radial"),
    "Transit amplifying": morphology(42.0, 1.5, orientation_mode="radial"),
    "Enterocyte": morphology(45.0, 1.7, orientation_mode="radial"),
    "Goblet": morphology(34.0, 1.2),
    "Fibroblast": morphology(36.0, 2.8, boundary_noise_apt=0.05),
    "Immune": morphology(28.0, 1.05, cv_area=0.15, boundary_noise_apt=0.04),
}


def values(n_cells: int) -> dict[str, Any]:
    """Return a row of crypts; a cell's true time follows its height in the tissue."""
    width, height = canvas(n_cells, 150.0, aspect=1.5)
    n_crypts = min(max(round(width / _PITCH_UM), 1), _MOST)
    pitch = width / n_crypts
    depth, breadth = 0.72 * height, 0.55 * pitch
    spec = {
        "name": "crypt",
        "pattern": "crypt",
        "composition": dict(_CRYPT),
        "size_um": round(depth, 1),
        "shape": round(min(breadth / depth, 1.0), 3),
        "orientation": 90.0,
    }
    share = breadth * depth * n_crypts / (width * height)
    return {
        "canvas_size": (width, height),
        "min_distance_um": 5.5,
        "n_celltype": len(_TYPES),
        "n_genes": 240,
        "n_markers": 20,
        "marker_mu": 1.6,
        "celltype_labels": _TYPES,
        "celltype_proportion": blend([(share, _CRYPT), (1.0 - share, _AROUND)], _TYPES),
        "domain_labels": ["mucosa"],
        "prototypes": [
            {"spec": spec, "x": round((k + 0.5) * pitch, 1), "y": round(0.5 * height, 1)}
            for k in range(n_crypts)
        ],
        "default_morphology": morphology(40.0),
        "celltype_morphology": _NUCLEI,
        "dynamics": {"potential": "tree", "n_fates": 2, "time_from": "y", "n_genes": 40},
    }
