"""What the encoder reads: log(1 + x), with some entries left out while training.

Which entries are left out is a hash of (seed, row of the cell, gene), not a draw: the same seed
leaves out the same, whatever the minibatches, their order and the device.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.vae.inputs import CountRows

Bits = TypeVar("Bits", int, Tensor)

WORD = 0xFFFFFFFF
GOLDEN, FIRST, SECOND = 0x9E3779B1, 0x7FEB352D, 0x846CA68B
"""2³² over the golden ratio, and the multipliers of a 32-bit mixer with low bias."""

_KNOWN = 256
"""Counts whose logarithm is looked up."""


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
        low = torch.float32 if dtype == torch.float64 else dtype
        return _of_rows(counts, dropout, seed, low).to(dtype)
    value = torch.log1p(counts.to(torch.float64 if dtype == torch.float64 else torch.float32))
    if seed is None:
        return value.to(dtype)
    device = value.device
    named = torch.arange(len(value), device=device) if rows is None else rows.to(device)
    genes = torch.arange(value.shape[1], device=device)
    kept = _hash(named, genes, seed) >= limit(dropout)
    return (value * kept / (1 - dropout)).to(dtype)


def limit(dropout: float) -> int:
    """Return the hash below which an entry is left out."""
    return round(dropout * 2**32)


def hash_start(seed: int) -> int:
    """Return what the hash of every cell starts from, below 2³²."""
    return _mixed(seed & WORD) ^ _mixed((seed >> 32 & WORD) + 1)


def _hash(rows: Tensor, genes: Tensor, seed: int) -> Tensor:
    """Return (B, G) hashes of cells and genes, below 2³²."""
    cells = _mixed(rows & WORD ^ hash_start(seed))
    return _mixed(cells[:, None] ^ (genes * GOLDEN & WORD))


def _mixed(bits: Bits) -> Bits:
    """Scramble 32 bits; int64 throughout, since that is what every device has."""
    bits = (bits ^ (bits >> 16)) * FIRST & WORD
    bits = (bits ^ (bits >> 15)) * SECOND & WORD
    return bits ^ (bits >> 16)


def _of_rows(counts: CountRows, dropout: float, seed: int | None, dtype: torch.dtype) -> Tensor:
    from celldyn.vae.kernels_input import fill_rows

    csr, at = counts.csr, np.ascontiguousarray(counts.at, dtype=np.int64)
    scale = 1.0 if seed is None else 1 / (1 - dropout)
    start, below = (0, 0) if seed is None else (hash_start(seed), limit(dropout))
    made = torch.empty((len(at), csr.n_features), dtype=dtype)
    known = bits_of(_known(scale, dtype))
    fill_rows(csr.indptr, csr.indices, csr.data, at, start, below, scale, known, bits_of(made))
    return made


@lru_cache(maxsize=8)
def _known(scale: float, dtype: torch.dtype) -> Tensor:
    """Return scale · log(1 + x) of small x."""
    return (torch.arange(_KNOWN, dtype=torch.float64).log1p() * scale).to(dtype)


def bits_of(tensor: Tensor) -> NDArray[Any]:
    """Return its memory: bfloat16 as uint16, anything else as it is."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    array: NDArray[Any] = tensor.numpy()
    return array
