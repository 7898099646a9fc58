"""A landscape as it is kept: networks, parameters, genes, and how it was trained."""

from __future__ import annotations

from dataclasses import dataclass

from celldyn.landscape.config import LSDConfig
from celldyn.landscape.networks import Networks


@dataclass(frozen=True, slots=True, eq=False)
class FittedLandscape:
    """All that there is of a model but its data, walks and optimiser.

    Parameters
    ----------
    networks
        On the CPU, in evaluation mode.
    cfg
        The whole tree.
    genes
        (G,) names, in the order of the networks.
    epoch
        Epochs that it was trained.
    history
        Losses by epoch; see `Course.rows`.
    best_epoch
        The epoch of the best held-out loss, if there was any.
    walks_seed
        Seed of the walks that it was trained on; None before.
    notes
        Sentences for a person.
    """

    networks: Networks
    cfg: LSDConfig
    genes: tuple[str, ...]
    epoch: int = 0
    history: tuple[dict[str, float], ...] = ()
    best_epoch: int | None = None
    walks_seed: int | None = None
    notes: tuple[str, ...] = ()
