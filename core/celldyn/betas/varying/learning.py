"""Networks that learn from the same cells, epoch after epoch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import Ints
from celldyn.betas.varying.anchored import AnchoredNetwork
from celldyn.betas.varying.gradients import Batch, gradient
from celldyn.betas.varying.images import Images, Source
from celldyn.betas.varying.one_block import Memory
from celldyn.betas.varying.settling import settle


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """The cells that networks learn from.

    Parameters
    ----------
    source
        Makes their images.
    side
        D, pixels along a side of them.
    features
        (n_cells, n_clusters) scaled numbers of neighbours.
    X, y
        For each network its (n_models, n_cells, n_modulators) designs and (n_models, n_cells)
        targets.
    """

    source: Source
    side: int
    features: Tensor
    X: Sequence[Tensor]
    y: Sequence[Tensor]

    def batch(self, images: Images, cells: Tensor, network: int) -> Batch:
        """Return some cells as a batch of one of the networks."""
        cells = cells.to(self.features.device)
        X, y = self.X[network][:, cells], self.y[network][:, cells]
        return Batch(images, self.features[cells], X, y)


class Learner:
    """Networks on their way through the epochs.

    Parameters
    ----------
    networks
        On the device of the lessons; each may be a stack.
    lessons
        All cells.
    cells
        (n_cells,) positions of those that are learnt from.
    config
        `learning_rate`, `batch_size`, `grad_clip` and `rotate_maps` are read.
    generator
        Decides on the order of cells and on the turns of images, the same for all networks.
    """

    def __init__(
        self,
        networks: Sequence[AnchoredNetwork],
        lessons: Lessons,
        cells: Ints,
        config: ModelConfig,
        generator: torch.Generator,
    ) -> None:
        self.networks, self.lessons, self.config = list(networks), lessons, config
        self.cells = torch.from_numpy(np.asarray(cells, np.int64))
        self.generator, self.memory = generator, Memory()
        self.losses: list[list[Tensor]] = [[] for _ in networks]
        self.resting = [False] * len(networks)
        self._optimisers = [_optimiser(network, config.learning_rate) for network in networks]

    def epoch(self) -> Generator[float, None, None]:
        """Go through all cells once, with those networks that do not rest.

        Yields which share of the epoch is done.
        """
        order = self.cells[torch.randperm(len(self.cells), generator=self.generator)]
        awake = [k for k, resting in enumerate(self.resting) if not resting]
        done = 0
        for cells in batches(order, self.config.batch_size):
            images = self.lessons.source.batch(cells.numpy(), self._turns(len(cells)))
            for at, k in enumerate(awake):
                for share in self._step(k, self.lessons.batch(images, cells, k)):
                    yield (done + (at + share) / len(awake) * len(cells)) / len(order)
            done += len(cells)

    def settle(self) -> Generator[float, None, None]:
        """Measure what batch norm uses in evaluation, for those networks that do not rest."""
        for k, network in enumerate(self.networks):
            if not self.resting[k]:
                source, size = self.lessons.source, self.config.batch_size
                yield from settle(network, source, self.cells, size, self.memory)

    def last_loss(self) -> float:
        """Return the mean loss of the last batch over all models."""
        return float(torch.cat([losses[-1] for losses in self.losses if losses]).mean())

    def clear(self) -> None:
        """Let go of what only learning needs."""
        self.memory.clear()
        self._optimisers.clear()

    def _step(self, k: int, batch: Batch) -> Generator[float, None, None]:
        network = self.networks[k].train()
        loss = yield from gradient(network, batch, self.memory)
        _clip(network, self.config.grad_clip)
        self._optimisers[k].step()
        self.losses[k].append(loss)
        yield 1.0

    def _turns(self, n_cells: int) -> Ints | None:
        if not self.config.rotate_maps:
            return None
        turns: Ints = torch.randint(4, (n_cells,), generator=self.generator).numpy()
        return turns


def batches(order: Tensor, size: int) -> list[Tensor]:
    """Cut into batches; none is a single cell, which has no variance, if there are two."""
    parts = list(torch.split(order, max(size, 2)))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _optimiser(network: AnchoredNetwork, learning_rate: float) -> torch.optim.Adam:
    fused = network.anchors.device.type in ("cpu", "cuda")
    return torch.optim.Adam(network.parameters(), lr=learning_rate, fused=fused)


@torch.no_grad()
def _clip(network: AnchoredNetwork, longest: float) -> None:
    """Shorten each model's gradient to a length."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    squares = torch.stack([g.reshape(len(g), -1).square().sum(dim=1) for g in gradients])
    factor = (longest / (squares.sum(dim=0).sqrt() + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g *= factor.reshape(-1, *(1 for _ in g.shape[1:]))
