"""Several models of different seeds, pooled: fates with their agreement, time, entropy.

Shapes: s seeds, n cells, f fates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError
from celldyn.landscape.fate_table import (
    CERTAIN,
    UNDECIDED,
    CellFates,
    fates_of_votes,
    jeffreys,
)
from celldyn.landscape.graph import Floats, per_cell
from celldyn.landscape.plasticity import plasticity_of_votes

_SOLVED = 1e4
"""Votes that chances are worth that were solved for."""
_ALIKE = 0.3
"""Rank correlation of two seeds' entropies from which on they tell the same."""


@dataclass(frozen=True, slots=True)
class PooledFates:
    """Fates over several seeds of a model.

    Parameters
    ----------
    fates
        Means over seeds, with intervals that seeds which differ make wider; a fate is certain only
        where it is so over all seeds, and every seed says it.
    agreement
        (n,) share of the seeds whose own most likely fate is the pooled one.
    by_seed
        (s, n) most likely fate of every seed.
    """

    fates: CellFates
    agreement: Floats
    by_seed: NDArray[np.object_]

    def __str__(self) -> str:
        n_seeds = len(self.by_seed)
        return f"{self.fates}; all {n_seeds} seeds agree in {(self.agreement == 1).mean():.0%}"


def pooled_fates(found: Sequence[CellFates]) -> PooledFates:
    """Pool what several seeds of a model say about the same cells.

    Votes of one seed are more alike than those of different seeds. With D the variance of the
    shares between seeds, without what chance alone makes of it, over what it would be if every
    seed sent all its votes one way, both summed over fates, the s · v votes of a cell are worth
    s v / (1 + (v − 1) D) independent ones: s where seeds contradict each other, s v where they
    differ by chance. Intervals and plasticity are those of so many votes.

    Parameters
    ----------
    found
        Fates of every seed, of the same cells in the same order.

    Raises
    ------
    DataError
        If there are none, or of different numbers of cells.
    """
    if not found or len({one.fate.size for one in found}) != 1:
        raise DataError(
            "fates of different cells cannot be pooled", "give fates of the same cells, by seed"
        )
    names = _all_names(found)
    shares = np.stack([_aligned(one, names) for one in found])
    mean = shares.mean(axis=0)
    per_seed = min(one.n_votes or _SOLVED for one in found)
    worth = _worth(shares, per_seed)
    pooled = fates_of_votes(names, mean * len(found) * per_seed)
    low, high = jeffreys(mean * worth[:, None], worth[:, None])
    by_seed = np.stack([one.fate for one in found])
    agreement = (by_seed == pooled.fate).mean(axis=0)
    top = low[np.arange(len(mean)), mean.argmax(axis=1)]
    named = [k for k, name in enumerate(names) if name != UNDECIDED]
    openness = plasticity_of_votes(mean[:, named] * worth[:, None])
    certain = (top > CERTAIN) & (agreement == 1) & (pooled.fate != UNDECIDED)
    notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
    fates = replace(
        pooled, low=low, high=high, certain=certain, plasticity=openness.value,
        plasticity_low=openness.low, plasticity_high=openness.high,
        n_votes=int(sum(one.n_votes for one in found)),
        converged=float(np.mean([one.converged for one in found])), notes=notes,
    )  # fmt: skip
    return PooledFates(fates, agreement, by_seed)


def _all_names(found: Sequence[CellFates]) -> tuple[str, ...]:
    """Return every fate that a seed knows, by name, `UNDECIDED` last."""
    names = {name for one in found for name in one.names}
    last = (UNDECIDED,) if UNDECIDED in names else ()
    return (*sorted(names - {UNDECIDED}), *last)


def _aligned(one: CellFates, names: tuple[str, ...]) -> Floats:
    """Return chances (n, f) of fates in a given order."""
    shares = np.zeros((one.fate.size, len(names)))
    shares[:, [names.index(name) for name in one.names]] = one.probabilities
    return shares


def _worth(shares: Floats, per_seed: float) -> Floats:
    """Return how many independent votes a cell's are worth, (n,), for shares (s, n, f)."""
    n_seeds = len(shares)
    if n_seeds == 1:
        return np.full(shares.shape[1], float(per_seed))
    mean = shares.mean(axis=0)
    most = (mean * (1 - mean)).sum(axis=1)
    between = shares.var(axis=0, ddof=1).sum(axis=1)
    chance = (shares * (1 - shares)).sum(axis=2).mean(axis=0) / max(per_seed - 1, 1)
    alike = np.clip((between - chance) / np.where(most > 0, most, 1.0), 0.0, 1.0)
    return np.asarray(n_seeds * per_seed / (1 + (per_seed - 1) * alike))


@dataclass(frozen=True, slots=True)
class Consensus:
    """A quantity per cell over several seeds.

    Parameters
    ----------
    value
        (n,) mean over seeds of each seed's ranks between 0 and 1, ranked in turn.
    spread
        (n,) standard deviation of a cell's rank over seeds; NaN for one seed.
    correlation
        (s, s) rank correlations of seeds.
    """

    value: Floats
    spread: Floats
    correlation: Floats

    @property
    def agreement(self) -> float:
        """Mean rank correlation of two seeds; 1 for a single one."""
        n_seeds = len(self.correlation)
        if n_seeds == 1:
            return 1.0
        return float((self.correlation.sum() - n_seeds) / (n_seeds * (n_seeds - 1)))


def consensus_pseudotime(by_seed: Sequence[ArrayLike]) -> Consensus:
    """Return pseudotime over several seeds: what counts is the order of cells in each.

    Parameters
    ----------
    by_seed
        (n,) pseudotime of every seed, in any unit.

    Raises
    ------
    DataError
        If there are none, or not of the same cells, or some are not finite.
    """
    return _consensus(_ranks(by_seed, "pseudotime"))


def _consensus(ranks: Floats) -> Consensus:
    spread = ranks.std(axis=0, ddof=1) if len(ranks) > 1 else np.full(ranks.shape[1], np.nan)
    return Consensus(_ranks([ranks.mean(axis=0)], "mean")[0], spread, _correlated(ranks))


@dataclass(frozen=True, slots=True)
class ConsensusEntropy:
    """Entropy over several seeds, if they tell the same.

    Parameters
    ----------
    consensus
        Ranks over seeds.
    identified
        Whether every two seeds order the cells alike. Where they do not, entropy says nothing
        about the cells; see plasticity.
    with_reference
        (s,) rank correlation of each seed's entropy with the reference, NaN without one.
    note
        That in a sentence.
    """

    consensus: Consensus
    identified: bool
    with_reference: Floats
    note: str


def consensus_entropy(
    by_seed: Sequence[ArrayLike], reference: ArrayLike | None = None
) -> ConsensusEntropy:
    """Return the entropy over several seeds, and whether its sign is the same in all.

    The entropy of sclsd is not identified by what the model is trained on: seeds may order cells
    in opposite ways. It is taken for identified where the rank correlation of every two seeds is
    at least 0.3 and, with a reference, its sign is the same for all.

    Parameters
    ----------
    by_seed
        (n,) entropy of every seed.
    reference
        (n,) what it is held against: plasticity, or pseudotime.

    Raises
    ------
    DataError
        See `consensus_pseudotime`.
    """
    ranks = _ranks(by_seed, "entropy")
    consensus = _consensus(ranks)
    with_reference = np.full(len(ranks), np.nan)
    if reference is not None:
        held = _ranks([reference], "reference")
        with_reference = _correlated(np.vstack([ranks, held]))[:-1, -1]
    off = consensus.correlation[~np.eye(len(ranks), dtype=bool)]
    one_way = bool((with_reference > 0).all() or (with_reference < 0).all())
    alike = bool(off.size) and bool((off >= _ALIKE).all())
    identified = alike and (reference is None or one_way)
    if identified:
        note = f"entropy is alike in all {len(ranks)} seeds (rank correlation {off.min():.2f} up)"
    elif not off.size:
        note = "one seed does not tell whether the sign of entropy means anything"
    else:
        note = (
            f"entropy differs between seeds (rank correlation down to {off.min():.2f}): use "
            "plasticity"
        )
    return ConsensusEntropy(consensus, identified, with_reference, note)


def _ranks(by_seed: Sequence[ArrayLike], what: str) -> Floats:
    """Return ranks between 0 and 1 of every seed, (s, n); equal values have the same."""
    from scipy.stats import rankdata

    if not len(by_seed):
        raise DataError(f"there is no {what}", "give that of one seed or more")
    n_cells = np.asarray(by_seed[0]).size
    values = np.stack([per_cell(one, n_cells, what) for one in by_seed])
    return np.asarray((rankdata(values, axis=1) - 1) / max(n_cells - 1, 1))


def _correlated(ranks: Floats) -> Floats:
    """Return correlations of rows; a row that is the same everywhere goes with none."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1)
    unit = centred / np.where(length > 0, length, 1.0)[:, None]
    found = unit @ unit.T
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)
