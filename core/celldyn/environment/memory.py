"""What environments did in a stretch of time, as far as learning from it needs.

Shapes: T steps, B environments, n cells, d dimensions; E episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True, eq=False)
class Memory:
    """A stretch of T steps of B environments.

    What a cell saw of itself is not held: it is looked up by number.
    """

    position: Tensor
    """(T, B, n, d) before the step."""
    velocity: Tensor
    """(T, B, n, d)."""
    action: Tensor
    """(T, B, n, d)."""
    log_prob: Tensor
    """(T, B, n)."""
    value: Tensor
    """(T, B, n), in the unit of rewards."""
    reward: Tensor
    """(T, B, n)."""
    final_value: Tensor
    """(T, B, n), of the state after the step where it was cut; else 0."""
    truncated: Tensor
    """(T, B) bool."""
    time: Tensor
    """(T, B) s."""
    episode: Tensor
    """(T, B) place in `cells`."""
    cells: list[Tensor] = field(default_factory=list)
    """(n,) of every episode."""
    sizes: list[int] = field(default_factory=list)
    """Cells of every episode."""
    table: Tensor | None = None
    """(E, n) the same as `cells`, once all are known."""
    terms: dict[str, float] = field(default_factory=dict)
    """Mean reward of a cell per episode's length, by term."""

    @classmethod
    def empty(cls, T: int, B: int, n: int, d: int, device: torch.device) -> Memory:
        """Return one to be filled."""

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(T, B, *shape, dtype=dtype, device=device)

        return cls(
            room(n, d), room(n, d), room(n, d), room(n), room(n), room(n), room(n),
            room(dtype=torch.bool), room(), room(dtype=torch.int64),
        )  # fmt: skip

    @property
    def n_steps(self) -> int:
        """T."""
        return len(self.position)

    @property
    def n_cell_steps(self) -> int:
        """Steps of all cells together."""
        return int(self.counts().sum())

    def counts(self) -> Tensor:
        """Return how many cells there were, (T, B)."""
        sizes = torch.tensor(self.sizes, device=self.episode.device)
        return sizes[self.episode]

    @property
    def full(self) -> bool:
        """Whether all places hold a cell."""
        return min(self.sizes) == self.position.shape[2]

    def cells_of(self, episode: Tensor) -> Tensor:
        """Return the numbers of the cells of episodes, (..., n)."""
        if self.table is None or len(self.table) != len(self.cells):
            self.table = torch.stack(self.cells)
        return self.table[episode]

    def mask(self, at: Tensor | slice = slice(None)) -> Tensor | None:
        """Return which cells there are in some of the T · B moments, (m, n); None: all are."""
        if self.full:
            return None
        n = self.position.shape[2]
        counts = self.counts().flatten()[at]
        return torch.arange(n, device=counts.device) < counts[:, None]

    def cells_at(self, at: Tensor) -> Tensor:
        """Return the numbers of the cells of some moments, (m, n)."""
        return self.cells_of(self.episode.flatten()[at])

    def flat(self, name: str) -> Tensor:
        """Return one of its tensors by moment, (T · B, ...)."""
        found: Tensor = getattr(self, name)
        return found.flatten(0, 1)


def batches(memory: Memory, epoch_size: int, batch_size: int, generator: torch.Generator,
            ) -> Iterator[Tensor]:  # fmt: skip
    """Draw whole moments of environments, each at most once, in batches.

    How many batches there are depends on sizes that all learners share, not on what was drawn.

    Parameters
    ----------
    epoch_size, batch_size
        Cell-steps of the draw, and of a batch.

    Yields
    ------
    (m,) numbers of moments among T · B, at least one.
    """
    device, n_moments = memory.position.device, memory.episode.numel()
    order = torch.randperm(n_moments, generator=generator, device=device)
    size = memory.n_cell_steps / n_moments
    n_drawn = min(max(round(epoch_size / size), 1), n_moments)
    yield from torch.tensor_split(order[:n_drawn], n_batches(memory, epoch_size, batch_size))


def n_batches(memory: Memory, epoch_size: int, batch_size: int) -> int:
    """Return how many batches a draw has."""
    n_moments, n = memory.episode.numel(), memory.position.shape[2]
    fewest = max(1, min(epoch_size // n, n_moments))
    return min(max(1, round(min(epoch_size, n_moments * n) / batch_size)), fewest)
