"""Cells with counts and tables, for tests of the reconstruction and the encoder's input."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from celldyn.kernels.rising import LARGEST
from celldyn.vae.inputs import CountRows, Csr

N_ROWS = 60


def count_rows(counts, at):
    matrix = sparse.csr_matrix(np.asarray(counts, dtype=np.float32))
    matrix.sort_indices()
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    return CountRows(Csr(indptr, indices, matrix.data, matrix.shape[1]), np.asarray(at))


def case(B=23, G=1037, tables=(3, 2, 4), seed=0):
    """Cells of a matrix in no order, one of them without counts, with counts up to 1e5."""
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(0.4, 0.1, (N_ROWS, G)).astype(np.float32)
    counts[0] = 0
    counts[1, :5] = [1e5, 3e4, LARGEST, LARGEST + 1, 15]
    at = np.concatenate([[0, 1], 2 + rng.permutation(N_ROWS - 2)])[:B]

    def table(rows, draw):
        return torch.tensor(draw(rng, (rows, G)), dtype=torch.float32)

    def rows(n):
        return torch.tensor(rng.integers(0, n, B))

    E, T, D = tables
    return {
        "logits": table(B, lambda r, s: r.normal(0, 2, s)),
        "log_library": torch.tensor(rng.normal(0, 0.5, B), dtype=torch.float32),
        "background": table(E, lambda r, s: r.gamma(1, 0.1, s)),
        "background_rows": rows(E),
        "scaling": table(T, lambda r, s: r.gamma(50, 1 / 50, s)),
        "scaling_rows": rows(T),
        "theta": table(D, lambda r, s: r.gamma(1, 2, s) + 1e-3),
        "theta_rows": rows(D),
        "counts": count_rows(counts, at),
        "weights": torch.tensor(rng.random(B) + 0.5, dtype=torch.float32),
    }
