"""What a screen of virtual cells found: one row per gene and group of cells.

Shapes: q genes, r groups of cells, the first of them all cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.environment.effects import ALL
from celldyn.errors import MissingKeyError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """What changes of genes, one by one, do to the same cells from the same state.

    Parameters
    ----------
    genes
        (q,) which.
    groups
        (r,) names of groups of cells; the first is all.
    n_cells
        (r,) cells of each.
    effect
        (q, r) mean of ‖x_T − x_0‖, the effect size of the paper.
    length
        (q, r) mean of Σ_t ‖x_t+1 − x_t‖.
    shift
        (q, r) mean of ‖x_T − x_T without the change‖.
    size
        (q, r) mean length of the change of what cells see, at the end.
    control
        (m, r) effects of m stretches of time without a change, each as long as the screen's.
    null
        (m, r) shift per size of changes in directions drawn at random.
    change
        What was done to each gene.
    settings
        How: plain values.
    notes, seconds
        What to know, and how long it took.
    """

    genes: tuple[str, ...]
    groups: tuple[str, ...]
    n_cells: NDArray[np.int64]
    effect: Floats
    length: Floats
    shift: Floats
    size: Floats
    control: Floats
    null: Floats
    change: str = ""
    settings: Mapping[str, float | int | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def z(self) -> Floats:
        """(q, r) effects against those of the controls, in their standard deviations.

        NaN where controls do not vary, as where cells are at rest.
        """
        return scored(self.effect, self.control)

    @property
    def z_random(self) -> Floats:
        """(q, r) shift per size of change against directions drawn at random."""
        usable = self.size > 0
        ratio = np.where(usable, self.shift / np.where(usable, self.size, 1.0), np.nan)
        return scored(ratio, self.null)

    def _group(self, group: str) -> int:
        if group not in self.groups:
            known = ", ".join(self.groups[:8])
            raise MissingKeyError(f"there is no group {group!r}", f"there are {known}")
        return self.groups.index(group)

    def table(self) -> pd.DataFrame:
        """Return one row per gene and group, those with the largest shift first.

        Columns: gene, group, n_cells, effect, length, shift, size, z, z_random.
        """
        import pandas as pd

        q, r = self.effect.shape
        columns: dict[str, object] = {
            "gene": np.repeat(np.array(self.genes, object), r),
            "group": np.tile(np.array(self.groups, object), q),
            "n_cells": np.tile(self.n_cells, q),
        }
        for name in ("effect", "length", "shift", "size", "z", "z_random"):
            columns[name] = getattr(self, name).ravel()
        table = pd.DataFrame(columns)
        return table.sort_values("shift", ascending=False, kind="stable", ignore_index=True)

    def of_group(self, group: str = ALL) -> pd.DataFrame:
        """Return one row per gene for one group, with its rank, the largest shift first.

        Raises
        ------
        MissingKeyError
            If there is no such group.
        """
        at = self._group(group)
        table = self.table()
        chosen = table[table["group"] == self.groups[at]].drop(columns="group")
        chosen = chosen.reset_index(drop=True)
        chosen.insert(1, "rank", np.arange(1, len(chosen) + 1))
        return chosen

    def matrix(self, what: str = "shift") -> pd.DataFrame:
        """Return genes by groups, of effect, length, shift, size, z or z_random."""
        import pandas as pd

        if what not in ("effect", "length", "shift", "size", "z", "z_random"):
            raise MissingKeyError(
                f"{what!r} is not in the screen",
                "choose effect, length, shift, size, z or z_random",
            )
        return pd.DataFrame(
            getattr(self, what), index=np.array(self.genes, object), columns=list(self.groups)
        )

    def __str__(self) -> str:
        most = int(self.shift[:, 0].argmax())
        return (
            f"{len(self.genes):,} genes, {self.change}: the most, {self.genes[most]}, takes cells "
            f"{self.shift[most, 0]:.3g} from where they are without it, on average"
        )


def scored(values: Floats, null: Floats) -> Floats:
    """Return values in standard deviations from the mean of a null, (q, r) against (m, r)."""
    if len(null) < 2:
        return np.full(values.shape, np.nan)
    mean, spread = null.mean(axis=0), null.std(axis=0, ddof=1)
    # What differs by rounding alone does not vary.
    varies = spread > 1e-6 * np.abs(mean).clip(1e-6)
    return np.where(varies, (values - mean) / np.where(varies, spread, 1.0), np.nan)
