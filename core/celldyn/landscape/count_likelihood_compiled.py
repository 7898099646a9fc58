"""The likelihood of counts by its kernels, on as many threads as torch has."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.kernels.threads import in_parts
from celldyn.landscape.count_likelihood_plain import LARGEST, SMALLEST, Slopes
from celldyn.landscape.kernels_counts import rising_rows
from celldyn.landscape.kernels_likelihood import likelihood_rows


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
    n_genes, n_rows = log_theta.shape[0], at.shape[0]
    joint = gates is None and logits.shape[1] == 2 * n_genes
    step = 2 if joint else 1
    theta = log_theta.detach().exp().clamp(SMALLEST, LARGEST).numpy()
    means = _table(logits, n_genes)
    a = means if joint else _table(gates, n_genes)
    by_logits = torch.empty(logits.shape if wanted else (0, n_genes))
    by_gates = torch.empty(gates.shape if wanted and gates is not None else (0, n_genes))
    by_means = by_logits.numpy().reshape(-1, n_genes)
    by_a = by_means if joint else by_gates.numpy()
    x, rows = counts.detach().contiguous().numpy(), at.contiguous().numpy()
    size, w = log_library.detach().exp().numpy(), weight.contiguous().numpy()
    per_row, by_size = np.empty((2, n_rows))

    def run(part: slice) -> NDArray[np.float32]:
        of = slice(step * part.start, step * part.stop)
        by_theta = np.zeros_like(theta)
        likelihood_rows(
            x, rows[part], a[of], means[of], step, size[part], theta, w[part], by_a[of],
            by_means[of], per_row[part], by_size[part], by_theta,
        )  # fmt: skip
        return by_theta

    first, *others = in_parts(n_rows, run)
    by_theta = sum(others, first)
    risen, rising = _rising(x, at, weight, theta)
    total = torch.tensor(per_row @ w + risen, dtype=torch.float32)
    if not wanted:
        return total, None
    return total, Slopes(
        None if gates is None else by_gates,
        by_logits,
        torch.from_numpy(by_size).float(),
        torch.from_numpy(by_theta + rising),
    )


def _table(logits: Tensor | None, n_genes: int) -> NDArray[np.float32]:
    """Return one row of genes below another."""
    if logits is None:
        return np.empty((0, n_genes), np.float32)
    table: NDArray[np.float32] = logits.detach().contiguous().numpy().reshape(-1, n_genes)
    return table


def _rising(
    counts: NDArray[np.float32], at: Tensor, weight: Tensor, theta: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    w = torch.zeros(len(counts)).index_add_(0, at, weight).numpy()

    def run(part: slice) -> tuple[float, NDArray[np.float32]]:
        by_theta = np.zeros_like(theta)
        return rising_rows(counts[part], w[part], theta, by_theta), by_theta

    found = in_parts(len(counts), run)
    total, slopes = found[0]
    for more, steeper in found[1:]:
        total += more
        slopes = slopes + steeper
    return total, slopes
