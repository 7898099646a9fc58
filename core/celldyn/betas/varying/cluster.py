"""What a model that varies inside a cluster is made from, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.diffusion import neighbour_counts
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.results import Tensors
from celldyn.betas.seed_model import SeedFit


@dataclass(frozen=True, eq=False)
class Surroundings:
    """All cells of a section: who is around a cell, whatever its own type.

    Parameters
    ----------
    xy
        (n_section, 2) coordinates of the section's cells, in the unit of `radius`.
    types
        (n_section,) code of each cell's type.
    n_types
        Number of types of the data set, those that the section lacks included.
    radius
        How far neighbours count.
    """

    xy: Floats
    types: Ints
    n_types: int
    radius: float

    @cached_property
    def counts(self) -> Floats:
        """(n_section, n_types) number of cells of each type within the radius, itself too."""
        import pandas as pd

        labels = pd.Categorical.from_codes(self.types, categories=pd.RangeIndex(self.n_types))
        return neighbour_counts(self.xy, labels, self.radius).to_numpy()

    @cached_property
    def low(self) -> Floats:
        """(n_types,) smallest count of each type."""
        return self.counts.min(axis=0, initial=np.inf) if len(self.xy) else np.zeros(self.n_types)

    @cached_property
    def high(self) -> Floats:
        """(n_types,) largest count of each type."""
        return self.counts.max(axis=0) if len(self.xy) else np.zeros(self.n_types)

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """(n_section, n_types) counts scaled to 0 .. 1 over the section."""
        return self.scaled(self.low, self.high)

    def scaled(self, low: Floats, high: Floats) -> NDArray[np.float32]:
        """Return the counts scaled as those of another tissue were: `low` to 0, `high` to 1."""
        spread = np.where(high > low, high - low, 1.0)
        return ((self.counts - low) / spread).astype(np.float32)


def predicted(betas: Floats, X: Floats) -> Floats:
    """Return what (n_cells, 1 + n_modulators) betas say of an (n_cells, n_modulators) design."""
    prediction: Floats = betas[:, 0] + np.einsum("ij,ij->i", betas[:, 1:], X)
    return prediction


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """The cells of one cluster in one section, and the linear model that they have.

    Parameters
    ----------
    X
        (n_cells, n_modulators) design.
    y
        (n_cells,) expression of the target.
    groups
        (n_modulators,) kinds of modulators, as 1, 2, 3.
    xy
        (n_cells, 2) coordinates.
    cells
        (n_cells,) positions in the section.
    code
        Code of the cluster, which is its channel in the maps.
    folds
        Positions, among these cells, of blocks that are held out in turn; empty if there are too
        few cells.
    seed
        The linear model, and one that was fitted without each fold.
    around
        The section.
    label
        "section · cluster", for progress.
    """

    X: Floats
    y: Floats
    groups: Ints
    xy: Floats
    cells: Ints
    code: int
    folds: list[NDArray[np.intp]]
    seed: SeedFit
    around: Surroundings
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Varied:
    """Betas that vary inside a cluster.

    Parameters
    ----------
    betas
        (n_cells, 1 + n_modulators), the intercept first.
    r2
        Training R² of exactly these betas.
    heldout_r2
        R² on blocks that were held out; NaN if none was.
    losses
        One per batch of the training; empty where nothing is trained.
    state
        Tensors that `apply_varied` needs to give betas to other cells.
    """

    betas: Floats
    r2: float
    heldout_r2: float
    losses: tuple[float, ...] = ()
    state: Tensors = field(default_factory=dict)
