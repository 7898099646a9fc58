"""Many genes changed one by one: each is an environment of its own, many side by side.

Shapes: q genes, B environments at once, n cells, d dimensions, r groups of cells, F preprocessed
features. A gene is a direction in what cells see, so that nothing of (B, n, F) is ever formed.
"""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.clamping import Clamping
from celldyn.environment.effects import group_masks
from celldyn.environment.preprocessing_map import LinearMap
from celldyn.environment.screen_plan import Levels, ScreenPlan
from celldyn.environment.screened import Screen, scored
from celldyn.environment.simulating import Simulator
from celldyn.environment.trajectories import EnvironmentState, Trajectory
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress
from celldyn.perturbation import KNOCK_OUT, Change

TIME = 0.5
"""Seconds that each gene is held for, as in the paper."""


def screen_job(
    simulator: Simulator,
    each: LinearMap,
    state: EnvironmentState,
    *,
    modality: int = 0,
    genes: Sequence[str] | None = None,
    change: Change = KNOCK_OUT,
    clamping: Clamping = "pre",
    time: float = TIME,
    cells: NDArray[np.bool_] | None = None,
    groups: ArrayLike | None = None,
    n_control: int = 16,
    n_random: int = 16,
    seed: int = 0,
) -> Job[Screen]:
    """Change each gene in turn in the same cells, from the same state.

    Parameters
    ----------
    simulator
        The environment with its cells.
    each
        How the modality is prepared.
    state
        Where cells begin; a steady state, or effects are mixed with the way there.
    modality
        Which modality the genes are of.
    genes
        Names; None: all that are not left out and vary.
    change
        What is done to each.
    clamping
        "pre" or "post"; see `celldyn.environment.clamping`.
    time
        Seconds that each is held for.
    cells
        (n,) which cells are changed; None: all.
    groups
        (n,) names of groups of cells that effects are also told for.
    n_control
        Stretches of time without a change: what cells do anyway.
    n_random
        Changes in directions drawn at random: what any change does.
    seed
        Of these directions.

    Yields
    ------
    Progress in genes; metrics hold "shift", the largest so far.

    Raises
    ------
    MissingKeyError
        If there is no such gene.
    DataError
        If a gene never varied, or cells do not see the modality.
    ConfigError
        If the clamping is "action", which is of one gene at a time.
    """
    began = clock.perf_counter()
    if clamping not in ("pre", "post"):
        raise ConfigError(
            f"a screen cannot clamp by {clamping!r}", "use 'pre' or 'post', or perturb one gene"
        )
    if modality not in simulator.fitted.inputs:
        raise DataError(
            f"modality {modality} is not seen by cells, so changing it does nothing",
            f"choose modality {', '.join(map(str, simulator.fitted.inputs))}",
        )
    names = screened_genes(each, genes)
    masks = group_masks(groups, simulator.n_cells)
    plan = ScreenPlan(simulator, each, state, modality, change, clamping, time, cells, masks)
    total = len(names) + n_random + n_control + 1
    control, drift = yield from _control_job(plan, n_control, total)
    done = n_control + 1.0
    levels = plan.targets(names)
    found = yield from _genes_job(plan, levels, control, done, total)
    null = yield from _random_job(plan, found[:, 3], control, n_random, seed, total)
    return Screen(
        genes=names, groups=tuple(name for name, _ in masks),
        n_cells=np.array([mask.sum() for _, mask in masks], np.int64), effect=found[:, 0],
        length=found[:, 1], shift=found[:, 2], size=found[:, 3], control=drift, null=null,
        change=change.describe("each"),
        settings={
            "modality": modality, "clamping": clamping, "time": float(time), "seed": seed,
            "n_changed": int(simulator.n_cells if cells is None else cells.sum()),
        },
        notes=_notes(state, drift), seconds=clock.perf_counter() - began,
    )  # fmt: skip


def screened_genes(each: LinearMap, genes: Sequence[str] | None) -> tuple[str, ...]:
    """Return which genes are screened: those named, each once, or all that vary.

    Raises
    ------
    MissingKeyError, DataError
        If one is not there, was left out, or never varied; or if there is none.
    """
    if genes is not None:
        names = tuple(dict.fromkeys(map(str, genes)))
        if not names:
            raise DataError("there is nothing to screen", "name genes, or leave them out for all")
        each.columns(names)
        return tuple(each.names[each.kept[at]] for at in each.positions(names))
    kept = np.asarray(each.kept)
    if each.components is not None:
        kept = kept[(np.abs(each.components) > 1e-12).any(axis=0)]
    return tuple(each.names[at] for at in kept)


def _control_job(
    plan: ScreenPlan, n_control: int, total: float
) -> Job[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Return where cells are without a change, and effects of stretches without one, (m, r)."""
    drift, at = [], plan
    end: NDArray[np.float32] | None = None
    for k in range(n_control + 1):
        run = yield from _inside(at.run_job(1, ()), k, 1.0, total, "without a change")
        if end is None:
            end = run.positions[-1]
        drift.append(at.measured(run, None)[0, 0])
        at = replace(at, state=run.state)
    assert end is not None
    return end, np.array(drift)


def _genes_job(
    plan: ScreenPlan, levels: Levels, control: NDArray[np.float32], done: float, total: float
) -> Job[NDArray[np.float64]]:
    q, at_once = len(levels.names), plan.at_once
    found = np.empty((q, 4, len(plan.masks)))
    largest = 0.0
    for first in range(0, q, at_once):
        some = slice(first, min(first + at_once, q))
        clamp = plan.clamp(levels.basis[some], levels.of(some))
        n = some.stop - first
        said = levels.names[first] if n == 1 else f"{levels.names[first]} and {n - 1} more"
        work = plan.run_job(n, [clamp])
        run = yield from _inside(work, done + first, n, total, said)
        found[some] = plan.measured(run, control)
        largest = max(largest, float(found[some, 2, 0].max()))
        yield Progress("screening genes", done + some.stop, total, said, {"shift": largest})
    return found


def _random_job(
    plan: ScreenPlan,
    sizes: NDArray[np.float64],
    control: NDArray[np.float32],
    n_random: int,
    seed: int,
    total: float,
) -> Job[NDArray[np.float64]]:
    """Return shift per size of changes in random directions, as large as genes' usually are."""
    usual = float(np.median(sizes[:, 0])) if len(sizes) else 0.0
    if not n_random or usual <= 0:
        return np.empty((0, len(plan.masks)))
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(n_random, plan.each.n_features)).astype(np.float32)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    told = plan.simulator.modalities[plan.modality] @ torch.from_numpy(basis.T).to(
        plan.simulator.device
    )
    # Put there at once: every cell is changed by the usual size.
    target = (told + usual).T[:, :, None].cpu()
    at_once, parts = plan.at_once, []
    posted = replace(plan, clamping="post")
    for first in range(0, n_random, at_once):
        some = slice(first, min(first + at_once, n_random))
        work = posted.run_job(some.stop - first, [posted.clamp(basis[some], target[some])])
        done, n = total - n_random + first, some.stop - first
        run = yield from _inside(work, done, n, total, "directions at random")
        parts.append(plan.measured(run, control))
    found = np.concatenate(parts)
    ratio: NDArray[np.float64] = found[:, 2] / np.maximum(found[:, 3], 1e-12)
    return ratio


def _inside(
    work: Job[Trajectory], done: float, units: float, total: float, said: str
) -> Job[Trajectory]:
    """Drive a run within the screen."""
    with closing(work):
        while True:
            try:
                step = next(work)
            except StopIteration as end:
                run: Trajectory = end.value
                return run
            at = done + units * (step.fraction or 0.0)
            yield Progress("screening genes", at, total, said)


def _notes(state: EnvironmentState, drift: NDArray[np.float64]) -> tuple[str, ...]:
    notes = []
    if not state.steady:
        notes.append("Cells began in no steady state: their way to rest is part of the effects.")
    if len(drift) > 1 and np.isnan(scored(drift[:1], drift)[0, 0]):
        notes.append("Cells are at rest without a change, so there is no z against controls.")
    return tuple(notes)
