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

Frame = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""R (2, 2) and t (1, 2) of each group: what is told, turned and shifted, is told @ R + t."""


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
    groups
        Cells that are turned together, positions of each: those of one section.
    known
        Of each group the cells whose places turn it: those that were trained on. Where there are
        none, all do, which serves to look at it and is no score.
    by_training
        Whether they were trained on, in every group; or nothing is turned, since places are told
        as they are.
    """

    fitted: FittedEnvironment
    modality: int
    truth: NDArray[np.float64]
    groups: tuple[NDArray[np.intp], ...]
    known: tuple[NDArray[np.intp], ...]
    by_training: bool

    @classmethod
    def of(
        cls,
        fitted: FittedEnvironment,
        modality: int,
        truth: NDArray[np.floating],
        trained: NDArray[np.bool_] | None,
        partition: NDArray[np.integer] | None = None,
    ) -> Placing:
        """Return the placing of some cells.

        Parameters
        ----------
        fitted, modality, truth
            As the class has them.
        trained
            (n,) which cells were trained on; None: all.
        partition
            (n,) numbers of sections; None: all are of one.
        """
        truth = np.asarray(truth, np.float64)[:, :2]
        there = np.isfinite(truth).all(axis=1)
        used = there if trained is None else there & trained
        of = np.zeros(len(truth), np.int64) if partition is None else np.asarray(partition)
        groups = tuple(np.flatnonzero(of == k) for k in np.unique(of))
        enough = [int(used[rows].sum()) >= LEAST_CELLS for rows in groups]
        known = tuple(
            rows[(used if ok else there)[rows]] for rows, ok in zip(groups, enough, strict=True)
        )
        turned = modality in fitted.spatial
        return cls(fitted, modality, truth, groups, known, all(enough) or not turned)

    @torch.no_grad()
    def told(self, position: Tensor) -> NDArray[np.float64]:
        """Return the (n, 2) coordinates that (n, d) positions tell, as they are."""
        network = self.fitted.pinning[self.fitted.targets.index(self.modality)]
        features = network(position).cpu().numpy()
        raw = self.fitted.preprocessing.maps[self.modality].inverse(features)
        return np.asarray(raw[:, :2], np.float64)

    def frame(self, told: NDArray[np.float64]) -> Frame:
        """Return how to lay told coordinates onto the tissue."""
        if self.modality not in self.fitted.spatial:  # it was trained to tell places as they are
            return [(np.eye(2), np.zeros((1, 2))) for _ in self.groups]
        return [rigid_alignment(told[rows], self.truth[rows]) for rows in self.known]

    def laid(self, told: NDArray[np.float64], frame: Frame) -> NDArray[np.float32]:
        """Return told coordinates on the tissue."""
        found = np.empty(told.shape, np.float32)
        for rows, (turn, shift) in zip(self.groups, frame, strict=True):
            found[rows] = told[rows] @ turn + shift
        return found

    def flow(
        self,
        position: Tensor,
        velocity: Tensor,
        told: NDArray[np.float64],
        frame: Frame,
        step: float,
    ) -> NDArray[np.float32]:
        """Return how fast places on the tissue change, (n, 2) per second of the environment."""
        rate = (told - self.told(position - step * velocity)) / step
        still = [(turn, np.zeros_like(shift)) for turn, shift in frame]
        return self.laid(rate, still)
