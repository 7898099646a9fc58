"""Jobs that make a landscape: trained, trained on, stopped and kept, read from a file. No Qt."""

from __future__ import annotations

from contextlib import closing
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from celldyn.devices import aside_job
from celldyn.errors import DataError
from celldyn.jobs import Job

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from celldyn.landscape import LSD, LSDConfig
    from celldyn.landscape.results import LandscapeResult
    from napari_celldyn.widgets.landscape_way import Way

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be learned, of what.

    Parameters
    ----------
    tissue
        What the job may hold; see `landscape_tissue.apart`.
    layer
        Layer of raw counts.
    way
        What walks follow.
    cfg, device
        As `LSD` takes them.
    """

    tissue: AnnData
    layer: str
    way: Way
    cfg: LSDConfig
    device: str = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A trained model and what it says of its cells.

    Parameters
    ----------
    lsd
        The model.
    result
        What is written on the AnnData.
    said
        Why its training ended before time; empty if it did not.
    """

    lsd: LSD
    result: LandscapeResult
    said: str = ""


def learn_job(order: Order, stop: Event) -> Job[Learned]:
    """Read the tissue, draw walks, train, and look where every cell stands.

    Parameters
    ----------
    order
        What.
    stop
        Once set, training ends with the last whole epoch, and what it came to is returned.

    Raises
    ------
    CelldynError
        If the tissue cannot serve, or no epoch came to its end.
    """
    from celldyn.landscape import LSD

    lsd = yield from LSD.of_job(order.tissue, order.cfg, order.device, layer=order.layer)
    order.way.lead(lsd)
    yield from lsd.prepare_walks_job()
    return (yield from _train_job(lsd, order.cfg.training.num_epochs, stop))


def go_on_job(lsd: LSD, num_epochs: int, way: Way | None, stop: Event) -> Job[Learned]:
    """Train a copy of a model for more epochs; the model given stays as it is.

    Parameters
    ----------
    lsd
        The model.
    num_epochs
        How many more.
    way
        What walks follow where the model has none of these cells.
    stop
        As in `learn_job`.
    """
    more, course = copy(lsd), lsd._course
    more.networks = deepcopy(lsd.networks)
    more._course = replace(course, rows=list(course.rows), optimiser=dict(course.optimiser))
    if more.walks is None:  # it was learned of other cells
        if way is None:
            raise DataError("the model has no walks of these cells", "say which way they go")
        way.lead(more)
        yield from more.prepare_walks_job()
    return (yield from _train_job(more, num_epochs, stop))


def _train_job(lsd: LSD, num_epochs: int, stop: Event) -> Job[Learned]:
    before, said = lsd.epoch, ""
    try:
        yield from until_job(lsd.train_job(num_epochs), stop)
    except DataError as error:
        if lsd.epoch == before:
            raise
        said = str(error)
    if lsd.epoch == before:
        raise DataError(
            "training was stopped before its first epoch had ended", "let it run a little longer"
        )
    if stop.is_set():
        said = f"Stopped after {lsd.epoch:,} epochs, which are kept; Go on trains on from there."
    return (yield from _learned_job(lsd, said))


def open_job(path: Path, tissue: AnnData, layer: str) -> Job[Learned]:
    """Read a model that was saved, and look where the cells of a tissue stand on it."""
    from celldyn.landscape import LSD

    lsd = yield from LSD.load_job(path, tissue, layer=layer)
    return (yield from _learned_job(lsd, ""))


def save_job(lsd: LSD, path: Path) -> Job[Path]:
    """Write a model to a file."""
    return (yield from aside_job(lambda: lsd.save(path), "writing", path.name))


def _learned_job(lsd: LSD, said: str) -> Job[Learned]:
    return Learned(lsd, (yield from lsd.result_job()), said)


def until_job(job: Job[T], stop: Event) -> Job[T | None]:
    """Run a job until it ends or is told to stop; then it is closed and None returned."""
    with closing(job):
        while not stop.is_set():
            try:
                step = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            yield step
    return None
