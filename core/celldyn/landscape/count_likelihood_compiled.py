"""The likelihood of counts by its kernels, on as many threads as torch has.

Shapes: m rows, G genes, k = G or, with gates, 2 G columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.kernels.threads import in_parts
from celldyn.landscape.count_likelihood_plain import LARGEST, SMALLEST, Slopes
from celldyn.landscape.kernels_counts import rising_rows
from celldyn.landscape.kernels_likelihood import likelihood_rows
from celldyn.landscape.kernels_norm import column_moments, normalise_back

Singles = NDArray[np.float32]


class Normalised(NamedTuple):
    """What comes of a batch that was normalised: the total, moments and slopes, all of them."""

    total: Tensor
    mean: Tensor
    variance: Tensor
    by_raw: Tensor
    by_gain: Tensor
    by_bias: Tensor
    by_log_library: Tensor
    by_log_theta: Tensor


class _Tables(NamedTuple):
    """Logits and their slopes, one row of genes below another; see `likelihood_rows`."""

    gates: Singles
    means: Singles
    step: int
    gain: Singles
    shift: Singles
    by_gates: Singles
    by_means: Singles


def compiled(
    gates: Tensor | None,
    logits: Tensor,
    log_library: Tensor,
    log_theta: Tensor,
    counts: Tensor,
    at: Tensor,
    weight: Tensor,
    *,
    wanted: bool = True,
) -> tuple[Tensor, Slopes | None]:
    """Do what `count_likelihood_plain.plain` does, of float32 on a CPU; without slopes if told."""
    n_genes = log_theta.shape[0]
    joint = gates is None and logits.shape[1] == 2 * n_genes
    means = _table(logits, n_genes)
    by_logits = torch.empty(logits.shape if wanted else (0, n_genes))
    by_gates = torch.empty(gates.shape if wanted and gates is not None else (0, n_genes))
    by_means = by_logits.numpy().reshape(-1, n_genes)
    tables = _Tables(
        means if joint else _table(gates, n_genes),
        means,
        2 if joint else 1,
        np.ones((2, n_genes), np.float32),
        np.zeros((2, n_genes), np.float32),
        by_means if joint else by_gates.numpy(),
        by_means,
    )
    total, by_library, by_theta = _evaluate(tables, log_library, log_theta, counts, at, weight)
    if not wanted:
        return total, None
    return total, Slopes(None if gates is None else by_gates, by_logits, by_library, by_theta)


def normalised(
    raw: Tensor,
    gain: Tensor,
    bias: Tensor,
    eps: float,
    log_library: Tensor,
    log_theta: Tensor,
    counts: Tensor,
    at: Tensor,
    weight: Tensor,
) -> Normalised:
    """Do that of logits that are columns (m, k) normalised over the rows, times gain, plus bias.

    They are normalised as they are read, and never written.
    """
    n_genes = log_theta.shape[0]
    values, gains = raw.detach().contiguous().numpy(), gain.detach().numpy()
    mean, variance, by_gain, by_bias = np.empty((4, values.shape[1]), np.float32)
    column_moments(values, mean, variance)
    inverse = (1.0 / np.sqrt(variance + eps)).astype(np.float32)
    scale = gains * inverse
    shift = bias.detach().numpy() - mean * scale
    by_raw = torch.empty_like(raw)
    slopes, means = by_raw.numpy(), values.reshape(-1, n_genes)
    by_means, step = slopes.reshape(-1, n_genes), values.shape[1] // n_genes
    tables = _Tables(
        means if step == 2 else means[:0],
        means,
        step,
        np.resize(scale, (2, n_genes)),  # without gates the same twice
        np.resize(shift, (2, n_genes)),
        by_means if step == 2 else by_means[:0],
        by_means,
    )
    total, by_library, by_theta = _evaluate(tables, log_library, log_theta, counts, at, weight)
    normalise_back(values, mean, inverse, gains, slopes, by_gain, by_bias)
    moments = (torch.from_numpy(mean), torch.from_numpy(variance))
    by_norm = (torch.from_numpy(by_gain), torch.from_numpy(by_bias))
    return Normalised(total, *moments, by_raw, *by_norm, by_library, by_theta)


def _evaluate(
    tables: _Tables,
    log_library: Tensor,
    log_theta: Tensor,
    counts: Tensor,
    at: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the total and its slopes by log library size and log θ; the tables have the rest."""
    theta = log_theta.detach().exp().clamp(SMALLEST, LARGEST).numpy()
    gates, means, step, gain, shift, by_gates, by_means = tables
    x, rows = counts.detach().contiguous().numpy(), at.contiguous().numpy()
    size, w = log_library.detach().exp().numpy(), weight.contiguous().numpy()
    per_row, by_size = np.empty((2, len(rows)))

    def run(part: slice) -> Singles:
        of = slice(step * part.start, step * part.stop)
        by_theta = np.zeros_like(theta)
        likelihood_rows(
            x, rows[part], gates[of], means[of], step, gain, shift, size[part], theta, w[part],
            by_gates[of], by_means[of], per_row[part], by_size[part], by_theta,
        )  # fmt: skip
        return by_theta

    first, *others = in_parts(len(rows), run)
    by_theta = sum(others, first)
    risen, rising = _rising(x, at, weight, theta)
    total = torch.tensor(per_row @ w + risen, dtype=torch.float32)
    return total, torch.from_numpy(by_size).float(), torch.from_numpy(by_theta + rising)


def _table(logits: Tensor | None, n_genes: int) -> Singles:
    """Return one row of genes below another."""
    if logits is None:
        return np.empty((0, n_genes), np.float32)
    table: Singles = logits.detach().contiguous().numpy().reshape(-1, n_genes)
    return table


def _rising(counts: Singles, at: Tensor, weight: Tensor, theta: Singles) -> tuple[float, Singles]:
    w = torch.zeros(len(counts)).index_add_(0, at, weight).numpy()

    def run(part: slice) -> tuple[float, Singles]:
        by_theta = np.zeros_like(theta)
        return rising_rows(counts[part], w[part], theta, by_theta), by_theta

    found = in_parts(len(counts), run)
    total, slopes = found[0]
    for more, steeper in found[1:]:
        total += more
        slopes = slopes + steeper
    return total, slopes
