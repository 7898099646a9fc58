"""The course of a training: how long its steps are, what it lost by epoch, when it is to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from celldyn.landscape.config import AdamConfig, TrainingConfig

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("loss", "reconstruction", "kl_z", "kl_B", "kl_library", "W2", "V")
"""Terms of the loss, in the order in which they are told."""


def learning_rate(adam: AdamConfig, epoch: float) -> float:
    """Return the learning rate at an epoch, which may be a fraction.

    Cosine warm restarts: every cycle falls from lr to eta_min, the first in T_0 epochs, each
    next T_mult times as long (Loshchilov and Hutter 2017).
    """
    length, begun = float(adam.T_0), 0.0
    if adam.T_mult == 1:
        begun = math.floor(epoch / length) * length
    else:
        while epoch >= begun + length:
            begun, length = begun + length, length * adam.T_mult
    low = min(adam.lr, adam.eta_min)
    return low + (adam.lr - low) * 0.5 * (1 + math.cos(math.pi * (epoch - begun) / length))


@dataclass(slots=True)
class Course:
    """What a training came to.

    Parameters
    ----------
    epoch
        Epochs that are done, of all trainings of the model.
    rows
        One per epoch: {"epoch": k, "<term>": ..., "held_out_<term>": ..., "lr": ...}, in nats
        per count.
    optimiser
        What Adam remembers, by parameter: "step.<name>", "exp_avg.<name>", "exp_avg_sq.<name>".
    best_epoch
        The epoch with the best held-out loss; None without held-out cells.
    stopped_early
        Whether it ended because the held-out loss stood still; the networks are those of
        `best_epoch` then.
    notes
        What a person should know of it.
    """

    epoch: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    optimiser: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int | None = None
    stopped_early: bool = False
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """One row per epoch, indexed by it."""
        return history_table(self.rows)

    def add(
        self, train: Mapping[str, float], held_out: Mapping[str, float], lr: float
    ) -> dict[str, float]:
        """Take an epoch in, and return what a job tells of it."""
        row = {"epoch": float(self.epoch), "lr": lr, **train}
        row |= {f"held_out_{name}": value for name, value in held_out.items()}
        self.rows.append(row)
        self.epoch += 1
        told = {f"loss/{name}": train[name] for name in SHOWN if name in train}
        return told | {f"held-out loss/{name}": held_out[name] for name in held_out}


def history_table(rows: list[dict[str, float]]) -> pd.DataFrame:
    """Return rows of a course as a table, one per epoch and indexed by it."""
    import pandas as pd

    if not rows:
        return pd.DataFrame(index=pd.Index([], name="epoch", dtype=int))
    table = pd.DataFrame(rows)
    return table.assign(epoch=table["epoch"].astype(int)).set_index("epoch")


class EarlyStop:
    """Follows the held-out loss."""

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self.best, self.best_epoch = math.inf, -1

    def improved(self, epoch: int, loss: float) -> bool:
        """Take a held-out loss in, and return whether it is the best so far."""
        if not loss < self.best - self._config.min_delta and self.best_epoch >= 0:
            return False
        self.best, self.best_epoch = loss, epoch
        return True

    def due(self, epoch: int) -> bool:
        """Whether training is to end."""
        return self._config.early_stopping and epoch - self.best_epoch >= self._config.patience
