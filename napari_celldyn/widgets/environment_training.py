"""Jobs that make a virtual environment: trained, trained on, stopped and kept. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

from celldyn.errors import DataError
from celldyn.jobs import Job
from napari_celldyn.widgets.landscape_training import until_job

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment.config import EnvironmentConfig
    from celldyn.environment.fitted import FittedEnvironment
    from napari_celldyn.widgets.environment_modalities import Modality


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What is to be learned, of what.

    Parameters
    ----------
    tables
        One per modality; what the job may hold.
    chosen
        What they are of the tissue.
    config
        All parameters.
    device
        As `train_job` takes it.
    """

    tables: list[AnnData]
    chosen: tuple[Modality, ...]
    config: EnvironmentConfig
    device: str = "auto"

    def inputs(self) -> dict[str, Any]:
        """Return what a record keeps of it, beside the config."""
        return {"modalities": [each.source for each in self.chosen], "device": self.device}


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A trained environment.

    Parameters
    ----------
    fitted
        The environment.
    sources
        Of which parts of the tissue its modalities are.
    said
        Why training ended before time; empty if it did not.
    """

    fitted: FittedEnvironment
    sources: tuple[str, ...]
    said: str = ""


def learn_job(order: Order, stop: Event) -> Job[Learned]:
    """Prepare the modalities and train on them.

    Parameters
    ----------
    order
        What.
    stop
        Once set, training ends with the last whole update, and what it came to is returned.

    Raises
    ------
    CelldynError
        If the modalities cannot serve, or no update came to its end.
    """
    from celldyn.environment.gathering import gather_job

    config = order.config
    data = yield from gather_job(order.tables, config.data, seed=config.seed)
    return (yield from _train_job(order, data, config, None, stop))


def go_on_job(fitted: FittedEnvironment, order: Order, stop: Event) -> Job[Learned]:
    """Train an environment for as many cell-steps more as the order's config says."""
    from celldyn.environment.gathering import gather_job

    config = fitted.config.replace(
        max_timesteps=fitted.timesteps + order.config.max_timesteps,
        early_stopping=order.config.early_stopping,
    )
    data = yield from gather_job(
        order.tables, config.data, seed=config.seed, preprocessing=fitted.preprocessing
    )
    return (yield from _train_job(order, data, config, fitted, stop))


def _train_job(
    order: Order,
    data: Any,  # noqa: ANN401
    config: EnvironmentConfig,
    start: FittedEnvironment | None,
    stop: Event,
) -> Job[Learned]:
    from celldyn.environment.train import train_job

    latest: list[FittedEnvironment] = []

    def keep(fitted: FittedEnvironment) -> None:
        latest[:] = [fitted]

    watched = config.replace(checkpoint_iterations=1)  # whoever stops it loses no update
    job = train_job(data, watched, start=start, checkpoint=keep, device=order.device)
    done = yield from until_job(job, stop)
    said = ""
    if done is None:
        if not latest:
            raise DataError(
                "training was stopped before its first update had ended", "let it run longer"
            )
        done = latest[0]
        said = f"Stopped after {done.timesteps:,} cell-steps, which are kept; Go on trains on."
    fitted = replace(done, config=config)
    return Learned(fitted, tuple(each.source for each in order.chosen), said)
