"""The mean and variance that batch norm uses in evaluation, measured once the weights are final.

Running averages lag behind weights that moved fast, and start from 0 and 1: after few steps betas
in evaluation are not those that were trained. (With 10 epochs of 3 batches, R² 0.91 against 0.98.)
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from celldyn.betas.varying.anchored import AnchoredNetwork
from celldyn.betas.varying.cnn import CellularNicheNetwork
from celldyn.betas.varying.convolution import MOMENTUM
from celldyn.betas.varying.gradients import block_parameters, goes_in_one_pass
from celldyn.betas.varying.images import Images, Source
from celldyn.betas.varying.one_block import Memory
from celldyn.betas.varying.one_pass import OnePass

_MOST_CELLS = 4096
"""Cells that the statistics are taken from, evenly out of all: some million pixels say enough."""


def settle(
    network: AnchoredNetwork, source: Source, cells: Tensor, batch_size: int, memory: Memory
) -> Generator[float, None, None]:
    """Average mean and variance over batches of some cells; yields as `OnePass`.

    Parameters
    ----------
    network
        One without batch norm is left as it is.
    source
        Makes the images.
    cells
        (n_cells,) positions of those that were trained on.
    batch_size
        Of the training.
    memory
        To work in.
    """
    if not isinstance(network, CellularNicheNetwork):
        return
    network.train()
    some = cells[:: -(-len(cells) // _MOST_CELLS)]
    n_batches = -(-len(some) // max(batch_size, 2))
    try:
        for k in range(n_batches):
            for block in network.convolutions:
                block.momentum = 1.0 / (k + 1)
            # Cells may come in the order of their places; each batch gets cells from everywhere.
            images = source.batch(some[k::n_batches].numpy())
            yield from _absorb(network, images, memory)
    finally:
        for block in network.convolutions:
            block.momentum = MOMENTUM


def _absorb(
    network: CellularNicheNetwork, images: Images, memory: Memory
) -> Generator[float, None, None]:
    device = network.anchors.device
    with torch.no_grad():
        if not goes_in_one_pass(network):
            network.see(images.dense(device))
            return
        run = OnePass(block_parameters(network), images, memory)
    yield from run.forward()
    run.absorb_into(network.convolutions)
