"""A potential landscape of cell states: its walks, its flow, and the fates that cells come to.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.landscape.absorption import committor, committor_job
    from celldyn.landscape.config import LSDConfig
    from celldyn.landscape.diffusion import Sigma, sigma_of_model, sigma_of_model_job
    from celldyn.landscape.ensemble import (
        Consensus,
        ConsensusEntropy,
        PooledFates,
        consensus_entropy,
        consensus_pseudotime,
        pooled_fates,
    )
    from celldyn.landscape.ensemble_effects import PooledEffect, pooled_effects
    from celldyn.landscape.ensemble_model import LSDEnsemble
    from celldyn.landscape.fate_table import CellFates
    from celldyn.landscape.fates import (
        Convergence,
        TerminalStates,
        Vote,
        convergence,
        nearest_vote,
        nearest_vote_job,
        terminal_states,
    )
    from celldyn.landscape.fating import cell_fates, cell_fates_job
    from celldyn.landscape.flowing import flow, flow_job
    from celldyn.landscape.gridding import ArrowGrid, arrow_grid, arrow_grid_job
    from celldyn.landscape.inputs import LSDInputs, read_inputs, read_inputs_job
    from celldyn.landscape.lsd import LSD
    from celldyn.landscape.moving import Frames, flow_frames, flow_frames_job, frame_times, path_on
    from celldyn.landscape.path import ActionPath, least_action_path, least_action_path_job
    from celldyn.landscape.perturbing.config import PerturbConfig
    from celldyn.landscape.perturbing.effect import PerturbationEffect
    from celldyn.landscape.perturbing.perturb import perturb_effects, perturb_job
    from celldyn.landscape.perturbing.screen import screen_genes, screen_job
    from celldyn.landscape.perturbing.screened import Screen
    from celldyn.landscape.phylogeny import infer_phylogeny, phylogeny_mask
    from celldyn.landscape.plasticity import Plasticity, plasticity_of_votes
    from celldyn.landscape.potential import Landscape, Potential
    from celldyn.landscape.preparing import Prepared, prepare, prepare_job
    from celldyn.landscape.prior import check_transition, prior_transition
    from celldyn.landscape.projecting import (
        arrow_confidence,
        project_transitions,
        project_transitions_job,
        project_velocity,
        project_velocity_job,
    )
    from celldyn.landscape.resting import FlowTime, flow_time, flow_time_job
    from celldyn.landscape.results import (
        LandscapeResult,
        read_effect,
        read_model,
        read_screen,
        write_effect,
        write_result,
        write_screen,
    )
    from celldyn.landscape.root import pseudotime_from_root, pseudotime_from_root_job
    from celldyn.landscape.saved import SavedLandscape, load_model, save_model
    from celldyn.landscape.streams import (
        Streamlines,
        lines_on_grid_job,
        streamlines,
        streamlines_job,
    )
    from celldyn.landscape.surfaces import (
        PotentialSurface,
        lift_streamlines,
        potential_surface,
        potential_surface_job,
    )
    from celldyn.landscape.transitions import boltzmann_transitions
    from celldyn.landscape.walks import sample_walks, sample_walks_job

_HOME = {
    "ActionPath": "path",
    "ArrowGrid": "gridding",
    "CellFates": "fate_table",
    "Consensus": "ensemble",
    "ConsensusEntropy": "ensemble",
    "Convergence": "fates",
    "FlowTime": "resting",
    "Frames": "moving",
    "LSD": "lsd",
    "LSDConfig": "config",
    "LSDEnsemble": "ensemble_model",
    "LSDInputs": "inputs",
    "Landscape": "potential",
    "LandscapeResult": "results",
    "PerturbConfig": "perturbing.config",
    "PerturbationEffect": "perturbing.effect",
    "Plasticity": "plasticity",
    "PooledEffect": "ensemble_effects",
    "PooledFates": "ensemble",
    "Potential": "potential",
    "PotentialSurface": "surfaces",
    "Prepared": "preparing",
    "SavedLandscape": "saved",
    "Screen": "perturbing.screened",
    "Sigma": "diffusion",
    "Streamlines": "streams",
    "TerminalStates": "fates",
    "Vote": "fates",
    "arrow_confidence": "projecting",
    "arrow_grid": "gridding",
    "arrow_grid_job": "gridding",
    "boltzmann_transitions": "transitions",
    "cell_fates": "fating",
    "cell_fates_job": "fating",
    "check_transition": "prior",
    "committor": "absorption",
    "committor_job": "absorption",
    "consensus_entropy": "ensemble",
    "consensus_pseudotime": "ensemble",
    "convergence": "fates",
    "flow": "flowing",
    "flow_frames": "moving",
    "flow_frames_job": "moving",
    "flow_job": "flowing",
    "flow_time": "resting",
    "flow_time_job": "resting",
    "frame_times": "moving",
    "infer_phylogeny": "phylogeny",
    "least_action_path": "path",
    "least_action_path_job": "path",
    "lift_streamlines": "surfaces",
    "lines_on_grid_job": "streams",
    "load_model": "saved",
    "nearest_vote": "fates",
    "nearest_vote_job": "fates",
    "path_on": "moving",
    "perturb_effects": "perturbing.perturb",
    "perturb_job": "perturbing.perturb",
    "phylogeny_mask": "phylogeny",
    "plasticity_of_votes": "plasticity",
    "pooled_effects": "ensemble_effects",
    "pooled_fates": "ensemble",
    "potential_surface": "surfaces",
    "potential_surface_job": "surfaces",
    "prepare": "preparing",
    "prepare_job": "preparing",
    "prior_transition": "prior",
    "project_transitions": "projecting",
    "project_transitions_job": "projecting",
    "project_velocity": "projecting",
    "project_velocity_job": "projecting",
    "pseudotime_from_root": "root",
    "pseudotime_from_root_job": "root",
    "read_effect": "results",
    "read_inputs": "inputs",
    "read_inputs_job": "inputs",
    "read_model": "results",
    "read_screen": "results",
    "sample_walks": "walks",
    "sample_walks_job": "walks",
    "save_model": "saved",
    "screen_genes": "perturbing.screen",
    "screen_job": "perturbing.screen",
    "sigma_of_model": "diffusion",
    "sigma_of_model_job": "diffusion",
    "streamlines": "streams",
    "streamlines_job": "streams",
    "terminal_states": "fates",
    "write_effect": "results",
    "write_result": "results",
    "write_screen": "results",
}

__all__ = [
    "LSD",
    "ActionPath",
    "ArrowGrid",
    "CellFates",
    "Consensus",
    "ConsensusEntropy",
    "Convergence",
    "FlowTime",
    "Frames",
    "LSDConfig",
    "LSDEnsemble",
    "LSDInputs",
    "Landscape",
    "LandscapeResult",
    "PerturbConfig",
    "PerturbationEffect",
    "Plasticity",
    "PooledEffect",
    "PooledFates",
    "Potential",
    "PotentialSurface",
    "Prepared",
    "SavedLandscape",
    "Screen",
    "Sigma",
    "Streamlines",
    "TerminalStates",
    "Vote",
    "arrow_confidence",
    "arrow_grid",
    "arrow_grid_job",
    "boltzmann_transitions",
    "cell_fates",
    "cell_fates_job",
    "check_transition",
    "committor",
    "committor_job",
    "consensus_entropy",
    "consensus_pseudotime",
    "convergence",
    "flow",
    "flow_frames",
    "flow_frames_job",
    "flow_job",
    "flow_time",
    "flow_time_job",
    "frame_times",
    "infer_phylogeny",
    "least_action_path",
    "least_action_path_job",
    "lift_streamlines",
    "lines_on_grid_job",
    "load_model",
    "nearest_vote",
    "nearest_vote_job",
    "path_on",
    "perturb_effects",
    "perturb_job",
    "phylogeny_mask",
    "plasticity_of_votes",
    "pooled_effects",
    "pooled_fates",
    "potential_surface",
    "potential_surface_job",
    "prepare",
    "prepare_job",
    "prior_transition",
    "project_transitions",
    "project_transitions_job",
    "project_velocity",
    "project_velocity_job",
    "pseudotime_from_root",
    "pseudotime_from_root_job",
    "read_effect",
    "read_inputs",
    "read_inputs_job",
    "read_model",
    "read_screen",
    "sample_walks",
    "sample_walks_job",
    "save_model",
    "screen_genes",
    "screen_job",
    "sigma_of_model",
    "sigma_of_model_job",
    "streamlines",
    "streamlines_job",
    "terminal_states",
    "write_effect",
    "write_result",
    "write_screen",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.landscape.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
