"""Many genes changed one by one in the same cells, and which of them matter.

Shapes: q changes of one gene each, m cells, R runs, G genes, f fates.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celldyn.devices import few_threads
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.networks import Networks
from celldyn.landscape.perturbing.anchors import Expression
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.edits import Edit, ScreenChange, rule_of
from celldyn.landscape.perturbing.measures import cell_weights, interval, moved
from celldyn.landscape.perturbing.nulls import PooledNull, housekeeping_genes, local_scale
from celldyn.landscape.perturbing.preparing import Prepared, Subjects, prepare_job
from celldyn.landscape.perturbing.runs import Shares
from celldyn.landscape.perturbing.screened import Effects, Screen
from celldyn.perturbation import Change
from celldyn.perturbation.names import positions

_VALUES = 1 << 22
"""Shares of fates that are held at once."""
_AT_ONCE = 128
"""Genes that are followed between two words of what was found."""
_NEAR = 50
"""Null genes that say what is usual for a gene."""
_LEAST_NULL = 20


def screen_job(
    networks: Networks,
    expression: Expression,
    z_cells: Tensor | ArrayLike,
    labels: ArrayLike,
    genes: Sequence[str],
    cells: ArrayLike | None = None,
    *,
    screened: Sequence[str] | None = None,
    changes: Sequence[ScreenChange] | ScreenChange = "knockout",
    config: PerturbConfig | None = None,
    housekeeping: Sequence[str] | None = None,
) -> Job[Screen]:
    """Change each gene in turn and follow the same cells, all on the same noise.

    What a gene does to a cell's state is a change of rank one behind the first layer of the
    encoder, so that no expression matrix is made for any gene; memory does not grow with the
    number of genes. Effects are those of `perturb_job` with the same config. The null is made of
    the screen itself: effects of housekeeping genes, each in units of what genes that are changed
    by as much do; where fewer than `config.n_null` are screened, others are followed beside them.

    Parameters
    ----------
    networks, expression, z_cells, labels, genes, cells, housekeeping
        As for `perturb_job`.
    screened
        Names of the genes to change; None is all.
    changes
        What is done to each: "knockout"; "overexpress", to the level that 99 % of the cells which
        express the gene are below; a factor; a Change; or several of these, each in turn.
    config
        How; `mode` and `n_runs` as for one perturbation.

    Yields
    ------
    Progress in genes; when a gene is done `metrics` hold "moved", the largest share of cells so
    far that come to another fate.

    Raises
    ------
    MissingKeyError
        If a screened gene is not there.
    DataError
        If nothing is to be screened, or there are too few housekeeping genes.
    ConfigError
        If it is asked for in sclsd's way, which takes a gene at a time.
    """
    began = time.perf_counter()
    config = PerturbConfig() if config is None else config
    if config.mode == "reference":
        raise ConfigError(
            "a screen in sclsd's way would take half an hour for 2,000 genes",
            "use mode='held', or perturb genes one by one",
        )
    subjects = Subjects.of(networks, expression, z_cells, labels, genes, cells)
    wanted = _wanted(screened, subjects.genes)
    several = [changes] if isinstance(changes, str | float | int | Change) else list(changes)
    if not several or not len(wanted):
        raise DataError("there is nothing to screen", "name genes and a change, or leave them out")
    with few_threads():
        n_about = len(several) * (len(wanted) + config.n_null)
        prepared = yield from prepare_job(subjects, config, None, n_about)
        usable = _usable(prepared, housekeeping)
        total = 1.0 + len(several) * _n_followed(wanted, usable, config)
        before = yield from prepared.runs.control_job(0, total)
        parts, done = [], 1.0
        for change in several:
            plan = _Plan.of(prepared, wanted, usable, change)
            parts.append((yield from _one_change_job(prepared, before, plan, done, total)))
            done += len(plan.edits)
    return Screen.of(prepared, before, wanted, parts, seconds=time.perf_counter() - began)


def _usable(prepared: Prepared, housekeeping: Sequence[str] | None) -> Ints:
    """Return the genes that may make the null; none where no null is asked for."""
    if not prepared.config.n_null:
        return np.empty(0, np.int64)
    names = prepared.subjects.genes
    usable = housekeeping_genes(prepared.anchors, prepared.codes, names, housekeeping)
    if len(usable) < _LEAST_NULL:
        raise DataError(
            f"there are {len(usable)} housekeeping genes to make a null of",
            "name more of them, or ask for no p-values with n_null=0",
        )
    return usable


def _wanted(screened: Sequence[str] | None, names: Sequence[str]) -> Ints:
    if screened is None:
        return np.arange(len(names))
    found = positions(dict.fromkeys(screened), names, "gene", keep_order=True)
    return found.astype(np.int64)


def _n_followed(wanted: Ints, usable: Ints, config: PerturbConfig) -> int:
    n_inside = int(np.isin(wanted, usable).sum())
    return len(wanted) + min(max(config.n_null - n_inside, 0), len(usable) - n_inside)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Genes that are followed with one change: those asked for, then those of the null alone.

    Parameters
    ----------
    label
        What is done, in a word.
    edits
        One per gene.
    null
        Which of them make the null.
    sizes
        (q, 2) mean and spread of what is added to expression.
    n_wanted
        How many are asked for: the first ones.
    """

    label: str
    edits: list[Edit]
    null: NDArray[np.bool_]
    sizes: Floats
    n_wanted: int

    @classmethod
    def of(cls, prepared: Prepared, wanted: Ints, usable: Ints, change: ScreenChange) -> _Plan:
        config = prepared.config
        rng = np.random.default_rng([config.seed, 5])
        others = np.setdiff1d(usable, wanted)
        n_more = _n_followed(wanted, usable, config) - len(wanted)
        more = np.sort(rng.choice(others, n_more, replace=False)) if n_more else others[:0]
        every = np.concatenate([wanted, more])
        n_genes = len(prepared.subjects.genes)
        high = prepared.anchors.high() if change == "overexpress" else np.zeros(n_genes)
        rule = rule_of(change, high)
        factor, offset = np.ones(n_genes), np.zeros(n_genes)
        edits = []
        for gene in every:
            done = rule(int(gene))
            factor[gene], offset[gene] = done.factor, done.offset
            edits.append(Edit.one(int(gene), done))
        sizes = prepared.anchors.sizes(factor, offset)[every]
        return cls(_label(change), edits, np.isin(every, usable), sizes, len(wanted))


def _label(change: ScreenChange) -> str:
    if isinstance(change, Change):
        return change.describe("x").replace("knock-out of x", "knockout")
    return change if isinstance(change, str) else f"x{float(change):g}"


def _one_change_job(
    prepared: Prepared, before: Shares, plan: _Plan, done: float, total: float
) -> Job[Effects]:
    config, q, f = prepared.config, len(plan.edits), before.shape[2]
    m = len(before)
    weights = cell_weights(m, config.n_bootstrap, config.seed) if m > 1 else None
    effect, low, high = np.empty((q, f)), np.empty((q, f)), np.empty((q, f))
    at_once = min(max(1, _VALUES // before.size), _AT_ONCE)
    most = 0.0
    for first in range(0, q, at_once):
        some = slice(first, min(first + at_once, q))
        shares = yield from prepared.runs.perturbed_job(plan.edits[some], done + first, total)
        change = (shares - before).mean(axis=2)
        effect[some] = change.mean(axis=1, dtype=np.float64)
        if weights is not None:
            low[some], high[some] = interval(change, weights)
        else:
            low[some] = high[some] = np.nan
        most = max(most, float(moved(effect[some]).max()))
        yield Progress("screen", done + some.stop, total, plan.label, {"moved": most})
    return _held_against(plan, effect, low, high)


def _held_against(plan: _Plan, effect: Floats, low: Floats, high: Floats) -> Effects:
    """Hold every effect against those of the null."""
    n = plan.n_wanted
    p, z = np.full(effect.shape, np.nan), np.full(effect.shape, np.nan)
    p_any = np.full(len(effect), np.nan)
    if plan.null.any():
        with_any = np.column_stack([effect, moved(effect)])
        z_all = with_any / local_scale(plan.sizes, plan.null, with_any, _NEAR)
        of_null = np.sort(np.abs(z_all[plan.null]), axis=0)
        p_all = np.column_stack(
            [PooledNull(of_null[:, k]).p(z_all[:, k]) for k in range(z_all.shape[1])]
        )
        p, p_any, z = p_all[:, :-1], p_all[:, -1], z_all[:, :-1]
    return Effects(
        plan.label, effect[:n], low[:n], high[:n], z[:n], p[:n], p_any[:n], plan.sizes[:n, 0],
        int(plan.null.sum()),
    )  # fmt: skip


def screen_genes(
    networks: Networks,
    expression: Expression,
    z_cells: Tensor | ArrayLike,
    labels: ArrayLike,
    genes: Sequence[str],
    cells: ArrayLike | None = None,
    *,
    screened: Sequence[str] | None = None,
    changes: Sequence[ScreenChange] | ScreenChange = "knockout",
    config: PerturbConfig | None = None,
    housekeeping: Sequence[str] | None = None,
) -> Screen:
    """Do the work of `screen_job`, here and now."""
    job = screen_job(
        networks, expression, z_cells, labels, genes, cells, screened=screened, changes=changes,
        config=config, housekeeping=housekeeping,
    )  # fmt: skip
    return run(job, bar=False)
