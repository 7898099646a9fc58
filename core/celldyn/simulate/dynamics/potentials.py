"""Potentials V(z) in closed form, with what is known about them: root, fates, curvature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError

if TYPE_CHECKING:
    from celldyn.simulate.specs import DynamicsSpec

Floats = NDArray[np.float64]

EXTRA_STIFFNESS = 4.0
"""Curvature of the harmonic dimensions beyond those that the potential shapes."""
_MARGIN = 1.25
_DIFFERENCE = 1e-4
_N_GRID = 81
_N_DOWNHILL = 2000


class Potential(ABC):
    """A potential that is shaped in one or two dimensions and harmonic in the others.

    A fate's valley can be raised by a height, which is how driver genes act: the value at the
    fate's terminal state rises by that height, and states before it feel the tilt.

    Parameters
    ----------
    spec
        `n_dims`, `n_fates`, `depth` and `driver_tilt` are read.

    Attributes
    ----------
    n_core
        Dimensions that are shaped, 1 or 2; the others are ½ `EXTRA_STIFFNESS` z².
    core_start, core_terminals
        (n_core,) root and (n_fates, n_core) terminal states of the potential that is not raised.
    landmarks, landmark_states
        (n_landmarks, n_core) points along the valleys, and the state that each stands for.
    state_names
        Names of the states, from the root on; the fates come last.
    core_box
        (2, n_core) lowest and highest corner of the region that cells visit.
    """

    n_core: ClassVar[int] = 2
    core_start: Floats
    core_terminals: Floats
    landmarks: Floats
    landmark_states: NDArray[np.intp]
    state_names: list[str]
    core_box: Floats

    def __init__(self, spec: DynamicsSpec) -> None:
        self.n_dims, self.n_fates = spec.n_dims, spec.n_fates
        self.depth = spec.depth
        self.highest = spec.depth * spec.driver_tilt

    @abstractmethod
    def core_value(self, z: Floats, raised: Floats) -> Floats:
        """Return V, (n,), at z (n_core, n), with fates raised by (n_fates, n or 1)."""

    @abstractmethod
    def core_gradient(self, z: Floats, raised: Floats) -> Floats:
        """Return ∇V, (n_core, n), at z (n_core, n), with fates raised by (n_fates, n or 1)."""

    def value(self, z: ArrayLike, raised: ArrayLike | None = None) -> Floats:
        """Return the potential.

        Parameters
        ----------
        z
            (n, n_dims) states.
        raised
            Heights by which the fates are raised: (n_fates,) or (n, n_fates); None for none.

        Returns
        -------
        (n,) values.
        """
        rows, heights = self._rows(z), self.heights(raised)
        if rows.shape[1] == 1:  # see `row_gradient`
            return self.value(np.repeat(rows.T, 2, axis=0), raised)[:1]
        rest = rows[self.n_core :]
        value = self.core_value(rows[: self.n_core], heights)
        harmonic: Floats = value + 0.5 * EXTRA_STIFFNESS * (rest**2).sum(axis=0)
        return harmonic

    def gradient(self, z: ArrayLike, raised: ArrayLike | None = None) -> Floats:
        """Return ∇V, (n, n_dims); parameters as for `value`."""
        gradient: Floats = self.row_gradient(self._rows(z), self.heights(raised)).T
        return gradient

    def row_gradient(self, z: Floats, heights: Floats) -> Floats:
        """Return ∇V for states in columns, (n_dims, n), as loops over time hold them.

        A cell's gradient is the same to the last bit whichever other cells are asked for.
        """
        if z.shape[1] == 1:
            # numpy sums a single column in another order than the columns of a wide array.
            twice: Floats = self.row_gradient(np.repeat(z, 2, axis=1), heights)
            return twice[:, :1]
        core = self.core_gradient(z[: self.n_core], heights)
        if self.n_dims == self.n_core:
            return core
        return np.concatenate([core, EXTRA_STIFFNESS * z[self.n_core :]])

    def heights(self, raised: ArrayLike | None) -> Floats:
        """Return heights as (n_fates, n or 1); zeros for None."""
        if raised is None:
            return np.zeros((self.n_fates, 1))
        heights = np.atleast_2d(np.asarray(raised, dtype=np.float64)).T
        if heights.shape[0] != self.n_fates:
            raise DataError(
                f"there are heights for {heights.shape[0]} fates", f"give {self.n_fates}"
            )
        return heights

    @property
    def start(self) -> Floats:
        """(n_dims,) the root, where every cell starts."""
        return self._padded(self.core_start[None]).ravel()

    @property
    def terminals(self) -> Floats:
        """(n_fates, n_dims) terminal states."""
        return self._padded(self.core_terminals)

    @property
    def core_radius(self) -> float:
        """A state this near to a terminal, in the shaped dimensions, has reached its fate."""
        gaps = np.linalg.norm(self.core_terminals[:, None] - self.core_terminals, axis=-1)
        return 0.3 * float(gaps[gaps > 0].min())

    @property
    def curvature(self) -> float:
        """Bound on the eigenvalues of the Hessian where cells go, whichever fate is raised.

        It is what bounds an explicit step in time. The largest over a fine grid of differences of
        the gradient, with a margin of a quarter, unless a potential knows better.
        """
        return self._grid_curvature

    @cached_property
    def _grid_curvature(self) -> float:
        low, high = self.core_box
        axes = [np.linspace(low[i], high[i], _N_GRID) for i in range(self.n_core)]
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
        single = self.highest * np.vstack([np.eye(self.n_fates), -np.eye(self.n_fates)])
        heights = np.vstack([np.zeros(self.n_fates), single]) if self.highest else single[:1] * 0
        largest = EXTRA_STIFFNESS
        for raised in heights:
            hessian = np.empty((grid.shape[1], self.n_core, self.n_core))
            for i in range(self.n_core):
                step = np.zeros((self.n_core, 1))
                step[i] = _DIFFERENCE
                above = self.core_gradient(grid + step, raised[:, None])
                below = self.core_gradient(grid - step, raised[:, None])
                hessian[:, i] = ((above - below) / (2 * _DIFFERENCE)).T
            symmetric = 0.5 * (hessian + hessian.transpose(0, 2, 1))
            largest = max(largest, float(np.linalg.eigvalsh(symmetric).max()))
        return _MARGIN * largest

    def state_of(self, z: Floats) -> NDArray[np.intp]:
        """Return the state, by position in `state_names`, of the landmark nearest to each cell."""
        from scipy.spatial import cKDTree

        nearest = cKDTree(self.landmarks).query(z[:, : self.n_core])[1]
        return self.landmark_states[nearest]

    def _settled(self, points: Floats) -> Floats:
        """Return the minima, (n, n_core), that are reached downhill from these points."""
        z, none = points.T.copy(), self.heights(None)
        for _ in range(_N_DOWNHILL):
            z -= self.core_gradient(z, none) / self.curvature
        return z.T

    def _rows(self, z: ArrayLike) -> Floats:
        rows = np.asarray(z, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_dims:
            raise DataError(f"states of shape {rows.shape}", f"give (n, {self.n_dims})")
        return np.ascontiguousarray(rows.T)

    def _padded(self, core: Floats) -> Floats:
        whole = np.zeros((len(core), self.n_dims))
        whole[:, : self.n_core] = core
        return whole

    def _set_landmarks(self, parts: list[tuple[str, Floats]]) -> None:
        """Keep landmarks that are given as (state, points), states in order of appearance."""
        self.state_names = list(dict.fromkeys(name for name, _ in parts))
        self.landmarks = np.concatenate([points for _, points in parts])
        codes = [self.state_names.index(name) for name, _ in parts]
        self.landmark_states = np.repeat(codes, [len(points) for _, points in parts])


def make_potential(spec: DynamicsSpec) -> Potential:
    """Return the potential that a specification names."""
    from celldyn.simulate.dynamics.pitchfork import Pitchfork
    from celldyn.simulate.dynamics.tree import Tree
    from celldyn.simulate.dynamics.wells import Quartic, Wells

    kinds: dict[str, type[Potential]] = {
        "wells": Wells,
        "quartic": Quartic,
        "pitchfork": Pitchfork,
        "tree": Tree,
    }
    return kinds[spec.potential](spec)
