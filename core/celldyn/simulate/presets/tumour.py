"""A preset of structures: a tumour and the immune cells around it."""

from __future__ import annotations

import math
from typing import Any

from celldyn.simulate.presets.common import Composition, blend, canvas, morphology

_TYPES = ["Tumour", "T cell", "B cell", "Macrophage", "Fibroblast", "Endothelial"]
_CORE: Composition = {"Tumour": 0.90, "Macrophage": 0.06, "T cell": 0.04}
_IMMUNE: Composition = {"T cell": 0.60, "Macrophage": 0.28, "Fibroblast": 0.12}
_FOLLICLE: Composition = {"B cell": 0.80, "T cell": 0.20}
_WALL: Composition = {"Endothelial": 1.0}
_BAND: Composition = {"Fibroblast": 1.0}
_STROMA: Composition = {
    "Tumour": 0.02, "T cell": 0.06, "B cell": 0.03, "Macrophage": 0.14, "Fibroblast": 0.67,
    "Endothelial": 0.08,
}  # fmt: skip

_AREA_PER_CELL_UM2 = 140.0
_MOTIF_UM = 4000.0
"""One tumour with what belongs to it fills a square of at most this side."""

_NUCLEI = {
    "Tumour": morphology(65.0, 1.2, cv_area=0.3, boundary_noise_apt=0.12),
    "T cell": morphology(28.0, 1.05, cv_area=0.15, boundary_noise_apt=0.04),
    "B cell": morphology(30.0, 1.05, cv_area=0.15, boundary_noise_apt=0.04),
    "Macrophage": morphology(45.0, 1.4, cv_area=0.30),
    "Fibroblast": morphology(38.0, 2.6, boundary_noise_apt=0.05),
    "Endothelial": morphology(28.0, 2.6, orientation_mode="tangential", boundary_noise_apt=0.05),
}


def values(n_cells: int) -> dict[str, Any]:
    """Return the tumour; a wide canvas holds several, each with its own surroundings."""
    width, height = canvas(n_cells, _AREA_PER_CELL_UM2, aspect=1.2)
    columns, rows = (max(1, math.ceil(side / _MOTIF_UM)) for side in (width, height))
    size = width / columns, height / rows
    placed: list[dict[str, Any]] = []
    for row in range(rows):
        for column in range(columns):
            placed += _motif((column * size[0], row * size[1]), size)
    return {
        "canvas_size": (width, height),
        "min_distance_um": 5.5,
        "n_celltype": len(_TYPES),
        "n_genes": 300,
        "n_markers": 25,
        "marker_mu": 1.6,
        "celltype_labels": _TYPES,
        "celltype_proportion": _proportions(size),
        "domain_labels": ["tissue"],
        "prototypes": placed,
        "default_morphology": morphology(45.0),
        "celltype_morphology": _NUCLEI,
        "leakage_by_celltype": {"Tumour": 0.12, "Macrophage": 0.08},
        "leakage_by_gene": 0.02,
        "compartments": {"Tumour_mkr": "nuclear", "T cell_mkr": "membrane",
                         "Fibroblast_mkr": "cytoplasmic"},
    }  # fmt: skip


def _motif(corner: tuple[float, float], size: tuple[float, float]) -> list[dict[str, Any]]:
    """Return one tumour's structures; lengths are shares of the motif's shorter side."""
    side = min(size)

    def at(x: float, y: float) -> dict[str, float]:
        return {"x": round(corner[0] + x * size[0], 1), "y": round(corner[1] + y * size[1], 1)}

    def spec(name: str, pattern: str, mix: Composition, um: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"name": name, "pattern": pattern, "composition": dict(mix),
                "size_um": round(um, 1), **more}  # fmt: skip

    scene = {
        "name": "tumour",
        "specs": [
            spec("tumour core", "cluster", _CORE, 0.20 * side, elongation=1.3, shape=0.25),
            spec("immune ring", "ring", _IMMUNE, 0.29 * side, elongation=1.3, shape=0.22),
        ],
    }
    vessel = spec("vessel", "vessel", _WALL, _vessel_um(side), shape=0.35)
    nest = spec("tumour nest", "cluster", _CORE, 0.08 * side, shape=0.3)
    follicle = spec("follicle", "cluster", _FOLLICLE, 0.09 * side, shape=0.1)
    band = spec("collagen band", "chain", _BAND, 0.45 * side, shape=0.14)
    return [
        {"scene": scene, **at(0.42, 0.45), "orientation": 20.0},
        {"spec": nest, **at(0.84, 0.22)},
        {"spec": follicle, **at(0.83, 0.76)},
        {"spec": band, **at(0.40, 0.92)},
        {"spec": vessel, **at(0.09, 0.12)},
        {"spec": vessel, **at(0.90, 0.48)},
        {"spec": vessel, **at(0.66, 0.91)},
    ]


def _vessel_um(side_um: float) -> float:
    """Return the radius of a vessel: wide enough for its wall, in all but tiny tissues."""
    return min(max(0.035 * side_um, 14.0), 0.08 * side_um)


def _proportions(size: tuple[float, float]) -> list[float]:
    """Return the shares of the types that the areas of a motif's structures come to."""
    side = min(size)
    vessel = _vessel_um(side) / side
    parts: list[tuple[float, Composition]] = [
        (math.pi * (0.20**2 + 0.08**2), _CORE),
        (math.pi * 0.29**2 * (1.0 - (1.0 - 0.22) ** 2), _IMMUNE),
        (math.pi * 0.09**2, _FOLLICLE),
        (0.45**2 * 0.14, _BAND),
        (3.0 * math.pi * vessel**2 * (1.0 - 0.65**2), _WALL),
    ]
    rest = size[0] * size[1] / side**2 - sum(weight for weight, _ in parts)
    return blend([*parts, (rest, _STROMA)], _TYPES)
