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
    from celldyn.betas.perturbing.arrows import (
        GridVectors,
        Transitions,
        grid_vectors,
        prepare_transitions,
        transitions_job,
        write_transitions,
    )
    from celldyn.betas.perturbing.config import PerturbConfig, TransitionConfig
    from celldyn.betas.perturbing.derivatives import splash
    from celldyn.betas.perturbing.influence import collect_interactions, influence_paths
    from celldyn.betas.perturbing.inputs import PerturbInputs, PerturbTissue
    from celldyn.betas.perturbing.permutation import permutation_test, permutation_test_job
    from celldyn.betas.perturbing.preparing import prepare_perturb
    from celldyn.betas.perturbing.propagate import StepPreview
    from celldyn.betas.perturbing.reading import (
        Models,
        genes_with_betas,
        load_models_job,
        read_models,
    )
    from celldyn.betas.perturbing.results import PerturbResult
    from celldyn.betas.perturbing.run import perturb, perturb_job
    from celldyn.betas.perturbing.screen import (
        ScreenInputs,
        ScreenResult,
        prepare_screen,
        screen_job,
    )
    from celldyn.betas.perturbing.stored import perturbed_names, read_perturbed, write_perturbed
    from celldyn.betas.perturbing.transitions import (
        cell_fates,
        embedding_vectors,
        transition_probabilities,
    )
    from celldyn.betas.preparing import Found, find_modulators, prepare
    from celldyn.betas.propose import propose_regulators, propose_target
    from celldyn.betas.results import BetasResult, ClusterFit
    from celldyn.betas.stored import read_result, write_result
    from celldyn.betas.train import fit, fit_job
    from celldyn.betas.varying.cnn import CellularNicheNetwork
    from celldyn.betas.varying.vit import CellularViT

_HOME = {
    "BetasConfig": "config",
    "BetasInputs": "inputs",
    "BetasResult": "results",
    "CellularNicheNetwork": "varying.cnn",
    "CellularViT": "varying.vit",
    "ClusterFit": "results",
    "Found": "preparing",
    "Gram": "gram",
    "GridVectors": "perturbing.arrows",
    "Models": "perturbing.reading",
    "PerturbConfig": "perturbing.config",
    "PerturbInputs": "perturbing.inputs",
    "PerturbResult": "perturbing.results",
    "PerturbTissue": "perturbing.inputs",
    "RegulatoryFactory": "grn_factory",
    "ScreenInputs": "perturbing.screen",
    "ScreenResult": "perturbing.screen",
    "SpatialCellularProgramsEstimator": "model",
    "StepPreview": "perturbing.propagate",
    "TransitionConfig": "perturbing.config",
    "Transitions": "perturbing.arrows",
    "ard_job": "bayes",
    "bayesian_ridge_job": "bayes",
    "cell_fates": "perturbing.transitions",
    "collect_interactions": "perturbing.influence",
    "density_maps": "maps",
    "distance_maps": "maps",
    "embedding_vectors": "perturbing.transitions",
    "find_modulators": "preparing",
    "fit": "train",
    "fit_job": "train",
    "genes_with_betas": "perturbing.reading",
    "grid_vectors": "perturbing.arrows",
    "group_lasso": "lasso",
    "group_lasso_job": "lasso",
    "influence_paths": "perturbing.influence",
    "load_models_job": "perturbing.reading",
    "neighbour_counts": "diffusion",
    "permutation_test": "perturbing.permutation",
    "permutation_test_job": "perturbing.permutation",
    "perturb": "perturbing.run",
    "perturb_job": "perturbing.run",
    "perturbed_names": "perturbing.stored",
    "prepare": "preparing",
    "prepare_perturb": "perturbing.preparing",
    "prepare_screen": "perturbing.screen",
    "prepare_transitions": "perturbing.arrows",
    "propose_regulators": "propose",
    "propose_target": "propose",
    "radius_graph": "neighbours",
    "read_models": "perturbing.reading",
    "read_perturbed": "perturbing.stored",
    "read_result": "stored",
    "received_ligands": "diffusion",
    "screen_job": "perturbing.screen",
    "splash": "perturbing.derivatives",
    "transition_probabilities": "perturbing.transitions",
    "transitions_job": "perturbing.arrows",
    "write_perturbed": "perturbing.stored",
    "write_result": "stored",
    "write_transitions": "perturbing.arrows",
}

__all__ = [
    "BetasConfig",
    "BetasInputs",
    "BetasResult",
    "CellularNicheNetwork",
    "CellularViT",
    "ClusterFit",
    "Found",
    "Gram",
    "GridVectors",
    "Models",
    "PerturbConfig",
    "PerturbInputs",
    "PerturbResult",
    "PerturbTissue",
    "RegulatoryFactory",
    "ScreenInputs",
    "ScreenResult",
    "SpatialCellularProgramsEstimator",
    "StepPreview",
    "TransitionConfig",
    "Transitions",
    "ard_job",
    "bayesian_ridge_job",
    "cell_fates",
    "collect_interactions",
    "density_maps",
    "distance_maps",
    "embedding_vectors",
    "find_modulators",
    "fit",
    "fit_job",
    "genes_with_betas",
    "grid_vectors",
    "group_lasso",
    "group_lasso_job",
    "influence_paths",
    "load_models_job",
    "neighbour_counts",
    "permutation_test",
    "permutation_test_job",
    "perturb",
    "perturb_job",
    "perturbed_names",
    "prepare",
    "prepare_perturb",
    "prepare_screen",
    "prepare_transitions",
    "propose_regulators",
    "propose_target",
    "radius_graph",
    "read_models",
    "read_perturbed",
    "read_result",
    "received_ligands",
    "screen_job",
    "splash",
    "transition_probabilities",
    "transitions_job",
    "write_perturbed",
    "write_result",
    "write_transitions",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.betas.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.betas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
