"""One call that compares a fitted result with the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.scoring.betas import score_betas
from celldyn.simulate.scoring.environment import score_effect, true_effect
from celldyn.simulate.scoring.landscape import score_landscape
from celldyn.simulate.scoring.vae import score_vae

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.perturbation import Perturbation

System = Literal["betas", "vae", "landscape", "environment"]
SYSTEMS: tuple[str, ...] = get_args(System)


def score(
    adata: AnnData,
    system: System,
    *,
    perturbation: Perturbation | None = None,
    predicted: Any = None,  # noqa: ANN401
    **where: str,
) -> pd.DataFrame:
    """Compare what a system fitted on a simulated tissue with the tissue's truth.

    Parameters
    ----------
    adata
        A simulated tissue (or some of its cells), with the result of the system on it.
    system
        "betas", "vae", "landscape" or "environment".
    perturbation, predicted
        For "environment", and for any engine that predicts effects: what was perturbed, and the
        (n_obs, n_vars) predicted changes in counts.
    **where
        Keys that hold the result, where they are not the usual ones; see `score_landscape` and
        `score_vae`.

    Returns
    -------
    One row per comparison: `what`, `metric`, `value` (1 is best for correlations, slopes and
    shares; 0 for errors and false positives; NaN where a measure is not defined).

    Raises
    ------
    MissingKeyError
        If the tissue carries no truth, or the system left no result on it.
    DataError
        If the cells are not those of the truth.
    """
    truth = _truth(adata)
    rows: Iterator[tuple[str, str, float]]
    if system == "betas":
        rows = score_betas(adata, truth, _rows(adata, truth))
    elif system == "vae":
        rows = score_vae(adata, truth, **where)
    elif system == "landscape":
        if keys.TRUTH_LATENT() not in adata.obsm:
            raise MissingKeyError(
                "this tissue has no true states", "simulate one with the parameter dynamics"
            )
        rows = score_landscape(adata, **where)
    elif system == "environment":
        if predicted is None:
            raise MissingKeyError(
                "there is no predicted effect", "give it as predicted=(n_obs, n_vars) changes"
            )
        rows = score_effect(adata, true_effect(adata, perturbation), predicted)
    else:
        raise ConfigError(f"{system!r} is no system", f"choose one of {', '.join(SYSTEMS)}")
    return pd.DataFrame(list(rows), columns=["what", "metric", "value"])


def truth_of(adata: AnnData) -> tuple[SimulationConfig, NDArray[np.intp]]:
    """Return the config that made a tissue, and which of its cells these are."""
    truth = _truth(adata)
    return SimulationConfig.from_dict(json.loads(str(truth["config"]))), _rows(adata, truth)


def _truth(adata: AnnData) -> dict[str, Any]:
    truth = adata.uns.get(keys.TRUTH())
    if not isinstance(truth, dict) or "config" not in truth:
        raise MissingKeyError(
            "this data set carries no truth", "make one with celldyn.simulate to score against"
        )
    return truth


def _rows(adata: AnnData, truth: dict[str, Any]) -> NDArray[np.intp]:
    at = pd.Index(np.asarray(truth["cells"]).astype(str)).get_indexer(adata.obs_names)
    if (at < 0).any():
        cell = adata.obs_names[int(np.flatnonzero(at < 0)[0])]
        raise DataError(f"{cell!r} is no cell of the truth", "keep the simulator's cell names")
    return np.asarray(at, dtype=np.intp)
