"""Fixed steps of the flow for one block of cells, as fine as the ground they come to asks for.

Shapes: n cells, d dimensions of the cell state.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from celldyn.errors import ConfigError
from celldyn.jobs import Job, Pace, Progress
from celldyn.landscape.fused import gradient_into
from celldyn.landscape.potential import Landscape
from celldyn.landscape.schemes import Scheme, make_step, normal_noise
from celldyn.landscape.step_size import curvature, steps_between

Steps = Callable[[float], int]
"""How many steps are taken in a time."""

_CLIMB = "paths climb, as steps that are too long do"
_ROUNDING = 1e-5
"""Part of the largest V by which a path may climb for rounding."""
_FLAT = 1e-6
"""By which it may climb on any ground: log cosh takes log 2 off, which float32 knows to 6e-8."""
_FINER = 4**4
"""How many times finer than curvature asks for steps are made before it is given up."""


class Sweep:
    """Fixed steps of one block of cells.

    Parameters
    ----------
    potential
        What they flow down.
    scheme, times, sigma
        See `flow`.
    stream
        Seed of the noise and number of the block; None without noise.
    """

    def __init__(
        self,
        potential: Landscape,
        scheme: Scheme,
        times: list[float],
        sigma: float,
        stream: tuple[int, int] | None,
    ) -> None:
        self._potential, self._scheme, self._times = potential, scheme, times
        self._sigma, self._stream = sigma, stream

    def job(
        self, z0: Tensor, paths: Tensor, share: tuple[float, float], substeps: int | None
    ) -> Job[None]:
        """Write paths (n_times, n, d) from z0 (n, d) on.

        Where they come to ground that curves more than where they began, they begin again with
        finer steps.

        Parameters
        ----------
        share
            Of the whole job's work that is done before and after this block.
        substeps
            Steps from one time to the next; None chooses.

        Raises
        ------
        ConfigError
            If the steps asked for are unstable.
        """
        bend = curvature(self._potential, z0)
        if substeps is not None:
            yield from self._once(z0, paths, share, self._planned(bend, substeps))
            met, climbs = self._met(paths)
            self._planned(max(bend, met), substeps)(self._longest)
            if climbs:
                raise ConfigError(_CLIMB, "use more substeps, or leave them out")
            return
        finer = 1
        while True:
            planned = self._planned(bend, None, finer)
            yield from self._once(z0, paths, share, planned)
            met, climbs = self._met(paths)
            short = self._planned(met, None)(self._longest) > 2 * planned(self._longest)
            if not climbs and not short:
                return
            if finer >= _FINER:
                raise ConfigError(_CLIMB, "ask for more times, or for substeps")
            bend, finer = max(bend, met), 1 if short else 4 * finer

    @property
    def _longest(self) -> float:
        return max((end - begin for begin, end in pairwise(self._times)), default=0.0)

    def _planned(
        self, bend: float, substeps: int | None, finer: int = 1
    ) -> Callable[[float], int]:
        return lambda h: finer * steps_between(h, bend, self._scheme, substeps)

    def _met(self, paths: Tensor) -> tuple[float, bool]:
        """Return the curvature that was met, and whether any path without noise climbs."""
        if not torch.isfinite(paths).all():
            return 0.0, True
        bend = curvature(self._potential, paths.flatten(0, 1))
        if self._sigma or len(paths) == 1:
            return bend, False
        with torch.no_grad():
            V = self._potential(paths[:, ::4])
        rise, rounding = V.diff(dim=0), _FLAT + _ROUNDING * V.abs().amax()
        return bend, bool((rise > rounding).any()) if rise.numel() else False

    def _once(
        self,
        z0: Tensor,
        paths: Tensor,
        share: tuple[float, float],
        planned: Steps,
    ) -> Job[None]:
        z, pace = z0.clone(), Pace()
        gradient = gradient_into(self._potential, z.shape[0])
        noise = None
        if self._sigma and self._stream is not None:
            noise = normal_noise(z, *self._stream)
        step = make_step(self._scheme, gradient, z, self._sigma, noise)
        paths[0] = z
        for k, (begin, end) in enumerate(pairwise(self._times)):
            n_steps = planned(end - begin)
            for i in range(n_steps):
                with torch.no_grad():
                    step(z, (end - begin) / n_steps)
                if pace.due():
                    part = (k + (i + 1) / n_steps) / max(len(self._times) - 1, 1)
                    yield Progress("flow", share[0] + part * (share[1] - share[0]), 1.0)
            paths[k + 1] = z
