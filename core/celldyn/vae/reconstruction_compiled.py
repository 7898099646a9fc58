"""The reconstruction term by its kernel, on as many threads as torch has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.kernels.threads import in_parts
from celldyn.vae.encoder_input import bits_of
from celldyn.vae.inputs import CountRows
from celldyn.vae.kernels_likelihood import join_slopes, reconstruct
from celldyn.vae.reconstruction_plain import Evaluated, Gradients, Parameters

Array = NDArray[Any]


def compiled(
    parameters: Parameters, counts: CountRows, weights: Tensor
) -> tuple[Evaluated, Gradients]:
    """Do what `reconstruction_plain.plain` does.

    Parameters
    ----------
    parameters
        On the CPU, float32; the logits that or bfloat16.
    counts, weights
        B cells.
    """
    logits = parameters.logits.detach().contiguous()
    n_cells, n_genes = logits.shape
    library = parameters.log_library.detach()
    none = torch.zeros(n_cells, dtype=torch.int64)
    wanted = [parameters.background is not None, parameters.scaling is not None, True]
    tables: list[Array] = []
    for table, rows, fill in (
        (parameters.background, parameters.background_rows, 0.0),
        (parameters.scaling, parameters.scaling_rows, 1.0),
        (parameters.theta, parameters.theta_rows, 1.0),
    ):
        if table is None or rows is None:
            tables += [np.full((1, n_genes), fill, np.float32), none.numpy()]
        else:
            tables += [table.detach().contiguous().numpy(), rows.contiguous().numpy()]
    by_logits = torch.empty_like(logits)
    per_cell, native, by_size = np.zeros((3, n_cells))
    cells = [bits_of(logits), library.exp().numpy(), *tables[1::2]]
    csr, at = counts.csr, np.ascontiguousarray(counts.at, dtype=np.int64)
    w = weights.detach().to(torch.float32).numpy()

    def run(part: slice) -> list[Array]:
        x, size, *rows = (array[part] for array in cells)
        made = [
            np.zeros_like(table) if asked else table[:0]
            for table, asked in zip(tables[::2], wanted, strict=True)
        ]
        given = [array for pair in zip(tables[::2], rows, strict=True) for array in pair]
        reconstruct(
            x, size, *given, csr.indptr, csr.indices, csr.data, at[part], w[part],
            per_cell[part], native[part], bits_of(by_logits)[part], by_size[part], *made,
        )  # fmt: skip
        return made

    found = in_parts(n_cells, run)
    sums = [torch.from_numpy(sum(each[1:], each[0])) for each in zip(*found, strict=True)]
    background, scaling, theta = (s if a else None for s, a in zip(sums, wanted, strict=True))
    nll, expressed, by_library = (
        torch.from_numpy(cells).to(torch.float32) for cells in (per_cell, native, by_size)
    )
    assert theta is not None
    return Evaluated(nll, expressed), Gradients(by_logits, by_library, background, scaling, theta)


def joined(logits: Tensor, slopes: Tensor, scale: Tensor, of_native: Tensor) -> Tensor:
    """Do what `reconstruction_plain.joined` does for softplus."""
    out, read = torch.empty_like(slopes), logits.detach().contiguous()
    weights = of_native.to(torch.float32).contiguous().numpy()
    join_slopes(bits_of(read), bits_of(slopes), np.float32(scale.item()), weights, bits_of(out))
    return out
