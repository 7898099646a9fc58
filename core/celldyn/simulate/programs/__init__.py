"""Gene programs: a cell's means are a baseline plus loadings times its program activations.

The linear model of coregionalisation. Cell c of type k has activations z_c ~ N(mu_k, sigma_k²),
its genes the means mu* = max(mu_0 + W z_c, eps), and its counts are Poisson with a gamma rate of
mean mu* s_c and coefficient of variation phi_0 mu*^-alpha, so that theta = mu*^(2 alpha) / phi_0².
"""

from __future__ import annotations

from celldyn.simulate.programs.cells import (
    mean_activations,
    program_activations,
    program_proportions,
)
from celldyn.simulate.programs.checks import check
from celldyn.simulate.programs.counts import (
    build_program_gpar_df,
    program_block,
    program_strata,
    sample_counts_program_model,
    sample_program_job,
)
from celldyn.simulate.programs.genes import (
    program_loadings,
    program_names,
    resolve_gene_names,
    resolve_genes,
)

__all__ = [
    "build_program_gpar_df",
    "check",
    "mean_activations",
    "program_activations",
    "program_block",
    "program_loadings",
    "program_names",
    "program_proportions",
    "program_strata",
    "resolve_gene_names",
    "resolve_genes",
    "sample_counts_program_model",
    "sample_program_job",
]
