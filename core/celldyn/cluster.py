"""Many jobs on Ray: the genes of a panel on the cores of this machine, or on a cluster."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

from celldyn.errors import ConfigError, UnavailableError
from celldyn.jobs import Job, Progress, scaled

if TYPE_CHECKING:
    from celldyn.betas.panel.chunk import Chunk
    from celldyn.betas.panel.config import PanelConfig
    from celldyn.betas.panel.design import PanelDesign
    from celldyn.betas.panel.inputs import PanelInputs
    from celldyn.betas.panel.record import GeneRecord
    from celldyn.betas.panel.store import BetaStore
    from celldyn.betas.panel.train import PanelResult

_POLL_S = 0.05
_TASKS_PER_WORKER = 4
_MOST_GENES_PER_TASK = 8


def fit_panel_on_ray(
    inputs: PanelInputs,
    config: PanelConfig,
    store: BetaStore,
    workers: int | None = None,
    address: str | None = None,
) -> Job[PanelResult]:
    """Fit every gene of a panel that the store has not yet, in several processes.

    What all genes read goes into Ray's shared memory once; workers take a few genes at a time,
    and what they have finished is written here. The numbers are those of `panel_job`.

    Parameters
    ----------
    inputs, config, store
        As `panel_job` takes them.
    workers
        How many processes, of one thread each; `config.workers` by default.
    address
        A running Ray cluster ("auto", "ray://host:10001"). By default Ray is started on this
        machine, which takes some seconds, and stopped again.

    Yields
    ------
    Progress as `panel_job` does: when genes arrive, and every 50 ms meanwhile. Closing the job
    stops the workers; what they have not handed over is fitted again by the next run.

    Raises
    ------
    UnavailableError
        If Ray is not installed, cannot be started or reached, or a worker dies.
    ConfigError
        If there are fewer workers than one, or the store has a gene that was fitted on other data.
    """
    from celldyn.betas.panel.design import panel_design_job
    from celldyn.betas.panel.train import PanelResult, chunks_job

    n_workers = config.workers if workers is None else workers
    if n_workers < 1:
        raise ConfigError(f"workers is {n_workers}", "give at least 1")
    started = time.perf_counter()
    kept = tuple(gene for gene in inputs.genes if gene in store)
    chunks = yield from chunks_job(inputs, config, store)
    total = float(sum(len(chunk.digests) for chunk in chunks))
    fitted: list[str] = []
    if chunks:
        job = panel_design_job(inputs, config)
        design = yield from scaled(job, 0, total, "all genes", units=0.0)
        yield Progress("panel", 0, total, "starting Ray")
        with _ray(n_workers, address) as ray:
            for records in _work(ray, design, config, _tasks(chunks, n_workers), n_workers):
                if not records:
                    yield Progress("panel", len(fitted), total, f"{n_workers} workers")
                for record in records:
                    store.write(record)
                    fitted.append(record.gene)
                    yield Progress("panel", len(fitted), total, record.gene, record.metrics)
    seconds = time.perf_counter() - started
    return PanelResult(store, tuple(fitted), kept, inputs.skipped, seconds)


def _tasks(chunks: list[Chunk], n_workers: int) -> list[Chunk]:
    """Divide the wanted genes of chunks, so that all workers have enough until the end.

    A task has the cross products of its whole chunk: the same digits as in one process.
    """
    from celldyn.betas.panel.chunk import Chunk

    n_genes = sum(len(chunk.digests) for chunk in chunks)
    size = min(ceil(n_genes / (_TASKS_PER_WORKER * n_workers)), _MOST_GENES_PER_TASK)
    return [
        Chunk(chunk.targets, dict(items[start : start + size]))
        for chunk in chunks
        for items in [list(chunk.digests.items())]
        for start in range(0, len(items), size)
    ]


def _work(
    ray: Any,  # noqa: ANN401
    design: PanelDesign,
    config: PanelConfig,
    tasks: list[Chunk],
    n_workers: int,
) -> Generator[list[GeneRecord], None, None]:
    """Yield what workers have finished, and an empty list whenever nothing has arrived."""
    todo = deque(tasks)
    actor = ray.remote(num_cpus=1, num_gpus=_share_of_gpu(ray, config, n_workers))(_Worker)
    workers = []
    try:
        shared = ray.put((design, config))
        workers = [actor.remote(shared) for _ in range(min(n_workers, len(tasks)))]
        busy = {worker.fit.remote(todo.popleft()): worker for worker in workers}
        while busy:
            ready, _ = ray.wait(list(busy), timeout=_POLL_S)
            if not ready:
                yield []
            for task in ready:
                worker = busy.pop(task)
                records = ray.get(task)
                if todo:
                    busy[worker.fit.remote(todo.popleft())] = worker
                yield records
    except ray.exceptions.RayActorError as error:
        raise UnavailableError(
            "a worker died, most likely for want of memory",
            "run again with fewer workers; what is finished is kept",
        ) from error
    finally:
        for worker in workers:
            ray.kill(worker)


class _Worker:
    """A process that fits some genes at a time."""

    def __init__(self, shared: tuple[PanelDesign, PanelConfig]) -> None:
        from threadpoolctl import threadpool_limits

        self._design, self._config = shared
        self._limits = threadpool_limits(limits=1)
        if self._config.num_epochs and self._config.vision_model != "smooth":
            import torch

            torch.set_num_threads(1)

    def fit(self, chunk: Chunk) -> list[GeneRecord]:
        """Return the wanted genes of a chunk."""
        from celldyn.betas.panel.chunk import fit_chunk

        steps = fit_chunk(self._design, self._config, chunk)
        return [step for step in steps if not isinstance(step, Progress)]


def _share_of_gpu(ray: Any, config: PanelConfig, n_workers: int) -> float:  # noqa: ANN401
    """Return how much of a GPU a worker has: none unless networks may run on one."""
    wanted = config.num_epochs > 0 and config.vision_model != "smooth"
    if not wanted or not config.device.startswith(("auto", "cuda")):
        return 0.0
    there = float(ray.cluster_resources().get("GPU", 0.0))
    return min(there / n_workers, 1.0)


@contextmanager
def _ray(n_workers: int, address: str | None) -> Iterator[Any]:
    """Give a running Ray; stop it afterwards if it was started for this."""
    try:
        import ray
    except ImportError as error:
        raise UnavailableError(
            "ray, which runs workers, is not installed",
            'run pip install "napari-celldyn[cluster]", or set workers to 1',
        ) from error
    ours = not ray.is_initialized()
    if ours:
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        where = {"num_cpus": n_workers, **quiet} if address is None else {"address": address}
        reports = os.environ.get("RAY_USAGE_STATS_ENABLED")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to its makers
        try:
            ray.init(**where)
        except Exception as error:  # a node that is slow to start is no more than an Exception
            raise UnavailableError(
                f"ray could not be {'started' if address is None else 'reached'}",
                "check its address, or set workers to 1",
            ) from error
        finally:
            if reports is None:
                del os.environ["RAY_USAGE_STATS_ENABLED"]
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
