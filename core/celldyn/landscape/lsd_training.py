"""The part of an LSD model that trains it."""

from __future__ import annotations

from pathlib import Path

from celldyn.errors import ConfigError, NotFittedError
from celldyn.jobs import Job, run
from celldyn.landscape.course import Course
from celldyn.landscape.lsd_saving import SavingMixin
from celldyn.landscape.train import Plan, train_job


class TrainingMixin(SavingMixin):
    """Training; see `LSD`."""

    def train(
        self,
        num_epochs: int | None = None,
        *,
        random_state: int | None = None,
        save_dir: str | Path | None = None,
        save_interval: int = 50,
        bar: bool = False,
    ) -> None:
        """Train on the walks; see `train_job`. `bar` draws a bar on standard error."""
        job = self.train_job(
            num_epochs, random_state=random_state, save_dir=save_dir, save_interval=save_interval
        )
        run(job, bar=bar)

    def train_job(
        self,
        num_epochs: int | None = None,
        *,
        random_state: int | None = None,
        save_dir: str | Path | None = None,
        save_interval: int = 50,
    ) -> Job[Course]:
        """Train on the walks as a job; called again, training goes on where it was.

        Parameters
        ----------
        num_epochs
            How many more epochs; None is `cfg.training.num_epochs`.
        random_state
            Seed; None is that of the config.
        save_dir
            Folder in which the model is saved after every `save_interval` epochs and at the end,
            as lsd_model_epoch0050.safetensors; None for nowhere.
        save_interval
            Epochs between two of them.

        Raises
        ------
        NotFittedError
            If there are no walks.
        DataError
            If the loss is not a number any more; the model is that of the epoch before.

        Notes
        -----
        Where the job is closed, the model is that of the last whole epoch.
        """
        if self.walks is None:
            raise NotFittedError("there are no walks to train on", "call prepare_walks first")
        asked = self.cfg.training.num_epochs if num_epochs is None else num_epochs
        for value, name in ((asked, "num_epochs"), (save_interval, "save_interval")):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value!r}", "give a whole number, 1 or more")
        folder = None if save_dir is None else Path(save_dir)

        def save() -> None:
            assert folder is not None
            self.save(folder / f"lsd_model_epoch{self.epoch:04d}.safetensors")

        plan = Plan(
            self.cfg, self.walks, self.P if self.cfg.walks.resample else None,
            self._inputs.n_obs, asked, self.device,
            self._seed(random_state), save if folder else None, save_interval,
        )  # fmt: skip
        try:
            data = self._inputs.to(self.device)
            return (yield from train_job(self.networks, data, plan, self._course))
        finally:
            self._states = None
