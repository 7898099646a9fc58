"""The likelihood of counts and its gradients by the decoder's output, compiled.

A row's genes are done in vector registers and stay in a core's cache; nothing as large as the
rows is made but the gradients. What counts say of the inverse dispersion alone is not here, but in
`kernels_counts`, once for each cell however many rows have it. Importing this module imports
numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.kernels.bits import Single, exponent, mantissa
from celldyn.kernels.curves import (
    LN2,
    exp_of_negative,
    inlined,
    inner,
    log1p_of_share,
    log_curve,
    log_of_positive,
)

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

_ZERO, _ONE = np.float32(0), np.float32(1)
_LOWEST = np.float32(-80)
_GUARD = np.float32(1e-3)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def likelihood_rows(
    counts: Singles,
    at: Longs,
    gates: Singles,
    logits: Singles,
    step: int,
    gain: Singles,
    shift: Singles,
    size: Singles,
    theta: Singles,
    weights: Singles,
    by_gates: Singles,
    by_logits: Singles,
    per_row: Doubles,
    by_log_size: Doubles,
    by_log_theta: Singles,
) -> None:
    """Write log p of rows, without what `kernels_counts` adds, and gradients of its weighted sum.

    Parameters
    ----------
    counts, at
        (u, G), and (m,) which of its rows each row has.
    gates, logits
        Row r has the gates' row step · r, and the logits' row step · r + step − 1; (step · m, G).
        No gates, (0, G), is no zero inflation.
    gain, shift
        (2, G): logits count as gain · logits + shift; of the gates, then of the means.
    size
        (m,) library size.
    theta
        (G,).
    weights
        (m,).
    by_gates, by_logits
        As the gates and logits, written; of no rows, they are not.
    per_row, by_log_size
        (m,), written: log p, and the slope of its weighted sum by the log library size.
    by_log_theta
        (G,), zeros; added to.
    """
    n_genes = theta.size
    scratch = np.empty((4, n_genes), np.float32)
    inverse, share, spare, spare_gates = scratch[0], scratch[1], scratch[2], scratch[3]
    inverse[:] = _ONE / (theta + _GUARD)
    keeps, inflated = by_logits.shape[0] > 0, gates.shape[0] > 0
    for r in range(at.size):
        g, y = step * r, logits[step * r + step - 1]
        slopes = by_logits[step * r + step - 1] if keeps else spare
        of_gates = by_gates[g] if keeps and inflated else spare_gates
        if weights[r] == _ZERO:
            slopes[:] = 0
            of_gates[:] = 0
            per_row[r] = 0
            by_log_size[r] = 0
            continue
        scale = size[r] / _shares(y, gain[1], shift[1], share)
        x = counts[at[r]]
        if inflated:
            per_row[r], total = _inflated(
                x, gates[g], gain[0], shift[0], share, scale, theta, inverse, weights[r],
                of_gates, slopes, by_log_theta,
            )  # fmt: skip
        else:
            per_row[r], total = _plain(
                x, share, scale, theta, inverse, weights[r], slopes, by_log_theta
            )
        by_log_size[r] = total
        if np.isnan(total):
            # Bits of a NaN make a number of its logarithm: its slope tells.
            per_row[r] = np.nan
        if keeps:
            _through_softmax(share, total * scale / size[r], slopes)
    by_log_theta *= theta


@inner
def _shares(y: Singles, gain: Singles, shift: Singles, share: Singles) -> Single:
    """Write e^(y − max y) of y = gain · y + shift, and return its sum."""
    most = gain[0] * y[0] + shift[0]
    for g in range(y.size):
        share[g] = gain[g] * y[g] + shift[g]
        most = share[g] if share[g] > most else most
    total = _ZERO
    for g in range(y.size):
        a = share[g] - most
        e = exp_of_negative(_LOWEST if a < _LOWEST else a)
        share[g] = e
        total += e
    return total


@inlined
def _log_odds(m: Single, inverse: Single) -> Single:
    """Return log(1 + m/t), given 1/t."""
    r = m * inverse
    above = _ONE + r
    k = exponent(above)
    f = r if k == _ZERO else mantissa(above) - _ONE
    return k * LN2 + (f + log_curve(f))


@inner
def _plain(
    x: Singles,
    share: Singles,
    scale: Single,
    theta: Singles,
    inverse: Singles,
    w: Single,
    slopes: Singles,
    by_theta: Singles,
) -> tuple[Single, Single]:
    """Return a row's log p and Σ_g of its slopes by the log mean, and write these."""
    value, total = _ZERO, _ZERO
    for g in range(x.size):
        mu = scale * share[g]
        m, t = mu + _GUARD, theta[g]
        both = m + (t + _GUARD)
        each = _ONE / (m * both)
        odds, of_both = _log_odds(m, inverse[g]), m * each
        value += x[g] * log_of_positive(m * of_both) - t * odds
        slope = w * mu * (x[g] * (t + _GUARD) * each - t * of_both)
        slopes[g] = slope
        total += slope
        by_theta[g] += w * (t * (m * inverse[g]) * of_both - odds - x[g] * of_both)
    return value, total


@inner
def _inflated(
    x: Singles,
    gates: Singles,
    gain: Singles,
    shift: Singles,
    share: Singles,
    scale: Single,
    theta: Singles,
    inverse: Singles,
    w: Single,
    of_gates: Singles,
    slopes: Singles,
    by_theta: Singles,
) -> tuple[Single, Single]:
    """Do that where zeros may come from a gate, too, and write the slopes by its logit.

    With z = −θ log(1 + m/t) of no counts, and q the chance that a zero is none of the gate's,

        log p(0) = softplus(z − a) − softplus(−a),  q = sig(z − a),
        log p(x) = log NB(x) − softplus(a).
    """
    value, total = _ZERO, _ZERO
    for g in range(x.size):
        mu = scale * share[g]
        m, t, a = mu + _GUARD, theta[g], gain[g] * gates[g] + shift[g]
        both = m + (t + _GUARD)
        each = _ONE / (m * both)
        odds, of_both = _log_odds(m, inverse[g]), m * each
        none = -t * odds
        e = exp_of_negative(_bounded(a if a < _ZERO else -a))
        gate = (e if a < _ZERO else _ONE) / (_ONE + e)
        u = none - a
        f = exp_of_negative(_bounded(u if u < _ZERO else -u))
        some = x[g] > _ZERO
        q = _ONE if some else (f if u < _ZERO else _ONE) / (_ONE + f)
        least = log1p_of_share(e)
        zero = (u if u > _ZERO else _ZERO) + log1p_of_share(f) - (_ZERO if a > _ZERO else -a)
        counted = none + x[g] * log_of_positive(m * of_both) - (a if a > _ZERO else _ZERO)
        value += (counted if some else zero) - least
        of_gates[g] = w * ((_ONE - q) - gate)
        slope = w * mu * (x[g] * (t + _GUARD) * each - q * t * of_both)
        slopes[g] = slope
        total += slope
        by_theta[g] += w * (q * (t * (m * inverse[g]) * of_both - odds) - x[g] * of_both)
    return value, total


@inlined
def _bounded(a: Single) -> Single:
    return _LOWEST if a < _LOWEST else a


@inner
def _through_softmax(share: Singles, total: Single, slopes: Singles) -> None:
    for g in range(share.size):
        slopes[g] -= share[g] * total
