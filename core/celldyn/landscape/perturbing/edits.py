"""What is done to which genes, by number; and rules that do the same to any gene.

Shapes: k genes that are changed, m cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import ConfigError
from celldyn.landscape.graph import Floats, Ints
from celldyn.perturbation import KNOCK_OUT, Change, Perturbation

ScreenChange: TypeAlias = Literal["knockout", "overexpress"] | float | Change
HIGH = 0.99
"""Of the cells that express a gene, what share is below the level of an over-expression."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """Genes whose expression x becomes max(factor · x + offset, 0).

    Parameters
    ----------
    genes
        (k,) their numbers, each once.
    factor, offset
        (k,) of each.
    """

    genes: Ints
    factor: Floats
    offset: Floats

    @classmethod
    def of(cls, perturbation: Perturbation, names: Sequence[str]) -> Edit:
        """Return what a perturbation does to genes of these names.

        Raises
        ------
        MissingKeyError
            If one is not among them.
        """
        factor, offset = perturbation.factor_and_offset(names)
        place = {name: number for number, name in enumerate(names)}
        genes = np.array([place[gene] for gene in perturbation.genes], dtype=np.int64)
        return cls(genes, factor[genes], offset[genes])

    @classmethod
    def one(cls, gene: int, change: Change) -> Edit:
        """Return the change of one gene."""
        return cls(np.array([gene]), np.array([change.factor]), np.array([change.offset]))

    def elsewhere(self, genes: Ints) -> Edit:
        """Return the same done to other genes."""
        return Edit(np.asarray(genes, dtype=np.int64), self.factor, self.offset)

    def added(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what it adds to expression x of its genes, (m, k)."""
        after = np.maximum(x * self.factor + self.offset, 0.0)
        return np.asarray(after - x, dtype=np.float32)

    @property
    def keeps_zero(self) -> bool:
        """Whether a gene that is not expressed stays so: then those cells need no look."""
        return not self.offset.any()


Rule: TypeAlias = Callable[[int], Change]
"""What a screen does to the gene of a number."""


def rule_of(change: ScreenChange, high: Floats) -> Rule:
    """Return what is done to each gene of a screen.

    Parameters
    ----------
    change
        "knockout"; "overexpress", to the level that 99 % of the cells which express it are below;
        a factor; or one change for all.
    high
        (G,) that level.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if isinstance(change, Change):
        return lambda gene: change
    if change == "knockout":
        return lambda gene: KNOCK_OUT
    if change == "overexpress":
        return lambda gene: Change("set", float(high[gene]))
    if isinstance(change, bool) or not isinstance(change, int | float):
        raise ConfigError(
            f"{change!r} is no change", "use 'knockout', 'overexpress', a factor or a Change"
        )
    factor = Change("multiply", float(change))
    return lambda gene: factor
