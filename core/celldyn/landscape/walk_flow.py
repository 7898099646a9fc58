"""The flow along walks as training needs it: compiled, or one call of a solver.

Neither asks the device for a number.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from celldyn.landscape.config import ODEConfig
from celldyn.landscape.flowing import Downhill, solver
from celldyn.landscape.potential import Potential
from celldyn.landscape.step_size import STABLE, curvature
from celldyn.landscape.walk_sweep import can_sweep, sweep

_MARGIN = 0.8
"""Part of the longest stable step that is used: the potential changes between two looks."""
_MOST_SUBSTEPS = 64


def walk_flow(
    potential: Potential, z0: Tensor, path_len: int, ode: ODEConfig, substeps: int
) -> Tensor:
    """Flow from z0, (W, d), over times 0 to 1; (L, W, d) at `path_len` even times, with graph.

    Parameters
    ----------
    ode
        Method and tolerances.
    substeps
        Steps of rk4 between two times; see `stable_substeps`.
    """
    if ode.method == "rk4" and can_sweep(potential, z0):
        return sweep(potential, z0, path_len, substeps)
    solve = solver(adjoint=ode.adjoint)
    downhill = Downhill(potential)
    if ode.method == "dopri5":
        times = torch.linspace(0, 1, path_len, dtype=z0.dtype, device=z0.device)
        found = solve(downhill, z0, times, method="dopri5", rtol=ode.rtol, atol=ode.atol)
        return cast("Tensor", found)
    n_times = (path_len - 1) * substeps + 1
    grid = torch.linspace(0, 1, n_times, dtype=z0.dtype, device=z0.device)
    paths = cast("Tensor", solve(downhill, z0, grid, method="rk4"))
    return paths[::substeps]


def stable_substeps(potential: Potential, z: Tensor, path_len: int, ode: ODEConfig) -> int:
    """Return how many steps between two cells of a walk are stable where cells are now.

    At least what the config says; more where the largest eigenvalue of ∇∇V at states z, (n, d),
    times the step would come to 2, beyond which an explicit step leaves the ground.
    """
    bend = curvature(potential, z)
    needed = math.ceil(bend / ((path_len - 1) * STABLE * _MARGIN)) if math.isfinite(bend) else 1
    return min(max(ode.substeps, needed), max(ode.substeps, _MOST_SUBSTEPS))
