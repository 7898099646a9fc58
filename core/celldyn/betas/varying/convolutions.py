"""3 × 3 convolutions of a few cells at a time: of points, of images, by Winograd's algorithm."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from celldyn.betas.varying import winograd_kernels as tiles
from celldyn.betas.varying.block_kernels import Doubles, Singles
from celldyn.betas.varying.images import Images, PointImages
from celldyn.betas.varying.one_block import Memory
from celldyn.betas.varying.point_kernels import gather, stamp

_N_FREQUENCIES = 36
_KERNELS = np.array(
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


class FirstConvolution(Protocol):
    """Convolves images; all outputs are (cells, D, D, n_out) without a bias."""

    def outputs(self, images: Images) -> Singles:
        """Return the outputs of some cells."""
        ...

    def learn(self, images: Images, dx: Singles) -> None:
        """Add the kernel's gradient, given that of the outputs."""
        ...

    def gradient(self) -> Tensor:
        """Return the (n_out, n_in, 3, 3) gradient that has come together."""
        ...


def first_convolution(kernel: Tensor, images: Images, memory: Memory) -> FirstConvolution:
    """Return the convolution that suits the images."""
    if isinstance(images, PointImages):
        return PointConvolution(kernel, memory)
    return ImageConvolution(kernel)


class PointConvolution:
    """Convolves images that count points: the kernel is stamped at each point."""

    def __init__(self, kernel: Tensor, memory: Memory) -> None:
        self._stamps: Singles = kernel.permute(1, 2, 3, 0).contiguous().numpy()
        self._gradient: Doubles = np.zeros(self._stamps.shape)
        self._memory = memory

    def outputs(self, images: Images) -> Singles:
        """See `FirstConvolution`."""
        assert isinstance(images, PointImages)
        side, n_out = images.side, self._stamps.shape[-1]
        x = self._memory.take("stamped", len(images), side, side, n_out)
        stamp(images.start, images.place, self._stamps, x)
        return x

    def learn(self, images: Images, dx: Singles) -> None:
        """See `FirstConvolution`."""
        assert isinstance(images, PointImages)
        gather(images.start, images.place, dx, self._gradient)

    def gradient(self) -> Tensor:
        """See `FirstConvolution`."""
        return torch.from_numpy(self._gradient).permute(3, 0, 1, 2).float()


class ImageConvolution:
    """Convolves images of few channels as torch does."""

    def __init__(self, kernel: Tensor) -> None:
        self._kernel = kernel.to(memory_format=torch.channels_last)
        self._gradient = torch.zeros(kernel.shape, dtype=torch.float64)

    def outputs(self, images: Images) -> Singles:
        """See `FirstConvolution`."""
        x = F.conv2d(self._dense(images), self._kernel, padding=1)
        array: Singles = x.permute(0, 2, 3, 1).contiguous().numpy()
        return array

    def learn(self, images: Images, dx: Singles) -> None:
        """See `FirstConvolution`."""
        both, one, none, wanted = [1, 1], [0, 0], False, [False, True, False]
        found = torch.ops.aten.convolution_backward(
            torch.from_numpy(dx).permute(0, 3, 1, 2), self._dense(images), self._kernel, None,
            both, both, both, none, one, 1, wanted,
        )  # fmt: skip
        self._gradient += found[1]

    def gradient(self) -> Tensor:
        """See `FirstConvolution`."""
        return self._gradient.float()

    @staticmethod
    def _dense(images: Images) -> Tensor:
        # `contiguous` would leave a single channel's strides, and outputs would follow them.
        return images.dense(torch.device("cpu")).to(memory_format=torch.channels_last)


class TiledConvolution:
    """Convolves the outputs of a block by F(4 × 4, 3 × 3): a quarter of the multiplications.

    Exact up to rounding (relative 1e-6, where a direct sum has 3e-7).
    """

    def __init__(self, kernel: Tensor, memory: Memory) -> None:
        self.n_out, self.n_in = kernel.shape[:2]
        self._memory = memory
        self._g = torch.from_numpy(_KERNELS)
        found = (self._g @ kernel.double() @ self._g.T).permute(2, 3, 1, 0)
        self._weights = found.reshape(_N_FREQUENCIES, self.n_in, self.n_out).float()
        self._gradient = torch.zeros_like(self._weights, dtype=torch.float64)

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
        self._gradient += torch.bmm(inputs.mT, pull)
        torch.bmm(pull, self._weights.mT, out=inputs)
        dh = self._memory.take("dh", *h.shape)
        tiles.frequencies_to_inputs(_flat(inputs), dh)
        return dh

    def gradient(self) -> Tensor:
        """Return the (n_out, n_in, 3, 3) gradient that has come together."""
        found = self._gradient.view(6, 6, self.n_in, self.n_out).permute(3, 2, 0, 1)
        return (self._g.T @ found @ self._g).float()

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
