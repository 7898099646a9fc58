"""What changing a gene does that means nothing: matched genes, and how an effect stands to them.

Shapes: G genes, c candidates, N null effects, f fates, q tested effects.

An encoder moves a state for any gene that is changed, if by little, so that an effect of 0 is no
fair null. Genes whose expression does not tell clusters apart (housekeeping), changed by as much
as the tested one, say what there is to expect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import DataError
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.perturbing.anchors import Anchors
from celldyn.landscape.perturbing.edits import Edit
from celldyn.perturbation.names import positions

_IN_BIN = 40
"""Genes of like expression among which the least telling are looked for."""
_LEAST_CANDIDATES = 20
_POOL = 3
"""How many times more candidates than sets are drawn from, the most alike first."""
_TAIL = 0.1
"""Share of the null whose tail is fitted."""
_LEAST_TAIL = 10
"""Effects beyond which a p is counted, not read off a fitted tail; that is fitted to twice as many
at least."""
_LIGHTEST, _HEAVIEST = 0.2, 0.9
"""Shapes of a tail that are believed."""
_LEAST_PART = 4
"""A tail is a quarter of the null at most: a smaller null has none that could be fitted."""


def housekeeping_genes(
    anchors: Anchors,
    codes: Ints,
    names: Sequence[str],
    given: Sequence[str] | None,
) -> Ints:
    """Return genes that no fate should hang on, rising: those given, or the least telling.

    Where none are given, genes that any cell expresses are put in bins of like mean expression;
    the half of each bin whose variance clusters explain least is taken.

    Parameters
    ----------
    codes
        (m,) cluster of every anchor.
    names
        (G,) of the genes.
    given
        Names of housekeeping genes; those that are not in the data are left out.

    Raises
    ------
    DataError
        If none of those given is there.
    """
    if given is not None:
        known = set(names)
        there = [name for name in dict.fromkeys(given) if name in known]
        if not there:
            raise DataError(
                "none of the housekeeping genes is in the data", "name some of its genes, or none"
            )
        return positions(there, names, "gene").astype(np.int64)
    mean, told = anchors.mean, anchors.told_by(codes)
    by_mean = np.argsort(mean, kind="stable")
    by_mean = by_mean[mean[by_mean] > 0]
    n_bins = max(1, len(by_mean) // _IN_BIN)
    halves = [
        genes[np.argsort(told[genes], kind="stable")][: (len(genes) + 1) // 2]
        for genes in np.array_split(by_mean, n_bins)
    ]
    return np.sort(np.concatenate(halves))


def matched_edits(
    anchors: Anchors, edit: Edit, candidates: Ints, n_sets: int, seed: int
) -> list[Edit]:
    """Return the same done to sets of genes whose expression it changes by as much.

    Each gene of a set stands for one of the edit's: one of those candidates whose change, in mean
    and spread over cells, is most like that gene's, whichever of them; none is in a set twice.

    Parameters
    ----------
    candidates
        Genes to choose from.
    n_sets
        How many sets; fewer where one gene has fewer candidates.

    Raises
    ------
    DataError
        If there are fewer than 20 candidates, or fewer than the edit has genes.
    """
    pool = np.setdiff1d(candidates, edit.genes)
    n_genes = len(edit.genes)
    if len(pool) < max(_LEAST_CANDIDATES, n_genes):
        raise DataError(
            f"there are {len(pool)} housekeeping genes to hold {n_genes} perturbed ones against",
            "name more of them, or ask for no p-values with n_null=0",
        )
    rng = np.random.default_rng([seed, 3])
    ranked = [_most_alike(anchors, edit, k, pool) for k in range(n_genes)]
    if n_genes == 1:
        return [edit.elsewhere(ranked[0][j : j + 1]) for j in range(min(n_sets, len(pool)))]
    near = [genes[: max(_POOL * n_genes, _LEAST_CANDIDATES)] for genes in ranked]
    return [edit.elsewhere(_draw(near, rng)) for _ in range(n_sets)]


def _draw(near: list[Ints], rng: np.random.Generator) -> Ints:
    """Draw one gene of each list, none twice."""
    taken: list[int] = []
    for genes in near:
        left = np.setdiff1d(genes, taken)
        taken.append(int(rng.choice(left)))
    return np.array(taken, dtype=np.int64)


def _most_alike(anchors: Anchors, edit: Edit, k: int, pool: Ints) -> Ints:
    """Return the genes of the pool, first those changed most like the edit's gene number k."""
    sizes = anchors.sizes(edit.factor[k], edit.offset[k])
    apart = _apart(sizes[pool], sizes[edit.genes[k : k + 1]])[0]
    return pool[np.argsort(apart, kind="stable")]


def _apart(sizes: Floats, of: Floats) -> Floats:
    """Return distances, (len(of), len(sizes)), in the logs of mean and spread of a change."""
    logs, of_logs = (np.log(np.abs(one) + 1e-3) for one in (sizes, of))
    spread = np.maximum(logs.std(axis=0), 1e-6)
    gap = (of_logs[:, None] - logs[None]) / spread
    return np.asarray(np.square(gap).sum(axis=2))


def p_counted(effect: Floats, null: Floats) -> Floats:
    """Return two-sided p-values, (f,): (1 + null effects as large) / (1 + N).

    Parameters
    ----------
    effect, null
        (f,) and (N, f).
    """
    as_large = np.abs(null) >= np.abs(effect) - 1e-9
    return np.asarray((1.0 + as_large.sum(axis=0)) / (1.0 + len(null)))


@dataclass(frozen=True, slots=True, eq=False)
class PooledNull:
    """Null effects of a screen, each in units of what genes changed by as much do.

    Parameters
    ----------
    scaled
        (N,) absolute values, rising.
    """

    scaled: Floats

    def p(self, scaled: Floats) -> Floats:
        """Return p-values of absolute values in the same units.

        Where ten or more of the null are as large they are counted; beyond that the null's tail
        is taken to be that of a generalised Pareto law (Knijnenburg et al. 2009), so that p
        may be smaller than one in N.
        """
        N = len(self.scaled)
        size = np.abs(scaled)
        as_large = N - np.searchsorted(self.scaled, size - 1e-9, side="left")
        p = (1.0 + as_large) / (1.0 + N)
        far = as_large < _LEAST_TAIL
        n_tail = max(int(_TAIL * N), 2 * _LEAST_TAIL)
        if far.any() and n_tail <= N / _LEAST_PART:
            start = float(self.scaled[-n_tail - 1])
            shape, scale = _pareto(self.scaled[-n_tail:] - start)
            if scale > 0:
                fitted = n_tail / N * _survival(size[far] - start, shape, scale)
                p[far] = np.minimum(fitted, (1.0 + _LEAST_TAIL) / (1.0 + N))
        return np.asarray(np.clip(p, 1e-300, 1.0))


def _pareto(beyond: Floats) -> tuple[float, float]:
    """Return shape and scale of a generalised Pareto law by probability-weighted moments.

    The shape is not let below 0.2: few points cannot tell how heavy a tail is, and a light one
    would make too small a p of them.
    """
    n = len(beyond)
    mean = float(beyond.mean())
    weight = (n - np.arange(1, n + 1)) / (n - 1)
    second = mean - 2 * float((weight * beyond).mean())
    shape = 2.0 - mean / second if second > 0 else _LIGHTEST
    shape = min(max(shape, _LIGHTEST), _HEAVIEST)
    return shape, mean * (1.0 - shape)


def _survival(beyond: Floats, shape: float, scale: float) -> Floats:
    at = np.maximum(beyond, 0.0) / scale
    return np.asarray((1.0 + shape * at) ** (-1.0 / shape))


def local_scale(sizes: Floats, null: NDArray[np.bool_], effects: Floats, n_near: int) -> Floats:
    """Return what is usual, (q, f): root mean square effect of null genes changed by as much.

    Parameters
    ----------
    sizes
        (q, 2) mean and spread of each change.
    null
        (q,) which are null.
    effects
        (q, f).
    n_near
        Null genes that are looked at for each; one that is null itself does not look at itself.
    """
    of_null = np.flatnonzero(null)
    n_near = min(n_near, max(len(of_null) - 1, 1))
    square = np.square(effects[of_null])
    floor = 0.1 * np.sqrt(square.mean(axis=0)) + 1e-6
    out = np.empty_like(effects)
    for first in range(0, len(sizes), 256):
        rows = np.arange(first, min(first + 256, len(sizes)))
        apart = _apart(sizes[of_null], sizes[rows])
        apart[rows[:, None] == of_null[None]] = np.inf
        near = np.argpartition(apart, n_near - 1, axis=1)[:, :n_near]
        out[rows] = np.sqrt(square[near].mean(axis=1))
    return np.asarray(np.maximum(out, floor))
