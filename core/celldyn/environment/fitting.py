"""From tables to a trained environment in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celldyn.environment.config import EnvironmentConfig
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    import torch

    from celldyn.environment.fitted import FittedEnvironment
    from celldyn.environment.gathering import TrainingData
    from celldyn.environment.train import Checkpoint, Log


def fit_job(
    adatas: Any,  # noqa: ANN401
    config: EnvironmentConfig | None = None,
    *,
    start: FittedEnvironment | None = None,
    checkpoint: Checkpoint | None = None,
    log: Log | None = None,
    device: torch.device | str = "auto",
) -> Job[FittedEnvironment]:
    """Prepare modalities, and train an environment on them, as a job.

    Parameters
    ----------
    adatas
        AnnData of the same cells, one per modality; or a MuData.
    config
        Parameters; None is the preset "recommended".
    start, checkpoint, log, device
        As `train_job` takes them.

    Returns
    -------
    The environment.

    Raises
    ------
    DataError
        If modalities have different cells, or values that cannot be prepared.
    """
    from celldyn.environment.train import train_job

    if config is None:
        config = start.config if start is not None else EnvironmentConfig.preset("recommended")
    data, start = yield from prepared_job(adatas, config, start)
    return (
        yield from train_job(
            data, config, start=start, checkpoint=checkpoint, log=log, device=device
        )
    )


def prepared_job(
    adatas: Any,  # noqa: ANN401
    config: EnvironmentConfig,
    start: FittedEnvironment | None = None,
) -> Job[tuple[TrainingData, FittedEnvironment | None]]:
    """Prepare modalities as they are trained on.

    Returns
    -------
    The data, prepared as for `start` if a training goes on: networks know features as they were
    then. And `start`, with the names of the data where it has none.
    """
    from celldyn.environment.gathering import gather_job, modalities_of
    from celldyn.environment.importing import with_names

    prepared = None
    if start is not None:
        start = with_names(start, modalities_of(adatas))
        prepared = start.preprocessing
    data = yield from gather_job(adatas, config.data, seed=config.seed, preprocessing=prepared)
    return data, start


def fit(
    adatas: Any,  # noqa: ANN401
    config: EnvironmentConfig | None = None,
    *,
    start: FittedEnvironment | None = None,
    checkpoint: Checkpoint | None = None,
    log: Log | None = None,
    device: torch.device | str = "auto",
    progress_bar: bool = True,
) -> FittedEnvironment:
    """Prepare modalities, and train an environment on them; see `fit_job`."""
    job = fit_job(adatas, config, start=start, checkpoint=checkpoint, log=log, device=device)
    return run(job, bar=progress_bar)
