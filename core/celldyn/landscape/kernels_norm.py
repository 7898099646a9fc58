"""Batch normalisation of columns in compiled code, in as few passes as there may be.

Shapes: m rows, k columns. Importing this module imports numba; nothing is compiled before a kernel
is called.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.kernels.curves import inner

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]

_ROWS = 64
"""Rows whose sums are taken in single precision."""


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def column_moments(values: Singles, mean: Singles, variance: Singles) -> None:
    """Write mean and variance, over m, of every column of (m, k)."""
    n_rows, k = values.shape
    sums, squares = np.zeros(k), np.zeros(k)
    some, some_squares = np.empty(k, np.float32), np.empty(k, np.float32)
    for first in range(0, n_rows, _ROWS):
        some[:] = 0
        some_squares[:] = 0
        for r in range(first, min(first + _ROWS, n_rows)):
            _add_moments(values[r], values[0], some, some_squares)
        sums += some
        squares += some_squares
    for c in range(k):
        apart = sums[c] / n_rows
        mean[c] = values[0, c] + apart
        variance[c] = max(squares[c] / n_rows - apart * apart, 0.0)


@inner
def _add_moments(row: Singles, start: Singles, sums: Singles, squares: Singles) -> None:
    """Add a row's distance from the first row, so that large means do not cancel."""
    for c in range(row.size):
        apart = row[c] - start[c]
        sums[c] += apart
        squares[c] += apart * apart


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def normalise_back(
    values: Singles,
    mean: Singles,
    inverse: Singles,
    gain: Singles,
    slopes: Singles,
    by_gain: Singles,
    by_bias: Singles,
) -> None:
    """Turn slopes by what was normalised into slopes by the values, in place.

    Parameters
    ----------
    values
        (m, k).
    mean, inverse
        (k,) mean, and one over the standard deviation.
    gain
        (k,) what normalised values were multiplied by.
    slopes
        (m, k) by gain · normalised + bias; overwritten.
    by_gain, by_bias
        (k,), written.
    """
    n_rows, k = values.shape
    by_bias[:] = 0
    by_gain[:] = 0
    some, some_steep = np.empty(k, np.float32), np.empty(k, np.float32)
    for first in range(0, n_rows, _ROWS):
        some[:] = 0
        some_steep[:] = 0
        for r in range(first, min(first + _ROWS, n_rows)):
            _add_slopes(values[r], mean, inverse, slopes[r], some, some_steep)
        by_bias += some
        by_gain += some_steep
    of_row, of_value = by_bias / np.float32(n_rows), by_gain / np.float32(n_rows)
    for r in range(n_rows):
        _spread_slopes(values[r], mean, inverse, gain, of_row, of_value, slopes[r])


@inner
def _add_slopes(
    row: Singles, mean: Singles, inverse: Singles, slopes: Singles, plain: Singles, steep: Singles
) -> None:
    for c in range(row.size):
        plain[c] += slopes[c]
        steep[c] += slopes[c] * ((row[c] - mean[c]) * inverse[c])


@inner
def _spread_slopes(
    row: Singles,
    mean: Singles,
    inverse: Singles,
    gain: Singles,
    of_row: Singles,
    of_value: Singles,
    slopes: Singles,
) -> None:
    for c in range(row.size):
        normalised = (row[c] - mean[c]) * inverse[c]
        slope = slopes[c] - of_row[c] - normalised * of_value[c]
        slopes[c] = gain[c] * inverse[c] * slope
