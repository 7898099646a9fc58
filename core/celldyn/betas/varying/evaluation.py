"""What trained networks give: betas in evaluation mode, part by part of the cells."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from celldyn.betas.inputs import Ints
from celldyn.betas.varying.anchored import AnchoredNetwork
from celldyn.betas.varying.gradients import block_parameters, goes_in_one_pass
from celldyn.betas.varying.images import Images
from celldyn.betas.varying.learning import Lessons
from celldyn.betas.varying.one_block import Memory
from celldyn.betas.varying.one_pass import OnePass

_PIXELS_AT_ONCE = 1 << 18
"""Pixels whose betas are worked out between two pauses: some 15 ms."""

_MOST_CELLS = 512


def betas_by_parts(
    network: AnchoredNetwork, lessons: Lessons, cells: Ints
) -> Generator[tuple[slice, Tensor], None, None]:
    """Yield the betas of some cells in evaluation mode.

    Parameters
    ----------
    network
        On the device of the lessons.
    lessons
        Its images and features are used.
    cells
        (n_cells,) positions of those wanted.

    Yields
    ------
    Which of `cells` come now, and their (n_models, n_now, 1 + p) betas.
    """
    source, features = lessons.source, lessons.features
    network.eval()
    memory = Memory()
    step = int(np.clip(_PIXELS_AT_ONCE // lessons.side**2, 1, _MOST_CELLS))
    try:
        for start in range(0, len(cells), step):
            now = cells[start : start + step]
            at = torch.from_numpy(np.asarray(now, np.int64)).to(features.device)
            with torch.no_grad():
                seen = _seen(network, source.batch(now), features.device, memory)
                found = network.betas_of(seen, features[at])
            yield slice(start, start + len(now)), found
    finally:
        memory.clear()


def _seen(
    network: AnchoredNetwork, images: Images, device: torch.device, memory: Memory
) -> Tensor:
    if goes_in_one_pass(network):
        run = OnePass(block_parameters(network), images, memory)
        statistics = [(b.running_mean[0], b.running_var[0]) for b in network.convolutions]
        return run.settled(statistics)[None]
    return network.see(images.dense(device))
