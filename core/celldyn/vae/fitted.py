"""A model apart from any cells: its module, its keys, how it was trained, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.vae.config import ModelConfig, TrainConfig
from celldyn.vae.course import History
from celldyn.vae.module import VAEModule
from celldyn.vae.setup_record import Setup

if TYPE_CHECKING:
    import pandas as pd

    from celldyn.vae.building import Built


@dataclass(frozen=True, slots=True, eq=False)
class FittedVAE:
    """All that a model is, apart from the cells.

    Parameters
    ----------
    module
        On the CPU, in evaluation mode.
    setup
        How a data set is read for it.
    config
        Its parameters.
    train
        How it was trained last.
    history
        One row per epoch of all trainings: {"epoch": k, "<term>_train": ..., ...}.
    best_epoch
        The epoch with the best validation; None without.
    estimates
        {modality: (n_ambient_groups, 3)}: share, low and high of each group's background that
        the model was started from.
    notes
        Sentences for the user.
    trainable
        Of a query, the rows of parameters that learn, by the parameter's name; None rows are all
        of them. None: everything learns.
    """

    module: VAEModule
    setup: Setup
    config: ModelConfig
    train: TrainConfig | None = None
    history: tuple[Mapping[str, float], ...] = ()
    best_epoch: int | None = None
    estimates: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trainable: Mapping[str, tuple[int, ...] | None] | None = None

    @property
    def history_table(self) -> pd.DataFrame:
        """One row per epoch, indexed by it."""
        import pandas as pd

        if not self.history:
            return pd.DataFrame(index=pd.Index([], name="epoch"))
        table = pd.DataFrame(list(self.history)).set_index("epoch")
        table.index = table.index.astype(np.int64)
        return table

    def with_trainable(self, trainable: Mapping[str, tuple[int, ...] | None] | None) -> FittedVAE:
        """Return the model with other parameters that learn."""
        return replace(self, trainable=trainable)

    def after(self, course: History, train: TrainConfig) -> FittedVAE:
        """Return the model after one more training: epochs go on being counted."""
        done = len(self.history)
        rows = tuple({**row, "epoch": row["epoch"] + done} for row in course.rows)
        best = self.best_epoch if course.best_epoch is None else course.best_epoch + done
        return replace(self, history=(*self.history, *rows), best_epoch=best, train=train)


def model_config(config: ModelConfig) -> ModelConfig:
    """Return only the model's parameters of a config that may have others."""
    return ModelConfig(**{name: getattr(config, name) for name in ModelConfig.model_fields})


def train_config(config: TrainConfig) -> TrainConfig:
    """Return only the parameters of training."""
    return TrainConfig(**{name: getattr(config, name) for name in TrainConfig.model_fields})


def estimates_of(built: Built) -> dict[str, NDArray[np.float64]]:
    """Return share, low and high of every ambient group that was estimated, by modality."""
    found: dict[str, NDArray[np.float64]] = {}
    for name, estimates in built.ambient.items():
        columns: list[Any] = [
            np.concatenate([np.asarray(getattr(one, part), np.float64) for one in estimates])
            for part in ("share", "low", "high")
        ]
        found[name] = np.column_stack(columns)
    return found


def by_name(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return each column of a history as a table of its own, under scvi-tools' names, too."""
    found = {str(name): table[[name]].dropna() for name in table.columns}
    for kind in ("train", "validation"):
        parts = [f"kl_z_{kind}", f"kl_library_{kind}"]
        if set(parts) <= set(table.columns):
            local = table[parts].sum(axis=1, skipna=False).to_frame(f"kl_local_{kind}")
            found[f"kl_local_{kind}"] = local.dropna()
        if f"reconstruction_{kind}" in found:
            name = f"reconstruction_loss_{kind}"
            found[name] = found[f"reconstruction_{kind}"].set_axis([name], axis=1)
    if "loss_train" in found:
        found["train_loss_epoch"] = found["loss_train"].set_axis(["train_loss_epoch"], axis=1)
    return found
