"""How long cells flow downhill before they rest.

Shapes: n cells, d dimensions of the cell state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from celldyn.errors import ConfigError
from celldyn.jobs import Job, Progress, run, scaled
from celldyn.landscape.flow_inputs import as_states
from celldyn.landscape.flowing import flow_job
from celldyn.landscape.graph import Floats
from celldyn.landscape.places import Mask
from celldyn.landscape.potential import Landscape

TOLERANCE = 0.02
"""Of the speed of the fastest cells: slower is rest, where no tolerance is given."""
_FAST = 95.0
"""Percentile that stands for the fastest cells."""
_STRIDES = 8
"""Times that are looked at before cells that rest are left out."""
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class FlowTime:
    """Time until cells rest.

    Parameters
    ----------
    time
        (n,) until a cell is first slower than the tolerance; `limit` for one that never is.
    resting
        (n,) whether it was by then.
    tolerance
        Speed below which a cell rests, in units of z per time.
    limit
        How long cells were followed.
    """

    time: Floats
    resting: Mask
    tolerance: float
    limit: float

    @property
    def share(self) -> float:
        """Share of the cells that rest."""
        return float(self.resting.mean()) if self.resting.size else 1.0


def flow_time(
    potential: Landscape,
    z: Tensor | ArrayLike,
    *,
    tolerance: float | None = None,
    limit: float = 50.0,
    dt: float = 0.5,
) -> FlowTime:
    """Return the time that each cell takes downhill, dz/dt = −∇V, until it rests.

    It orders cells along the flow, in the model's own time: unlike the potential, which says how
    high a cell is, it says how far from rest. Cells that never slow down are given the limit.

    Parameters
    ----------
    potential
        What they flow down.
    z
        (n, d) states.
    tolerance
        |∇V| below which a cell rests, in units of z per time; by default 2 % of the speed that
        one in twenty cells exceeds.
    limit
        How long cells are followed.
    dt
        Times at which speeds are looked at, to begin with; later they are farther apart, an eighth
        of the time that has passed. Between two the logarithm of the speed is taken as straight,
        as it is on the way into a minimum.

    Raises
    ------
    DataError
        If states are not (n, d) and finite.
    ConfigError
        If a parameter is not above 0.
    """
    return run(flow_time_job(potential, z, tolerance=tolerance, limit=limit, dt=dt), bar=False)


def flow_time_job(
    potential: Landscape,
    z: Tensor | ArrayLike,
    *,
    tolerance: float | None = None,
    limit: float = 50.0,
    dt: float = 0.5,
) -> Job[FlowTime]:
    """Measure times until rest as a job; see `flow_time`."""
    for name, value in (("tolerance", tolerance), ("limit", limit), ("dt", dt)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}", "give a number above 0")
    x = as_states(potential, z).detach()
    speed = _speeds(potential, x)
    slow = tolerance
    if slow is None:
        slow = TOLERANCE * float(np.percentile(speed, _FAST)) if speed.size else 0.0
    time, resting = np.where(speed <= slow, 0.0, limit), speed <= slow
    moving, passed = np.flatnonzero(~resting), 0.0
    x, speed = x[~resting], speed[~resting]
    while moving.size and passed < limit * (1 - 1e-9):
        stride = min(max(dt, passed / _STRIDES), (limit - passed) / _STRIDES)
        ahead = flow_job(potential, x, stride * np.arange(_STRIDES + 1))
        paths = yield from scaled(ahead, passed, limit, units=_STRIDES * stride)
        for k in range(1, _STRIDES + 1):
            now = _speeds(potential, paths[k])
            there = (now < slow) & ~resting[moving]
            cells = moving[there]
            time[cells] = passed + stride * (k - 1 + _share(speed[there], now[there], slow))
            resting[cells] = True
            speed = now
            yield Progress("time to rest", passed + k * stride, limit)
        left = ~resting[moving]
        moving, x, speed = moving[left], paths[-1][left], speed[left]
        passed += _STRIDES * stride
    return FlowTime(time, resting, slow, limit)


@torch.no_grad()
def _speeds(potential: Landscape, z: Tensor) -> Floats:
    parts = [
        potential.gradient(part).norm(dim=1).double().cpu() for part in torch.split(z, _BLOCK)
    ]
    return torch.cat(parts).numpy() if parts else np.zeros(0)


def _share(before: Floats, after: Floats, slow: float) -> Floats:
    """Return the share of a stride that has passed when the speed comes to the tolerance."""
    after = np.maximum(after, 1e-12 * slow)
    fall = np.log(np.maximum(before, slow) / after)
    return np.asarray(np.clip(np.log(np.maximum(before, slow) / slow) / fall, 0.0, 1.0))
