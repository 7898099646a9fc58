"""Presets without structures: everything mixed, and a gradient."""

from __future__ import annotations

from typing import Any

from celldyn.simulate.presets.common import canvas, morphology


def blank(n_cells: int) -> dict[str, Any]:
    """Return three mixed cell types with the default priors."""
    return {
        "canvas_size": canvas(n_cells, 150.0),
        "n_celltype": 3,
        "n_genes": 300,
        "n_markers": 50,
        "celltype_labels": ["Type A", "Type B", "Type C"],
    }


def gradient(n_cells: int) -> dict[str, Any]:
    """Return three types along a gradient, as hepatocytes between portal and central vein."""
    return {
        "canvas_size": canvas(n_cells, 160.0, aspect=1.6),
        "n_celltype": 3,
        "n_genes": 300,
        "n_markers": 40,
        "marker_mu": 1.5,
        "celltype_labels": ["Periportal", "Midzonal", "Pericentral"],
        "celltype_proportion": [1 / 3, 1 / 3, 1 / 3],
        "n_domains": 3,
        "domain_pattern": "gradient",
        "domain_labels": ["portal", "middle", "central"],
        "domain_purity": 0.9,
        "default_morphology": morphology(48.0, 1.1, cv_area=0.3, boundary_noise_apt=0.06),
    }
