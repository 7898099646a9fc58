"""The first block's convolution, which knows what its images are made from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from celldyn.betas.varying import distance_kernels as distances
from celldyn.betas.varying.block_kernels import Doubles, Singles, unpool
from celldyn.betas.varying.images import DistanceImages, Images, PointImages
from celldyn.betas.varying.one_block import Block, Memory
from celldyn.betas.varying.point_kernels import gather, stamp

Terms = tuple[Singles, Singles, Singles]
"""factor, constant and linear of `block_kernels.unpool`."""


def first_convolution(kernel: Tensor, images: Images, memory: Memory) -> FirstConvolution:
    """Return the convolution that suits the images; `kernel` is (n_out, n_channels, 3, 3)."""
    if isinstance(images, PointImages):
        return PointConvolution(kernel, images, memory)
    if isinstance(images, DistanceImages):
        return DistanceConvolution(kernel, images, memory)
    return FirstConvolution(kernel, images, memory)


class FirstConvolution:
    """Convolves any images, as torch does; outputs are (cells, D, D, n_out) without a bias."""

    def __init__(self, kernel: Tensor, images: Images, memory: Memory) -> None:
        self._kernel = kernel.to(memory_format=torch.channels_last)
        self._images, self._memory = images, memory
        self._gradient = torch.zeros(kernel.shape, dtype=torch.float64)

    def outputs(self, chunk: slice) -> Singles:
        """Return the outputs of some cells."""
        x = F.conv2d(self._dense(chunk), self._kernel, padding=1)
        array: Singles = x.permute(0, 2, 3, 1).contiguous().numpy()
        return array

    def pool(
        self, chunk: slice, block: Block, top: Singles, centre: Singles, sums: Doubles | None
    ) -> None:
        """Pool the outputs of some cells; see `Block.pool`."""
        block.pool(self.outputs(chunk), top, centre, sums)

    def learn(self, chunk: slice, block: Block, dz: Singles, terms: Terms) -> None:
        """Add the kernel's gradient, given that of some cells' pooled outputs."""
        x = self.outputs(chunk)
        dx = self._memory.take("dx", *x.shape)
        unpool(x, block.top[chunk], dz, *terms, dx)
        self._learn(chunk, dx)

    def gradient(self) -> Tensor:
        """Return the gradient that has come together, of the kernel's shape."""
        return self._gradient.float()

    def _learn(self, chunk: slice, dx: Singles) -> None:
        both, one, none, wanted = [1, 1], [0, 0], False, [False, True, False]
        found = torch.ops.aten.convolution_backward(
            torch.from_numpy(dx).permute(0, 3, 1, 2), self._dense(chunk), self._kernel, None,
            both, both, both, none, one, 1, wanted,
        )  # fmt: skip
        self._gradient += found[1]

    def _dense(self, chunk: slice) -> Tensor:
        images = self._images.part(chunk.start, chunk.stop).dense(torch.device("cpu"))
        # `contiguous` would leave a single channel's strides, and outputs would follow them.
        return images.to(memory_format=torch.channels_last)


class PointConvolution(FirstConvolution):
    """Convolves images that count points: the kernel is stamped at each point."""

    def __init__(self, kernel: Tensor, images: PointImages, memory: Memory) -> None:
        super().__init__(kernel, images, memory)
        self._points = images
        self._stamps: Singles = kernel.permute(1, 2, 3, 0).contiguous().numpy()

    def outputs(self, chunk: slice) -> Singles:
        """Return the outputs of some cells."""
        images = self._points.part(chunk.start, chunk.stop)
        side, n_out = images.side, self._stamps.shape[-1]
        x = self._memory.take("stamped", len(images), side, side, n_out)
        stamp(images.start, images.place, self._stamps, x)
        return x

    def _learn(self, chunk: slice, dx: Singles) -> None:
        images = self._points.part(chunk.start, chunk.stop)
        part = np.zeros(self._stamps.shape)
        gather(images.start, images.place, dx, part)
        self._gradient += torch.from_numpy(part).permute(3, 0, 1, 2)


class DistanceConvolution(FirstConvolution):
    """Convolves images of distances, which are drawn anew each time; see `distance_kernels`."""

    def __init__(self, kernel: Tensor, images: DistanceImages, memory: Memory) -> None:
        super().__init__(kernel, images, memory)
        self._parts = images.parts()
        # All channels are alike, so that their kernels add up.
        summed = kernel.sum(dim=1).permute(1, 2, 0).contiguous()
        self._summed: Singles = summed.numpy()
        self._first, self._second = np.zeros(9), np.zeros((9, 9))
        self._chosen = np.zeros(self._summed.shape)
        self._terms: Terms | None = None

    def pool(
        self, chunk: slice, block: Block, top: Singles, centre: Singles, sums: Doubles | None
    ) -> None:
        """Pool the outputs of some cells; see `Block.pool`."""
        parts, choice = self._drawn_from(chunk), self._choices(block)[chunk]
        distances.pool_distances(*parts, self._summed, block.sign, top, choice)
        if sums is None:
            return
        first, second = np.zeros(9), np.zeros((9, 9))
        distances.patch_moments(*parts, first, second)
        self._first += first
        self._second += second
        n_outputs = len(top) * self._images.side**2
        w = self._summed.reshape(9, -1).astype(np.float64)
        total, power = first @ w, np.sum(w * (_symmetric(second) @ w), axis=0)
        sums[0] += total - n_outputs * centre
        sums[1] += power - 2 * centre * total + n_outputs * centre.astype(np.float64) ** 2

    def learn(self, chunk: slice, block: Block, dz: Singles, terms: Terms) -> None:
        """Add the kernel's gradient, given that of some cells' pooled outputs."""
        if block.slope < 0:  # what was chosen may have been reconsidered
            super().learn(chunk, block, dz, terms)
            return
        self._terms = terms
        choice = self._choices(block)[chunk]
        distances.learn_distances(*self._drawn_from(chunk), choice, dz, self._chosen)

    def gradient(self) -> Tensor:
        """Return the gradient that has come together, of the kernel's shape."""
        if self._terms is None:
            return super().gradient()
        factor, constant, linear = (term.astype(np.float64) for term in self._terms)
        w = self._summed.reshape(9, -1).astype(np.float64)
        spread = np.outer(self._first, constant) + (_symmetric(self._second) @ w) * linear
        found = torch.from_numpy(self._chosen * factor + spread.reshape(self._chosen.shape))
        return found.permute(2, 0, 1)[:, None].expand_as(self._gradient).float()

    def _drawn_from(self, chunk: slice) -> tuple[Singles, Singles, Singles, Singles]:
        down, across, low, per_unit = self._parts
        return down[chunk], across[chunk], low[chunk], per_unit[chunk]

    def _choices(self, block: Block) -> distances.Choices:
        n, half, n_out = len(self._images), self._images.side // 2, block.n_out
        held = self._memory.take("choices", n, half, half, -(-n_out // 4))
        return held.view(np.uint8)[..., :n_out]


def _symmetric(upper: Doubles) -> Doubles:
    whole: Doubles = upper + np.triu(upper, 1).T
    return whole
