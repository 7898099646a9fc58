"""Attention of every cell over all others, itself left out.

Shapes: B environments, n cells of which m are seen, H heads of e dimensions, h = H e. On a CPU
PyTorch's fused kernel is at the arithmetic limit of a core; nothing of n x n is kept but, up to
`MASK_CELLS` cells, the mask that leaves a cell itself out. Source: specs/environment.md B, D6 c.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

MASK_CELLS = 4096
"""Queries of a block: a mask of (4096, 2 x cells) is the most that is held."""


class Attention(nn.Module):
    """Multi-head attention whose queries come from one embedding and keys from another.

    Parameters
    ----------
    width
        h.
    heads
        H, a divisor of h.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, asking: Tensor, asked: Tensor, seen: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """Return what cells take from others.

        Parameters
        ----------
        asking, asked
            (B, n, h) embeddings of cells as they look, and as they are looked at.
        seen
            (m,) numbers of the cells that are looked at; None is all.
        mask
            (B, n) bool, which cells are there; None is all.

        Returns
        -------
        (B, n, h); 0 before the last layer for a cell that sees no other.
        """
        B, n, h = asking.shape
        if seen is not None:
            asked = asked[:, seen]
        q = self.query(asking).view(B, n, self.heads, -1).transpose(1, 2)
        k, v = (
            self.key_value(asked).view(B, asked.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        taken = attend(q, k, v, seen, mask)
        found: Tensor = self.out(taken.transpose(1, 2).reshape(B, n, h))
        return found


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, mask: Tensor | None) -> Tensor:
    """Return softmax(q kᵀ/√e) v without a cell's own term, (B, H, n, e)."""
    n = q.shape[2]
    if mask is None:
        if n < 2 or (seen is not None and len(seen) < 2):
            return _of_few(q, k, v, seen)
        parts = [
            scaled_dot_product_attention(
                q[:, :, first : first + MASK_CELLS], k, v,
                attn_mask=_without_self(first, n, seen, q),
            )
            for first in range(0, n, MASK_CELLS)
        ]  # fmt: skip
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return torch.cat([
        _of_some(q[b : b + 1], k[b : b + 1], v[b : b + 1], seen, mask[b]) for b in range(len(q))
    ])  # fmt: skip


def _of_some(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, there: Tensor) -> Tensor:
    """Return the same of one environment; cells that are not there are the last ones."""
    n = int(there.sum())
    if seen is None:
        k, v = k[:, :, :n], v[:, :, :n]
    else:
        kept = seen < n
        seen, k, v = seen[kept], k[:, :, kept], v[:, :, kept]
    found = attend(q[:, :, :n], k, v, seen, None)
    return torch.nn.functional.pad(found, (0, 0, 0, q.shape[2] - n))


def _of_few(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
    """Return the same of cells of which some see no other."""
    n, at = q.shape[2], torch.arange(k.shape[2]) if seen is None else seen
    if not len(at):
        return torch.zeros_like(q)
    own = torch.arange(n, device=q.device)[:, None] == at.to(q.device)
    logits = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
    chance = torch.where(own, -torch.inf, logits).softmax(-1)
    return torch.nan_to_num(chance, nan=0.0) @ v


def _without_self(first: int, n: int, seen: Tensor | None, like: Tensor) -> Tensor:
    """Return the mask of queries from `first` on: 0, and −∞ where a cell would see itself."""
    rows = min(MASK_CELLS, n - first)
    if seen is not None:
        own = torch.arange(first, first + rows, device=like.device)[:, None] == seen
        return torch.zeros(own.shape, dtype=like.dtype, device=like.device).masked_fill_(
            own, -torch.inf
        )
    if rows == n:
        return _diagonal(n, like.dtype, like.device)
    # Rows of a strip whose -inf runs from column n on: shifted, it serves every block.
    strip = _strip(MASK_CELLS, n, like.dtype, like.device)
    return strip[:rows, n - first : 2 * n - first]


@lru_cache(maxsize=4)
def _diagonal(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.zeros(n, n, dtype=dtype, device=device).fill_diagonal_(-torch.inf)


@lru_cache(maxsize=1)
def _strip(rows: int, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    found = torch.zeros(rows, 2 * n, dtype=dtype, device=device)
    found[:, n:].fill_diagonal_(-torch.inf)
    return found


def landmarks(n: int, size: int, device: torch.device | str = "cpu") -> Tensor:
    """Return which cells all others see where not all are seen, (size,) sorted numbers.

    A function of n alone, so that a training step sees what the cells saw as they moved.
    """
    generator = torch.Generator().manual_seed(n)
    return torch.randperm(n, generator=generator)[:size].sort().values.to(device)
