"""Spatially varying regulatory coefficients: what drives a gene, cell by cell.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.betas.bayes import ard_job, bayesian_ridge_job
    from celldyn.betas.config import BetasConfig
    from celldyn.betas.diffusion import neighbour_counts, received_ligands
    from celldyn.betas.gram import Gram
    from celldyn.betas.grn_factory import RegulatoryFactory
    from celldyn.betas.inputs import BetasInputs
    from celldyn.betas.lasso import group_lasso, group_lasso_job
    from celldyn.betas.maps import density_maps, distance_maps
    from celldyn.betas.model import SpatialCellularProgramsEstimator
    from celldyn.betas.neighbours import radius_graph
    from celldyn.betas.perturbing.config import PerturbConfig
    from celldyn.betas.perturbing.derivatives import splash
    from celldyn.betas.perturbing.inputs import PerturbInputs
    from celldyn.betas.perturbing.preparing import prepare_perturb
    from celldyn.betas.perturbing.results import PerturbResult
    from celldyn.betas.perturbing.run import perturb, perturb_job
    from celldyn.betas.perturbing.stored import perturbed_names, read_perturbed, write_perturbed
    from celldyn.betas.preparing import Found, find_modulators, prepare
    from celldyn.betas.propose import propose_regulators, propose_target
    from celldyn.betas.results import BetasResult, ClusterFit
    from celldyn.betas.stored import read_result, write_result
    from celldyn.betas.train import fit, fit_job

_HOME = {
    "BetasConfig": "config",
    "BetasInputs": "inputs",
    "BetasResult": "results",
    "ClusterFit": "results",
    "Found": "preparing",
    "Gram": "gram",
    "PerturbConfig": "perturbing.config",
    "PerturbInputs": "perturbing.inputs",
    "PerturbResult": "perturbing.results",
    "RegulatoryFactory": "grn_factory",
    "SpatialCellularProgramsEstimator": "model",
    "ard_job": "bayes",
    "bayesian_ridge_job": "bayes",
    "density_maps": "maps",
    "distance_maps": "maps",
    "find_modulators": "preparing",
    "fit": "train",
    "fit_job": "train",
    "group_lasso": "lasso",
    "group_lasso_job": "lasso",
    "neighbour_counts": "diffusion",
    "perturb": "perturbing.run",
    "perturb_job": "perturbing.run",
    "perturbed_names": "perturbing.stored",
    "prepare": "preparing",
    "prepare_perturb": "perturbing.preparing",
    "propose_regulators": "propose",
    "propose_target": "propose",
    "radius_graph": "neighbours",
    "read_perturbed": "perturbing.stored",
    "read_result": "stored",
    "received_ligands": "diffusion",
    "splash": "perturbing.derivatives",
    "write_perturbed": "perturbing.stored",
    "write_result": "stored",
}

__all__ = [
    "BetasConfig",
    "BetasInputs",
    "BetasResult",
    "ClusterFit",
    "Found",
    "Gram",
    "PerturbConfig",
    "PerturbInputs",
    "PerturbResult",
    "RegulatoryFactory",
    "SpatialCellularProgramsEstimator",
    "ard_job",
    "bayesian_ridge_job",
    "density_maps",
    "distance_maps",
    "find_modulators",
    "fit",
    "fit_job",
    "group_lasso",
    "group_lasso_job",
    "neighbour_counts",
    "perturb",
    "perturb_job",
    "perturbed_names",
    "prepare",
    "prepare_perturb",
    "propose_regulators",
    "propose_target",
    "radius_graph",
    "read_perturbed",
    "read_result",
    "received_ligands",
    "splash",
    "write_perturbed",
    "write_result",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.betas.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.betas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
