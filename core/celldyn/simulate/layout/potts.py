"""Cell types that know their neighbours: a Potts model whose shares and neighbours come as asked.

The probability of a cell's type is proportional to exp(field of its stratum + sum of the couplings
with its neighbours). During the run the field follows the wanted numbers of cells and, where a
target is given, the coupling follows the wanted neighbours (stochastic approximation as in
persistent contrastive divergence, Younes 1989). Strong attraction coarsens for ever: the run ends
when its target is met, not in equilibrium.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.devices import aside_job, compile_job
from celldyn.jobs import Job, Pace, Progress
from celldyn.simulate.layout.colouring import coloured
from celldyn.simulate.layout.gibbs import Codes, Labels, NumpySampler, Sampler, weight_table
from celldyn.simulate.layout.quotas import Quotas
from celldyn.simulate.layout.settle import settled
from celldyn.simulate.streams import stream_key

Floats = NDArray[np.float64]

COMPILED_FROM = 200_000
"""Cells from which compiled code saves more than compiling it costs."""

_PROPORTIONAL, _INTEGRAL = 0.5, 0.2
_MOST_GAIN = 6.0
_COUPLING_STEP = 0.3
_STRONGEST = 5.0
_STRONGEST_FIELD = 20.0
_FEWEST, _MOST_SWEEPS, _PATIENCE = 6, 200, 30
_CLOSE = 0.006
"""How near to its target a share among neighbours counts as met."""
_PROGRESS = 0.95
"""What a deviation must fall to, to count as better than the best."""
_MISPLACED = 0.003
"""Share of the cells that may still be of a wrong type when the run ends; they are put right."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What neighbouring cells should be like.

    Parameters
    ----------
    coupling
        (n_types, n_types) symmetric: log odds per neighbour, at the start.
    n_sweeps
        How long it acts, without a target.
    target
        (n_types, n_types) wanted shares among neighbours; rows sum to 1. None: the coupling
        stays as it is.
    """

    coupling: Floats
    n_sweeps: int
    target: Floats | None = None


class _Target:
    """Wanted neighbours: how near they are, the coupling that brings them nearer, the best yet."""

    def __init__(self, shares: Floats, there: NDArray[np.bool_], n_cells: int) -> None:
        self._shares, self._there = shares, there
        # Chance alone does not let few cells come nearer to what is wanted.
        chance = n_cells**-0.5
        self._close, self._misplaced = max(_CLOSE, chance), max(_MISPLACED, 0.3 * chance)
        self.best: tuple[Labels, Floats] | None = None
        self._score, self._last_progress = np.inf, 0
        self.off = 1.0

    def met(
        self, near: Floats, misplaced: float, labels: Labels, coupling: Floats, sweep: int
    ) -> bool:
        """Take a sweep's result in; return whether the run should end."""
        self.off = float(np.abs(np.where(self._there[:, None], near - self._shares, 0.0)).max())
        score = self.off + misplaced
        if score < self._score:
            if score < _PROGRESS * self._score:
                self._last_progress = sweep
            self.best, self._score = (labels.copy(), coupling), score
        close = self.off < self._close and misplaced < self._misplaced
        return sweep >= _FEWEST and (close or sweep > self._last_progress + _PATIENCE)

    def adapted(self, coupling: Floats, near: Floats) -> Floats:
        """Attract what is too rare among neighbours, and repel what is too frequent."""
        wanted = np.log((self._shares + 1e-3) / (near + 1e-3))
        step = 0.5 * _COUPLING_STEP * (wanted + wanted.T)
        step[~np.logical_and.outer(self._there, self._there)] = 0.0
        return np.clip(coupling + step, -_STRONGEST, _STRONGEST)


def potts_job(
    graph: sparse.csr_matrix,
    codes: Codes,
    free: Codes,
    quotas: Quotas,
    wishes: Wishes,
    seed: int,
    stage: str,
    *,
    compiled: bool | None = None,
) -> Job[Codes]:
    """Rearrange types until neighbours are as wished; progress counts sweeps.

    Parameters
    ----------
    graph
        (n_cells, n_cells) symmetric, ones.
    codes
        (n_cells,) types to begin with, in the wanted numbers.
    free
        Rows that may change.
    quotas
        Stratum of each free cell, and the cells of each type that every stratum must hold.
    wishes
        Coupling, and the target if there is one.
    seed, stage
        The random stream.
    compiled
        Whether compiled code does it; by default for many cells. The result is the same.

    Returns
    -------
    (n_cells,) types; the numbers of every stratum are exactly the wanted ones.
    """
    stratum = np.zeros(len(codes), dtype=np.intp)
    stratum[free] = quotas.stratum
    rows = yield from aside_job(lambda: coloured(graph, free, seed, stage), "cell types")
    sampler = yield from _sampler_job(graph, rows, stratum, quotas, compiled)
    field = _Field(quotas, wishes.coupling, graph.nnz / max(graph.shape[0], 1))
    labels, pace, coupling = codes.astype(np.int16), Pace(), wishes.coupling
    target, n_sweeps = None, wishes.n_sweeps
    if wishes.target is not None:
        target, n_sweeps = _Target(wishes.target, field.there, len(codes)), _MOST_SWEEPS
    for sweep in range(n_sweeps):
        key = int(stream_key(seed, f"{stage}/sweep/{sweep}"))
        weights, table, before = field.weights(), weight_table(coupling), labels.copy()
        for colour in range(len(rows)):
            sampler.draw(colour, labels, weights, table, key)
            if pace.due():
                yield Progress("cell types", sweep, n_sweeps)
        misplaced = field.follow(labels[free], float((labels != before).mean()))
        if target is not None:
            near = neighbour_shares(sampler.pairs(labels))
            if target.met(near, misplaced, labels, coupling, sweep):
                break
            coupling = target.adapted(coupling, near)
            metrics = {"neighbour_deviation": target.off}
            yield Progress("cell types", sweep, n_sweeps, metrics=metrics)
    if target is not None and target.best is not None:
        labels, coupling = target.best

    def finish() -> Codes:
        return settled(graph, labels, free, quotas, field.log_odds(), coupling, seed, stage)

    return (yield from aside_job(finish, "cell types"))


def neighbour_shares(pairs: NDArray[np.int64]) -> Floats:
    """Return the share of each type among the neighbours of each; 0 for types without any."""
    total = pairs.sum(axis=1, keepdims=True)
    shares: Floats = pairs / np.maximum(total, 1)
    return shares


def pair_counts(graph: sparse.csr_matrix, codes: Codes, n_types: int) -> NDArray[np.int64]:
    """Return (n_types, n_types) how often each type has each as a neighbour."""
    row = np.repeat(codes, np.diff(graph.indptr))
    counts = np.bincount(row * n_types + codes[graph.indices], minlength=n_types**2)
    return counts.reshape(n_types, n_types)


def _sampler_job(
    graph: sparse.csr_matrix,
    rows: list[Codes],
    stratum: Codes,
    quotas: Quotas,
    compiled: bool | None,  # noqa: FBT001
) -> Job[Sampler]:
    n_types = quotas.numbers.shape[1]
    if compiled if compiled is not None else len(stratum) >= COMPILED_FROM:
        from celldyn.simulate.layout.gibbs_kernels import CompiledSampler, compile_kernels

        yield from compile_job([compile_kernels])
        kind: type[CompiledSampler | NumpySampler] = CompiledSampler
    else:
        kind = NumpySampler
    return (yield from aside_job(lambda: kind(graph, rows, stratum, n_types), "cell types"))


class _Field:
    """Log odds of the types in every stratum, steered towards the wanted numbers.

    A proportional and an integral part; the fewer cells still change, the stronger they pull.
    """

    def __init__(self, quotas: Quotas, coupling: Floats, n_neighbours: float) -> None:
        self._quotas = quotas
        numbers = quotas.numbers
        shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
        self._possible = numbers > 0
        self.there: NDArray[np.bool_] = np.asarray(self._possible.any(axis=0))
        # Neighbours as mixed as the stratum pull towards its frequent types: taken off beforehand.
        pull = n_neighbours * shares @ coupling
        pull -= (pull * shares).sum(axis=1, keepdims=True)
        self._start = np.log(np.where(self._possible, shares, 1.0)) - pull
        self._sum, self._now = np.zeros_like(shares), np.zeros_like(shares)
        self._mixed = 1.0 - float((shares**2).sum(axis=1) @ numbers.sum(axis=1) / numbers.sum())

    def log_odds(self) -> Floats:
        """Return (n_strata, n_types); what must not be there has -inf."""
        return np.where(self._possible, self._start + self._sum + self._now, -np.inf)

    def weights(self) -> Floats:
        """Return (n_strata, n_types) factors of the types' probabilities."""
        odds = self.log_odds()
        top = np.where(self._possible.any(axis=1), odds.max(axis=1), 0.0)
        weights: Floats = np.exp(np.maximum(odds - top[:, None], -700.0))
        return np.where(self._possible, weights, 0.0)

    def follow(self, labels: Labels, changing: float) -> float:
        """Take the present numbers in; return the share of the cells that is of a wrong type."""
        wanted, stratum = self._quotas.numbers, self._quotas.stratum
        found = np.bincount(stratum * wanted.shape[1] + labels, minlength=wanted.size)
        off = wanted - found.reshape(wanted.shape)
        lack = np.log((wanted + 0.5) / (wanted - off + 0.5))
        gain = float(np.clip(self._mixed / max(changing, 1e-3), 1.0, _MOST_GAIN))
        summed = self._sum + _INTEGRAL * np.sqrt(gain) * lack
        self._sum = np.clip(summed, -_STRONGEST_FIELD, _STRONGEST_FIELD)
        self._now = _PROPORTIONAL * gain * lack
        misplaced: float = np.abs(off).sum() / (2 * wanted.sum())
        return misplaced
