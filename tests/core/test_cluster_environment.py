"""Virtual cells trained by several processes: the mathematics of one, and nothing left running."""

from __future__ import annotations

import sys
import threading
import time
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from environment_model_cases import config, gathered, same, tables

from celldyn.cli import main
from celldyn.cluster_environment import fit_on_ray_job, train_on_ray_job
from celldyn.environment.event_log import read_events
from celldyn.environment.saved import load
from celldyn.environment.sharing import Crew, share_among, together
from celldyn.environment.train import tissue_of
from celldyn.environment.trainer import Trainer
from celldyn.errors import ConfigError, UnavailableError
from celldyn.jobs import run

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="ray, of the extra cluster, is not installed"
)


# --- who does what ----------------------------------------------------------------------------


def test_one_process_is_enough_unless_more_are_named():
    assert Crew.of(config()) == Crew(1, 1, 0)
    assert Crew.of(config()).is_alone
    assert Crew.of(config(num_gpus=1)) == Crew(1, 1, 1)
    assert Crew.of(config(num_gpus=2)) == Crew(2, 2, 2)
    assert Crew.of(config(num_gpus=2), "cpu") == Crew(1, 1, 0)
    assert Crew.of(config(num_learners=2, num_runners=4)) == Crew(2, 4, 0)
    assert Crew.of(config(num_runners=3)) == Crew(1, 3, 0)
    with pytest.raises(ConfigError, match="num_runners is 3 and num_learners 2"):
        Crew.of(config(num_learners=2, num_runners=3))
    with pytest.raises(ConfigError, match="too few cell-steps"):
        Crew.of(config(num_learners=3, batch_size=2))


def test_cell_steps_are_divided():
    whole = config(update_timesteps=1200, epoch_size=200, batch_size=100, num_environments=5)
    share = Crew(2, 4).share_of(whole)
    assert (share.update_timesteps, share.epoch_size, share.batch_size) == (300, 100, 50)
    assert share.num_environments == 2
    assert Crew(1, 1).share_of(whole) == whole


def test_runners_are_dealt_out_evenly_and_near():
    assert Crew(2, 6).runners_of() == [[2, 4], [3, 5]]
    assert Crew(2, 6).runners_of(["a", "b", "b", "b", "a", "a"]) == [[4, 5], [2, 3]]
    # A machine with more runners than its learner can have lends some to the other's.
    assert Crew(2, 6).runners_of(["a", "b", "b", "b", "b", "a"]) == [[4, 5], [2, 3]]


# --- the mathematics, without Ray -------------------------------------------------------------


class Meeting:
    """Threads that average vectors as `share_among` does between processes."""

    def __init__(self, n):
        self.barrier, self.held, self.n = threading.Barrier(n), {}, n

    def of(self, rank):
        def share(vector, weight):
            self.held[rank] = (vector.clone(), weight)
            self.barrier.wait()
            total = sum(self.held[k][1] for k in range(self.n))
            mean = sum(self.held[k][0] * self.held[k][1] for k in range(self.n))
            self.barrier.wait()
            vector.copy_(mean / total if total else torch.zeros_like(vector))

        return share


def in_threads(n_updates, **changes):
    """Return trainers of two learners after some updates, each in a thread."""
    whole = config(num_learners=2, **changes)
    share_of = Crew.of(whole).share_of(whole)
    trainers = [Trainer(tissue_of(gathered()), share_of, None, rank) for rank in range(2)]
    for _ in range(n_updates):
        meeting, told = Meeting(2), {}

        def learn(rank, meeting=meeting, told=told):
            job = trainers[rank].update_job(meeting.of(rank))
            told[rank] = run(job, bar=False)

        before = trainers[0].timesteps
        threads = [threading.Thread(target=learn, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(told) == {0, 1}
        steps = sum(trainer.timesteps - before for trainer in trainers)
        for trainer in trainers:
            trainer.timesteps = before + steps
    return trainers


def test_learners_agree_after_every_step():
    one, other = in_threads(2)
    for mine, its in zip((one.policy, *one.pinning), (other.policy, *other.pinning), strict=True):
        held = its.state_dict()
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(value, held[name], rtol=0, atol=0)
    assert not torch.equal(one.world.position, other.world.position)


def test_a_vector_is_the_weighted_mean_of_all():
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        vector = torch.tensor([1.0, -2.0])
        share_among(vector, 3.0)
        torch.testing.assert_close(vector, torch.tensor([1.0, -2.0]))
        share_among(vector, 0.0)
        torch.testing.assert_close(vector, torch.zeros(2))
    finally:
        dist.destroy_process_group()


def test_what_several_runners_did_is_one_stretch_of_time():
    trainers = [Trainer(tissue_of(gathered()), config(), None, rank) for rank in range(2)]
    parts = [run(trainer.rollout_job(), bar=False) for trainer in trainers]
    whole = together(parts)
    B = trainers[0].world.n_environments
    assert whole.position.shape[1] == 2 * B
    assert whole.n_cell_steps == sum(part.n_cell_steps for part in parts)
    for k, part in enumerate(parts):
        columns = slice(k * B, (k + 1) * B)
        torch.testing.assert_close(whole.reward[:, columns], part.reward)
        torch.testing.assert_close(
            whole.cells_of(whole.episode[:, columns]), part.cells_of(part.episode)
        )
        torch.testing.assert_close(whole.counts()[:, columns], part.counts())
    steps = [part.n_cell_steps for part in parts]
    for name in parts[0].terms:
        expected = np.average([part.terms[name] for part in parts], weights=steps)
        assert whole.terms[name] == pytest.approx(expected)
    assert together(parts[:1]) is parts[0]


# --- on Ray -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """One Ray for all, of three processors."""
    import ray

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def trained(start=None, **changes):
    job = fit_on_ray_job(
        tables(), config(checkpoint_iterations=1, **changes), start=start, device="cpu"
    )
    return run(job, bar=False)


@pytest.fixture(scope="module")
def pair(cluster, tmp_path_factory):
    """What the command trained with two learners: the environment, its folder, its events."""
    folder = tmp_path_factory.mktemp("pair")
    genes, places = tables()
    genes.write_h5ad(folder / "g.h5ad")
    places.write_h5ad(folder / "p.h5ad")
    usual = config().preset("recommended").model_dump()
    given = config(num_learners=2, checkpoint_iterations=1).model_dump()
    words = [f"--{name}={value}" for name, value in given.items()
             if value != usual[name] and not isinstance(value, list)]  # fmt: skip
    task = ["--target_modalities", "1", "--spatial", "1", "--log_modalities", "0",
            "--pca_dim", "4", "0"]  # fmt: skip
    files = ["environment", "train", str(folder / "g.h5ad"), str(folder / "p.h5ad")]
    where = ["--checkpoint_dir", str(folder), "--checkpoint_name", "m", "--device", "cpu", "-q"]
    assert main([*files, *task, *words, *where]) == 0
    return load(folder / "m.safetensors"), folder, read_events(folder / "m.log.jsonl")


@needs_ray
def test_two_learners_do_the_mathematics_of_two_threads(pair):
    fitted, folder, events = pair
    trainers = in_threads(fitted.updates)
    for mine, its in zip(
        (fitted.policy, *fitted.pinning), (trainers[0].policy, *trainers[0].pinning), strict=True
    ):
        held = its.state_dict()
        for name, value in mine.state_dict().items():
            # Sums in another order differ in their last bits; Adam makes steps of that where a
            # gradient is next to nothing, of a thirtieth of a step's length at most.
            torch.testing.assert_close(value, held[name], rtol=1e-5, atol=1e-5)
    assert fitted.timesteps == trainers[0].timesteps
    np.testing.assert_array_equal(
        fitted.resume["optimiser.first"], fitted.resume["rank.1.optimiser.first"]
    )
    assert len(list(folder.glob("m-*.safetensors"))) == fitted.updates >= 2
    names = [event["Event"] for event in events]
    assert names[:2] == ["Register Workers", "Begin Training"]
    assert names.count("Update") == fitted.updates
    assert events[0]["Backend"] == "gloo"


@needs_ray
def test_learners_go_on_bit_for_bit(pair):
    fitted, folder, _ = pair
    resumed = trained(load(folder / "m-0001.safetensors"), num_learners=2)
    same(resumed, fitted)
    more = config(num_learners=1, max_timesteps=fitted.timesteps + 1)
    alone = run(fit_on_ray_job(tables(), more, start=fitted, device="cpu"), bar=False)
    assert alone.updates == fitted.updates + 1  # other processes take up what was learned


@needs_ray
def test_a_runner_plays_for_a_learner(cluster):
    fitted = trained(num_runners=2, max_timesteps=400)
    whole = config(num_runners=2, max_timesteps=400)
    share = Crew.of(whole).share_of(whole)
    learner, runner = (Trainer(tissue_of(gathered()), share, None, rank) for rank in range(2))
    while learner.timesteps < 400:
        runner.updates = learner.updates
        runner.policy.load_state_dict(learner.policy.state_dict())
        for mine, its in zip(runner.pinning, learner.pinning, strict=True):
            mine.load_state_dict(its.state_dict())
        runner.world.forget_quality()
        parts = [run(one.rollout_job(), bar=False) for one in (learner, runner)]
        run(learner.learn_job(together(parts)), bar=False)
    assert fitted.updates == learner.updates
    for name, value in learner.policy.state_dict().items():
        torch.testing.assert_close(fitted.policy.state_dict()[name], value, rtol=1e-5, atol=1e-6)


@needs_ray
def test_closing_stops_all_processes(cluster):
    job = train_on_ray_job(gathered(), config(num_learners=2, max_timesteps=10**9), device="cpu")
    for step in job:
        if step.metrics:
            break
    started = time.perf_counter()
    job.close()
    assert time.perf_counter() - started < 0.5
    deadline = time.perf_counter() + 20
    while cluster.available_resources().get("CPU") != 3 and time.perf_counter() < deadline:
        time.sleep(0.05)
    assert cluster.available_resources()["CPU"] == 3


@needs_ray
def test_what_ray_lacks_is_told_at_once(cluster):
    job = fit_on_ray_job(tables(), config(num_learners=4), device="cpu")
    with pytest.raises(UnavailableError, match="4 CPUs are asked for, and Ray has 3"):
        run(job, bar=False)
    job = fit_on_ray_job(tables(), config(num_gpus=2))
    with pytest.raises(UnavailableError, match="2 GPUs are asked for, and Ray has 0"):
        run(job, bar=False)


def test_without_ray_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnavailableError, match=r"napari-celldyn\[cluster\]"):
        run(fit_on_ray_job(tables(), config(num_learners=2), device="cpu"), bar=False)
