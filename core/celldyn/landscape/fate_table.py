"""What is known of the fates of cells: chances, how well they are known, and whether at all.

Shapes: n cells, f fates.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.plasticity import entropy, plasticity_of_votes

UNDECIDED = "undecided"
"""Fate of runs that end among cells of no terminal state, where terminal states are asked for."""

CERTAIN = 0.5
"""A fate is certain where its chance is above this with 97.5 % confidence.

Once measured: on one simulated tree of 600 cells, three seeds of walks of 3 cells, sigma .366 and
time 8 for all, terminal clusters named and other ends counted as undecided, 97 to 99 % of the
certain cells came to a fate that is open to their cluster, and 99 % to what another seed said; of
stem and intermediate cells 11 to 28 % were certain. A model that learned the wrong landscape does
not know it: what other seeds say is told by `LSDEnsemble`.
"""


@dataclass(frozen=True, slots=True)
class CellFates:
    """Fates of cells.

    Parameters
    ----------
    names
        Fates, in the order of their names; `UNDECIDED`, where it is one, is the last.
    probabilities
        (n, f), rows sum to 1.
    low, high
        (n, f) 95 % intervals of them, for the votes alone: what another seed of the model would
        say is told by an ensemble.
    fate
        (n,) most likely fate; the first by name where two are level.
    certain
        (n,) whether the fate can be relied on; see `fates_of_votes`.
    entropy
        (n,) of the probabilities, in nats.
    plasticity, plasticity_low, plasticity_high
        (n,) the entropy between 0 and 1 and its 95 % interval; see `plasticity_of_votes`.
    n_votes
        Votes that every cell has: noisy runs, or near cells; 0 where chances were solved for.
    converged
        Share of the cells that rest at the end of the flow without noise.
    notes
        What a person should know, in sentences.
    z_end
        (n, d) where the flow without noise ends; None where nothing flowed.
    paths
        (n_times, n) cell nearest to each path at every time; None if not asked for.
    times
        (n_times,) those times.
    """

    names: tuple[str, ...]
    probabilities: Floats
    low: Floats
    high: Floats
    fate: NDArray[np.object_]
    certain: NDArray[np.bool_]
    entropy: Floats
    plasticity: Floats
    plasticity_low: Floats
    plasticity_high: Floats
    n_votes: int = 0
    converged: float = 1.0
    notes: tuple[str, ...] = field(default=())
    z_end: Floats | None = None
    paths: NDArray[np.int32] | None = None
    times: Floats | None = None

    @property
    def uncertain_share(self) -> float:
        """Share of the cells whose fate is not certain."""
        return float((~self.certain).mean()) if self.certain.size else 0.0

    def __str__(self) -> str:
        number = {name: int((self.fate == name).sum()) for name in self.names}
        told = ", ".join(f"{name} {count}" for name, count in number.items())
        return (
            f"fates of {self.fate.size} cells: {told}; {self.uncertain_share:.0%} uncertain, "
            f"{self.converged:.0%} at rest"
        )


def fates_of_votes(
    names: tuple[str, ...], votes: Floats | Ints, *, notes: tuple[str, ...] = ()
) -> CellFates:
    """Return what votes say about fates.

    Intervals are Jeffreys', the quantiles of Beta(c + ½, n − c + ½) for c of n votes, with 0 where
    c is 0 and 1 where it is n. A fate is certain where the lower bound of its interval is above
    `CERTAIN`. A fate that is `UNDECIDED` is never certain.

    Parameters
    ----------
    names
        (f,) fates.
    votes
        (n, f) votes, each row of a sum above 0; not whole where they were pooled.
    """
    counts = np.asarray(votes, dtype=np.float64)
    n_votes = counts.sum(axis=1, keepdims=True)
    found = _told(names, counts / n_votes, jeffreys(counts, n_votes), notes)
    open_ = plasticity_of_votes(_named(names, counts))
    return replace(
        found, plasticity=open_.value, plasticity_low=open_.low, plasticity_high=open_.high,
        n_votes=int(n_votes.max(initial=0)),
    )  # fmt: skip


def fates_of_chances(
    names: tuple[str, ...], probabilities: Floats, *, notes: tuple[str, ...] = ()
) -> CellFates:
    """Return fates whose chances were solved for: nothing was drawn, and intervals are points.

    A fate is then certain where its chance is above `CERTAIN`.
    """
    return _told(names, probabilities, (probabilities, probabilities), notes)


def _told(
    names: tuple[str, ...],
    probabilities: Floats,
    interval: tuple[Floats, Floats],
    notes: tuple[str, ...],
) -> CellFates:
    top = probabilities.argmax(axis=1)
    fate = np.array(names, dtype=object)[top]
    sure = (interval[0][np.arange(len(top)), top] > CERTAIN) & (fate != UNDECIDED)
    openness = plasticity_of_votes(_named(names, probabilities)).value
    return CellFates(
        names, probabilities, *interval, fate, sure, entropy(probabilities), openness, openness,
        openness, notes=notes,
    )  # fmt: skip


def _named(names: tuple[str, ...], values: Floats) -> Floats:
    """Return the columns of fates that are one: an undecided run says nothing about which."""
    return values[:, [k for k, name in enumerate(names) if name != UNDECIDED]]


def jeffreys(
    counts: Floats, n_votes: Floats | float, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Return the interval of a share, from counts of any shape out of `n_votes`."""
    from scipy.special import betaincinv

    # Few counts differ, and an inverse of the incomplete beta function takes 5 µs.
    counts, total = np.broadcast_arrays(np.asarray(counts, dtype=np.float64), n_votes)
    pairs = np.stack([counts.ravel(), np.asarray(total, dtype=np.float64).ravel()], axis=1)
    distinct, of = np.unique(pairs, axis=0, return_inverse=True)
    c, rest, tail = distinct[:, 0], distinct[:, 1] - distinct[:, 0], (1 - level) / 2
    rest = np.maximum(rest, 0.0)
    low = np.where(c > 0, betaincinv(c + 0.5, rest + 0.5, tail), 0.0)
    high = np.where(rest > 0, betaincinv(c + 0.5, rest + 0.5, 1 - tail), 1.0)
    of = of.reshape(-1)
    return low[of].reshape(counts.shape), high[of].reshape(counts.shape)
