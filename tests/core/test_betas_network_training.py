"""Training of the networks: what they learn, that it can be repeated, stopped and carried on."""

from __future__ import annotations

import gc
import time
import weakref
from dataclasses import replace

import betas_network_cases as cases
import numpy as np
import pytest
import torch

from celldyn.betas.seed_model import r_squared
from celldyn.betas.varying import course as courses
from celldyn.betas.varying.cluster import Surroundings
from celldyn.betas.varying.learning import batches
from celldyn.betas.varying.network import apply_varied, network_from, vary_job, vary_stack_job
from celldyn.betas.varying.one_block import Memory
from celldyn.betas.varying.trials import training_job, trial_job
from celldyn.errors import DataError
from celldyn.jobs import run


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are not worth two threads, which wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def vary(cluster, **more):
    return run(vary_job(cluster, cases.config(**more)), bar=False)


def predicted(betas, X):
    return betas[:, 0] + np.einsum("ij,ij->i", betas[:, 1:], X)


def seed_on_first_fold(cluster):
    held, (intercept, coef) = cluster.folds[0], cluster.seed.fold_linear[0]
    return r_squared(cluster.y[held], intercept + cluster.X[held] @ coef)


@pytest.mark.parametrize(
    ("model", "gate", "maps"),
    [
        ("cnn", "place", "distance"),
        ("cnn", "niche", "density"),
        ("transformer", "place", "distance"),
    ],
)
def test_a_known_gate_is_learnt(model, gate, maps):
    cluster, factor = cases.cluster(200, gate=gate)
    found = vary(
        cluster,
        vision_model=model,
        maps=maps,
        activation="sigmoidx2",
        num_epochs=50,
        batch_size=64,
    )
    assert found.r2 > cluster.seed.r2 + 0.05
    assert found.heldout_r2 > seed_on_first_fold(cluster) + 0.02
    assert found.r2 == pytest.approx(r_squared(cluster.y, predicted(found.betas, cluster.X)))
    learnt = (found.betas[:, 1:] / cluster.seed.coef).mean(axis=1)
    assert np.corrcoef(learnt, factor)[0, 1] > 0.7
    assert np.mean(found.losses[-5:]) < 0.5 * np.mean(found.losses[:5])


@pytest.mark.parametrize("model", ["cnn", "transformer"])
def test_the_same_seed_gives_the_same_betas(model):
    cluster, _ = cases.cluster(120)
    options = {"vision_model": model, "num_epochs": 3, "batch_size": 50, "rotate_maps": True}
    torch.manual_seed(1)
    first = vary(cluster, **options)
    torch.manual_seed(2)  # nobody else's random numbers matter
    second = vary(cluster, **options)
    np.testing.assert_array_equal(first.betas, second.betas)
    assert first.losses == second.losses
    assert first.heldout_r2 == second.heldout_r2
    other = vary(cluster, seed=1, **options)
    assert not np.array_equal(first.betas, other.betas)


def stack_of_three(n=100):
    """Three genes of the same cells, with different modulators."""
    cluster, _ = cases.cluster(n, p=5)
    genes = []
    for k, p in enumerate((5, 2, 4)):
        X = np.ascontiguousarray(cluster.X[:, :p])
        y = cluster.y + k * cluster.X[:, k]
        gene = cases.fitted(X, y, cluster.xy, cluster.cells, 0, cluster.around)
        genes.append(replace(gene, folds=cluster.folds))
    return genes


@pytest.mark.parametrize("model", ["cnn", "transformer"])
@pytest.mark.parametrize("early", [False, True])
def test_each_model_of_a_stack_learns_what_it_learns_alone(model, early, monkeypatch):
    genes = stack_of_three()
    config = cases.config(
        vision_model=model, num_epochs=4, batch_size=60, early_stopping=early, patience=1
    )
    alone = [run(vary_job(gene, config), bar=False) for gene in genes]
    together = run(vary_stack_job(genes, config), bar=False)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.betas, other.betas)
        assert one.losses == other.losses

    # One network for all of them, as on a GPU, adds up in another order.
    def as_on_a_gpu(clusters, config):
        course = yield from courses.course_job(clusters, config)
        genes = list(range(len(clusters)))
        X = [courses._designs([cluster.X for cluster in clusters])]
        y = [torch.cat(course.lessons.y)]
        return replace(course, models=[genes], lessons=replace(course.lessons, X=X, y=y))

    monkeypatch.setattr("celldyn.betas.varying.network.course_job", as_on_a_gpu)
    for one, other in zip(alone, run(vary_stack_job(genes, config), bar=False), strict=True):
        assert len(one.losses) == len(other.losses)
        np.testing.assert_allclose(other.losses, one.losses, rtol=2e-3)
        np.testing.assert_allclose(other.betas, one.betas, rtol=0.02, atol=0.02)
        assert other.heldout_r2 == pytest.approx(one.heldout_r2, abs=0.02)


def test_a_stack_of_different_cells_is_refused():
    one, two = (cases.cluster(60, seed=seed)[0] for seed in (0, 1))
    with pytest.raises(DataError, match="different cells"):
        run(vary_stack_job([one, two], cases.config()), bar=False)


def test_early_stopping_stops_where_nothing_is_left_to_learn():
    cluster, _ = cases.cluster(150, noise=1.0)
    noise = np.random.default_rng(0).normal(size=len(cluster.y))
    barren = cases.fitted(cluster.X, noise, cluster.xy, cluster.cells, 0, cluster.around)
    options = {"num_epochs": 150, "batch_size": 40, "learning_rate": 0.02}
    found = vary(barren, early_stopping=True, patience=3, **options)
    per_epoch = len(batches(torch.arange(len(cluster.y)), 40))
    assert len(found.losses) < 50 * per_epoch
    assert len(found.losses) % per_epoch == 0
    whole = vary(barren, **options)
    assert len(whole.losses) == 150 * per_epoch
    assert found.heldout_r2 > whole.heldout_r2  # it would have learnt the noise by heart
    assert found.losses == whole.losses[: len(found.losses)]


def test_progress_comes_often_and_a_closed_job_lets_go(monkeypatch):
    held = []
    make = Memory.__init__

    def remembered(self):
        make(self)
        held.append(weakref.ref(self))

    monkeypatch.setattr(Memory, "__init__", remembered)
    cluster, _ = cases.cluster(400)
    job = vary_job(cluster, cases.config(spatial_dim=64, maps="distance", num_epochs=50))
    shares, stages = [], set()
    next(job)
    since = time.process_time()
    silences = []
    while len(shares) < 12:
        step = next(job)
        silences.append(time.process_time() - since)
        since = time.process_time()
        stages.add(step.stage)
        if step.stage == "network":
            shares.append(step.fraction)
    assert np.median(silences) < 0.1
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 0.1  # many reports came out of the first epochs
    assert any(memory()._held for memory in held if memory() is not None)
    since = time.process_time()
    job.close()
    assert time.process_time() - since < 0.1
    gc.collect()
    assert all(memory() is None or not memory()._held for memory in held)


@pytest.mark.parametrize("batch_size", [512, 40])
def test_evaluation_gives_what_training_gave(batch_size):
    """After three epochs running averages would still be far from what batch norm was used to."""
    cluster, _ = cases.cluster(160)
    config = cases.config(num_epochs=3, batch_size=batch_size, maps="distance")
    course = run(courses.course_job([cluster], config), bar=False)
    trained = run(training_job(course, np.array([3])), bar=False)
    network = network_from(trained.states[0], config)
    cells = np.arange(len(cluster.y))
    images = course.lessons.source.batch(cells).dense(torch.device("cpu"))
    with torch.no_grad():
        evaluated = network.see(images)
        as_trained = network.train().see(images)
    assert (evaluated - as_trained).norm() < 0.05 * as_trained.norm()


def test_losses_are_told_as_they_come():
    cluster, _ = cases.cluster(100)
    told = []
    job = vary_job(cluster, cases.config(num_epochs=4))
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            found = end.value
            break
        told += [value for name, value in step.metrics.items() if name == "loss/one"]
    assert told == pytest.approx(found.losses[:-1])


@pytest.mark.parametrize("model", ["cnn", "transformer"])
def test_other_cells_get_the_betas_of_a_saved_network(model):
    cluster, _ = cases.cluster(120)
    config = cases.config(vision_model=model, num_epochs=3)
    found = run(vary_job(cluster, config), bar=False)
    around, row = cluster.around, np.zeros(5)
    betas = apply_varied(found.state, row, cluster.xy, cluster.cells, around, 0, config)
    np.testing.assert_array_equal(betas, found.betas)
    some = cluster.cells[[3, 50, 4]]
    part = apply_varied(found.state, row, around.xy[some], some, around, 0, config)
    np.testing.assert_allclose(part, betas[[3, 50, 4]], rtol=1e-5, atol=1e-6)
    # The counts of a crop are scaled by the tissue that was trained on, not by its own.
    left = np.flatnonzero(around.xy[:, 0] < 250)
    crop = Surroundings(around.xy[left], around.types[left], 3, around.radius)
    deep = np.flatnonzero((around.types[left] == 0) & (around.xy[left, 0] < 120))
    there = apply_varied(found.state, row, crop.xy[deep], deep, crop, 0, config)
    place = {cell: k for k, cell in enumerate(cluster.cells)}
    truth = betas[[place[cell] for cell in left[deep]]]
    np.testing.assert_allclose(there, truth, rtol=1e-5, atol=1e-6)
    network = network_from(found.state, config)
    assert not network.training
    assert all(array.dtype != object for array in found.state.values())
    other = Surroundings(around.xy, around.types, 4, around.radius)
    with pytest.raises(DataError, match="knows 3 cell types, the data set has 4"):
        apply_varied(found.state, row, around.xy[some], some, other, 0, config)


def test_tiny_clusters():
    for n in (4, 5, 12):
        cluster, _ = cases.cluster(n, p=1)
        cluster = replace(cluster, cells=cluster.cells[:n])
        for model in ("cnn", "transformer"):
            found = vary(cluster, vision_model=model, num_epochs=2, batch_size=1)
            assert np.isfinite(found.betas).all()
            assert len(found.losses) == 2 * (n // 2)
            assert np.isnan(found.heldout_r2) == (not cluster.folds)
    cluster, _ = cases.cluster(2, p=1)
    found = vary(cluster)
    np.testing.assert_array_equal(found.betas[0], [cluster.seed.intercept, *cluster.seed.coef])
    assert found.r2 == cluster.seed.r2


def test_no_batch_is_a_single_cell():
    for n, size, expected in ((9, 4, [4, 5]), (8, 4, [4, 4]), (1, 4, [1]), (7, 1, [2, 2, 3])):
        parts = batches(torch.arange(n), size)
        assert [len(part) for part in parts] == expected
        assert torch.equal(torch.cat(parts), torch.arange(n))


def test_heldout_cells_are_predicted_by_networks_that_never_saw_them():
    cluster, _ = cases.cluster(120)
    config = cases.config(num_epochs=3)
    y, held = cluster.y.copy(), cluster.folds[0]
    y[held] += 100.0
    trials = []
    for one in (cluster, replace(cluster, y=y)):
        course = run(courses.course_job([one], config), bar=False)
        trials.append(run(trial_job(course, 0), bar=False))
    np.testing.assert_array_equal(trials[0].cells, held)
    np.testing.assert_array_equal(trials[0].predicted, trials[1].predicted)

    found = vary(cluster, num_epochs=3)
    assert found.heldout_r2 == r_squared(cluster.y[held], trials[0].predicted[0])
    more = vary(cluster, num_epochs=3, network_folds=20)
    assert np.isfinite(more.heldout_r2)
    assert more.heldout_r2 != found.heldout_r2
    np.testing.assert_array_equal(more.betas, found.betas)
    none = replace(cluster, folds=[], seed=replace(cluster.seed, fold_linear=()))
    for unheld in (vary(cluster, num_epochs=3, network_folds=0), vary(none, num_epochs=3)):
        assert np.isnan(unheld.heldout_r2)
        np.testing.assert_array_equal(unheld.betas, found.betas)
