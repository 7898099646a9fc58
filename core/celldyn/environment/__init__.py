"""A virtual cell environment: cells are agents that learn to move so that positions tell data.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.environment.adapters import to_pettingzoo, to_torchrl
    from celldyn.environment.alignment import rigid_alignment
    from celldyn.environment.baselines import (
        baseline_predictions,
        baselines_job,
        linear_perturbation,
    )
    from celldyn.environment.biological_clock import BiologicalClock, biological_time, mean_speed
    from celldyn.environment.checkpoints import Checkpoints, newest, open_checkpoint
    from celldyn.environment.clamps import Clamp
    from celldyn.environment.config import EnvironmentConfig
    from celldyn.environment.costs import Cost
    from celldyn.environment.early_stopping import EarlyStopping
    from celldyn.environment.effects import Effect, effect_size, trajectory_length
    from celldyn.environment.event_log import EventLog, read_events
    from celldyn.environment.fitted import FittedEnvironment
    from celldyn.environment.fitting import fit, fit_job
    from celldyn.environment.gathering import (
        TrainingData,
        gather,
        gather_job,
        modalities_of,
        read_adatas,
    )
    from celldyn.environment.importing import import_celltrip
    from celldyn.environment.interpolation import (
        displacement_interpolation,
        displacement_interpolation_job,
        lerp,
    )
    from celldyn.environment.manager import BasicManager
    from celldyn.environment.merging import merge_adatas
    from celldyn.environment.modality_parts import as_modality
    from celldyn.environment.networks import Pinning, Policy
    from celldyn.environment.opening import open_policy
    from celldyn.environment.perturbed_cells import PerturbedCells
    from celldyn.environment.preprocessing import Preprocessing
    from celldyn.environment.preprocessing_map import LinearMap
    from celldyn.environment.pseudocells import generate_pseudocells, generate_pseudocells_job
    from celldyn.environment.quality import quality_job, quality_of
    from celldyn.environment.quality_results import Quality, read_quality, write_quality
    from celldyn.environment.result_effects import StoredEffect
    from celldyn.environment.results import (
        EnvironmentResult,
        read_effect,
        read_model,
        read_screen,
        write_effect,
        write_result,
        write_screen,
    )
    from celldyn.environment.returns import generalised_advantage
    from celldyn.environment.rewarding import rewards
    from celldyn.environment.saved import load, save
    from celldyn.environment.scaling import RunningScale, rescale_input, rescale_output
    from celldyn.environment.score_tables import (
        imputation_report,
        imputation_report_job,
        perturbation_table,
        stage_report_job,
    )
    from celldyn.environment.scores import imputation_scores, imputation_table
    from celldyn.environment.screened import Screen
    from celldyn.environment.screening import screen_job
    from celldyn.environment.simulating import Simulator
    from celldyn.environment.spreading import Spread
    from celldyn.environment.stage_recovery import recover_stages, recover_stages_job
    from celldyn.environment.stages import StageRecovery
    from celldyn.environment.steady import SteadyReport, SteadyTest
    from celldyn.environment.stepping import step
    from celldyn.environment.train import train_job
    from celldyn.environment.trajectories import EnvironmentState, Frame, Trajectory
    from celldyn.environment.viewing import LatentView

_HOME = {
    "BasicManager": "manager",
    "BiologicalClock": "biological_clock",
    "Checkpoints": "checkpoints",
    "Clamp": "clamps",
    "Cost": "costs",
    "EarlyStopping": "early_stopping",
    "Effect": "effects",
    "EnvironmentConfig": "config",
    "EnvironmentResult": "results",
    "EnvironmentState": "trajectories",
    "EventLog": "event_log",
    "FittedEnvironment": "fitted",
    "Frame": "trajectories",
    "LatentView": "viewing",
    "LinearMap": "preprocessing_map",
    "PerturbedCells": "perturbed_cells",
    "Pinning": "networks",
    "Policy": "networks",
    "Preprocessing": "preprocessing",
    "Quality": "quality_results",
    "RunningScale": "scaling",
    "Screen": "screened",
    "Simulator": "simulating",
    "Spread": "spreading",
    "StageRecovery": "stages",
    "SteadyReport": "steady",
    "SteadyTest": "steady",
    "StoredEffect": "result_effects",
    "TrainingData": "gathering",
    "Trajectory": "trajectories",
    "as_modality": "modality_parts",
    "baseline_predictions": "baselines",
    "baselines_job": "baselines",
    "biological_time": "biological_clock",
    "displacement_interpolation": "interpolation",
    "displacement_interpolation_job": "interpolation",
    "effect_size": "effects",
    "fit": "fitting",
    "fit_job": "fitting",
    "gather": "gathering",
    "gather_job": "gathering",
    "generalised_advantage": "returns",
    "generate_pseudocells": "pseudocells",
    "generate_pseudocells_job": "pseudocells",
    "import_celltrip": "importing",
    "imputation_report": "score_tables",
    "imputation_report_job": "score_tables",
    "imputation_scores": "scores",
    "imputation_table": "scores",
    "lerp": "interpolation",
    "linear_perturbation": "baselines",
    "load": "saved",
    "mean_speed": "biological_clock",
    "merge_adatas": "merging",
    "modalities_of": "gathering",
    "newest": "checkpoints",
    "open_checkpoint": "checkpoints",
    "open_policy": "opening",
    "perturbation_table": "score_tables",
    "quality_job": "quality",
    "quality_of": "quality",
    "read_adatas": "gathering",
    "read_effect": "results",
    "read_events": "event_log",
    "read_model": "results",
    "read_quality": "quality_results",
    "read_screen": "results",
    "recover_stages": "stage_recovery",
    "recover_stages_job": "stage_recovery",
    "rescale_input": "scaling",
    "rescale_output": "scaling",
    "rewards": "rewarding",
    "rigid_alignment": "alignment",
    "save": "saved",
    "screen_job": "screening",
    "stage_report_job": "score_tables",
    "step": "stepping",
    "to_pettingzoo": "adapters",
    "to_torchrl": "adapters",
    "train_job": "train",
    "trajectory_length": "effects",
    "write_effect": "results",
    "write_quality": "quality_results",
    "write_result": "results",
    "write_screen": "results",
}

__all__ = [
    "BasicManager",
    "BiologicalClock",
    "Checkpoints",
    "Clamp",
    "Cost",
    "EarlyStopping",
    "Effect",
    "EnvironmentConfig",
    "EnvironmentResult",
    "EnvironmentState",
    "EventLog",
    "FittedEnvironment",
    "Frame",
    "LatentView",
    "LinearMap",
    "PerturbedCells",
    "Pinning",
    "Policy",
    "Preprocessing",
    "Quality",
    "RunningScale",
    "Screen",
    "Simulator",
    "Spread",
    "StageRecovery",
    "SteadyReport",
    "SteadyTest",
    "StoredEffect",
    "TrainingData",
    "Trajectory",
    "as_modality",
    "baseline_predictions",
    "baselines_job",
    "biological_time",
    "displacement_interpolation",
    "displacement_interpolation_job",
    "effect_size",
    "fit",
    "fit_job",
    "gather",
    "gather_job",
    "generalised_advantage",
    "generate_pseudocells",
    "generate_pseudocells_job",
    "import_celltrip",
    "imputation_report",
    "imputation_report_job",
    "imputation_scores",
    "imputation_table",
    "lerp",
    "linear_perturbation",
    "load",
    "mean_speed",
    "merge_adatas",
    "modalities_of",
    "newest",
    "open_checkpoint",
    "open_policy",
    "perturbation_table",
    "quality_job",
    "quality_of",
    "read_adatas",
    "read_effect",
    "read_events",
    "read_model",
    "read_quality",
    "read_screen",
    "recover_stages",
    "recover_stages_job",
    "rescale_input",
    "rescale_output",
    "rewards",
    "rigid_alignment",
    "save",
    "screen_job",
    "stage_report_job",
    "step",
    "to_pettingzoo",
    "to_torchrl",
    "train_job",
    "trajectory_length",
    "write_effect",
    "write_quality",
    "write_result",
    "write_screen",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.environment.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.environment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
