"""Panels on Ray: the same numbers as in one process, and nothing left running."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from panel_tissue import TARGETS, config, prepared

from celldyn.betas.panel import BetaStore, panel_job
from celldyn.betas.panel.chunk import Chunk
from celldyn.cluster import _tasks, fit_panel_on_ray
from celldyn.errors import ConfigError, UnavailableError
from celldyn.jobs import run

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="ray, of the extra cluster, is not installed"
)


def begun(path, **more):
    settings = config(heldout_folds=3, **more)
    inputs = prepared(settings=settings)
    return inputs, settings, BetaStore.create(path, inputs, settings)


@needs_ray
def test_two_workers_give_the_numbers_of_one_process(tmp_path):
    inputs, settings, one = begun(tmp_path / "one.zarr")
    run(panel_job(inputs, settings, one), bar=False)
    inputs, settings, two = begun(tmp_path / "two.zarr")
    job = fit_panel_on_ray(inputs, settings, two, workers=2)
    seen = []
    while True:
        try:
            seen.append(next(job))
        except StopIteration as end:
            result = end.value
            break
    assert sorted(result.fitted) == sorted(TARGETS)
    assert two.genes == one.genes
    for gene in TARGETS:
        mine, its = two.result(gene), one.result(gene)
        np.testing.assert_allclose(mine.values, its.values, atol=1e-9)
        assert [fit.status for fit in mine.fits] == [fit.status for fit in its.fits]
    finished = [step.message for step in seen if step.metrics]
    assert sorted(finished) == sorted(TARGETS)
    done = [step.done for step in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1].total == 4
    import ray

    assert not ray.is_initialized()


@needs_ray
def test_closing_stops_the_workers_and_keeps_what_is_finished(tmp_path):
    import ray

    inputs, settings, store = begun(tmp_path / "a.zarr", chunk=1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        job = fit_panel_on_ray(inputs, settings, store, workers=1)
        for step in job:
            if step.metrics:
                break
        started = time.perf_counter()
        job.close()
        assert time.perf_counter() - started < 0.5
        assert ray.is_initialized()  # it was not started by the job
        deadline = time.perf_counter() + 20
        while ray.available_resources().get("CPU") != 2 and time.perf_counter() < deadline:
            time.sleep(0.05)
        assert ray.available_resources()["CPU"] == 2  # no worker holds one
    finally:
        ray.shutdown()
    assert 1 <= len(store) < 4
    result = run(panel_job(inputs, settings, store), bar=False)
    assert len(result.kept) + len(result.fitted) == 4


def test_tasks_cover_every_gene_once_and_keep_their_chunks():
    inputs = prepared()
    chunks = [Chunk(inputs.targets, {gene: gene.lower() for gene in TARGETS[1:]})]
    tasks = _tasks(chunks, 2)
    assert [gene for task in tasks for gene in task.digests] == TARGETS[1:]
    assert all(task.targets is inputs.targets for task in tasks)
    assert len(tasks) == 3


def test_without_ray_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    inputs, settings, store = begun(tmp_path / "a.zarr")
    with pytest.raises(UnavailableError, match=r"napari-celldyn\[cluster\]"):
        run(fit_panel_on_ray(inputs, settings, store, workers=2), bar=False)
    with pytest.raises(ConfigError, match="workers is 0"):
        run(fit_panel_on_ray(inputs, settings, store, workers=0), bar=False)


@needs_ray
def test_a_cluster_that_is_not_there_is_a_sentence(tmp_path):
    inputs, settings, store = begun(tmp_path / "a.zarr")
    job = fit_panel_on_ray(inputs, settings, store, workers=2, address="auto")
    with pytest.raises(UnavailableError, match="could not be reached"):
        run(job, bar=False)
