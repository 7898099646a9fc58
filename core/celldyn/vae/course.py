"""The course of a training: every term of the loss by epoch, and when it is time to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celldyn.vae.config import TrainConfig

if TYPE_CHECKING:
    import pandas as pd

SHOWN = {
    "elbo": "elbo",
    "reconstruction": "reconstruction",
    "kl_z": "KL z",
    "kl_library": "KL library",
}
"""Terms that a job tells as "loss/<name>" and "held-out loss/<name>"."""

CELLS_FOR_ALL_EPOCHS = 20_000
MOST_EPOCHS = 400
"""So many epochs by default, fewer in proportion above so many cells: scvi-tools' rule."""


@dataclass(slots=True)
class History:
    """Terms of the loss by epoch, in nats a cell.

    Parameters
    ----------
    rows
        One per finished epoch: {"epoch": k, "<term>_train": ..., "<term>_validation": ...,
        "kl_weight": ...}; "elbo" is the negative ELBO without global terms.
    best_epoch
        The epoch with the best validation; None without validation.
    stopped_early
        Whether training ended because validation stood still; then the model is that of
        `best_epoch`.
    n_train, n_validation
        Cells.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_early: bool = False
    n_train: int = 0
    n_validation: int = 0

    @property
    def table(self) -> pd.DataFrame:
        """One row per epoch, indexed by it."""
        import pandas as pd

        if not self.rows:
            return pd.DataFrame(index=pd.Index([], name="epoch"))
        return pd.DataFrame(self.rows).set_index("epoch")

    def add(
        self,
        epoch: int,
        train: Mapping[str, float],
        validation: Mapping[str, float],
        kl_weight: float,
    ) -> dict[str, float]:
        """Take one epoch in, and return what a job tells of it."""
        row = {"epoch": float(epoch), "kl_weight": kl_weight}
        row |= {f"{name}_train": value for name, value in train.items()}
        row |= {f"{name}_validation": value for name, value in validation.items()}
        self.rows.append(row)
        told = {f"loss/{SHOWN[name]}": train[name] for name in SHOWN if name in train}
        return told | {
            f"held-out loss/{SHOWN[name]}": validation[name]
            for name in SHOWN
            if name in validation
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "rows": self.rows,
            "best_epoch": self.best_epoch,
            "stopped_early": self.stopped_early,
            "n_train": self.n_train,
            "n_validation": self.n_validation,
        }


class EarlyStop:
    """Follows the validation loss.

    Parameters
    ----------
    config
        Patience and what counts as improvement.
    n_features
        Over all modalities: improvement is counted per feature.
    """

    def __init__(self, config: TrainConfig, n_features: int) -> None:
        given = config.early_stopping_min_delta
        per_feature = config.early_stopping_min_delta_per_feature
        self.min_delta = n_features * per_feature if given is None else given
        self.patience, self.acts = config.early_stopping_patience, config.early_stopping
        self.best, self.best_epoch = math.inf, -1

    def improved(self, epoch: int, loss: float) -> bool:
        """Take a validation loss in, and return whether it is the best so far."""
        if not loss < self.best - self.min_delta and self.best_epoch >= 0:
            return False
        self.best, self.best_epoch = loss, epoch
        return True

    def due(self, epoch: int) -> bool:
        """Whether training is to end."""
        return self.acts and epoch - self.best_epoch >= self.patience


def max_epochs(config: TrainConfig, n_obs: int) -> int:
    """Return how many epochs there are."""
    if config.max_epochs is not None:
        return config.max_epochs
    return max(1, min(round(CELLS_FOR_ALL_EPOCHS / n_obs * MOST_EPOCHS), MOST_EPOCHS))


def kl_weight(config: TrainConfig, epoch: int, n_epochs: int) -> float:
    """Return the weight of the latent prior in an epoch counted from 0."""
    warmup = config.n_epochs_kl_warmup
    if warmup is None:
        warmup = min(n_epochs // 3, MOST_EPOCHS)
    share = 1.0 if warmup == 0 else min(epoch / warmup, 1.0)
    return share * config.max_kl_weight
