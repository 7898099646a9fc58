"""An environment on its data set: where cells came to rest, what that tells, and the model itself.

Shapes: n cells of the data set, m simulated ones, d dimensions, G_k raw features of modality k.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data import record
from celldyn.data.words import counted
from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.quality_results import delete_quality, read_quality
from celldyn.environment.result_effects import (
    StoredEffect,
    delete_effect,
    delete_screen,
    effect_names,
    read_effect,
    read_screen,
    screen_names,
    write_effect,
    write_screen,
)
from celldyn.environment.result_shelf import DAMAGE, home_of, put_home, rows_in, spread_out
from celldyn.environment.saved import pack, unpack
from celldyn.environment.steady import SteadyReport
from celldyn.environment.viewing import LatentView
from celldyn.errors import DataError, NotFittedError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = [
    "EnvironmentResult",
    "StoredEffect",
    "delete_effect",
    "delete_screen",
    "effect_names",
    "has_model",
    "history_of",
    "read_effect",
    "read_model",
    "read_screen",
    "screen_names",
    "summary",
    "write_effect",
    "write_result",
    "write_screen",
]

SCHEMA = 1
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class EnvironmentResult:
    """Where cells are, and what that tells.

    Parameters
    ----------
    fitted
        The environment.
    obs_names
        (m,) names of the cells.
    positions, velocities
        (m, d).
    told
        {modality: (m, G_k)} what positions tell.
    report
        Whether cells came to rest; None: they were not simulated.
    spread
        (m,) how much several starts disagree; None: there was one.
    train
        (m,) which cells were trained on; None where that is not known.
    seed, device
        Of the places where cells began, and where it ran.
    """

    fitted: FittedEnvironment
    obs_names: tuple[str, ...]
    positions: Floats
    velocities: Floats
    told: Mapping[int, Floats] = field(default_factory=dict)
    report: SteadyReport | None = None
    spread: Floats | None = None
    train: NDArray[np.bool_] | None = None
    seed: int = 0
    device: str = "cpu"


def write_result(adata: AnnData, result: EnvironmentResult) -> set[str]:
    """Write where cells are on their data set, replacing what an earlier run wrote.

    What is told of the data set's own features is a layer; other modalities are in obsm. Cells of
    the data set that were not simulated have NaN. Perturbations and screens of an earlier
    environment are taken off.

    Returns
    -------
    What was written, or was of an earlier run and taken off, as "slot/name".

    Raises
    ------
    DataError
        If the data set has not the cells of the result.
    """
    rows, n = rows_in(adata, result.obs_names), adata.n_obs
    gone = _drop_earlier(adata, result.fitted)
    view = LatentView.of(result.positions)
    tables: dict[str, Any] = {
        keys.ENVIRONMENT.name: result.positions,
        keys.ENVIRONMENT_VELOCITY.name: result.velocities,
        keys.ENVIRONMENT_VIEW.name: view.places(result.positions),
    }
    written = {
        key.path() for key in (keys.ENVIRONMENT, keys.ENVIRONMENT_VELOCITY, keys.ENVIRONMENT_VIEW)
    }
    for k, values in result.told.items():
        names = result.fitted.preprocessing.maps[k].names
        if tuple(map(str, adata.var_names)) == tuple(names):
            adata.layers[keys.ENVIRONMENT_IMPUTED.name] = spread_out(values, rows, n)
            written.add(keys.ENVIRONMENT_IMPUTED.path())
        else:
            tables[keys.ENVIRONMENT_TOLD(modality=str(k))] = values
            written.add(keys.ENVIRONMENT_TOLD.path(modality=str(k)))
    for name, values in tables.items():
        adata.obsm[name] = spread_out(values, rows, n)
    if result.spread is not None:
        adata.obs[keys.ENVIRONMENT_SPREAD.name] = spread_out(result.spread, rows, n)
        written.add(keys.ENVIRONMENT_SPREAD.path())
    if result.train is not None:
        mask = np.zeros(n, dtype=bool)
        mask[rows] = result.train
        adata.obs[keys.ENVIRONMENT_TRAIN.name] = mask
        written.add(keys.ENVIRONMENT_TRAIN.path())
    put_home(adata, keys.ENVIRONMENT_INFO.name, describe(result.fitted, result.report))
    record(
        adata, "environment.simulate", config=result.fitted.config, seed=result.seed,
        device=result.device,
        inputs={"cells": len(result.obs_names), "timesteps": result.fitted.timesteps},
    )  # fmt: skip
    return gone | written | {keys.ENVIRONMENT_INFO.path(), keys.RECORDS.path()}


def _drop_earlier(adata: AnnData, fitted: FittedEnvironment) -> set[str]:
    """Take off what an earlier run wrote; effects and screens only of another environment."""
    gone = set()
    kept = (keys.ENVIRONMENT, keys.ENVIRONMENT_VELOCITY, keys.ENVIRONMENT_VIEW,
            keys.ENVIRONMENT_IMPUTED, keys.ENVIRONMENT_SPREAD, keys.ENVIRONMENT_TRAIN)  # fmt: skip
    for key in kept:
        slot = getattr(adata, key.slot)
        if key.name in slot:
            del slot[key.name]
            gone.add(key.path())
    prefix = keys.ENVIRONMENT_TOLD.name.partition("{")[0]
    for name in [str(name) for name in adata.obsm if str(name).startswith(prefix)]:
        del adata.obsm[name]
        gone.add(f"obsm/{name}")
    if has_model(adata) and not _is_of(adata, fitted):
        for name in effect_names(adata):
            gone |= delete_effect(adata, name)
        for name in screen_names(adata):
            gone |= delete_screen(adata, name)
        gone |= delete_quality(adata)
    return gone


def _is_of(adata: AnnData, fitted: FittedEnvironment) -> bool:
    try:
        before = json.loads(str(home_of(adata)[keys.ENVIRONMENT_INFO.name]["header"]))["checksum"]
    except DAMAGE:
        return False
    return bool(before == pack(fitted, resume=False)[1]["checksum"])


def describe(fitted: FittedEnvironment, report: SteadyReport | None = None) -> dict[str, Any]:
    """Return an environment as arrays and text that any file can hold."""
    from safetensors.numpy import save

    tensors, header = pack(fitted, resume=False)
    return {
        "schema": SCHEMA,
        "header": json.dumps(header),
        "report": json.dumps(None if report is None else report.to_dict()),
        "tensors": np.frombuffer(save(tensors), np.uint8).copy(),
    }


def has_model(adata: AnnData) -> bool:
    """Whether a data set holds an environment."""
    return keys.ENVIRONMENT_INFO.name in home_of(adata)


def read_model(adata: AnnData) -> FittedEnvironment:
    """Return the environment that a data set holds.

    Raises
    ------
    NotFittedError
        If it holds none.
    DataError
        If it is damaged, or a later version wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not has_model(adata):
        raise NotFittedError("the data set holds no virtual environment", "train one")
    held = home_of(adata)[keys.ENVIRONMENT_INFO.name]
    try:
        if int(held["schema"]) > SCHEMA:
            raise DataError(
                "this environment was written by a later version", "install that version"
            )
        tensors = load(np.asarray(held["tensors"], np.uint8).tobytes())
        return unpack(tensors, json.loads(str(held["header"])))
    except (*DAMAGE, SafetensorError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            "the environment that the data set holds is damaged, or a later version wrote it",
            "train again",
        ) from error


def report_of(adata: AnnData) -> SteadyReport | None:
    """Return how the cells of a data set came to rest; None where that is not known."""
    try:
        held = json.loads(str(home_of(adata)[keys.ENVIRONMENT_INFO.name]["report"]))
        return None if held is None else SteadyReport(**held)
    except DAMAGE:
        return None


def history_of(adata: AnnData) -> pd.DataFrame:
    """Return rewards and losses of the environment that a data set holds, a row per update."""
    import pandas as pd

    return pd.DataFrame(read_model(adata).history)


def summary(adata: AnnData) -> str:
    """Tell of the environment that a data set holds in a few lines.

    Raises
    ------
    NotFittedError, DataError
        As `read_model` does.
    """
    fitted = read_model(adata)
    lines = [f"{str(fitted)[0].upper()}{str(fitted)[1:]}"]
    report = report_of(adata)
    if report is not None:
        lines.append(str(report))
    train = adata.obs.get(keys.ENVIRONMENT_TRAIN.name)
    if train is not None:
        lines.append(f"Trained on {int(train.sum()):,} of {counted(len(train), 'cell')}")
    spread = adata.obs.get(keys.ENVIRONMENT_SPREAD.name)
    if spread is not None:
        lines.append(f"Starts disagree by {np.nanmean(spread):.2g} sd of the data")
    if keys.ENVIRONMENT_QUALITY.name in home_of(adata):
        lines += str(read_quality(adata)).splitlines()
    lines += [f"Perturbed: {name}" for name in effect_names(adata)]
    lines += [f"Screened: {name}" for name in screen_names(adata)]
    lines += [f"Note: {note}" for note in fitted.notes]
    return "\n".join(lines)
