"""Training: what acts, what repeats, what is kept when it goes wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from landscape_model_cases import line, small_config

from celldyn.errors import ConfigError, DataError, NotFittedError
from celldyn.landscape import LSD, LSDConfig
from celldyn.landscape.batching import rows_to_look_at
from celldyn.landscape.config import AdamConfig
from celldyn.landscape.course import learning_rate
from celldyn.landscape.train import held_out_cells


def made(cfg: LSDConfig | None = None, **data: int) -> LSD:
    lsd = LSD(line(**data), cfg or small_config(), device="cpu")
    lsd.set_prior_transition(prior_time_key="time")
    lsd.prepare_walks()
    return lsd


def weights_of(lsd: LSD) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in lsd.networks.parameters()])


def test_it_learns_time_and_where_cells_go() -> None:
    cfg = small_config()
    cfg.walks.num_walks, cfg.walks.path_len, cfg.optimizer.adam.lr = 256, 4, 5e-3
    cfg.optimizer.likelihood_rows = 0.25
    lsd = made(cfg)
    lsd.train(45)
    result = lsd.get_adata()
    rank = result.obs[["lsd_pseudotime", "time"]].corr("spearman").iloc[0, 1]
    assert rank > 0.9
    history = lsd.history
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["held_out_loss"].notna().all()


def test_two_models_of_one_process_differ_from_each_other_and_from_their_start() -> None:
    other = small_config()
    other.walks.random_state = 1
    first, second = made(), made(other)
    starts = weights_of(first), weights_of(second)
    first.train(2)
    second.train(2)
    assert (weights_of(first) - starts[0]).abs().max() > 1e-3
    assert (weights_of(second) - starts[1]).abs().max() > 1e-3
    assert (weights_of(first) - weights_of(second)).abs().max() > 1e-2


def test_the_same_seed_gives_the_same_model_and_leaves_torchs_stream_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first = made()
    first.train(2)
    assert torch.equal(torch.rand(3), wanted)
    second = made()
    second.train(2)
    assert torch.equal(weights_of(first), weights_of(second))


def test_training_that_goes_on_is_training_that_never_stopped() -> None:
    whole, halves = made(), made()
    whole.train(4)
    halves.train(2)
    halves.train(2)
    assert torch.equal(weights_of(whole), weights_of(halves))
    assert whole.history.equals(halves.history)


@pytest.mark.parametrize(
    "path",
    [
        "optimizer.adam.lr", "optimizer.kl_schedule.af", "optimizer.wasserstein_schedule.max_W",
        "optimizer.likelihood_rows", "walks.resample", "model.V_coeff", "walks.beta",
        "ode.substeps", "model.confinement", "training.validation_share",
    ],
)  # fmt: skip
def test_every_parameter_acts(path: str) -> None:
    values = {"substeps": 3, "lr": 3e-3, "beta": 5.0, "V_coeff": 100.0, "resample": False}
    cfg = small_config()
    *branches, leaf = path.split(".")
    node = cfg
    for branch in branches:
        node = getattr(node, branch)
    setattr(node, leaf, values.get(leaf, 0.5))
    base, changed = made(), made(cfg)
    base.train(2)
    changed.train(2)
    assert not torch.equal(weights_of(base), weights_of(changed))


@pytest.mark.parametrize("name", ["z_encoder", "xl_encoder"])
def test_sizes_that_sclsd_ignores_act(name: str) -> None:
    cfg = small_config(library="inferred")
    setattr(cfg.model.layer_dims, name, (3,))
    encoder = getattr(made(cfg).networks, name)
    assert encoder.linear[0].out_features == 3


def test_the_learning_rate_restarts_as_cosine_warm_restarts_do() -> None:
    adam = AdamConfig(lr=1e-2, eta_min=1e-4, T_0=3, T_mult=2)
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([parameter], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, 3, 2, 1e-4)
    for step in range(60):
        schedule.step(step / 4)
        assert learning_rate(adam, step / 4) == pytest.approx(optimiser.param_groups[0]["lr"])


def test_a_loss_that_is_no_number_names_its_step_and_keeps_the_last_good_state() -> None:
    lsd = made()
    lsd.train(1)
    good = weights_of(lsd)
    lsd.cfg.optimizer.adam.lr = 10.0
    lsd.cfg.optimizer.wasserstein_schedule.min_W = 1e6
    lsd.cfg.optimizer.wasserstein_schedule.max_W = 1e6
    lsd.cfg.model.V_coeff = 1e6
    with torch.no_grad():
        lsd.networks.h_0[:] = math.inf
    with pytest.raises(DataError, match=r"step 1 of 2 of epoch 2.*after epoch 1"):
        lsd.train(1)
    assert lsd.epoch == 1
    assert torch.equal(weights_of(lsd)[torch.isfinite(weights_of(lsd))],
                       good[torch.isfinite(weights_of(lsd))])  # fmt: skip


def test_a_closed_job_leaves_the_last_whole_epoch() -> None:
    lsd, same = made(), made()
    job = lsd.train_job(50)
    for progress in job:
        if progress.done > 2:
            break
    job.close()
    same.train(lsd.epoch)
    assert lsd.epoch >= 2
    assert torch.equal(weights_of(lsd), weights_of(same))
    assert not lsd.networks.training


def test_early_stopping_keeps_the_best_epoch() -> None:
    cfg = small_config()
    cfg.training.early_stopping, cfg.training.patience = True, 2
    cfg.optimizer.adam.lr, cfg.training.min_delta = 0.05, 1e-3
    lsd = made(cfg, n_cells=60)
    lsd.train(60)
    losses = lsd.history["held_out_loss"]
    assert lsd.epoch < 60
    assert lsd.fitted.best_epoch == lsd.epoch - 3
    assert losses.iloc[-2:].min() > losses[lsd.fitted.best_epoch] - 1e-3


def test_checkpoints_are_written_after_every_interval(tmp_path) -> None:
    lsd = made()
    lsd.train(5, save_dir=tmp_path, save_interval=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"lsd_model_epoch000{k}.safetensors" for k in (2, 4, 5)]
    back = LSD.load(tmp_path / names[1], lsd.adata, device="cpu")
    back.train(1)
    assert torch.equal(weights_of(back), weights_of(lsd))


def test_rows_that_are_looked_at() -> None:
    walks = np.arange(40, dtype=np.int32).reshape(8, 5)
    random = np.random.default_rng(0)
    usable = np.arange(40) % 2 == 0
    assert rows_to_look_at(walks, 1.0, None, random) is None
    assert rows_to_look_at(walks, 1.0, usable, random).tolist() == list(range(0, 40, 2))
    some = rows_to_look_at(walks, 0.25, usable, random)
    assert len(some) == 5
    assert usable[some].all()
    assert held_out_cells(200, 0.1, 3).sum() == 20


def test_balanced_rows_have_no_second_row_of_a_cell_before_every_cell_has_one() -> None:
    walks = np.array([[0, 1, 2, 2, 2], [3, 4, 2, 2, 2], [5, 6, 2, 2, 2]], dtype=np.int32)
    random = np.random.default_rng(0)
    for share, most in ((0.25, 1), (7 / 15, 1), (8 / 15, 2), (10 / 15, 4)):
        rows = rows_to_look_at(walks, share, None, random, balanced=True)
        cells, times = np.unique(walks.reshape(-1)[rows], return_counts=True)
        assert times.max() == most
        assert len(rows) == round(share * 15)
        assert len(cells) == min(len(rows), 7)
    drawn = {
        int(row)
        for _ in range(200)
        for row in rows_to_look_at(walks, 7 / 15, None, random, balanced=True)
        if walks.reshape(-1)[row] == 2
    }
    assert drawn == {2, 3, 4, 7, 8, 9, 12, 13, 14}


def test_what_is_asked_for_too_early_or_wrongly_is_a_sentence() -> None:
    lsd = LSD(line(), small_config(), device="cpu")
    with pytest.raises(NotFittedError, match="set_prior_transition"):
        lsd.prepare_walks()
    with pytest.raises(ConfigError, match="one thing to go by"):
        lsd.set_prior_transition()
    lsd.set_prior_transition(prior_time_key="time")
    with pytest.raises(NotFittedError, match="prepare_walks"):
        lsd.train(1)
    with pytest.raises(ConfigError, match="path_len of 2"):
        lsd.prepare_walks(path_len=1)
    lsd.prepare_walks()
    with pytest.raises(NotFittedError, match="not trained"):
        lsd.get_adata()
    with pytest.raises(ConfigError, match="num_epochs is 0"):
        lsd.train(0)
