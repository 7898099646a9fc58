"""Training: what is remembered, what is drawn, and that cells learn."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import torch

from celldyn.environment import EnvironmentConfig, fit, fit_job
from celldyn.environment.memory import batches
from celldyn.environment.optimiser import Adam
from celldyn.environment.pinning import pinning_job, snapshots
from celldyn.environment.ppo import Lessons, _losses, update_job
from celldyn.environment.rollout import rollout_job
from celldyn.environment.tissue import Tissue
from celldyn.environment.trainer import Trainer
from celldyn.environment.world import World
from celldyn.errors import DataError, FileFormatError
from celldyn.jobs import run

SMALL = {
    "num_cells_min": 6, "num_cells_max": 10, "num_environments": 3, "min_time": 1.0,
    "max_time": 2.0, "eval_time": 0.5, "dim": 4, "update_timesteps": 480, "epoch_size": 300,
    "batch_size": 60, "update_iterations": 2, "max_timesteps": 1000,
}  # fmt: skip


def small(**changes):
    return EnvironmentConfig(**{**SMALL, **changes})


def tissue(n=30, partitions=1, spatial=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(n, 2, generator=generator)
    features = torch.cat([xy, xy.square(), torch.randn(n, 1, generator=generator)], 1)
    return Tissue(features, (xy,), (spatial,), torch.arange(n) % partitions)


def world(config, **of):
    return World(tissue(**of), config, config.num_environments, torch.Generator().manual_seed(0))


def moved(config, n_steps=40, **of):
    trainer = Trainer(tissue(**of), config)
    memory = run(rollout_job(trainer.world, trainer.policy, trainer.pinning, n_steps), bar=False)
    return trainer, memory


# --- the world -----------------------------------------------------------------------------------


def test_episodes_hold_cells_of_one_partition_each_once():
    made = world(small(num_cells_min=3, num_cells_max=7), partitions=3)
    sizes = set()
    for _ in range(30):
        made.begin(torch.arange(3))
        for cells, n in zip(made.episode.cells, made.episode.n_cells.tolist(), strict=True):
            kept = cells[:n]
            assert len(kept.unique()) == n
            assert len((kept % 3).unique()) == 1
            sizes.add(n)
    assert sizes == {3, 4, 5, 6}  # the most is never drawn, as the reference's upper end


def test_all_places_are_filled_where_sizes_are_one():
    made = world(small(num_cells_min=9, num_cells_max=9))
    assert made.mask is None
    assert made.episode.n_cells.tolist() == [9, 9, 9]


def test_episodes_end_at_a_random_whole_second_and_never_later_than_the_longest():
    config = small(min_time=2.0, max_time=5.0)
    made = world(config)
    made.begin(torch.arange(3))
    assert set(made.episode.end.tolist()) <= {2.0, 3.0, 4.0}
    lasted, over = 0, torch.zeros(3, dtype=torch.bool)
    while not over.any():
        _, over = made.advance(torch.zeros(3, made.n, 4), _pins(config))
        lasted += 1
    assert lasted == round(min(made.episode.end.tolist()) / config.delta)
    fixed = world(config.replace(terminate_random=False))
    fixed.begin(torch.arange(3))
    assert fixed.episode.end.tolist() == [5.0, 5.0, 5.0]


def test_cells_that_leave_space_or_rest_end_an_episode():
    config = small(pos_bound=0.01, terminate_bound=True)
    made = world(config)
    _, over = made.advance(torch.ones(3, made.n, 4), _pins(config))
    assert over.all()
    calm = small(terminate_velocity=True, friction_force=100.0, min_time=0.1)
    made = world(calm)
    made.begin(torch.arange(3))
    _, over = made.advance(torch.zeros(3, made.n, 4), _pins(calm))
    assert over.all()


def _pins(config):
    return Trainer(tissue(), config).pinning


def test_no_partition_with_two_cells_is_refused():
    with pytest.raises(DataError, match="no partition has two cells"):
        world(small(), n=3, partitions=3)


# --- what is remembered --------------------------------------------------------------------------


def test_memory_holds_what_happened():
    config = small(num_cells_min=8, num_cells_max=8, friction_force=0.0)
    _, memory = moved(config)
    v = (memory.velocity[:-1] + config.delta * memory.action[:-1]).clamp(-1, 1)
    goes_on = ~memory.truncated[:-1]
    assert torch.allclose(memory.velocity[1:][goes_on], v[goes_on], atol=1e-6)
    x = memory.position[:-1] + config.delta * v
    assert torch.allclose(memory.position[1:][goes_on], x[goes_on], atol=1e-6)
    assert (memory.time[1:][memory.truncated[:-1]] == 0).all()
    assert memory.truncated.any()
    fresh = memory.episode[1:] != memory.episode[:-1]
    assert torch.equal(fresh, memory.truncated[:-1])


def test_new_and_old_chances_are_the_same_before_any_update():
    # The reference's ratio was not 1: it drew other neighbours at the update.
    for changes in ({}, {"vision": "landmarks", "vision_size": 3}, {"discrete": True}):
        trainer, memory = moved(small(**changes))
        lessons = Lessons.of(memory, trainer.config)
        at = torch.arange(memory.episode.numel())
        mask = memory.mask(at)
        parts = _losses(trainer.policy, memory, lessons, at, lessons.advantage, mask,
                        trainer.tissue, trainer.config)  # fmt: skip
        assert parts[4].abs() < 1e-5 * at.numel()  # KL


def test_values_beyond_cuts_are_those_of_the_states_there():
    config = small(num_cells_min=8, num_cells_max=8)
    trainer, memory = moved(config)
    t, b = map(int, torch.nonzero(memory.truncated)[0])
    v = (memory.velocity[t, b] + config.delta * memory.action[t, b]).clamp(-1, 1)
    x = memory.position[t, b] + config.delta * v
    features = trainer.tissue.features[memory.cells[int(memory.episode[t, b])]]
    with torch.no_grad():
        value = trainer.policy(x[None], v[None], trainer.policy.embed(features[None]))[1][0]
    assert torch.allclose(memory.final_value[t, b], trainer.policy.values(value), atol=1e-5)


def test_batches_are_whole_moments_each_once():
    _, memory = moved(small())
    found = list(batches(memory, 300, 60, torch.Generator().manual_seed(0)))
    together = torch.cat(found)
    assert len(together.unique()) == len(together)
    assert len(found) == 5
    assert int(memory.counts().flatten()[together].sum()) == pytest.approx(300, rel=0.2)
    few = list(batches(memory, 1, 10_000, torch.Generator().manual_seed(0)))
    assert [len(each) for each in few] == [1]


def test_places_without_a_cell_do_not_change_an_update():
    config = small(num_cells_min=6, num_cells_max=10)
    _, memory = moved(config)
    mask = memory.mask()
    assert mask is not None
    weights = []
    for noise in (0.0, 50.0):
        other, _ = moved(config)
        spoilt = torch.randn(memory.flat("position").shape) * noise
        for name in ("position", "velocity"):
            memory.flat(name)[~mask] = spoilt[~mask]
        other.optimiser = Adam(other.policy, 1e-3)
        run(update_job(other.policy, other.optimiser, memory, other.tissue, config,
                       torch.Generator().manual_seed(5)), bar=False)  # fmt: skip
        weights.append(torch.cat([p.detach().flatten() for p in other.policy.parameters()]))
    assert torch.allclose(*weights, atol=1e-5)


def test_minibatches_in_slices_are_the_same():
    config = small()
    weights = []
    for held in (1_000_000, 25):
        trainer, memory = moved(config)
        run(update_job(trainer.policy, trainer.optimiser, memory, trainer.tissue,
                       config.replace(minibatch_memories=held), torch.Generator().manual_seed(5)),
            bar=False)  # fmt: skip
        weights.append(torch.cat([p.detach().flatten() for p in trainer.policy.parameters()]))
    assert torch.allclose(*weights, atol=1e-4)


def test_a_loss_that_is_not_finite_leaves_the_policy_as_it_was():
    trainer, memory = moved(small())
    before = {k: v.clone() for k, v in trainer.policy.state_dict().items()}
    memory.reward[3, 1, 0] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        run(update_job(trainer.policy, trainer.optimiser, memory, trainer.tissue, trainer.config,
                       trainer.generator), bar=False)  # fmt: skip
    for name, value in trainer.policy.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_divergence_beyond_bounds_undoes_the_update():
    config = small(kl_early_stop=True, kl_target=1e-9, lr=0.05)
    trainer, memory = moved(config)
    before = {k: v.clone() for k, v in trainer.policy.state_dict().items()}
    run(update_job(trainer.policy, trainer.optimiser, memory, trainer.tissue, config,
                   trainer.generator), bar=False)  # fmt: skip
    for name, value in trainer.policy.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_pinning_learns_from_late_moments_only():
    config = small(eval_time=0.8)
    trainer, memory = moved(config)
    late = snapshots(memory, config)
    assert (memory.time.flatten()[late] >= 0.8 - 0.05).all()
    exact = snapshots(memory, config.replace(snapshots="eval_time"))
    assert torch.allclose(memory.time.flatten()[exact], torch.tensor(0.8), atol=1e-3)
    assert 0 < len(exact) < len(late)
    never = config.replace(eval_time=99.0)
    before = [p.clone() for p in trainer.pinning[0].parameters()]
    told = run(pinning_job(trainer.pinning, trainer.pinning_optimisers, memory, trainer.tissue,
                           never, trainer.generator), bar=False)  # fmt: skip
    assert told == {}
    for a, b in zip(before, trainer.pinning[0].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("spatial", [False, True])
def test_pinning_tells_targets_from_positions(spatial):
    """Where positions are the turned truth, networks come to tell it."""
    config = small(num_cells_min=10, num_cells_max=10, pinning_lr=0.03)
    trainer, memory = moved(config, spatial=spatial)
    truth = trainer.tissue.targets[0]
    cells = memory.cells_at(torch.arange(memory.episode.numel()))
    memory.flat("position").zero_()[..., :2] = truth[cells].flip(-1) * 4 - 1
    for _ in range(5):
        told = run(pinning_job(trainer.pinning, trainer.pinning_optimisers, memory,
                               trainer.tissue, config, trainer.generator), bar=False)  # fmt: skip
    assert told["pinning_0"] < 0.3 * truth.var(0).mean()


# --- a whole training ----------------------------------------------------------------------------


def tables(n=60, seed=0):
    rng = np.random.default_rng(seed)
    xy = rng.random((n, 2)).astype(np.float32)
    X = np.sin(xy @ rng.normal(0, 4, (2, 12))).astype(np.float32)
    names = [f"cell{i}" for i in range(n)]
    found = [ad.AnnData(X), ad.AnnData(xy)]
    for each in found:
        each.obs_names = names
    return found


def parameters(fitted):
    modules = (fitted.policy, *fitted.pinning)
    return torch.cat([v.flatten().double() for m in modules for v in m.state_dict().values()])


def test_a_resumed_training_is_an_uninterrupted_one():
    config = small(target_modalities=[1], max_timesteps=1400)
    kept = []
    whole = fit(tables(), config.replace(checkpoint_iterations=1), checkpoint=kept.append,
                progress_bar=False)  # fmt: skip
    assert whole.updates == 3
    assert [one.updates for one in kept] == [1, 2, 3]
    again = fit(tables(), config, start=kept[0], progress_bar=False)
    assert torch.equal(parameters(whole), parameters(again))
    assert again.history == whole.history
    with pytest.raises(FileFormatError, match="of another training"):
        fit(tables(), config.replace(num_environments=2, num_cells_max=7), start=kept[0],
            progress_bar=False)  # fmt: skip


def test_a_seed_is_a_training():
    config = small(target_modalities=[1], max_timesteps=400)
    first, second = (fit(tables(), config, progress_bar=False) for _ in "ab")
    assert torch.equal(parameters(first), parameters(second))
    other = fit(tables(), config.replace(seed=1), progress_bar=False)
    assert not torch.equal(parameters(first), parameters(other))


def test_early_stopping_stops_and_says_so():
    config = small(target_modalities=[1], max_timesteps=100_000, early_stopping=True,
                   early_stopping_patience=2, early_stopping_delta=1e6)  # fmt: skip
    found = fit(tables(), config, progress_bar=False)
    assert found.updates == 5  # three are averaged, then two in vain
    assert "training ended early" in found.notes[-1]


def test_events_are_logged_in_the_words_of_the_page():
    events = []
    fit(tables(), small(target_modalities=[1], max_timesteps=400, checkpoint_iterations=1),
        log=events.append, checkpoint=lambda fitted: None, progress_bar=False)  # fmt: skip
    assert [e["Event"] for e in events] == [
        "Begin Training", "Rollout", "Update", "Save Checkpoint", "Finish Training",
    ]  # fmt: skip
    assert set(events[1]["Itemized Reward"]) == {"pinning", "velocity", "action"}
    assert {"total", "ppo", "critic", "entropy", "kl", "pinning_0"} <= set(events[2]["Losses"])


def test_a_job_that_is_closed_stops_at_once():
    job = fit_job(tables(), small(max_timesteps=10**9))
    for _ in range(3):
        next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)


def test_one_cell_to_train_on_is_refused():
    with pytest.raises(DataError):
        fit(tables(n=2), small(train_split=0.5), progress_bar=False)


def test_cells_learn_what_is_rewarded():
    """Where only nearness to the origin counts, cells come to stay near it."""
    config = EnvironmentConfig(
        dim=2, reward_pinning=0, penalty_velocity=0, penalty_action=0, reward_origin=1,
        num_cells_min=8, num_cells_max=8, num_environments=32, pos_rand_bound=3.0, lr=1e-2,
        update_timesteps=32 * 8 * 32, epoch_size=32 * 8 * 32, batch_size=1024,
        update_iterations=2, min_time=4.0, max_time=8.0, max_timesteps=32 * 8 * 32 * 12,
        gamma=0.95,
    )  # fmt: skip
    found = fit(tables(n=40), config, progress_bar=False)
    reward = [row["reward/origin"] for row in found.history]
    assert np.mean(reward[:2]) < 0
    assert np.mean(reward[-3:]) > 2.0
    assert found.history[-1]["explained_variance"] > 0.5
