"""What cells come to: a vote of the cells near their end, whether they rest, where they gather.

Shapes: n cells, d dimensions of the cell state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.flow_inputs import as_states
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.phylogeny import label_codes
from celldyn.landscape.potential import Landscape
from celldyn.landscape.stepping import mixed

_BLOCK = 8192
"""States that a potential is asked for at once."""
_ASKED = 256
"""Ends whose neighbours are looked up at once: some 50 ms."""
_MOST_PAIRS = 5_000_000
"""Near boxes that are looked at: some 80 MB."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What the cells near the end of every path say.

    Parameters
    ----------
    names
        Fates, in the order of their names.
    probabilities
        (n, n_fates) shares of the votes; rows sum to 1.
    nearest
        (n, k) cells that voted, nearest first.
    distance
        (n,) to the nearest of them: large where a path ended away from the data.
    """

    names: tuple[str, ...]
    probabilities: Floats
    nearest: Ints
    distance: Floats

    @property
    def fate(self) -> NDArray[np.object_]:
        """Most likely fate of each cell, (n,); the first by name where two are level."""
        names = np.array(self.names, dtype=object)
        return np.asarray(names[self.probabilities.argmax(axis=1)])

    @property
    def entropy(self) -> Floats:
        """Entropy of each cell's fates in nats, (n,): 0 for one that is certain."""
        p = self.probabilities
        logs = np.log(p, out=np.zeros_like(p), where=p > 0)
        return np.asarray(np.abs((p * logs).sum(axis=1)))


def nearest_vote(
    z_end: ArrayLike, z_cells: ArrayLike, labels: ArrayLike, k: int = 15, *, threads: int = 1
) -> Vote:
    """Return the fates that the k cells nearest to where each path ends vote for.

    Parameters
    ----------
    z_end
        (n, d) where paths end.
    z_cells
        (n_cells, d) states of the cells that vote.
    labels
        (n_cells,) what each of them votes for: clusters, or terminal states.
    k
        How many vote; 1 is the fate as sclsd gives it.
    threads
        How many search.

    Raises
    ------
    DataError
        If shapes do not fit, something is not finite, or a voting cell has no label.
    ConfigError
        If k is not between 1 and the number of voting cells.
    """
    return run(nearest_vote_job(z_end, z_cells, labels, k, threads=threads), bar=False)


def nearest_vote_job(
    z_end: ArrayLike, z_cells: ArrayLike, labels: ArrayLike, k: int = 15, *, threads: int = 1
) -> Job[Vote]:
    """Return the fates that near cells vote for as a job; see `nearest_vote`."""
    from scipy.spatial import cKDTree

    cells = _rows(z_cells, "states of cells", None)
    ends = _rows(z_end, "ends of paths", cells.shape[1])
    names, codes = label_codes(labels, len(cells))
    if not 1 <= k <= len(cells):
        raise ConfigError(f"k is {k}", f"give 1 to {len(cells)}, the number of cells that vote")
    tree = cKDTree(cells)
    nearest, distance = np.empty((len(ends), k), dtype=np.int64), np.empty(len(ends))
    for first in range(0, len(ends), _ASKED):
        yield Progress("votes on fates", first, len(ends))
        rows = slice(first, first + _ASKED)
        found: Any = tree.query(ends[rows], k=np.arange(1, k + 1), workers=threads)
        distance[rows], nearest[rows] = found[0][:, 0], found[1]
    at = np.arange(len(ends))[:, None] * len(names) + codes[nearest]
    votes = np.bincount(at.ravel(), minlength=len(ends) * len(names))
    probabilities = votes.reshape(len(ends), len(names)) / k
    return Vote(tuple(names), probabilities, nearest, distance)


@dataclass(frozen=True, slots=True)
class Convergence:
    """Whether cells have come to rest.

    Parameters
    ----------
    speed
        (n,) |∇V|, in units of z per time.
    resting
        (n,) whether that is below the tolerance.
    tolerance
        What speed counts as rest.
    """

    speed: Floats
    resting: NDArray[np.bool_]
    tolerance: float

    @property
    def share(self) -> float:
        """Share of the cells that rest."""
        return float(self.resting.mean()) if self.resting.size else 1.0

    def __str__(self) -> str:
        moving = int((~self.resting).sum())
        return (
            f"{self.resting.size - moving} of {self.resting.size} cells rest (slower than "
            f"{self.tolerance:g}); the fastest moves by {self.speed.max(initial=0.0):.3g} per "
            "unit of time"
        )


def convergence(
    potential: Landscape, z: torch.Tensor | ArrayLike, *, tolerance: float = 1e-2
) -> Convergence:
    """Return how fast cells still move at the end of their paths.

    Parameters
    ----------
    potential
        What they flow down.
    z
        (n, d) states.
    tolerance
        Slower than this, in units of z per time, a cell rests.

    Raises
    ------
    DataError
        If states are not (n, d) and finite.
    """
    states = as_states(potential, z).detach()
    with torch.no_grad():
        parts = [potential.gradient(part).norm(dim=1) for part in torch.split(states, _BLOCK)]
    speed = torch.cat(parts).double().cpu().numpy() if parts else np.zeros(0)
    return Convergence(speed, speed < tolerance, tolerance)


@dataclass(frozen=True, slots=True)
class TerminalStates:
    """Where paths gather.

    Parameters
    ----------
    centres
        (n_states, d) means of the paths' ends, the state with most cells first.
    member
        (n,) number of the state that each path ended in; −1 for those that ended elsewhere.
    sizes
        (n_states,) how many ended in each.
    """

    centres: Floats
    member: Ints
    sizes: Ints


def terminal_states(
    z_end: ArrayLike, *, radius: float = 0.25, min_share: float = 0.01
) -> TerminalStates:
    """Return the states that paths end in: groups of ends no two of which are far apart.

    Ends are put in the boxes of a grid of half the radius; boxes whose means are nearer to each
    other than the radius are of one state. So a hundred thousand ends in a handful of minima cost
    little more than a handful. Where more than five million pairs of boxes are near, as with ends
    that have not come to rest, boxes are made larger.

    Parameters
    ----------
    z_end
        (n, d) where paths end, after they have come to rest (see `convergence`).
    radius
        How near ends of one state are, in units of z, whose coordinates spread by about 1.
    min_share
        Share of all paths below which a group is no state.

    Raises
    ------
    DataError
        If ends are not (n, d) and finite.
    ConfigError
        If the radius is not above 0, or the share not in [0, 1].
    """
    ends = _rows(z_end, "ends of paths", None)
    if not 0 < radius < math.inf:
        raise ConfigError(f"radius is {radius}", "give a distance above 0")
    if not 0 <= min_share <= 1:
        raise ConfigError(f"min_share is {min_share}", "give a share, 0 to 1")
    member = _linked(ends, radius)
    sizes = np.bincount(member)
    kept = np.flatnonzero(sizes >= max(min_share * len(ends), 1))
    kept = kept[np.argsort(-sizes[kept], kind="stable")]
    number = np.full(len(sizes), -1)
    number[kept] = np.arange(len(kept))
    return TerminalStates(_means(ends, member, sizes)[kept], number[member], sizes[kept])


def _linked(ends: Floats, radius: float) -> Ints:
    """Return the number of the group of every end, (n,)."""
    from scipy import sparse
    from scipy.spatial import cKDTree

    side = radius / 2
    while True:
        _, box, in_box = np.unique(_boxes(ends / side), return_inverse=True, return_counts=True)
        tree = cKDTree(_means(ends, box, in_box))
        if tree.count_neighbors(tree, radius) <= _MOST_PAIRS:
            break
        side *= 2
    pairs = tree.query_pairs(radius, output_type="ndarray")
    linked = sparse.coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(tree.n, tree.n))
    _, group = sparse.csgraph.connected_components(linked, directed=False)
    return np.asarray(group[box].astype(np.int64))


def _boxes(scaled: Floats) -> NDArray[np.uint64]:
    """Return 64 bits for the unit box of every row, (n,); those of two boxes differ."""
    keys = np.zeros(len(scaled), dtype=np.uint64)
    for column in scaled.T:
        keys = mixed(keys ^ np.floor(column).astype(np.int64).view(np.uint64))
    return keys


def _means(rows: Floats, group: Ints, sizes: Ints) -> Floats:
    """Return the mean of the rows of every group, (n_groups, d)."""
    sums = [np.bincount(group, column, minlength=len(sizes)) for column in rows.T]
    return np.asarray(np.stack(sums, axis=1) / sizes[:, None])


def _rows(values: ArrayLike, what: str, width: int | None) -> Floats:
    """Return (n, d) finite numbers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what} are not numbers", "give one row per cell") from None
    if found.ndim != 2 or not len(found) or width not in (None, found.shape[1]):
        raise DataError(
            f"{what} are of shape {found.shape}",
            f"give one row of {width if width else 'as many'} numbers per cell",
        )
    if not np.isfinite(found).all():
        raise DataError(f"{what} are not finite", "integrate with smaller steps")
    return found
