"""How much noise there is: σ of dz = −∇V dt + σ dW, from walks around the flow.

Shapes: n cells, d dimensions of the cell state, w walks of l cells, k lags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run, scaled
from celldyn.landscape.flow_inputs import as_states
from celldyn.landscape.flowing import flow_job
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.potential import Landscape

_LAGS, _FEWEST, _NEAR = 12, 4, 1.0
"""Most and fewest steps of a walk that are looked ahead, and how much time at most: later, what
the flow misses is bounded by where cells are, not by noise."""
_UNSTABLE = -1.0
"""Smallest 2ht: on ridges linear growth would soon leave all bounds."""
_WALKS = 2048
"""Most pieces of walks that are looked at."""
_SAMPLES = 200
"""Times that walks are drawn again for the interval."""
_PROBES, _REACH = 4, 1e-2


@dataclass(frozen=True, slots=True)
class Sigma:
    """σ and what it was read from.

    Parameters
    ----------
    sigma
        σ, in units of z per √time.
    low, high
        95 % interval, by drawing walks again.
    scatter
        Standard deviation of a cell's state around the path that walks follow: what stays however
        short the time between two cells of a walk.
    mismatch
        How much faster or slower than the flow walks move, in units of z per time.
    times
        (k,) between two cells of a walk.
    residual
        (k,) mean square of what the flow misses, per dimension.
    fitted
        (k,) what σ, scatter and mismatch say it is.
    """

    sigma: float
    low: float
    high: float
    scatter: float
    mismatch: float
    times: Floats
    residual: Floats
    fitted: Floats

    def __str__(self) -> str:
        return (
            f"sigma {self.sigma:.3g} ({self.low:.3g} to {self.high:.3g}), scatter of cells "
            f"{self.scatter:.3g}"
        )


def sigma_of_model(
    potential: Landscape,
    z_cells: Tensor | ArrayLike,
    walks: ArrayLike,
    *,
    span: float = 1.0,
    seed: int = 0,
) -> Sigma:
    """Return σ that a trained model and its walks imply; see `sigma_of_model_job`."""
    return run(sigma_of_model_job(potential, z_cells, walks, span=span, seed=seed), bar=False)


def sigma_of_model_job(
    potential: Landscape,
    z_cells: Tensor | ArrayLike,
    walks: ArrayLike,
    *,
    span: float = 1.0,
    seed: int = 0,
) -> Job[Sigma]:
    """Find σ that a trained model and its walks imply.

    The model takes a walk for a path of dz = −∇V dt + σ dW whose cells are seen with a scatter s
    of their own. From a cell of a walk the flow says where the walk should be a time t later; what
    it misses has, per dimension, the mean square

        s² (1 + e^{−2ht}) + σ² (1 − e^{−2ht}) / (2h) + b² t²

    with h the mean curvature tr(∇∇V) / d: the scatter of the later cell, that of the first, which
    the flow draws together, noise, and b by which the flow is too fast or too slow. s², σ² and b²
    of 0 or more are fitted to the mean squares at 4 to 12 lags, up to a time of 1, each in
    proportion to itself. The
    square of single steps alone would take scatter for noise.

    Parameters
    ----------
    potential
        The trained potential.
    z_cells
        (n, d) states of the cells.
    walks
        (w, l) numbers of cells along walks.
    span
        Time that a whole walk takes: 1 in training.
    seed
        Of the pieces of walks that are looked at, and of the interval.

    Raises
    ------
    DataError
        If states are not (n, d) and finite, or walks are not (w, l) numbers of them.
    ConfigError
        If walks are of fewer than four cells, or the span is not above 0.
    """
    cells = as_states(potential, z_cells).detach()
    along = _checked(walks, cells.shape[0], span)
    rng = np.random.default_rng(seed)
    n_steps = along.shape[1] - 1
    n_lags = min(max(_FEWEST, int(_NEAR * n_steps / span)), _LAGS, n_steps)
    times = np.arange(1, n_lags + 1) * (span / n_steps)
    pieces = _pieces(along, n_lags, rng)
    begin = cells[torch.as_tensor(pieces[:, 0])]
    flowed = yield from scaled(flow_job(potential, begin, [0.0, *times]), 0, 2)
    missed = np.empty((len(pieces), n_lags))
    for k in range(n_lags):
        there = cells[torch.as_tensor(pieces[:, k + 1])]
        missed[:, k] = (there - flowed[k + 1]).square().mean(dim=1).double().cpu().numpy()
    yield Progress("how much noise", 1, 2)
    terms = _terms(_mean_curvature(potential, begin, seed), times)
    s2, sigma2, b2 = _fit(terms, missed.mean(axis=0))
    drawn = rng.integers(0, len(pieces), (_SAMPLES, len(pieces)))
    again = [_fit(terms, missed[rows].mean(axis=0))[1] for rows in drawn]
    low, high = np.sqrt(np.quantile(again, [0.025, 0.975]))
    return Sigma(
        math.sqrt(sigma2), float(low), float(high), math.sqrt(s2), math.sqrt(b2), times,
        missed.mean(axis=0), terms @ np.array([s2, sigma2, b2]),
    )  # fmt: skip


def _checked(walks: ArrayLike, n_cells: int, span: float) -> Ints:
    """Return walks as (w, l) numbers of cells."""
    along = np.asarray(walks)
    if along.ndim != 2 or not len(along) or along.dtype.kind not in "iu":
        raise DataError(
            f"walks are {along.dtype} of shape {along.shape}", "give numbers of cells, (w, l)"
        )
    if along.min() < 0 or along.max() >= n_cells:
        raise DataError(f"walks name cells beyond 0 to {n_cells - 1}", "give walks of these cells")
    if along.shape[1] < 4:
        raise ConfigError(
            f"walks of {along.shape[1]} cells do not tell noise from scatter",
            "set walks.path_len to 4 or more, or give sigma",
        )
    if not 0 < span < math.inf:
        raise ConfigError(f"span is {span}", "give the time of a walk, above 0")
    return along.astype(np.int64)


def _pieces(along: Ints, n_lags: int, rng: np.random.Generator) -> Ints:
    """Return pieces of n_lags + 1 cells, (some, n_lags + 1), one of a walk, anywhere in it."""
    chosen = along[rng.permutation(len(along))[:_WALKS]]
    first = rng.integers(0, along.shape[1] - n_lags, len(chosen))
    return np.take_along_axis(chosen, first[:, None] + np.arange(n_lags + 1), axis=1)


def _mean_curvature(potential: Landscape, z: Tensor, seed: int) -> Floats:
    """Return tr(∇∇V) / d at states (m, d), (m,), by differences along random signs."""
    signs = torch.Generator().manual_seed(seed)
    total = torch.zeros(z.shape[0], dtype=z.dtype, device=z.device)
    with torch.no_grad():
        for _ in range(_PROBES):
            way = torch.randint(0, 2, z.shape, generator=signs).to(z) * 2 - 1
            up, down = potential.gradient(z + _REACH * way), potential.gradient(z - _REACH * way)
            total += ((up - down) * way).sum(dim=1) / (2 * _REACH)
    return np.asarray((total / (_PROBES * z.shape[1])).double().cpu().numpy())


def _terms(h: Floats, times: Floats) -> Floats:
    """Return what s², σ² and b² are multiplied by at every lag, (k, 3): means over cells."""
    product = np.clip(2 * h[:, None] * times, _UNSTABLE, 20.0)
    shrunk = np.exp(-product)
    near = np.abs(product) < 1e-6
    grown = np.where(near, times, -np.expm1(-product) * times
                     / np.where(near, 1.0, product))  # fmt: skip
    return np.stack([1 + shrunk.mean(axis=0), grown.mean(axis=0), times**2], axis=1)


def _fit(terms: Floats, residual: NDArray[np.float64]) -> Floats:
    """Return s², σ² and b² of 0 or more, (3,), by least relative squares."""
    from scipy.optimize import nnls

    weight = 1.0 / np.maximum(residual, 1e-12)
    size = np.maximum((terms * weight[:, None]).max(axis=0), 1e-300)
    found, _ = nnls(terms * weight[:, None] / size, np.ones(len(residual)))
    return np.asarray(found / size)
