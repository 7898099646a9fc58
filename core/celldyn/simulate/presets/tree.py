"""A preset of dynamics: a tree of fates that makes the cell types."""

from __future__ import annotations

from typing import Any

from celldyn.simulate.presets.common import canvas, morphology

_FATES = ["Erythroid", "Monocyte", "B cell", "T cell"]
_TYPES = ["Progenitor", *_FATES]
"""Before the last fork, and on the way to each fate alone."""


def values(n_cells: int) -> dict[str, Any]:
    """Return cells that run from a progenitor to four fates, in time from left to right."""
    return {
        "canvas_size": canvas(n_cells, 140.0, aspect=1.5),
        "min_distance_um": 6.5,
        "n_celltype": len(_TYPES),
        "n_genes": 200,
        "n_markers": 20,
        "celltype_labels": _TYPES,
        "default_morphology": morphology(42.0, 1.1, cv_area=0.2, boundary_noise_apt=0.06),
        "dynamics": {
            "potential": "tree",
            "n_fates": len(_FATES),
            "n_dims": 4,
            "n_genes": 80,
            "time_from": "x",
            "defines_celltypes": True,
        },
    }
