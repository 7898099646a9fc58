"""The models of one and of several modalities: made, trained, asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celldyn.data.words import listed
from celldyn.errors import ConfigError, NotFittedError
from celldyn.jobs import Job, run
from celldyn.vae.asked import Indices, read, refuse_new, rows_of
from celldyn.vae.config import ModelConfig, TrainConfig
from celldyn.vae.course import History
from celldyn.vae.fitted import FittedVAE, by_name, estimates_of
from celldyn.vae.inputs import Ints, VAEInputs
from celldyn.vae.module import VAEModule
from celldyn.vae.options import model_config_of, train_config_of
from celldyn.vae.predicting import BLOCK, Cells
from celldyn.vae.setup_record import Setup, setup_of

if TYPE_CHECKING:
    import pandas as pd


class VAEBase:
    """What both models share; see `AmbientRegularizedSCVI`."""

    def __init__(self, data: Any, seed: int, **model: Any) -> None:  # noqa: ANN401
        from celldyn.vae.building import build_job

        setup = setup_of(data)
        self.adata = data
        self._inputs: VAEInputs | None = read(data, setup)
        names = [each.name for each in setup.modalities]
        config = model_config_of(model, names)
        built = run(build_job(self._inputs, config, seed=seed), bar=False)
        notes = (*setup.notes, *self._inputs.notes, *built.notes)
        self._fitted = FittedVAE(
            built.module,
            setup,
            config,
            estimates=estimates_of(built),
            notes=tuple(dict.fromkeys(notes)),
        )

    @classmethod
    def _of(cls, fitted: FittedVAE, data: Any) -> Any:  # noqa: ANN401
        """Return a model that is there already, with data or none."""
        model = cls.__new__(cls)
        model.adata, model._fitted = data, fitted
        model._inputs = None if data is None else read(data, fitted.setup)
        if model._inputs is not None:
            refuse_new(fitted.setup, model._inputs)
        return model

    # --- what it is -------------------------------------------------------------------------

    @property
    def module(self) -> VAEModule:
        """The torch module, on the CPU."""
        return self._fitted.module

    @property
    def config(self) -> ModelConfig:
        """The parameters of the model."""
        return self._fitted.config

    @property
    def setup(self) -> Setup:
        """How data sets are read for it."""
        return self._fitted.setup

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of data and model, in sentences."""
        return self._fitted.notes

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of the latent space."""
        return self.module.modalities

    @property
    def is_trained(self) -> bool:
        """Whether `train` has run."""
        return bool(self._fitted.history)

    @property
    def history(self) -> dict[str, pd.DataFrame]:
        """Every term of the loss by its name: a table of one column, indexed by epoch.

        In nats a cell: "elbo_train" is the negative ELBO. The names of scvi-tools are there, too:
        "train_loss_epoch", "reconstruction_loss_train", "kl_local_train".
        """
        return by_name(self._fitted.history_table)

    @property
    def history_table(self) -> pd.DataFrame:
        """The same as one table: a row per epoch."""
        return self._fitted.history_table

    @property
    def train_indices(self) -> Ints:
        """Cells that the model was trained on."""
        return self._split()[0]

    @property
    def validation_indices(self) -> Ints:
        """Cells that were held out."""
        return self._split()[1]

    def _split(self) -> tuple[Ints, Ints]:
        from celldyn.vae.train import split

        if self._fitted.train is None:
            raise NotFittedError("the model is not trained", "call train first")
        return split(self._own().n_obs, self._fitted.train)

    def __repr__(self) -> str:
        parts = ", ".join(f"{p.name}: {p.n_features:,}" for p in self.module.spec.modalities)
        trained = f"{len(self._fitted.history)} epochs" if self.is_trained else "not trained"
        n_latent = self.module.spec.n_latent
        return f"<{type(self).__name__} of {parts} features, {n_latent} latent, {trained}>"

    # --- training ---------------------------------------------------------------------------

    def train(
        self,
        max_epochs: int | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        train_size: float = 0.9,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,  # noqa: FBT001, FBT002
        load_sparse_tensor: bool = False,  # noqa: FBT001, FBT002
        batch_size: int = 128,
        early_stopping: bool = False,  # noqa: FBT001, FBT002
        plan_kwargs: dict[str, Any] | None = None,
        validation_batch_size: int | None = None,
        early_stopping_min_delta: float | None = None,
        early_stopping_min_delta_per_feature: float | None = None,
        *,
        bar: bool = False,
        **trainer: Any,  # noqa: ANN401
    ) -> None:
        """Train the model; called again, training goes on.

        Parameters
        ----------
        max_epochs
            Times that all cells are seen; None: 400, fewer for more than 20,000 cells.
        accelerator, devices
            "auto", "cpu", "gpu" or "mps", and which of them: where it runs.
        train_size, validation_size
            Shares of the cells that are trained on and that validate; None is the rest.
        shuffle_set_split
            Whether validation cells are drawn, not the first.
        load_sparse_tensor
            Counts are sparse in any case.
        batch_size, validation_batch_size
            Cells seen at once.
        early_stopping
            Whether training ends when the validation ELBO stands still.
        plan_kwargs
            lr, eps, weight_decay, n_epochs_kl_warmup, max_kl_weight, feature_lr,
            modality_lr_multiplier.
        early_stopping_min_delta
            What counts as improvement, in nats a cell; None: by the number of features.
        early_stopping_min_delta_per_feature
            That, per feature; None is 0.0002.
        bar
            Whether a bar is drawn on standard error; `enable_progress_bar` is another name for it.
        **trainer
            check_val_every_n_epoch, early_stopping_patience, gradient_clip_val, precision, seed,
            memory_budget_gb, checkpoint, checkpoint_every.

        Raises
        ------
        TypeError
            If a keyword is not known.
        ConfigError
            If a value is out of bounds.
        """
        values = {
            name: value
            for name, value in locals().items()
            if name not in ("self", "trainer", "bar", "__class__")
        }
        bar = bool(trainer.pop("enable_progress_bar", bar))
        run(self.train_job(train_config_of(values, trainer)), bar=bar)

    def train_job(self, config: TrainConfig | None = None) -> Job[History]:
        """Train as a job; the model keeps what was learned when it ends.

        Parameters
        ----------
        config
            How; see `TrainConfig`.
        """
        from celldyn.vae.train import train_job

        config = config or TrainConfig()
        course = yield from train_job(self.module, self._own(), config)
        self._fitted = self._fitted.after(course, config)
        return course

    # --- whom it is asked about -------------------------------------------------------------

    def _own(self) -> VAEInputs:
        if self._inputs is None:
            raise NotFittedError("the model has no data", "give adata, or load it with data")
        return self._inputs

    def _cells(
        self,
        data: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
    ) -> Cells:
        """Return the cells that a method is asked about."""
        if data is None or (data is self.adata and self._inputs is not None):
            inputs = self._own()
        else:
            inputs = read(data, self.setup)
            refuse_new(self.setup, inputs)
        at = rows_of(indices, inputs.n_obs)
        return Cells(self.module, inputs, at, batch_size or BLOCK)

    def _names(self, data: Any, cells: Cells) -> pd.Index:  # noqa: ANN401
        """Return the names of cells."""
        held = self.adata if data is None else data
        names: pd.Index = held.obs.index[cells.at]
        return names

    def _which(self, modality: str | None) -> list[int]:
        """Return the modalities that are asked for: one, or all."""
        if modality is None:
            return list(range(len(self.modalities)))
        if modality not in self.modalities:
            raise ConfigError(
                f"there is no modality {modality!r}", f"use {listed(self.modalities)}"
            )
        return [self.modalities.index(modality)]

    def _told(self, modality: str | None, found: dict[str, Any]) -> Any:  # noqa: ANN401
        """Return what was found of one modality, or of each by its name."""
        if modality is not None or len(self.modalities) == 1:
            return next(iter(found.values()))
        return found
