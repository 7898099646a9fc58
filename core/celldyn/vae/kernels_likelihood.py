"""The reconstruction term and all its gradients, compiled; `reconstruction_plain` is its twin.

Genes are taken in stretches that stay in cache. In each, every count is first held to be 0, where
−log p = θ log(1 + μ/θ) needs no Γ; then the counts above 0 are put right one by one: since

    −d log p / dμ = θ/(θ + μ) (1 − x/μ),

a count only multiplies what the gene says for x = 0, and all that is above μ follows of itself.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.kernels.bits import Single, exponent, mantissa, narrowed, widened
from celldyn.kernels.curves import (
    LN2,
    exp_of_negative,
    inner,
    log1p_of_share,
    log_curve,
)
from celldyn.vae.kernels_counts import MOST, SCRATCH, put_right

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

STRETCH = MOST
"""Genes at once."""
_ZERO, _ONE = np.float32(0), np.float32(1)
_LOWEST = np.float32(-60)
_SMALLEST, _LARGEST = np.float32(1e-30), np.float32(1e30)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def reconstruct(
    logits: NDArray[Any],
    size: Singles,
    background: Singles,
    background_rows: Longs,
    scaling: Singles,
    scaling_rows: Longs,
    theta: Singles,
    theta_rows: Longs,
    indptr: Longs,
    indices: NDArray[np.int32],
    data: Singles,
    at: Longs,
    weights: Singles,
    per_cell: Doubles,
    native: Doubles,
    by_logits: NDArray[Any],
    by_log_size: Doubles,
    by_background: Singles,
    by_scaling: Singles,
    by_theta: Singles,
) -> None:
    """Write −log p of cells and the gradients of its weighted sum.

    Parameters
    ----------
    logits
        (B, G) float32, or bfloat16 as uint16.
    size
        (B,) exp of the log library size.
    background, scaling, theta
        (E, G), (T, G), (D, G), and (B,) their rows.
    indptr, indices, data, at
        Counts as rows `at` of a sparse matrix.
    weights
        (B,).
    per_cell, native, by_log_size
        (B,), zeros; −log p, Σ_g ρ and a slope are added to them.
    by_logits
        (B, G) of the dtype of `logits`, written; may be `logits`.
    by_background, by_scaling, by_theta
        Zeros as large as the tables, added to; of no rows where none is wanted.
    """
    n_cells, n_genes = logits.shape
    held, inverse = np.empty_like(theta), np.empty_like(theta)
    _hold(theta.reshape(-1), held.reshape(-1), inverse.reshape(-1))
    scratch, others = np.empty((4, STRETCH), np.float32), np.empty(SCRATCH, np.float32)
    start = indptr[at]
    for first in range(0, n_genes, STRETCH):
        last = min(first + STRETCH, n_genes)
        n = last - first
        mu, rho, base, through = scratch[0, :n], scratch[1, :n], scratch[2, :n], scratch[3, :n]
        for b in range(n_cells):
            out = by_logits[b, first:last]
            w = weights[b]
            if w == _ZERO:
                out[:] = 0
                continue
            e, t, d = background_rows[b], scaling_rows[b], theta_rows[b]
            y, theta_row = scaling[t, first:last], held[d, first:last]
            theta_slope = by_theta[d, first:last]
            per_cell[b] += _as_if_none(
                logits[b, first:last], size[b], background[e, first:last], y, theta_row,
                inverse[d, first:last], w, mu, rho, base, through, theta_slope,
            )  # fmt: skip
            native[b] += _sum(rho)
            lo = start[b]
            hi, end = lo, indptr[at[b] + 1]
            if last == n_genes:
                hi = end
            while hi < end and indices[hi] < last:
                hi += 1
            start[b] = hi
            per_cell[b] += put_right(
                indices[lo:hi], data[lo:hi], first, w, theta_row, mu, base, theta_slope, others
            )
            by_log_size[b] += _spread(base, mu, through, out)
            if by_background.shape[0] > 0:
                _spread_background(base, y, size[b], by_background[e, first:last])
            if by_scaling.shape[0] > 0:
                _spread_scaling(base, mu, by_scaling[t, first:last])
    if by_scaling.shape[0] > 0:
        by_scaling /= scaling
    for b in range(n_cells):
        # Bits of a NaN make a number of its logarithm: its slope tells.
        if np.isnan(by_log_size[b]):
            per_cell[b] = np.nan


@inner
def _hold(theta: Singles, held: Singles, inverse: Singles) -> None:
    """Write θ within bounds, and 1/θ."""
    for i in range(theta.size):
        t = theta[i]
        t = _SMALLEST if t < _SMALLEST else t
        t = _LARGEST if t > _LARGEST else t
        held[i], inverse[i] = t, _ONE / t


@inner
def _as_if_none(
    logits: NDArray[Any],
    size: Single,
    s: Singles,
    y: Singles,
    theta: Singles,
    inverse: Singles,
    w: Single,
    mu: Singles,
    rho: Singles,
    base: Singles,
    through: Singles,
    theta_slope: Singles,
) -> Single:
    """Hold a stretch of a cell to be without counts; returns its −log p.

    Writes μ, ρ, w d(−log p)/dμ and dμ/d(logit), and adds to the slope of θ, which is

        log(1 + r) − r/(1 + r),  r = μ/θ,

    where both are alike if r is small: then it is r²/(1 + r) + (log(1 + r) − r).
    """
    total = _ZERO
    for g in range(mu.size):
        a = widened(logits[g])
        a = _LOWEST if a < _LOWEST else a
        positive = _ZERO if a < _ZERO else a
        negative = a if a < _ZERO else -a
        e = exp_of_negative(_LOWEST if negative < _LOWEST else negative)
        native = positive + log1p_of_share(e)
        rho[g] = native
        per_rho = size * y[g]
        through[g] = per_rho * ((e if a < _ZERO else _ONE) / (_ONE + e))
        m = per_rho * (native + s[g])
        m = _SMALLEST if m < _SMALLEST else m
        mu[g] = m
        r = m * inverse[g]
        above = _ONE + r
        share = _ONE / above
        base[g] = w * share
        k = exponent(above)
        near = k == _ZERO
        f = r if near else mantissa(above) - _ONE
        curve, whole = log_curve(f), k * LN2
        total += theta[g] * (whole + (f + curve))
        rest = r * r * share if near else whole + (f - (_ONE - share))
        theta_slope[g] += w * (rest + curve)
    return total


@inner
def _sum(values: Singles) -> Single:
    total = _ZERO
    for i in range(values.size):
        total += values[i]
    return total


@inner
def _spread(base: Singles, mu: Singles, through: Singles, out: NDArray[Any]) -> Single:
    """Write the slopes of the logits; returns that of the log library size."""
    total = _ZERO
    for g in range(base.size):
        total += base[g] * mu[g]
        out[g] = narrowed(base[g] * through[g], out[g])
    return total


@inner
def _spread_background(base: Singles, y: Singles, size: Single, out: Singles) -> None:
    for g in range(base.size):
        out[g] += base[g] * (size * y[g])


@inner
def _spread_scaling(base: Singles, mu: Singles, out: Singles) -> None:
    """Add the slopes of the scaling times the scaling."""
    for g in range(base.size):
        out[g] += base[g] * mu[g]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def join_slopes(
    logits: NDArray[Any],
    slopes: NDArray[Any],
    scale: Single,
    of_native: Singles,
    out: NDArray[Any],
) -> None:
    """Write scale · slopes + of_native_b dρ/d(logit): what comes back through both outputs.

    Parameters
    ----------
    logits, slopes, out
        (B, G) as in `reconstruct`; the last is written.
    of_native
        (B,); where it is 0, nothing is computed, and slopes are copied if the scale is 1.
    """
    for b in range(logits.shape[0]):
        if of_native[b] == _ZERO:
            _scale_row(slopes[b], scale, out[b])
        else:
            _join_row(logits[b], slopes[b], scale, of_native[b], out[b])


@inner
def _scale_row(slopes: NDArray[Any], scale: Single, out: NDArray[Any]) -> None:
    if scale == _ONE:
        out[:] = slopes
        return
    for g in range(out.size):
        out[g] = narrowed(scale * widened(slopes[g]), slopes[g])


@inner
def _join_row(
    logits: NDArray[Any], slopes: NDArray[Any], scale: Single, weight: Single, out: NDArray[Any]
) -> None:
    for g in range(out.size):
        a = widened(logits[g])
        a = _LOWEST if a < _LOWEST else a
        negative = a if a < _ZERO else -a
        e = exp_of_negative(_LOWEST if negative < _LOWEST else negative)
        slope = (e if a < _ZERO else _ONE) / (_ONE + e)
        out[g] = narrowed(scale * widened(slopes[g]) + weight * slope, slopes[g])
