"""The loss of a batch and its gradient: in one pass on the processor, by autograd elsewhere."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from celldyn.betas.varying.anchored import AnchoredNetwork, predicted
from celldyn.betas.varying.cnn import CellularNicheNetwork
from celldyn.betas.varying.images import Images
from celldyn.betas.varying.one_block import BlockParameters, Memory
from celldyn.betas.varying.one_pass import OnePass

PIECE = 64
"""Cells that a network without batch norm is trained on at once: about as many as a core's cache
holds, and few enough to pause between."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a network is trained on at once.

    Parameters
    ----------
    images
        Of the cells.
    features
        (n_cells, n_clusters) scaled numbers of neighbours.
    X, y
        (n_models, n_cells, n_modulators) designs and (n_models, n_cells) targets.
    """

    images: Images
    features: Tensor
    X: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def part(self, start: int, stop: int) -> Batch:
        """Return some consecutive cells."""
        images = self.images.part(start, stop)
        cells = slice(start, stop)
        return Batch(images, self.features[cells], self.X[:, cells], self.y[:, cells])


def gradient(
    network: AnchoredNetwork, batch: Batch, memory: Memory
) -> Generator[float, None, Tensor]:
    """Set the gradients of a batch's mean squared errors; return these, (n_models,).

    Between pieces of work of some 10 ms it yields the share that is done; on a GPU it does not.
    """
    for parameter in network.parameters():
        parameter.grad = None
    if goes_in_one_pass(network):
        loss = yield from _in_one_pass(network, batch, memory)
        return loss
    if isinstance(network, CellularNicheNetwork):  # batch norm needs the whole batch
        return by_autograd(network, batch, len(batch))
    losses = []
    for start in range(0, len(batch), PIECE):
        part = batch.part(start, min(start + PIECE, len(batch)))
        losses.append(by_autograd(network, part, len(batch)))
        yield (start + len(part)) / len(batch)
    return torch.stack(losses).sum(dim=0)


def goes_in_one_pass(network: AnchoredNetwork) -> TypeGuard[CellularNicheNetwork]:
    """Whether a network is one for `OnePass`: a single model on the processor."""
    on_processor = network.anchors.device.type == "cpu"
    return isinstance(network, CellularNicheNetwork) and network.n_models == 1 and on_processor


def by_autograd(network: AnchoredNetwork, batch: Batch, n: int) -> Tensor:
    """Add the gradients of a part of a batch of n cells; return its share of the errors."""
    seen = network.see(batch.images.dense(batch.features.device))
    loss = _error(network, seen, batch) / n
    loss.sum().backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _error(network: AnchoredNetwork, seen: Tensor, batch: Batch) -> Tensor:
    betas = network.betas_of(seen, batch.features)
    return (predicted(betas, batch.X) - batch.y).square().sum(dim=1)


def block_parameters(network: CellularNicheNetwork) -> list[BlockParameters]:
    """Return the blocks' parameters of a network of one model, tied to it by autograd."""
    return [
        BlockParameters(b.kernel()[0], b.bias[0], b.gamma[0], b.beta[0], b.slope[0])
        for b in network.convolutions
    ]


def _in_one_pass(
    network: CellularNicheNetwork, batch: Batch, memory: Memory
) -> Generator[float, None, Tensor]:
    parameters = block_parameters(network)
    run = OnePass(parameters, batch.images, memory)
    seen = yield from run.forward()
    run.absorb_into(network.convolutions)
    seen.requires_grad_()
    loss = _error(network, seen[None], batch) / len(batch)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert seen.grad is not None
    found = yield from run.backward(seen.grad)
    # The bias is the only parameter without a gradient: batch norm takes it out again.
    learnt = [t for p in parameters for t in (p.kernel, p.gamma, p.beta, p.slope)]
    torch.autograd.backward(learnt, [t for gradients in found for t in gradients])
    return loss.detach()
