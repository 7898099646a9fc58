"""The likeliest way from one state to another against the drift −∇V.

Shapes: m points of a path, d dimensions of the cell state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.flow_inputs import as_states, parameters_of
from celldyn.landscape.graph import Floats
from celldyn.landscape.potential import Landscape

Gradient: TypeAlias = Callable[[Tensor], Tensor]

_ROUNDS = 20
_STEPS = 25
"""Of L-BFGS in a round."""
_EVENNESS = 0.1
"""Weight of unequal distances between points, over the effort; it is 0 on any path whose points
are even, so that it favours none."""
_SMOOTH = 1e-6
"""Added to |∇V|² relative to its mean, so that the action has a slope where the drift is 0."""


@dataclass(frozen=True, slots=True)
class ActionPath:
    """A path of least action.

    Parameters
    ----------
    points
        (m, d) from start to end, at equal distances.
    potential
        (m,) V along it.
    action
        ∫ (|∇V| |dz| + ∇V · dz): with noise σ, walks take the path as often as e^{−action / σ²}.
        It is twice what is climbed in all, and 0 for a path that only falls.
    effort
        ∫ |∇V| |dz|, what the action is measured by.
    found
        Whether the last round changed the action by no more than the tolerance.
    """

    points: Floats
    potential: Floats
    action: float
    effort: float
    found: bool

    @property
    def barrier(self) -> float:
        """How high it rises above where it begins."""
        return float(self.potential.max() - self.potential[0])

    @property
    def top(self) -> Floats:
        """Where it is highest, (d,): near a saddle, if it goes from one valley to another."""
        return np.asarray(self.points[self.potential.argmax()])


def least_action_path(
    potential: Landscape,
    start: Tensor | ArrayLike,
    end: Tensor | ArrayLike,
    *,
    n_points: int = 60,
    first: Tensor | ArrayLike | None = None,
    tolerance: float = 1e-4,
) -> ActionPath:
    """Return the path from one state to another that noise takes most easily.

    Minimises the geometric action ∫ (|b| |dz| − b · dz) with b = −∇V over paths of any duration,
    by L-BFGS, on a few points first and on twice as many again and again.

    Parameters
    ----------
    potential
        `Potential`, or anything with V and its gradient, of which derivatives may be taken.
    start, end
        (d,) states; between two minima the path goes over the saddle.
    n_points
        m.
    first
        (any, d) a path to begin with; by default a straight line. Where there are several passes,
        the one nearest to it is found.
    tolerance
        Improving ends where a round changes the action by less than this share of the effort.

    Raises
    ------
    DataError
        If states are not of d finite numbers, or start and end are one.
    ConfigError
        If there are fewer than 3 points.

    Notes
    -----
    Heymann and Vanden-Eijnden 2008 (geometric minimum action).
    """
    job = least_action_path_job(
        potential, start, end, n_points=n_points, first=first, tolerance=tolerance
    )
    return run(job, bar=False)


def least_action_path_job(
    potential: Landscape,
    start: Tensor | ArrayLike,
    end: Tensor | ArrayLike,
    *,
    n_points: int = 60,
    first: Tensor | ArrayLike | None = None,
    tolerance: float = 1e-4,
) -> Job[ActionPath]:
    """Find the path of least action as a job; see `least_action_path`."""
    if n_points < 3:
        raise ConfigError(f"n_points is {n_points}", "give 3 or more")
    if not tolerance > 0:
        raise ConfigError(f"tolerance is {tolerance}", "give a share above 0")
    path, gradient = _begun(potential, start, end, first), _in_double(potential)
    levels = [max(3, n_points >> k) for k in range(max(n_points.bit_length() - 4, 0), -1, -1)]
    for level, m in enumerate(levels):
        path = _evenly(path, m)
        action, effort = _costs(gradient, path)
        for k in range(_ROUNDS):
            before, done = action, level + k / _ROUNDS
            yield Progress("path of least action", done, len(levels), metrics={"action": before})
            path = _evenly((yield from _improved_job(gradient, path, done, len(levels))), m)
            action, effort = _costs(gradient, path)
            if found := abs(action - before) < tolerance * effort:
                break
    with torch.no_grad():
        like = next(parameters_of(potential), path)
        V = potential(path.to(dtype=like.dtype, device=like.device)).double().cpu()
    return ActionPath(path.numpy(), V.numpy(), action, effort, found)


@torch.no_grad()
def _costs(gradient: Gradient, path: Tensor) -> tuple[float, float]:
    """Return the action of a path, and ∫ |∇V| |dz| along it."""
    step, slope = path.diff(dim=0), gradient((path[1:] + path[:-1]) / 2)
    whole = (slope.norm(dim=1) * step.norm(dim=1)).sum()
    return float(whole + (slope * step).sum()), float(whole)


def _begun(
    potential: Landscape,
    start: Tensor | ArrayLike,
    end: Tensor | ArrayLike,
    first: Tensor | ArrayLike | None,
) -> Tensor:
    """Return a path to begin with, (any, d), in double precision on the cpu."""
    ends = [torch.as_tensor(state).detach().reshape(1, -1) for state in (start, end)]
    if ends[0].shape != ends[1].shape:
        raise DataError("start and end have not as many dimensions", "give two states")
    between = [] if first is None else [torch.as_tensor(first).detach()]
    if between and (between[0].ndim != 2 or between[0].shape[1] != ends[0].shape[1]):
        raise DataError(
            f"the path to begin with is of shape {tuple(between[0].shape)}",
            f"give rows of {ends[0].shape[1]} numbers",
        )
    whole = torch.cat([part.double().cpu() for part in (ends[0], *between, ends[1])])
    as_states(potential, whole)
    if _length(whole) == 0:
        raise DataError("start and end of the path are one state", "give two")
    return whole


def _in_double(potential: Landscape) -> Gradient:
    """Return ∇V of paths in double precision on the cpu, by the potential as it is."""
    like = next(parameters_of(potential), torch.zeros(0, dtype=torch.float64))
    if isinstance(potential, torch.nn.Module):
        import copy

        potential = copy.deepcopy(potential).cpu().double()
        potential.requires_grad_(requires_grad=False)
    elif like.dtype != torch.float64:
        raise ConfigError("paths are found in double precision", "give a potential of float64")
    return potential.gradient


def _improved_job(gradient: Gradient, path: Tensor, done: float, total: int) -> Job[Tensor]:
    """Take steps of L-BFGS on the inner points."""
    inner = path[1:-1].clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [inner], max_iter=5, history_size=10, line_search_fn="strong_wolfe"
    )
    weight = _EVENNESS * _costs(gradient, path)[1]

    def loss() -> Tensor:
        optimiser.zero_grad()
        whole = torch.cat([path[:1], inner, path[-1:]])
        # The action does not see where on a path its points are; crowded, they leave gaps.
        step = (whole.diff(dim=0).square().sum(dim=1) + 1e-24).sqrt()
        uneven = (step / step.mean() - 1).square().sum()
        value = _action(gradient, whole) + weight * uneven
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(_STEPS // 5):
        optimiser.step(loss)  # type: ignore[no-untyped-call]
        yield Progress("path of least action", done, total)
    return torch.cat([path[:1], inner.detach(), path[-1:]])


def _action(gradient: Gradient, path: Tensor) -> Tensor:
    """Return Σ (|∇V| |dz| + ∇V · dz) over the steps of a path, ∇V at their middles; smooth."""
    step, slope = path.diff(dim=0), gradient((path[1:] + path[:-1]) / 2)
    squared = slope.square().sum(dim=1)
    speed = (squared + _SMOOTH * squared.detach().mean()).sqrt()
    length = (step.square().sum(dim=1) + 1e-24).sqrt()
    return (speed * length + (slope * step).sum(dim=1)).sum()


def _length(path: Tensor) -> float:
    return float(path.diff(dim=0).norm(dim=1).sum())


def _evenly(path: Tensor, n_points: int) -> Tensor:
    """Return points at equal distances along a path, (n_points, d)."""
    along = np.concatenate([[0.0], path.diff(dim=0).norm(dim=1).cumsum(0).numpy()])
    at = np.linspace(0.0, along[-1], n_points)
    columns = [np.interp(at, along, column) for column in path.numpy().T]
    return torch.from_numpy(np.stack(columns, axis=1))
