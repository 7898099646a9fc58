"""The reconstruction term in torch: any device and precision, and what the kernel is held to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from celldyn.vae.inputs import CountRows
from celldyn.vae.likelihood import bounded, value_and_slopes

LOWEST = -60.0
"""Logits below count as this, so that neither e^x nor a count over it leaves single precision."""


class Parameters(NamedTuple):
    """What the means are made of; see `reconstruction`."""

    logits: Tensor
    log_library: Tensor
    background: Tensor | None
    background_rows: Tensor | None
    scaling: Tensor | None
    scaling_rows: Tensor | None
    theta: Tensor
    theta_rows: Tensor


class Evaluated(NamedTuple):
    """What is told of cells, (B,) each: nll, and native expression Σ_g ρ."""

    per_cell: Tensor
    native: Tensor


class Gradients(NamedTuple):
    """Of Σ_b w_b nll_b, each of its parameter's shape and dtype."""

    logits: Tensor
    log_library: Tensor
    background: Tensor | None
    scaling: Tensor | None
    theta: Tensor


def dense(counts: CountRows | Tensor, like: Tensor) -> Tensor:
    """Return counts (B, G) with the device of `like`, in float32 unless `like` is float64."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    if isinstance(counts, Tensor):
        return counts.to(like.device, dtype)
    csr, at = counts.csr, counts.at
    first, per_row = csr.indptr[at], csr.indptr[at + 1] - csr.indptr[at]
    row = np.repeat(np.arange(len(at)), per_row)
    before = np.concatenate([[0], np.cumsum(per_row)[:-1]]) if len(at) else per_row
    entry = np.arange(len(row)) + np.repeat(first - before, per_row)
    made = np.zeros((len(at), csr.n_features), np.float32)
    made[row, csr.indices[entry]] = csr.data[entry]
    return torch.from_numpy(made).to(like.device, dtype)


def plain(
    parameters: Parameters, counts: CountRows | Tensor, weights: Tensor, activation: str
) -> tuple[Evaluated, Gradients]:
    """Return what is told of each cell, and the gradients."""
    logits, log_library = parameters.logits, parameters.log_library
    x = dense(counts, logits)
    w = weights.to(x.dtype)[:, None]
    held = torch.where(w != 0, logits.to(x.dtype), 0.0).clamp(min=LOWEST)
    rho = activated(held, activation)
    size = log_library.to(x.dtype).exp()[:, None]
    y = _rows(parameters.scaling, parameters.scaling_rows)
    per_rho = size if y is None else size * y
    s = _rows(parameters.background, parameters.background_rows)
    mu = bounded(per_rho * (rho if s is None else rho + s))
    theta = bounded(parameters.theta[parameters.theta_rows].to(x.dtype))
    apart = logits.device.type == "cpu"
    log_prob, by_mu, by_theta = value_and_slopes(x, mu, theta, apart=apart)
    per_cell = -torch.where(w[:, 0] != 0, log_prob.sum(1), 0.0)
    by_mu, by_theta = -w * by_mu, -w * by_theta
    by_rho = by_mu * per_rho
    told = Evaluated(per_cell, torch.where(w[:, 0] != 0, rho.sum(1), 0.0))
    return told, Gradients(
        through(by_rho, rho, held, activation).to(logits.dtype),
        (by_mu * mu).sum(1).to(log_library.dtype),
        _summed(by_rho, parameters.background, parameters.background_rows),
        None
        if y is None
        else _summed(by_mu * mu / y, parameters.scaling, parameters.scaling_rows),
        _into(by_theta, parameters.theta, parameters.theta_rows),
    )


def activated(held: Tensor, activation: str) -> Tensor:
    """Return ρ."""
    return torch.nn.functional.softplus(held) if activation == "softplus" else held.softmax(1)


def through(by_rho: Tensor, rho: Tensor, held: Tensor, activation: str) -> Tensor:
    """Return the slopes of the logits, given those of ρ."""
    if activation == "softplus":
        return by_rho * held.sigmoid()
    return rho * (by_rho - (by_rho * rho).sum(1, keepdim=True))


def joined(
    logits: Tensor, slopes: Tensor, scale: Tensor, of_native: Tensor, activation: str
) -> Tensor:
    """Return scale · slopes + of_native_b dΣρ/d(logits): what comes back through both outputs."""
    if activation == "softmax":
        return slopes * scale.to(slopes.dtype)
    by_rho = of_native.to(slopes.dtype)[:, None]
    weighed = by_rho * logits.clamp(min=LOWEST).sigmoid()
    return slopes * scale.to(slopes.dtype) + torch.where(by_rho != 0, weighed, 0)


def _rows(table: Tensor | None, rows: Tensor | None) -> Tensor | None:
    return None if table is None else table[rows]


def _summed(by_cell: Tensor, table: Tensor | None, rows: Tensor | None) -> Tensor | None:
    return None if table is None or rows is None else _into(by_cell, table, rows)


def _into(by_cell: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Sum what each cell says of its row; in the same order whatever the device."""
    if table.device.type == "cpu":
        return torch.zeros_like(table).index_add_(0, rows, by_cell.to(table.dtype))
    chosen = torch.nn.functional.one_hot(rows, len(table)).to(by_cell.dtype)
    return (chosen.T @ by_cell).to(table.dtype)
