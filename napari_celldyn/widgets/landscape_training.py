"""Jobs that make a landscape: trained, trained on, stopped and kept, read from a file. No Qt."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from celldyn import keys
from celldyn.devices import aside_job
from celldyn.errors import DataError
from celldyn.jobs import Job, scaled
from napari_celldyn.widgets.landscape_ensemble import consensus_job

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from celldyn.landscape import LSD, LSDConfig
    from celldyn.landscape.ensemble import Consensus
    from celldyn.landscape.results import LandscapeResult
    from napari_celldyn.widgets.landscape_ensemble import Models
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
    n_models
        How many are trained, each from a seed of its own.
    genes
        Column of var that says which genes the tissue was narrowed to; None for all.
    """

    tissue: AnnData
    layer: str
    way: Way
    cfg: LSDConfig
    device: str = "auto"
    n_models: int = 1
    genes: str | None = None

    def inputs(self) -> dict[str, Any]:
        """Return what a record keeps of it, beside the config."""
        return {
            **self.way.inputs(), "layer": self.layer, "genes": self.genes,
            "n_models": self.n_models,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Trained models and what they say of their cells.

    Parameters
    ----------
    models
        One, or several of different seeds.
    result
        What is written on the AnnData: of the first.
    consensus
        The pseudotime that several agree on; None of one.
    said
        Why training ended before time; empty if it did not.
    """

    models: Models
    result: LandscapeResult
    consensus: Consensus | None = None
    said: str = ""

    def write(self, adata: AnnData) -> set[str]:
        """Write it in place of an earlier landscape, and return the keys."""
        from celldyn.landscape.results import write_result

        written = write_result(adata, self.result)
        spread = keys.PSEUDOTIME_SPREAD
        if self.consensus is not None:
            adata.obs[keys.PSEUDOTIME.name] = self.consensus.value.astype(np.float32)
            adata.obs[spread.name] = self.consensus.spread.astype(np.float32)
            return written | {spread.path()}
        if spread.name in adata.obs:
            del adata.obs[spread.name]
            return written | {spread.path()}
        return written


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

    first = yield from LSD.of_job(order.tissue, order.cfg, order.device, layer=order.layer)
    order.way.lead(first)
    seed = first.cfg.walks.random_state
    models = (first, *(first.of_seed(seed + k) for k in range(1, order.n_models)))
    for model in models:
        yield from model.prepare_walks_job()
    return (yield from _train_job(models, order.cfg.training.num_epochs, stop))


def go_on_job(models: Models, num_epochs: int, way: Way | None, stop: Event) -> Job[Learned]:
    """Train copies of models for more epochs; those given stay as they are.

    Parameters
    ----------
    models
        One or several.
    num_epochs
        How many more.
    way
        What walks follow where a model has none of these cells.
    stop
        As in `learn_job`.
    """
    copies = tuple(model.copy() for model in models)
    for model in copies:
        if model.walks is None:  # it was learned of other cells
            if way is None:
                raise DataError("the model has no walks of these cells", "say which way they go")
            way.lead(model)
            yield from model.prepare_walks_job()
    return (yield from _train_job(copies, num_epochs, stop))


def open_job(path: Path, tissue: AnnData, layer: str) -> Job[Learned]:
    """Read a model that was saved, and look where the cells of a tissue stand on it."""
    from celldyn.landscape import LSD

    lsd = yield from LSD.load_job(path, tissue, layer=layer)
    return (yield from _learned_job((lsd,), ""))


def save_job(models: Models, path: Path) -> Job[Path]:
    """Write the first model to a file."""
    return (yield from aside_job(lambda: models[0].save(path), "writing", path.name))


def _train_job(models: Models, num_epochs: int, stop: Event) -> Job[Learned]:
    said, n = "", len(models)
    trained: list[LSD] = []
    for k, model in enumerate(models):
        where, before = f"model {k + 1} of {n}" if n > 1 else None, model.epoch
        try:
            yield from until_job(scaled(model.train_job(num_epochs), k, n, where), stop)
        except DataError as error:
            said = str(error)
        if model.epoch > before:
            trained.append(model)
        if said or stop.is_set():
            break
    if not trained:
        raise DataError(
            said.rstrip(".") or "training was stopped before its first epoch had ended",
            "" if said else "let it run a little longer",
        )
    if stop.is_set():
        said = f"Stopped after {trained[0].epoch:,} epochs, which are kept; Go on trains on."
    return (yield from _learned_job(tuple(trained), said))


def _learned_job(models: Models, said: str) -> Job[Learned]:
    result = yield from models[0].result_job()
    return Learned(models, result, (yield from consensus_job(models)), said)


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
