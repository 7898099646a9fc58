"""An even sample of molecules that depends on their rows alone, at any number of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.elements import MoleculeTable
from celldyn.errors import ConfigError

Columns = dict[str, NDArray[Any]]


def scattered(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a number for each row that looks random and never occurs twice (splitmix64)."""
    with np.errstate(over="ignore"):
        z = (rows + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


@dataclass(slots=True)
class Lowest:
    """Keeps the molecules of lowest priority number of all that it is given, in their order.

    Parameters
    ----------
    limit
        How many.
    """

    limit: int
    total: int = 0
    _parts: list[Columns] = field(default_factory=list)
    _held: int = 0
    _below: int = (1 << 64) - 1

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(f"limit must be at least 1 (given: {self.limit})", "give more")

    def add(self, part: Columns) -> None:
        """Take a batch."""
        self.total += len(part["x"])
        keep = part["priority"] <= np.uint64(self._below)
        if not keep.all():
            part = {name: held[keep] for name, held in part.items()}
        self._parts.append(part)
        self._held += len(part["x"])
        if self._held > 2 * self.limit:
            self._cut()

    def table(self, names: dict[str, int]) -> MoleculeTable:
        """Return what is kept."""
        self._cut()
        held = self._parts[0] if self._parts else {}
        none = np.empty(0)
        return MoleculeTable(
            np.column_stack([held.get("x", none), held.get("y", none)]).astype(np.float32),
            held.get("gene", none).astype(np.int32),
            tuple(names),
            self.total,
            (held.get("priority", none).astype(np.uint64) >> np.uint64(32)).astype(np.uint32),
            held.get("is_leaked"),
            held.get("cell_id"),
            held.get("section"),
        )

    def _cut(self) -> None:
        if not self._parts:
            return
        joined = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        if len(joined["x"]) > self.limit:
            self._below = int(np.partition(joined["priority"], self.limit - 1)[self.limit - 1])
            keep = joined["priority"] <= np.uint64(self._below)
            joined = {name: held[keep] for name, held in joined.items()}
        self._parts, self._held = [joined], len(joined["x"])
