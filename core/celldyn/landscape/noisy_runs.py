"""Many runs with noise from every cell, streamed: nothing but where they end is handed on.

Shapes: m cells, r runs of each, d dimensions of the cell state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from celldyn.devices import compile_job
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Pace, Progress
from celldyn.landscape.fused import BLOCK, Into, gradient_into
from celldyn.landscape.potential import Landscape, Potential
from celldyn.landscape.schemes import Noise, normal_noise
from celldyn.landscape.step_size import curvature

Take = Callable[[slice, Tensor], None]
"""Takes the ends (cells of the slice, r, d) of all runs of some cells."""

_FINEST = 0.5
"""Largest curvature · h of a step; at that the scheme's error is far below what 32 runs tell."""
_MOST = 100_000
_MANY = 2_000_000
"""States from which on compiled code is worth importing."""
_PROBES, _ROUNDS, _REACH = 512, 6, 1e-3


def noisy_ends_job(
    potential: Landscape,
    z0: Tensor,
    time: float,
    sigma: float,
    n_runs: int,
    seed: int,
    take: Take,
    *,
    start_scale: Tensor | None = None,
    longest: float = 0.5,
    bend: float | None = None,
) -> Job[None]:
    """Integrate dz = −∇V dt + σ dW from every cell `n_runs` times, and hand on where runs end.

    z ← z − h ∇V(z) + σ √h (ξ_k + ξ_{k+1}) / 2 with independent standard normal ξ_0, ξ_1, ...: one
    gradient a step, and the law that runs settle to is right to order h², and exact in a quadratic
    well (Leimkuhler and Matthews 2013). Euler and Maruyama's, as cheap, is right to order h.

    Parameters
    ----------
    z0
        (m, d) where runs begin, like the potential's parameters.
    time
        How long they last.
    sigma
        σ, in units of z per √time.
    n_runs
        r.
    seed
        Of the noise. Runs of as many cells with as many runs each have the same noise, whatever
        their states: two landscapes, or two starts, can be compared run by run.
    take
        Is handed the ends of some cells at a time, all cells in order.
    start_scale
        (m, d) standard deviation of where runs begin, around z0; None for none.
    longest
        Longest step.
    bend
        Largest curvature that runs meet, where it is known; else it is looked up at z0.

    Raises
    ------
    ConfigError
        If runs leave all bounds.
    """
    bend = bend_of(potential, z0) if bend is None else bend
    n_steps = max(math.ceil(time / longest), math.ceil(time * bend / _FINEST), 1)
    if n_steps > _MOST:
        raise ConfigError(
            f"the potential curves by {bend:.3g}, so that a time of {time:.3g} takes {n_steps} "
            "steps of noise",
            "train it with a larger V_coeff, or integrate for a shorter time",
        )
    compiled = z0.shape[0] * n_runs * n_steps >= _MANY and z0.device.type == "cpu"
    if compiled and isinstance(potential, Potential):
        from celldyn.landscape.cosh_kernels import compile_kernel

        yield from compile_job([compile_kernel])
    at_once = max(1, BLOCK // n_runs)
    gradient = gradient_into(potential, at_once * n_runs, compiled=compiled)
    pace = Pace()
    for block, first in enumerate(range(0, z0.shape[0], at_once)):
        rows = slice(first, min(first + at_once, z0.shape[0]))
        z = z0[rows].repeat_interleave(n_runs, dim=0)
        noise = normal_noise(z, seed, block)
        if start_scale is not None:
            z.add_(noise().mul_(start_scale[rows].repeat_interleave(n_runs, dim=0)))
        for k in _steps(gradient, z, noise, sigma, time / n_steps, n_steps):
            if pace.due():
                done = rows.start + (rows.stop - rows.start) * k / n_steps
                yield Progress("noisy runs", done, z0.shape[0])
        if not torch.isfinite(z).all():
            raise ConfigError(
                "runs with noise leave all bounds",
                "use a smaller sigma, a shorter dt, or a landscape with confinement",
            )
        take(rows, z.view(rows.stop - rows.start, n_runs, -1))
        if pace.due():
            yield Progress("noisy runs", rows.stop, z0.shape[0])


def _steps(
    gradient: Into, z: Tensor, noise: Noise, sigma: float, h: float, n_steps: int
) -> Iterator[int]:
    """Move states (m, d) on in place, saying after every step how many are done."""
    slope, kick = torch.empty_like(z), sigma * math.sqrt(h) / 2
    before = noise()
    for k in range(n_steps):
        with torch.no_grad():
            z.sub_(gradient(z, slope), alpha=h)
        after = noise()
        z.add_(before.add_(after), alpha=kick)
        before = after
        yield k + 1


def bend_of(potential: Landscape, z: Tensor) -> float:
    """Return the largest curvature at some of the states (m, d), 0 at least.

    A landscape that does not know its curvature is asked by differences of its gradient, along
    directions that turn towards the steepest.
    """
    if hasattr(potential, "hessian_max_eigenvalue") or not z.shape[0]:
        return curvature(potential, z)
    at = z[:: math.ceil(z.shape[0] / _PROBES)]
    slope, largest = potential.gradient(at), 0.0
    way = torch.ones_like(at)
    way[:, ::2] *= 0.5  # not a direction that symmetry would keep from turning
    for _ in range(_ROUNDS):
        way = way / way.norm(dim=1, keepdim=True).clamp_min(1e-12)
        way = (potential.gradient(at + _REACH * way) - slope) / _REACH
        largest = max(largest, float(way.norm(dim=1).max()))
    return largest
