"""A preset of layers: the cortex."""

from __future__ import annotations

from typing import Any

from celldyn.simulate.presets.common import Composition, canvas, morphology

_LAYERS: dict[str, Composition] = {
    "L1": {"Interneuron": 0.20, "Astrocyte": 0.50, "Microglia": 0.18, "Endothelial": 0.12},
    "L2-3": {"L2-3 IT": 0.62, "Interneuron": 0.14, "Astrocyte": 0.11, "Oligodendrocyte": 0.03,
             "Microglia": 0.05, "Endothelial": 0.05},
    "L4": {"L4 IT": 0.64, "Interneuron": 0.13, "Astrocyte": 0.10, "Oligodendrocyte": 0.04,
           "Microglia": 0.05, "Endothelial": 0.04},
    "L5": {"L5 ET": 0.55, "Interneuron": 0.16, "Astrocyte": 0.11, "Oligodendrocyte": 0.09,
           "Microglia": 0.05, "Endothelial": 0.04},
    "L6": {"L6 CT": 0.57, "Interneuron": 0.10, "Astrocyte": 0.12, "Oligodendrocyte": 0.13,
           "Microglia": 0.04, "Endothelial": 0.04},
    "WM": {"Astrocyte": 0.20, "Oligodendrocyte": 0.68, "Microglia": 0.08, "Endothelial": 0.04},
}  # fmt: skip
"""What each layer is made of, from the pia inwards."""

_TYPES = ["L2-3 IT", "L4 IT", "L5 ET", "L6 CT", "Interneuron", "Astrocyte", "Oligodendrocyte",
          "Microglia", "Endothelial"]  # fmt: skip

_NUCLEI = {
    "L2-3 IT": morphology(70.0, 1.2, orientation_mode="aligned", orientation_angle=90.0),
    "L4 IT": morphology(55.0, 1.1),
    "L5 ET": morphology(95.0, 1.3, orientation_mode="aligned", orientation_angle=90.0),
    "L6 CT": morphology(70.0, 1.2, orientation_mode="aligned", orientation_angle=90.0),
    "Interneuron": morphology(60.0, 1.1),
    "Astrocyte": morphology(48.0, 1.3),
    "Oligodendrocyte": morphology(30.0, 1.05, cv_area=0.15),
    "Microglia": morphology(26.0, 1.9),
    "Endothelial": morphology(30.0, 3.0, boundary_noise_apt=0.05),
}


def values(n_cells: int) -> dict[str, Any]:
    """Return the cortex; every layer has the same depth, a sixth of the canvas."""
    return {
        "canvas_size": canvas(n_cells, 190.0, aspect=1.3),
        "min_distance_um": 7.0,
        "n_celltype": len(_TYPES),
        "n_genes": 300,
        "n_markers": 16,
        "marker_mu": 1.8,
        "celltype_labels": _TYPES,
        "n_domains": len(_LAYERS),
        "domain_pattern": "layers",
        "domain_labels": list(_LAYERS),
        "domain_composition": {name: dict(mix) for name, mix in _LAYERS.items()},
        "default_morphology": morphology(50.0, boundary_noise_apt=0.08),
        "celltype_morphology": _NUCLEI,
    }
