"""What the encoder reads: log(1 + x), with some entries left out while training.

Which entries are left out is a hash of (seed, row of the cell, gene), not a draw: the same seed
leaves out the same, whatever the minibatches, their order and the device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from celldyn.vae.inputs import CountRows, Ints

WORD = 0xFFFFFFFF
GOLDEN, FIRST, SECOND = 0x9E3779B1, 0x7FEB352D, 0x846CA68B
"""2³² over the golden ratio, and the multipliers of a 32-bit mixer with low bias."""


def encoder_input(
    counts: CountRows | Tensor,
    *,
    dropout: float = 0.0,
    seed: int | None = None,
    rows: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return log(1 + x), each entry left out with probability `dropout`, else over 1 − dropout.

    Parameters
    ----------
    counts
        Rows of a sparse matrix, or (B, G).
    dropout
        From 0 to below 1.
    seed
        Of what is left out; None leaves out nothing. Give another in each step.
    rows
        (B,) int64 names of the cells where `counts` is a tensor; None is 0, 1, ... Rows of a
        sparse matrix are named by their place in it.
    dtype
        float32, float64 or bfloat16.

    Returns
    -------
    (B, G), where the counts are.
    """
    seed = None if dropout <= 0 else seed
    if isinstance(counts, CountRows):
        return _of_rows(counts, dropout, seed, dtype)
    value = torch.log1p(counts.to(torch.float64 if dtype == torch.float64 else torch.float32))
    if seed is None:
        return value.to(dtype)
    device = value.device
    named = torch.arange(len(value), device=device) if rows is None else rows.to(device)
    genes = torch.arange(value.shape[1], device=device)
    kept = _mixed(_cell_key(named, seed)[:, None] ^ _gene_key(genes)) >= limit(dropout)
    return (value * kept / (1 - dropout)).to(dtype)


def limit(dropout: float) -> int:
    """Return the hash below which an entry is left out."""
    return round(dropout * 2**32)


def cell_keys(rows: Ints, seed: int) -> Ints:
    """Return (B,) what a hash starts from in each cell, below 2³²."""
    keys: Ints = _cell_key(torch.from_numpy(rows), seed).numpy()
    return keys


def _cell_key(rows: Tensor, seed: int) -> Tensor:
    start = _mixed(torch.tensor([seed & WORD]))[0] ^ (seed >> 32 & WORD)
    low, high = rows & WORD, rows >> 32
    return _mixed(_mixed(low ^ start.to(rows.device)) + high + 1 & WORD)


def _gene_key(genes: Tensor) -> Tensor:
    return genes * GOLDEN & WORD


def _mixed(bits: Tensor) -> Tensor:
    """Scramble 32 bits; int64 throughout, since that is what every device has."""
    bits = (bits ^ (bits >> 16)) * FIRST & WORD
    bits = (bits ^ (bits >> 15)) * SECOND & WORD
    return bits ^ (bits >> 16)


def _of_rows(counts: CountRows, dropout: float, seed: int | None, dtype: torch.dtype) -> Tensor:
    from celldyn.vae.reconstruction_plain import dense

    made = dense(counts, torch.empty(0))
    at = torch.from_numpy(np.asarray(counts.at))
    return encoder_input(made, dropout=dropout, seed=seed, rows=at, dtype=dtype)
