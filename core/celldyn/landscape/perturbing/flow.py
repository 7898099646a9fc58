"""Cells that flow downhill while genes of theirs are held: many perturbations at once.

Shapes: q perturbations, n states of each, d dimensions of z, L landmarks.

A cell's state is w = u + δ(u): u is what its genes would say if none were held, δ(u) how far the
held ones move a cell there. The landscape moves all but the held genes: du/dt = −∇V(w). When they
are let go, w goes on from where it is. So a gene that moves no cell changes nothing, and one that
is held does not push on and on: it keeps the cell aside by δ. δ is looked up every `dt`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from celldyn.errors import ConfigError
from celldyn.jobs import Job, Pace, Progress
from celldyn.landscape.fused import gradient_into
from celldyn.landscape.perturbing.field import ShiftField
from celldyn.landscape.potential import Landscape
from celldyn.landscape.schemes import FINEST, Step, normal_noise, rk4_step
from celldyn.landscape.step_size import curvature, steps_between

_REACH, _NOISY_REACH = FINEST["rk4"], 0.5
"""Curvature · step at most, without noise and with."""
_SPARE, _NOISY_SPARE = 2.0, 3.0
"""How much steeper than expected the ground may curve before steps are made finer."""
_FINER = 4
"""How many times steps are halved before a path is given up."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When what happens.

    Parameters
    ----------
    time
        How long cells flow.
    dt
        How often shifts are looked up.
    released_at
        When genes are let go; None is never.
    sigma
        Noise of the paths.
    seed
        Of that noise: the same for every perturbation.
    compiled
        Whether the gradient is taken by numba, which is worth its import for many states.
    """

    time: float
    dt: float
    released_at: float | None = None
    sigma: float = 0.0
    seed: int = 0
    compiled: bool = False

    def legs(self) -> list[tuple[float, bool]]:
        """Return how long shifts stay as they are, leg by leg, and whether genes are held then."""
        held = self.time if self.released_at is None else min(self.released_at, self.time)
        free = self.time - held
        n_held, n_free = math.ceil(held / self.dt - 1e-9), math.ceil(free / self.dt - 1e-9)
        return [(held / n_held, True)] * n_held + [(free / max(n_free, 1), False)] * n_free


def held_flow_job(
    potential: Landscape,
    starts: Tensor,
    schedule: Schedule,
    held: tuple[ShiftField, Tensor] | None,
    *,
    bend: float,
    stream: int,
    progress: Progress,
) -> Job[Tensor]:
    """Return where cells end, (q, n, d).

    Parameters
    ----------
    starts
        (n, d) states u at time 0.
    held
        The field and its (q, L, d) table of shifts; None is one run without a perturbation.
    bend
        Largest curvature of the ground, for the length of steps.
    stream
        Number of this block of states, for the noise.
    progress
        What to say meanwhile.

    Raises
    ------
    ConfigError
        If no steps are short enough for the ground that paths come to.
    """
    # Other steps would have other noise than the control's: there they are kept while stable.
    spare = _NOISY_SPARE if schedule.sigma else _SPARE
    for _ in range(_FINER):
        ends = yield from _once_job(potential, starts, schedule, held, bend, stream, progress)
        met = curvature(potential, ends.flatten(0, 1)) if torch.isfinite(ends).all() else math.inf
        if met <= spare * max(bend, 1e-12):
            return ends
        bend = met if math.isfinite(met) else 4 * bend
    raise ConfigError(
        "perturbed cells leave the ground that is known",
        "perturb less, or set cfg.model.confinement",
    )


def _once_job(
    potential: Landscape,
    starts: Tensor,
    schedule: Schedule,
    held: tuple[ShiftField, Tensor] | None,
    bend: float,
    stream: int,
    progress: Progress,
) -> Job[Tensor]:
    q = 1 if held is None else held[1].shape[0]
    n, d = starts.shape
    shift: Tensor | None = None
    w = starts.expand(q, n, d).clone()
    step = _step(potential, w.view(q * n, d), starts, schedule, stream)
    pace = Pace()
    for length, is_held in schedule.legs():
        if held is not None and is_held:
            u = starts if shift is None else w - shift
            shift = held[0].at(held[1], u)
            torch.add(u, shift, out=w)
        n_steps = steps_between(length, bend / _reach(schedule), "rk4", None)
        for _ in range(n_steps):
            with torch.no_grad():
                step(w.view(q * n, d), length / n_steps)
            if pace.due():
                yield progress
    return w


def _reach(schedule: Schedule) -> float:
    """Return the largest curvature · step that is taken."""
    return _NOISY_REACH if schedule.sigma else _REACH


def _step(
    potential: Landscape, w: Tensor, starts: Tensor, schedule: Schedule, stream: int
) -> Step:
    """Return steps whose noise, if there is any, is the same for every perturbation.

    With noise z ← z − h ∇V + σ √h (ξ_k + ξ_{k+1}) / 2 (Leimkuhler and Matthews 2013), which is
    right to order h² in the law that it settles to, for one gradient a step.
    """
    gradient = gradient_into(potential, len(w), compiled=schedule.compiled)
    if not schedule.sigma:
        return rk4_step(gradient, w)
    draw = normal_noise(starts, schedule.seed, stream)
    slope, sigma, q = torch.empty_like(w), schedule.sigma, len(w) // len(starts)
    kicks = [draw()]

    def step(z: Tensor, h: float) -> None:
        z.sub_(gradient(z, slope), alpha=h)
        before, after = kicks.pop(), draw()
        kicks.append(after)
        kick = (before + after).mul_(sigma * math.sqrt(h) / 2)
        z.view(q, *starts.shape).add_(kick)

    return step
