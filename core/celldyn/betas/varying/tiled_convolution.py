"""3 × 3 convolutions of a few cells at a time by Winograd's algorithm."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from celldyn.betas.varying import winograd_kernels as tiles
from celldyn.betas.varying.block_kernels import Singles
from celldyn.betas.varying.one_block import Memory

_N_FREQUENCIES = 36
_ALONG_AXIS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""G of F(4 × 4, 3 × 3), see `winograd_kernels`."""

_OF_KERNEL = np.kron(_ALONG_AXIS, _ALONG_AXIS)
"""(36, 9): from a kernel to its frequencies."""


class TiledConvolution:
    """Convolves the outputs of a block by F(4 × 4, 3 × 3): a quarter of the multiplications.

    Exact up to rounding (relative 1e-6, where a direct sum has 3e-7).
    """

    def __init__(self, kernel: Tensor, memory: Memory) -> None:
        self.n_out, self.n_in = kernel.shape[:2]
        self._memory = memory
        self._of_kernel = torch.from_numpy(_OF_KERNEL)
        columns = kernel.double().permute(2, 3, 1, 0).reshape(9, -1)
        found = (self._of_kernel @ columns).float()
        self._weights = found.view(_N_FREQUENCIES, self.n_in, self.n_out)
        self._gradient = torch.zeros_like(self._weights)

    def outputs(self, h: Singles) -> Singles:
        """Return the (cells, D, D, n_out) outputs, without a bias, of (cells, D, D, n_in)."""
        inputs = self._to_frequencies(h)
        mixed = self._take("mixed", h, self.n_out)
        torch.bmm(inputs, self._weights, out=mixed)
        x = self._memory.take("convolved", *h.shape[:3], self.n_out)
        tiles.frequencies_to_outputs(_flat(mixed), x)
        return x

    def backward(self, h: Singles, dx: Singles) -> Singles:
        """Add the kernel's gradient, and return that of the inputs, given that of the outputs."""
        inputs = self._to_frequencies(h)
        pull = self._take("mixed", dx, self.n_out)
        tiles.outputs_to_frequencies(dx, _flat(pull))
        self._gradient.baddbmm_(inputs.mT, pull)
        torch.bmm(pull, self._weights.mT, out=inputs)
        dh = self._memory.take("dh", *h.shape)
        tiles.frequencies_to_inputs(_flat(inputs), dh)
        return dh

    def gradient(self) -> Tensor:
        """Return the (n_out, n_in, 3, 3) gradient that has come together."""
        found = self._of_kernel.T @ self._gradient.double().view(_N_FREQUENCIES, -1)
        return found.view(3, 3, self.n_in, self.n_out).permute(3, 2, 0, 1).float()

    def _to_frequencies(self, h: Singles) -> Tensor:
        inputs = self._take("inputs", h, self.n_in)
        tiles.inputs_to_frequencies(h, _flat(inputs))
        return inputs

    def _take(self, name: str, images: Singles, n: int) -> Tensor:
        n_tiles = len(images) * ((images.shape[1] + 3) // 4) ** 2
        return torch.from_numpy(self._memory.take(f"{name} by tile", _N_FREQUENCIES, n_tiles, n))


def _flat(frequencies: Tensor) -> Singles:
    array: Singles = frequencies.view(_N_FREQUENCIES, -1).numpy()
    return array
