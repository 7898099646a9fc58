"""Where the cells of an environment would lie in the tissue, as their positions tell. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.environment.alignment import rigid_alignment

if TYPE_CHECKING:
    from torch import Tensor

    from celldyn.environment.fitted import FittedEnvironment

LEAST_CELLS = 3
"""Fewer known cells do not say how to turn what is told."""

Frame = tuple[NDArray[np.float64], NDArray[np.float64]]
"""R (2, 2) and t (1, 2): what is told, turned and shifted onto the tissue, is told @ R + t."""


@dataclass(frozen=True, slots=True, eq=False)
class Placing:
    """Tells places in the tissue, and lays them onto it by cells whose places are known.

    Parameters
    ----------
    fitted
        The trained environment.
    modality
        The coordinates among its modalities.
    truth
        (n, 2) the cells' own coordinates, in the unit of the tissue.
    known
        (n,) the cells whose places turn what is told: those that were trained on. Where there
        are none in view, all do, which serves to look at it and is no score.
    by_training
        Whether they were trained on.
    """

    fitted: FittedEnvironment
    modality: int
    truth: NDArray[np.float64]
    known: NDArray[np.bool_]
    by_training: bool

    @classmethod
    def of(
        cls,
        fitted: FittedEnvironment,
        modality: int,
        truth: NDArray[np.floating],
        trained: NDArray[np.bool_] | None,
    ) -> Placing:
        """Return the placing of some cells; `trained` says which were trained on, None all."""
        known = np.isfinite(truth).all(axis=1)
        found = known if trained is None else known & trained
        enough = int(found.sum()) >= LEAST_CELLS
        truth = np.asarray(truth, np.float64)[:, :2]
        return cls(fitted, modality, truth, found if enough else known, enough)

    @torch.no_grad()
    def told(self, position: Tensor) -> NDArray[np.float64]:
        """Return the (n, 2) coordinates that (n, d) positions tell, as they are."""
        network = self.fitted.pinning[self.fitted.targets.index(self.modality)]
        features = network(position).cpu().numpy()
        raw = self.fitted.preprocessing.maps[self.modality].inverse(features)
        return np.asarray(raw[:, :2], np.float64)

    def frame(self, told: NDArray[np.float64]) -> Frame:
        """Return how to lay told coordinates onto the tissue."""
        return rigid_alignment(told[self.known], self.truth[self.known])

    def flow(
        self, position: Tensor, velocity: Tensor, told: NDArray[np.float64], step: float
    ) -> NDArray[np.float64]:
        """Return how fast told coordinates change, (n, 2) per second of the environment."""
        return (told - self.told(position - step * velocity)) / step


def laid(told: NDArray[np.float64], frame: Frame) -> NDArray[np.float32]:
    """Return told coordinates on the tissue."""
    turn, shift = frame
    return np.asarray(told @ turn + shift, np.float32)
