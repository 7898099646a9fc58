"""The job that trains: minibatches, gradients, validation, early stopping, checkpoints."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor

from celldyn.devices import choose_device, compile_job, few_threads
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress, scaled
from celldyn.vae.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from celldyn.vae.config import TrainConfig
from celldyn.vae.course import EarlyStop, History, kl_weight, max_epochs
from celldyn.vae.inputs import Batch, Ints, VAEInputs
from celldyn.vae.loader import Minibatches
from celldyn.vae.module import VAEModule
from celldyn.vae.optimiser import adam, may_decay, wants_low_precision
from celldyn.vae.reconstruction import compile_kernels

Terms = dict[str, float]


def split(n_obs: int, config: TrainConfig) -> tuple[Ints, Ints]:
    """Return the cells to train on and those that validate, each in rising order.

    ⌈train_size · n⌉ cells train; the first of a permutation validate, or the first cells of all
    where they are not shuffled.

    Raises
    ------
    DataError
        If no cell is left to train on, or none validates where early stopping needs some.
    """
    n_train = math.ceil(config.train_size * n_obs)
    share = config.validation_size
    n_validation = n_obs - n_train if share is None else math.floor(share * n_obs)
    if n_train == 0:
        raise DataError("the data set has no cells to train on", "open more cells")
    if config.early_stopping and n_validation == 0:
        raise DataError(
            f"of {n_obs} cells none are left to validate",
            "give a smaller train_size, or no early_stopping",
        )
    order = np.arange(n_obs)
    if config.shuffle_set_split:
        order = np.random.RandomState(config.seed).permutation(n_obs)
    validation = order[:n_validation]
    training = order[n_validation : n_validation + n_train]
    return np.sort(training).astype(np.int64), np.sort(validation).astype(np.int64)


def train_job(
    module: VAEModule, inputs: VAEInputs, config: TrainConfig, *, cells: Ints | None = None
) -> Job[History]:
    """Train a module in place.

    Parameters
    ----------
    module
        As `building.build_job` made it, or trained before: then it goes on from there.
    inputs
        What it was built for.
    config
        How; with `checkpoint` naming a file that is there, it goes on from that.
    cells
        Which cells take part; None is all.

    Yields
    ------
    Progress in epochs. After each, `metrics` hold "loss/<term>" and "held-out loss/<term>"; at
    the end "best epoch", if there was validation.

    Returns
    -------
    The course of the losses. The module is on the CPU and in evaluation mode; after an early
    stop it is that of the best epoch.

    Raises
    ------
    DataError
        If the loss is not a number any more; the module is as it was one epoch before.
    """
    trainer = Trainer(module, inputs, config, cells)
    with few_threads(), closing(trainer):
        return (yield from trainer.run_job())


class Trainer:
    """Holds what one training needs, and lets it go when it is closed."""

    def __init__(
        self, module: VAEModule, inputs: VAEInputs, config: TrainConfig, cells: Ints | None
    ) -> None:
        self.module, self.config = module, config
        n_obs = inputs.n_obs if cells is None else len(cells)
        training, validation = split(n_obs, config)
        if cells is not None:
            training, validation = cells[training], cells[validation]
        self.device = choose_device(config.device)
        module.to(self.device)
        module.low_precision = wants_low_precision(config, self.device)
        module.n_obs = len(training)
        module.decays_weights = may_decay(module, config)
        self.optimiser = adam(module, config)
        self.n_epochs = max_epochs(config, n_obs)
        self.history = History(n_train=len(training), n_validation=len(validation))
        self.stop = EarlyStop(config, sum(part.n_features for part in module.spec.modalities))
        self.order = torch.Generator()
        self.noise = torch.Generator(self.device)
        module.generator = self.noise
        self.training = self._minibatches(inputs, training, config.batch_size, shuffle=True)
        n_evaluated = config.validation_batch_size or config.batch_size
        self.validation = self._minibatches(inputs, validation, n_evaluated, shuffle=False)
        self._best: dict[str, Tensor] | None = None

    def _minibatches(
        self, inputs: VAEInputs, cells: Ints, batch_size: int, *, shuffle: bool
    ) -> Minibatches | None:
        if not len(cells):
            return None
        budget = self.config.memory_budget_gb
        return Minibatches(
            inputs,
            cells,
            batch_size,
            device=self.device,
            memory_budget=None if budget is None else int(budget * 1e9),
            shuffle=shuffle,
            generator=self.order,
        )

    def close(self) -> None:
        """Give memory back; the module stays, on the CPU."""
        self.training = self.validation = None
        self.module.generator = None
        self.module.low_precision = self.module.decays_weights = False
        self.module.eval().to("cpu")
        self.optimiser.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # --- the epochs ---------------------------------------------------------------------------

    def run_job(self) -> Job[History]:
        """Run all epochs."""
        metrics: Mapping[str, float] = {}
        if self.device.type == "cpu":
            dtype = torch.bfloat16 if self.module.low_precision else torch.float32
            compiling = compile_job([partial(compile_kernels, dtype)])
            yield from scaled(compiling, 0, self.n_epochs, units=0)
        for minibatches in (self.training, self.validation):
            if minibatches is not None:
                yield from scaled(minibatches.load_job(), 0, self.n_epochs, units=0)
        for epoch in range(self._resumed(), self.n_epochs):
            good = self._state()
            train = yield from self._epoch_job(epoch)
            if not math.isfinite(train["loss"]):
                self.module.load_state_dict(good)
                raise DataError(
                    f"the loss was not a number any more in epoch {epoch + 1}, and the model is "
                    "as it was before",
                    "train with a smaller lr, or look for extreme counts",
                )
            validation = yield from self._validation_job(epoch)
            weight = kl_weight(self.config, epoch, self.n_epochs)
            metrics = self.history.add(epoch, train, validation, weight)
            yield self._progress(epoch + 1.0, train, metrics)
            if self._ends(epoch, validation):
                break
            self._save_checkpoint(epoch)
        return (yield from self._finish_job())

    def _finish_job(self) -> Job[History]:
        if self.history.stopped_early and self._best is not None:
            self.module.load_state_dict(self._best)
        best = self.history.best_epoch
        found = {} if best is None else {"best epoch": float(best)}
        yield Progress("training", self.n_epochs, self.n_epochs, "done", found)
        return self.history

    def _epoch_job(self, epoch: int) -> Job[Terms]:
        """See all training cells once."""
        assert self.training is not None
        self._seed(epoch)
        self.module.train()
        tally, pace, n_seen = Tally(), Pace(), 0
        weight = kl_weight(self.config, epoch, self.n_epochs)
        for batch in self.training:
            terms = self._step(batch, weight)
            tally.add(terms, len(batch))
            n_seen += len(batch)
            if pace.due():
                yield self._progress(epoch + n_seen / self.history.n_train, self._last, {})
        self._last = tally.means()
        return self._last

    _last: Terms = {}  # noqa: RUF012  (replaced, never changed)

    def _step(self, batch: Batch, weight: float) -> dict[str, Tensor]:
        self.optimiser.zero_grad(set_to_none=True)
        terms = self.module.loss_terms(batch, kl_weight=weight)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.gradient_clip)
        self.optimiser.step()
        return terms

    def _validation_job(self, epoch: int) -> Job[Terms]:
        """Evaluate the held-out cells; nothing between the epochs in which they are looked at."""
        every = self.config.check_val_every_n_epoch or 1
        if self.validation is None or ((epoch + 1) % every and epoch + 1 < self.n_epochs):
            return {}
        self.module.eval()
        tally, pace = Tally(), Pace()
        weight = kl_weight(self.config, epoch, self.n_epochs)
        for batch in self.validation:
            with torch.no_grad():
                tally.add(self.module.loss_terms(batch, kl_weight=weight), len(batch))
            if pace.due():
                yield self._progress(epoch + 1.0, self._last, {})
        return tally.means()

    def _ends(self, epoch: int, validation: Terms) -> bool:
        if not validation:
            return False
        if self.stop.improved(epoch, validation["elbo"]):
            self.history.best_epoch = epoch
            self._best = self._state() if self.stop.acts else None
        self.history.stopped_early = self.stop.due(epoch)
        return self.history.stopped_early

    def _progress(self, done: float, train: Terms, metrics: Mapping[str, float]) -> Progress:
        said = f"epoch {min(int(done) + 1, self.n_epochs)} of {self.n_epochs}"
        if train:
            said += f", loss {train['loss']:.1f}"
        return Progress("training", done, self.n_epochs, said, metrics)

    def _state(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.module.state_dict().items()}

    def _seed(self, epoch: int) -> None:
        """Seed an epoch by its number, so that a training that goes on repeats what it was."""
        for name, generator in (("order", self.order), ("noise", self.noise)):
            text = f"{self.config.seed}/{epoch}/{name}".encode()
            generator.manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:7], "big"))

    # --- checkpoints --------------------------------------------------------------------------

    def _save_checkpoint(self, epoch: int) -> None:
        path, done = self.config.checkpoint, epoch + 1
        if path is None or (done % self.config.checkpoint_every and done < self.n_epochs):
            return
        best = (self.stop.best, self.stop.best_epoch)
        point = Checkpoint(done, self.history, best, self._best)
        save_checkpoint(path, self.module, self.optimiser, self.config, point)

    def _resumed(self) -> int:
        """Return the first epoch to run: 0, or what follows the checkpoint."""
        if self.config.checkpoint is None:
            return 0
        point = load_checkpoint(self.config.checkpoint, self.module, self.optimiser, self.config)
        if point is None:
            return 0
        self.history = point.history
        self.stop.best, self.stop.best_epoch = point.best
        self._best = point.best_state
        return point.done


class Tally:
    """Means of the terms over cells, fetched from the device once an epoch."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._cells = 0

    def add(self, terms: Mapping[str, Tensor], n_cells: int) -> None:
        """Take the terms of a minibatch in."""
        if self._sums is None:
            self._names = list(terms)
        values = torch.stack([terms[name].detach() for name in self._names])
        scaled = values.double() * n_cells if values.device.type != "mps" else values * n_cells
        self._sums = scaled if self._sums is None else self._sums + scaled
        self._cells += n_cells

    def means(self) -> Terms:
        """Return the means."""
        assert self._sums is not None
        values = (self._sums / self._cells).tolist()
        return dict(zip(self._names, values, strict=True))
