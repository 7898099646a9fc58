"""The job that trains a landscape: batches of walks, held-out counts, early stopping."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.devices import compile_job, few_threads
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress, scaled
from celldyn.landscape.batching import Expression, WalkBatch, make_batch, rows_to_look_at
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.count_likelihood import compile_kernels
from celldyn.landscape.course import Course, EarlyStop, learning_rate
from celldyn.landscape.graph import Csr
from celldyn.landscape.networks import Networks
from celldyn.landscape.objective import Noise, Weights, loss_terms
from celldyn.landscape.optimiser import Optimiser
from celldyn.landscape.walk_flow import stable_substeps
from celldyn.landscape.walk_sweep import compile_sweep
from celldyn.landscape.walks import Walks, sample_walks

Cells = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Parameters
    ----------
    cfg
        The whole tree.
    walks
        (n_walks, path_len) those of the first epoch.
    transition
        (n, n) chances by which every further epoch's walks are drawn; None has the same walks in
        all.
    n_cells
        n.
    num_epochs
        How many more epochs.
    device
        Where it runs.
    seed
        Of everything random; an epoch's numbers depend on it and on the epoch alone.
    save, save_every
        What is called after every so many epochs, and after the last one.
    """

    cfg: LSDConfig
    walks: Walks
    transition: Csr | None
    n_cells: int
    num_epochs: int
    device: torch.device
    seed: int
    save: Callable[[], None] | None = None
    save_every: int = 50


def held_out_cells(n_cells: int, share: float, seed: int) -> Cells:
    """Draw the cells whose counts are held out: (n,) True where they are."""
    order = np.random.default_rng([seed, 0]).permutation(n_cells)
    held: Cells = np.zeros(n_cells, dtype=np.bool_)
    held[order[: round(share * n_cells)]] = True
    return held


def train_job(networks: Networks, data: Expression, plan: Plan, before: Course) -> Job[Course]:
    """Train networks in place.

    Parameters
    ----------
    networks
        New ones, or trained before: then training goes on, its schedules and Adam too.
    data
        Expression and counts.
    plan
        What is to be done.
    before
        What was done before; `Course()` for new networks.

    Yields
    ------
    Progress in epochs. After each, `metrics` hold "loss/<term>" and "held-out loss/<term>"; at
    the end "best epoch", if counts are held out.

    Returns
    -------
    The course with the new epochs. The networks are on the CPU and in evaluation mode; after an
    early stop they are those of the best epoch. Where the job is closed they are those of the
    last whole epoch, and `before` is brought up to that.

    Raises
    ------
    DataError
        If the loss is not a number any more: the sentence names the step. The networks are as
        they were one epoch before, and `before` is what was done until then.
    """
    trainer = Trainer(networks, data, plan, before)
    with few_threads(), closing(trainer):
        return (yield from trainer.run_job())


class Trainer:
    """Holds what one training needs, and lets it go when it is closed."""

    def __init__(self, networks: Networks, data: Expression, plan: Plan, course: Course) -> None:
        self.networks, self.data, self.plan, self.course = networks, data, plan, course
        self.cfg = plan.cfg
        networks.to(plan.device)
        self.optimiser = Optimiser(networks, self.cfg.optimizer.adam, course.optimiser)
        self.stop = EarlyStop(self.cfg.training)
        self.noise = torch.Generator(plan.device)
        held = held_out_cells(plan.n_cells, self.cfg.training.validation_share, plan.seed)
        self.usable = ~held if held.any() else None
        self._held_out = self._held_out_batch(held)
        self._good = self._state()
        self._best: dict[str, Tensor] | None = None
        self._substeps = self.cfg.ode.substeps

    def close(self) -> None:
        """Leave the networks of the last whole epoch, on the CPU, and what was done so far."""
        self.networks.load_state_dict(self._good)
        self.networks.to("cpu").eval()
        self._held_out = self._best = None

    def run_job(self) -> Job[Course]:
        """Run all epochs."""
        n_epochs, first = self.plan.num_epochs, self.course.epoch
        if self.plan.device.type == "cpu":
            yield from scaled(compile_job([compile_kernels, compile_sweep]), 0, n_epochs, units=0)
        for k in range(n_epochs):
            train = yield from self._epoch_job(first + k, k)
            held_out = self._evaluate()
            lr = learning_rate(self.cfg.optimizer.adam, self.course.epoch)
            told = self.course.add(train, held_out, lr)
            self._good, self.course.optimiser = self._state(), self.optimiser.state()
            yield self._progress(k + 1.0, train["loss"], told)
            ends = self._ends(first + k, held_out) or k + 1 == n_epochs
            if self.plan.save and (ends or not self.course.epoch % self.plan.save_every):
                self.plan.save()
            if ends:
                break
        best = self.course.best_epoch
        found = {} if best is None else {"best epoch": float(best)}
        yield Progress("training", n_epochs, n_epochs, "done", found)
        return self.course

    def _epoch_job(self, epoch: int, k: int) -> Job[dict[str, float]]:
        """See all walks once."""
        size, walks = self.cfg.walks.batch_size, self._walks(epoch)
        random = np.random.default_rng([self.plan.seed, 1 + epoch])
        self._seed_noise(f"{epoch}")
        self._refine()
        order = random.permutation(len(walks))
        n_steps, pace = math.ceil(len(walks) / size), Pace()
        terms: list[Tensor] = []
        names: list[str] = []
        for step in range(n_steps):
            found = self._step(walks[order[step * size : (step + 1) * size]], random,
                               epoch, step / n_steps)  # fmt: skip
            names = list(found)
            terms.append(torch.stack([found[name].detach() for name in names]))
            if pace.due():
                self._check(terms, epoch, n_steps)
                yield self._progress(k + (step + 1) / n_steps, float(terms[-1][0]), {})
        self._check(terms, epoch, n_steps)
        return dict(zip(names, torch.stack(terms).mean(0).tolist(), strict=True))

    def _walks(self, epoch: int) -> Walks:
        """Return the walks of an epoch."""
        first, transition = self.plan.walks, self.plan.transition
        if transition is None or not epoch:
            return first
        seed = int(np.random.default_rng([self.plan.seed, 1 + epoch]).integers(2**62))
        return sample_walks(transition, len(first), first.shape[1], seed)

    def _step(
        self, walks: Walks, random: np.random.Generator, epoch: int, part: float
    ) -> dict[str, Tensor]:
        optimizer = self.cfg.optimizer
        rows = rows_to_look_at(
            walks, optimizer.likelihood_rows, self.usable, random,
            balanced=optimizer.balanced_rows,
        )  # fmt: skip
        batch = make_batch(self.data, walks, self.plan.device, rows=rows)
        weights = Weights(
            optimizer.kl_schedule.weight(epoch),
            optimizer.wasserstein_schedule.weight(epoch),
            self._substeps,
        )
        self.networks.train()
        noise = Noise.draw(self.networks, batch, self.noise)
        terms = loss_terms(self.networks, batch, self.cfg, weights, noise)
        self.optimiser.step(terms["loss"], learning_rate(optimizer.adam, epoch + part))
        return terms

    def _check(self, terms: list[Tensor], epoch: int, n_steps: int) -> None:
        """Refuse to go on where the loss is not a number."""
        finite = torch.isfinite(torch.stack([each[0] for each in terms]))
        if finite.all():
            return
        step = int((~finite).nonzero()[0]) + 1
        raise DataError(
            f"the loss was not a number any more in step {step} of {n_steps} of epoch "
            f"{epoch + 1}, and the model is as it was after epoch {epoch}",
            "train with a smaller lr, or look for extreme counts",
        )

    # --- held-out counts -----------------------------------------------------------------------

    def _held_out_batch(self, held: Cells) -> WalkBatch | None:
        """Gather walks whose rows on held-out cells judge the training; always the same."""
        walks = self.plan.walks[: self.cfg.walks.batch_size]
        rows = np.flatnonzero(held[walks.reshape(-1)])
        if not rows.size:
            return None
        return make_batch(self.data, walks, self.plan.device, rows=rows)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Return the negative ELBO of held-out counts, without penalties; nothing without any."""
        if self._held_out is None:
            return {}
        self.networks.eval()
        self._seed_noise("held out")
        noise = Noise.draw(self.networks, self._held_out, self.noise)
        weights = Weights(self.cfg.optimizer.kl_schedule.weight(self.course.epoch), 0.0,
                          self._substeps)  # fmt: skip
        terms = loss_terms(self.networks, self._held_out, self.cfg, weights, noise)
        parts = ("reconstruction", "kl_z", "kl_B", "kl_library")
        values = torch.stack([terms[name] for name in parts]).tolist()
        return {"loss": sum(values), "reconstruction": values[0]}

    def _ends(self, epoch: int, held_out: dict[str, float]) -> bool:
        if not held_out:
            return False
        if self.stop.improved(epoch, held_out["loss"]):
            self.course.best_epoch = epoch
            self._best = self._good if self.cfg.training.early_stopping else None
        self.course.stopped_early = self.stop.due(epoch)
        if self.course.stopped_early and self._best is not None:
            self._good = self._best
            self.networks.load_state_dict(self._best)
        return self.course.stopped_early

    # --- parts ---------------------------------------------------------------------------------

    def _refine(self) -> None:
        """Look whether the flow needs finer steps; once an epoch, since it asks the device."""
        cells = np.unique(self.plan.walks[: self.cfg.walks.batch_size, 0]).astype(np.int64)
        self.networks.eval()
        with torch.no_grad():
            z, _ = self.networks.encode(self.data.expression(cells[:512]).to(self.plan.device))
        L = self.plan.walks.shape[1]
        self._substeps = stable_substeps(self.networks.potential, z, L, self.cfg.ode)

    def _progress(self, done: float, loss: float, metrics: dict[str, float]) -> Progress:
        n_epochs = self.plan.num_epochs
        said = f"epoch {min(int(done) + 1, n_epochs)} of {n_epochs}, loss {loss:.4f}"
        return Progress("training", done, n_epochs, said, metrics)

    def _state(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.networks.state_dict().items()}

    def _seed_noise(self, what: str) -> None:
        text = f"{self.plan.seed}/{what}".encode()
        self.noise.manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:7], "big"))
