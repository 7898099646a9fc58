"""Cells flow downhill: dz = −∇V(z) dt + σ dW, for many cells at once.

Shapes: n cells, d dimensions of the cell state.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from celldyn.devices import aside_job, free_memory
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.flow_inputs import (
    Method,
    as_states,
    as_times,
    check_scheme,
    learns,
    on_device_of,
)
from celldyn.landscape.fused import BLOCK
from celldyn.landscape.memory import in_words
from celldyn.landscape.potential import Landscape
from celldyn.landscape.step_size import curvature, steps_between
from celldyn.landscape.sweep import Sweep

RTOL, ATOL = 1e-5, 1e-6
"""Default tolerances of dopri5: sclsd asks for 1e-7 and 1e-9, in float32, which has 1e-7."""


def flow(
    potential: Landscape,
    z0: Tensor | ArrayLike,
    times: Tensor | ArrayLike,
    *,
    method: Method = "rk4",
    sigma: float = 0.0,
    seed: int | None = None,
    substeps: int | None = None,
    rtol: float = RTOL,
    atol: float = ATOL,
    adjoint: bool = False,
    differentiable: bool | None = None,
) -> Tensor:
    """Integrate dz/dt = −∇V(z), or with noise dz = −∇V dt + σ dW, from z0 on.

    Parameters
    ----------
    potential
        `Potential`, or anything with `gradient(z)`, (n, d) to (n, d).
    z0
        (n, d) states at the first time.
    times
        (n_times,) increasing.
    method
        "rk4": the 3/8 rule, order 4, fixed steps, torchdiffeq's. "dopri5": order 5, adapted steps.
        "heun", "euler": orders 2 and 1. With noise rk4 stands for Heun's stochastic scheme, and
        euler is that of Euler and Maruyama; dopri5 cannot have any.
    sigma
        σ, in units of z per √time; 0 for none.
    seed
        Of the noise, needed where σ > 0: the same seed gives the same paths of the same cells.
    substeps
        Steps from one time to the next; by default as many as curvature asks for: one, where the
        largest eigenvalue of ∇∇V times the step is below 1 (rk4).
    rtol, atol
        Tolerances of dopri5.
    adjoint
        Whether gradients are integrated backwards: memory then does not grow with time.
    differentiable
        Whether a graph is kept for gradients; by default if there is anything to learn: there is
        no noise, gradients are enabled, and z0 or a parameter asks for one. Without it, cells are
        done in blocks by a faster path that gives the same.

    Returns
    -------
    (n_times, n, d), of the dtype and on the device of the potential's parameters; the first is z0.

    Raises
    ------
    ConfigError
        If the method is not known, a step would be unstable, σ is without a seed or wanted of
        dopri5 or with gradients, or paths outgrow memory.
    DataError
        If z0 is not (n, d) and finite, or times do not increase.
    """
    z, at = as_states(potential, z0), as_times(times)
    needs_graph = not sigma and torch.is_grad_enabled() and learns(potential, z)
    if needs_graph if differentiable is None else differentiable:
        scheme = check_scheme(method, sigma, seed, substeps)
        if sigma:
            raise ConfigError(
                "a path with noise has no gradient here", "use differentiable=False, or sigma=0"
            )
        return _with_graph(potential, z, at, scheme, substeps, rtol, atol, adjoint=adjoint)
    job = flow_job(
        potential, z, at, method=method, sigma=sigma, seed=seed, substeps=substeps, rtol=rtol,
        atol=atol,
    )  # fmt: skip
    return run(job, bar=False)


def flow_job(
    potential: Landscape,
    z0: Tensor | ArrayLike,
    times: Tensor | ArrayLike,
    *,
    method: Method = "rk4",
    sigma: float = 0.0,
    seed: int | None = None,
    substeps: int | None = None,
    rtol: float = RTOL,
    atol: float = ATOL,
) -> Job[Tensor]:
    """Integrate without a graph, block by block of cells, as a job; see `flow`."""
    scheme = check_scheme(method, sigma, seed, substeps)
    z, at = as_states(potential, z0).detach(), as_times(times)
    needed, free = len(at) * z.numel() * z.element_size(), free_memory()
    if needed > free and z.device.type == "cpu":
        raise ConfigError(
            f"{len(at)} times of {z.shape[0]} cells take {in_words(needed)}, and {in_words(free)} "
            "of memory are free",
            "ask for fewer times, or fewer cells",
        )
    paths = z.new_empty(len(at), *z.shape)
    for block, first in enumerate(range(0, z.shape[0], BLOCK)):
        rows = slice(first, min(first + BLOCK, z.shape[0]))
        share = (rows.start / z.shape[0], rows.stop / z.shape[0])
        if scheme == "dopri5":
            block_job = _adapted_job(potential, z[rows], at, rtol, atol, share[0])
            paths[:, rows] = yield from block_job
            continue
        sweep = Sweep(potential, scheme, at, sigma, None if seed is None else (seed, block))
        yield from sweep.job(z[rows], paths[:, rows], share, substeps)
    yield Progress("flow", 1.0, 1.0)
    return paths


def _with_graph(
    potential: Landscape,
    z: Tensor,
    times: list[float],
    scheme: Method,
    substeps: int | None,
    rtol: float,
    atol: float,
    *,
    adjoint: bool,
) -> Tensor:
    """Integrate by torchdiffeq, so that derivatives may be taken."""
    if scheme == "dopri5":
        return _adapted(potential, z, times, rtol, atol, adjoint=adjoint)
    bend = curvature(potential, z)
    grid, kept = times[:1], [0]
    for begin, end in pairwise(times):
        n_steps = steps_between(end - begin, bend, scheme, substeps)
        grid += [begin + (end - begin) * (i + 1) / n_steps for i in range(n_steps)]
        kept.append(len(grid) - 1)
    name = {"rk4": "rk4", "heun": "heun2", "euler": "euler"}[scheme]
    solve = solver(adjoint=adjoint)
    paths = solve(Downhill(potential), z, on_device_of(z, grid), method=name)
    return cast("Tensor", paths[kept] if len(kept) < len(grid) else paths)


def _adapted_job(
    potential: Landscape, z: Tensor, times: list[float], rtol: float, atol: float, done: float
) -> Job[Tensor]:
    """Integrate a block on a thread: a call of the solver says nothing before it ends."""

    def work() -> Tensor:
        with torch.no_grad():
            return _adapted(potential, z, times, rtol, atol, adjoint=False)

    return (yield from aside_job(work, "flow", done=done, total=1.0))


def _adapted(
    potential: Landscape, z: Tensor, times: list[float], rtol: float, atol: float, *, adjoint: bool
) -> Tensor:
    if len(times) == 1:
        return z[None]
    solve = solver(adjoint=adjoint)
    found = solve(
        Downhill(potential), z, on_device_of(z, times), method="dopri5", rtol=rtol, atol=atol
    )
    return cast("Tensor", found)


def solver(*, adjoint: bool) -> Callable[..., Any]:
    """Return torchdiffeq's solver, whose gradients go back through its steps or are integrated."""
    import torchdiffeq

    chosen: Callable[..., Any] = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint
    return chosen


class Downhill(torch.nn.Module):
    """−∇V as torchdiffeq asks for it; a module, so that the adjoint finds the parameters."""

    def __init__(self, potential: Landscape) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, (n, d)."""
        return -self.potential.gradient(z)
