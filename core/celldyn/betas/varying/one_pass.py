"""A batch through the blocks of one model and back on the processor, without what autograd keeps.

What `ConvolutionBlock` says, in another order: the convolution runs over so few cells at a time
that its output is pooled while it is in cache, pooling comes before batch norm and PReLU, and what
is needed again is kept in memory that the next batch uses too.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor

from celldyn.betas.varying.block_kernels import Doubles, Singles, unpool
from celldyn.betas.varying.convolution import ConvolutionBlock
from celldyn.betas.varying.first_convolution import first_convolution
from celldyn.betas.varying.images import Images
from celldyn.betas.varying.one_block import Block, BlockParameters, Memory
from celldyn.betas.varying.tiled_convolution import TiledConvolution

_CHUNK_BYTES = (2 << 20, 1 << 19)
"""Outputs of the first and of the later convolutions that are worked on at once: with all that is
beside them, what a core's cache holds."""

_MOST_CELLS = 64


class OnePass:
    """A batch of images on its way through the blocks of one model, and back.

    Its generators pause between pieces of work of a few milliseconds, and say then which share of
    both ways is done.

    Parameters
    ----------
    parameters
        Of each block.
    images
        The batch.
    memory
        Is used until `backward` is over, or the next pass starts with it.
    """

    def __init__(self, parameters: list[BlockParameters], images: Images, memory: Memory) -> None:
        self._blocks = [Block.of(given) for given in parameters]
        kernels = [block.kernel for block in self._blocks]
        self._first = first_convolution(kernels[0], images, memory)
        self._later = [TiledConvolution(kernel, memory) for kernel in kernels[1:]]
        self._images, self._memory, self._n = images, memory, len(images)
        self._kept: list[Singles] = []
        self._n_done, self._n_pieces = (
            0,
            2 * sum(len(self._chunks(k)) for k in range(len(kernels))),
        )

    def absorb_into(self, blocks: Sequence[ConvolutionBlock]) -> None:
        """Let the batch's mean and variance into the running ones, after `forward`."""
        for k, (found, block) in enumerate(zip(self._blocks, blocks, strict=True)):
            mean = torch.from_numpy(found.mean).float() + found.bias
            block.absorb(mean, torch.from_numpy(found.var).float(), self._n_outputs(k))

    def forward(self) -> Generator[float, None, Tensor]:
        """Return the (n_cells, 64) means over pixels, with the batch's own mean and variance."""
        for k in range(len(self._blocks)):
            yield from self._forward(k)
        last = self._blocks[-1]
        chunks = self._chunks(len(self._blocks) - 1)
        return _means([last.activated(last.top[chunk]) for chunk in chunks])

    def settled(self, statistics: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the same with a given mean and variance of each block, as in evaluation."""
        for block, (mean, var) in zip(self._blocks, statistics, strict=True):
            block.normalise((mean - block.bias).double().numpy(), var.double().numpy())
        return _means([self._settled(chunk) for chunk in self._chunks(0)])

    def backward(self, gradient: Tensor) -> Generator[float, None, list[list[Tensor]]]:
        """Return the gradients of each block's kernel, gamma, beta and slope.

        Parameters
        ----------
        gradient
            (n_cells, 64), of what `forward` returned.
        """
        last = self._blocks[-1]
        dz = self._memory.take("gradient", *last.top.shape)
        dz[:] = (gradient / last.top.shape[1] ** 2).numpy()[:, None, None, :]
        sums = np.zeros((3, last.n_out))
        last.deactivate(dz, slice(None), sums)
        gradients: list[list[Tensor]] = []
        for k in reversed(range(len(self._blocks))):
            gradients.append(self._blocks[k].gradients(sums))
            dz, sums = yield from self._backward(k, dz, sums)
            convolution = self._later[k - 1] if k else self._first
            gradients[-1].insert(0, convolution.gradient())
        return gradients[::-1]

    def _side(self, k: int) -> int:
        return self._images.side >> k

    def _n_outputs(self, k: int) -> int:
        """Return how many outputs a channel of a block's convolution has."""
        return self._n * self._side(k) ** 2

    def _chunks(self, k: int) -> list[slice]:
        """Return the pieces of the batch in which a block's outputs are worked out."""
        per_cell = 4 * self._side(k) ** 2 * self._blocks[k].n_out
        step = min(max(_CHUNK_BYTES[k > 0] // per_cell, 1), _MOST_CELLS)
        return [slice(at, min(at + step, self._n)) for at in range(0, self._n, step)]

    def _advanced(self, pieces: int = 1) -> float:
        self._n_done += pieces
        return self._n_done / self._n_pieces

    def _outputs(self, k: int, chunk: slice) -> Singles:
        """Return what a block's convolution makes of some cells, without the bias."""
        if k == 0:
            return self._first.outputs(chunk)
        return self._later[k - 1].outputs(self._inputs(k, chunk))

    def _inputs(self, k: int, chunk: slice) -> Singles:
        before = self._blocks[k - 1]
        return before.activated(before.top[chunk])

    def _forward(self, k: int) -> Generator[float, None, None]:
        """Convolve and pool the whole batch; then the batch's mean and variance are known."""
        block, side, n = self._blocks[k], self._side(k), self._n
        block.top = self._memory.take(f"top {k}", n, side // 2, side // 2, block.n_out)
        # The first block's outputs would be the largest to keep, and are cheap to make again.
        kept = self._memory.take(f"outputs {k}", n if k else 0, side, side, block.n_out)
        self._kept.append(kept)
        centre = self._outputs(k, slice(0, 1))[0].mean(axis=(0, 1))
        sums = np.zeros((2, block.n_out))
        for chunk in self._chunks(k):
            if k == 0:
                self._first.pool(chunk, block, block.top[chunk], centre, sums)
            else:
                kept[chunk] = self._outputs(k, chunk)
                block.pool(kept[chunk], block.top[chunk], centre, sums)
            yield self._advanced()
        shifted, power = sums / self._n_outputs(k)
        block.normalise(centre + shifted, np.maximum(power - shifted**2, 0.0))
        if block.slope < 0:
            for chunk in self._chunks(k):
                x = kept[chunk] if k else self._first.outputs(chunk)
                block.reconsider(x, block.top[chunk])
                yield self._advanced(0)

    def _settled(self, chunk: slice) -> Singles:
        n, half = chunk.stop - chunk.start, self._side(0) // 2
        activated = np.empty(0, np.float32)
        for k, block in enumerate(self._blocks):
            top = self._memory.take(f"settled {k}", n, half >> k, half >> k, block.n_out)
            nowhere = np.zeros(block.n_out, np.float32)
            if k == 0:
                self._first.pool(chunk, block, top, nowhere, None)
                x = self._first.outputs(chunk) if block.slope < 0 else top
            else:
                x = self._later[k - 1].outputs(activated)
                block.pool(x, top, nowhere, None)
            if block.slope < 0:
                block.reconsider(x, top)
            activated = block.activated(top)
        return activated

    def _backward(
        self, k: int, dz: Singles, sums: Doubles
    ) -> Generator[float, None, tuple[Singles, Doubles]]:
        """Take the gradient through a block; return `dz` and `sums` of the block before."""
        block = self._blocks[k]
        terms = block.unpool_terms(sums, self._n_outputs(k))
        if k == 0:
            for chunk in self._chunks(0):
                self._first.learn(chunk, block, dz[chunk], terms)
                yield self._advanced()
            return dz, sums
        before, convolution = self._blocks[k - 1], self._later[k - 1]
        dbefore = self._memory.take(f"gradient {k}", *before.top.shape)
        sums_before = np.zeros((3, before.n_out))
        for chunk in self._chunks(k):
            x = self._kept[k][chunk]
            dx = self._memory.take("dx", *x.shape)
            unpool(x, block.top[chunk], dz[chunk], *terms, dx)
            dbefore[chunk] = convolution.backward(self._inputs(k, chunk), dx)
            before.deactivate(dbefore, chunk, sums_before)
            yield self._advanced()
        return dbefore, sums_before


def _means(outputs: list[Singles]) -> Tensor:
    """Return the (n_cells, n) means over pixels of the last block's outputs."""
    return torch.from_numpy(np.concatenate([part.mean(axis=(1, 2)) for part in outputs]))
