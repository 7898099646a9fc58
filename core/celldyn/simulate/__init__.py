"""A tissue simulator whose every truth is known: genes, cells, counts and regulation."""

from __future__ import annotations

from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.counts import negative_binomial, sample_counts
from celldyn.simulate.genes import (
    generate_gene_parameters,
    get_hk_gamma_prior,
    get_marker_gamma_prior,
    get_silence_gamma_prior,
    get_theta_gamma_prior,
)
from celldyn.simulate.scoring import score
from celldyn.simulate.simulator import Simulation, SpotlessSimulator, simulate_job
from celldyn.simulate.specs import GeneSpec, TargetSpec

__all__ = [
    "GeneSpec",
    "Simulation",
    "SimulationConfig",
    "SpotlessSimulator",
    "TargetSpec",
    "generate_gene_parameters",
    "get_hk_gamma_prior",
    "get_marker_gamma_prior",
    "get_silence_gamma_prior",
    "get_theta_gamma_prior",
    "negative_binomial",
    "sample_counts",
    "score",
    "simulate_job",
]
