"""Figures of the simulator: its priors, its genes, its model, and the tissue it makes."""

from __future__ import annotations

from celldyn.plots.simulate_genes import gene_parameters
from celldyn.plots.simulate_plate import plate_diagram
from celldyn.plots.simulate_priors import marker_mu_sweep, priors, theta_sweep
from celldyn.plots.simulate_tissue import tissue

__all__ = [
    "gene_parameters",
    "marker_mu_sweep",
    "plate_diagram",
    "priors",
    "theta_sweep",
    "tissue",
]
