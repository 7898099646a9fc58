"""A path of sparse group lassos by coordinate descent on cross products: fast, for many fits.

The exact solver is `sparse_group_solver`. This one finds which penalty predicts best, for which
a fit to a ten-millionth of the variance will do (Friedman et al. 2010, J. Stat. Softw. 33:1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from celldyn.betas.neighbours import Floats, Ints

F = TypeVar("F", bound=Callable[..., Any])
_compiled: Callable[[F], F] = numba.njit(nogil=True, cache=True)

SWEEPS = 300
"""Most passes over the columns for one penalty."""

TOL = 1e-7
"""A descent ends when no column changes the fit by more than this share of the variance."""


def descend_path(
    G: Floats,
    c: Floats,
    codes: Ints,
    group_weight: Floats,
    l1: Floats,
    factor: Floats,
    *,
    power: float,
    most: int,
    first: Floats | None = None,
) -> tuple[Floats, int]:
    """Minimise ½ b'Gb − c'b + Σ_g w_g ‖b_g‖ + l1 Σ_j f_j |b_j| for one l1 after another.

    Parameters
    ----------
    G
        (p, p) positive semi-definite; columns whose diagonal is 0 keep b = 0.
    c
        (p,) linear term.
    codes
        (p,) group of each column as 0 .. n_groups − 1.
    group_weight
        (n_groups,) w_g, the same for all l1.
    l1
        (n_path,) penalties, falling; each starts from the solution before.
    factor
        (p,) f_j, by which a column's l1 is multiplied.
    power
        Variance of the target, which changes are measured against.
    most
        The path ends at the first penalty with more coefficients than this.
    first
        (p,) where the path was left, if it is gone on with; else 0.

    Returns
    -------
    (n_path, p) coefficients and how many rows of it were reached. A group's norm is taken by its
    tangent quadratic, and is left at 0 where its optimality condition holds.
    """
    G, c = np.ascontiguousarray(G), np.ascontiguousarray(c)
    b = np.zeros(len(c)) if first is None else first.copy()
    path, reached = _path(G, c, codes, group_weight, l1, factor, b, power, most, SWEEPS, TOL)
    return path, int(reached)


@_compiled
def _path(
    G: Any,  # noqa: ANN401
    c: Any,  # noqa: ANN401
    codes: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    l1: Any,  # noqa: ANN401
    factor: Any,  # noqa: ANN401
    b: Any,  # noqa: ANN401
    power: float,
    most: int,
    sweeps: int,
    tol: float,
) -> Any:  # noqa: ANN401
    gradient, squares, asleep = -c, np.zeros(len(weight)), np.zeros(len(weight), np.bool_)
    for j in np.flatnonzero(b):
        gradient += b[j] * G[j]
        squares[codes[j]] += b[j] * b[j]
    path = np.zeros((len(l1), len(c)))
    for k in range(len(l1)):
        whole = True  # a pass over all columns, then passes over those that are not 0
        for _ in range(sweeps):
            if whole:
                _lull(gradient, codes, weight, squares, l1[k] * factor, asleep)
            largest = _sweep(G, b, gradient, codes, weight, squares, l1[k] * factor, asleep, whole)
            settled = largest <= tol * power
            if settled and whole:
                break
            whole = settled
        path[k] = b
        if np.count_nonzero(b) > most:
            return path, k + 1
    return path, len(l1)


@_compiled
def _lull(
    gradient: Any,  # noqa: ANN401
    codes: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    squares: Any,  # noqa: ANN401
    l1: Any,  # noqa: ANN401
    asleep: Any,  # noqa: ANN401
) -> None:
    """Put to sleep the groups at 0 whose columns pull with less than the group's weight."""
    pull = np.zeros(len(weight))
    for j in range(len(gradient)):
        over = abs(gradient[j]) - l1[j]
        if over > 0:
            pull[codes[j]] += over * over
    for g in range(len(weight)):
        asleep[g] = weight[g] > 0 and squares[g] <= 0 and pull[g] <= weight[g] * weight[g]


@_compiled
def _sweep(
    G: Any,  # noqa: ANN401
    b: Any,  # noqa: ANN401
    gradient: Any,  # noqa: ANN401
    codes: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    squares: Any,  # noqa: ANN401
    l1: Any,  # noqa: ANN401
    asleep: Any,  # noqa: ANN401
    whole: bool,  # noqa: FBT001
) -> float:
    """Minimise over one column after another; return the largest change of the fit."""
    largest = 0.0
    for j in range(len(b)):
        curve, g, old = G[j, j], codes[j], b[j]
        if curve <= 0 or asleep[g] or (old == 0 and not whole):
            continue
        point = curve * old - gradient[j]
        short = abs(point) - l1[j]
        new = 0.0
        if short > 0:
            bend = 0.0
            if weight[g] > 0:
                norm = np.sqrt(max(squares[g], 0.0))
                bend = weight[g] / (norm if norm > 0 else short / curve)
            new = np.sign(point) * short / (curve + bend)
        change = new - old
        if change != 0:
            b[j] = new
            squares[g] = max(squares[g] + new * new - old * old, 0.0)
            row = G[j]
            for i in range(len(b)):
                gradient[i] += change * row[i]
            largest = max(largest, curve * change * change)
    return largest
