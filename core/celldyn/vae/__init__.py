"""A regularised VAE of one or several modalities: a latent space without ambient RNA and batches.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.vae.ambient import AmbientEstimate, estimate_ambient_job
    from celldyn.vae.attribution import Attribution, How, attribution_job
    from celldyn.vae.building import build_job
    from celldyn.vae.config import KeysConfig, ModelConfig, TrainConfig, VAEConfig
    from celldyn.vae.course import History
    from celldyn.vae.denoise import denoise_job
    from celldyn.vae.differential import Comparison, differential_job
    from celldyn.vae.fitted import FittedVAE
    from celldyn.vae.fitting import fit, fit_job
    from celldyn.vae.inputs import Batch, Groups, VAEInputs
    from celldyn.vae.likelihood import gamma_poisson_log_prob
    from celldyn.vae.loader import Minibatches
    from celldyn.vae.module import VAEModule
    from celldyn.vae.moments import library_prior, mean_expression, moment_dispersion
    from celldyn.vae.multi import RegularizedMultimodalVI
    from celldyn.vae.preparing import prepare, prepare_job, prepare_mudata, prepare_mudata_job
    from celldyn.vae.results import VAEResult
    from celldyn.vae.roles import effects_table
    from celldyn.vae.saved import load_model, save_model
    from celldyn.vae.setup import setup_anndata, setup_mudata
    from celldyn.vae.setup_record import Setup, setup_of
    from celldyn.vae.single import AmbientRegularizedSCVI
    from celldyn.vae.storing import StoredVAE, stored, write_result
    from celldyn.vae.train import train_job

_HOME = {
    "AmbientEstimate": "ambient",
    "AmbientRegularizedSCVI": "single",
    "Attribution": "attribution",
    "Batch": "inputs",
    "Comparison": "differential",
    "FittedVAE": "fitted",
    "Groups": "inputs",
    "History": "course",
    "How": "attribution",
    "KeysConfig": "config",
    "Minibatches": "loader",
    "ModelConfig": "config",
    "RegularizedMultimodalVI": "multi",
    "Setup": "setup_record",
    "StoredVAE": "storing",
    "TrainConfig": "config",
    "VAEConfig": "config",
    "VAEInputs": "inputs",
    "VAEModule": "module",
    "VAEResult": "results",
    "attribution_job": "attribution",
    "build_job": "building",
    "denoise_job": "denoise",
    "differential_job": "differential",
    "effects_table": "roles",
    "estimate_ambient_job": "ambient",
    "fit": "fitting",
    "fit_job": "fitting",
    "gamma_poisson_log_prob": "likelihood",
    "library_prior": "moments",
    "load_model": "saved",
    "mean_expression": "moments",
    "moment_dispersion": "moments",
    "prepare": "preparing",
    "prepare_job": "preparing",
    "prepare_mudata": "preparing",
    "prepare_mudata_job": "preparing",
    "save_model": "saved",
    "setup_anndata": "setup",
    "setup_mudata": "setup",
    "setup_of": "setup_record",
    "stored": "storing",
    "train_job": "train",
    "write_result": "storing",
}

__all__ = [
    "AmbientEstimate",
    "AmbientRegularizedSCVI",
    "Attribution",
    "Batch",
    "Comparison",
    "FittedVAE",
    "Groups",
    "History",
    "How",
    "KeysConfig",
    "Minibatches",
    "ModelConfig",
    "RegularizedMultimodalVI",
    "Setup",
    "StoredVAE",
    "TrainConfig",
    "VAEConfig",
    "VAEInputs",
    "VAEModule",
    "VAEResult",
    "attribution_job",
    "build_job",
    "denoise_job",
    "differential_job",
    "effects_table",
    "estimate_ambient_job",
    "fit",
    "fit_job",
    "gamma_poisson_log_prob",
    "library_prior",
    "load_model",
    "mean_expression",
    "moment_dispersion",
    "prepare",
    "prepare_job",
    "prepare_mudata",
    "prepare_mudata_job",
    "save_model",
    "setup_anndata",
    "setup_mudata",
    "setup_of",
    "stored",
    "train_job",
    "write_result",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.vae.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.vae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
