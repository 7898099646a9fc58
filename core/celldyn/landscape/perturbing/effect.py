"""What a perturbation does to the fates of cells.

Shapes: m cells, f fates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.measures import direction, moved
from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class PerturbationEffect:
    """Fates of the same cells with a perturbation and without, and what to make of the change.

    Parameters
    ----------
    perturbation, config
        What was done, and how it was followed.
    names
        Fates.
    cells
        (m,) which cells.
    clusters
        (m,) cluster that each was in.
    before, after
        (m, f) chances of the fates of each cell without the perturbation and with it; the same
        starts and noise for both.
    effect, low, high
        (f,) mean change over the cells, and its 95 % interval.
    se
        (m, f) standard error of each cell's change, of its runs; NaN for one run.
    p
        (f,) chance that matched housekeeping genes do as much to that fate; NaN without a null.
    p_any
        The same for the share of cells that come to another fate.
    null
        (n_sets, f) mean changes by sets of matched genes.
    notes
        What to know when reading it.
    """

    perturbation: Perturbation
    config: PerturbConfig
    names: tuple[str, ...]
    cells: Ints
    clusters: NDArray[np.object_]
    before: Floats
    after: Floats
    effect: Floats
    low: Floats
    high: Floats
    se: Floats
    p: Floats
    p_any: float
    null: Floats
    notes: tuple[str, ...] = ()

    @property
    def control(self) -> pd.Categorical:
        """Most likely fate of each cell without the perturbation, (m,)."""
        return self._fates(self.before)

    @property
    def perturbed(self) -> pd.Categorical:
        """Most likely fate of each cell with it, (m,)."""
        return self._fates(self.after)

    def _fates(self, chances: Floats) -> pd.Categorical:
        import pandas as pd

        names = np.array(self.names, dtype=object)
        return pd.Categorical(names[chances.argmax(axis=1)], categories=list(self.names))

    @property
    def change(self) -> Floats:
        """Change of every cell's chances, (m, f)."""
        return self.after - self.before

    @property
    def moved(self) -> float:
        """Share of cells that come to another fate."""
        return float(moved(self.effect))

    @property
    def direction(self) -> Floats:
        """What part of the change each fate has, (f,): 1 gains all that others lose."""
        return direction(self.effect)

    @property
    def gained(self) -> str | None:
        """The fate that gains most; None if nothing moves."""
        return self.names[int(self.effect.argmax())] if self.moved > 1e-9 else None

    @property
    def lost(self) -> str | None:
        """The fate that loses most; None if nothing moves."""
        return self.names[int(self.effect.argmin())] if self.moved > 1e-9 else None

    @property
    def z(self) -> Floats:
        """Each fate's change in standard deviations of the null, (f,); NaN without a null."""
        if not len(self.null):
            return np.full(len(self.names), np.nan)
        spread = np.sqrt(np.square(self.null).mean(axis=0))
        unknown = np.full(len(self.names), np.nan)
        return np.asarray(np.divide(self.effect, spread, out=unknown, where=spread > 0))

    def fates(self) -> pd.DataFrame:
        """Return one row per fate, the one that gains most first.

        Columns: fate, before, after (mean chances), effect, low, high, direction, z, p, and
        log2_ratio of the numbers of cells whose most likely fate it is (each plus one half).
        """
        import pandas as pd

        counts = [
            np.bincount(c.argmax(axis=1), minlength=len(self.names)) + 0.5
            for c in (self.before, self.after)
        ]
        table = pd.DataFrame(
            {
                "fate": list(self.names),
                "before": self.before.mean(axis=0),
                "after": self.after.mean(axis=0),
                "effect": self.effect,
                "low": self.low,
                "high": self.high,
                "direction": self.direction,
                "log2_ratio": np.log2(counts[1] / counts[0]),
                "z": self.z,
                "p": self.p,
            }
        )
        return table.sort_values("effect", ascending=False, kind="stable", ignore_index=True)

    def per_cell(self) -> pd.DataFrame:
        """Return one row per cell: cell, cluster, both fates, moved, and each fate's chances.

        Columns of chances: "before <fate>", "after <fate>", "change <fate>", "se <fate>".
        """
        import pandas as pd

        columns: dict[str, Any] = {
            "cell": self.cells,
            "cluster": self.clusters,
            "control": self.control,
            "perturbed": self.perturbed,
            "moved": moved(self.change),
        }
        for k, name in enumerate(self.names):
            columns |= {
                f"before {name}": self.before[:, k],
                f"after {name}": self.after[:, k],
                f"change {name}": self.change[:, k],
                f"se {name}": self.se[:, k],
            }
        return pd.DataFrame(columns)

    def per_cluster(self) -> pd.DataFrame:
        """Return one row per cluster of origin and fate: n_cells, before, after, effect, se.

        `se` is the standard error of the mean over that cluster's cells.
        """
        import pandas as pd

        rows = []
        for cluster in np.unique(self.clusters.astype(str)):
            there = self.clusters.astype(str) == cluster
            change, n = self.change[there], int(there.sum())
            spread = change.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else change[0] * np.nan
            for k, name in enumerate(self.names):
                rows.append(
                    {
                        "cluster": cluster,
                        "fate": name,
                        "n_cells": n,
                        "before": self.before[there, k].mean(),
                        "after": self.after[there, k].mean(),
                        "effect": change[:, k].mean(),
                        "se": spread[k],
                    }
                )
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        said = f"{self.perturbation.describe()}: {self.moved:.1%} of {len(self.cells)} cells"
        if self.gained is None:
            return f"{said} come to another fate"
        k, low, high = int(self.effect.argmax()), self.low, self.high
        said += (
            f" come to another fate; {self.gained} gains {self.effect[k]:+.1%} "
            f"({low[k]:+.1%} to {high[k]:+.1%}), mostly from {self.lost}"
        )
        if not np.isfinite(self.p_any):
            return said
        beyond = "more than" if self.p_any < SIGNIFICANT else "no more than"
        return f"{said}; {beyond} matched housekeeping genes do (p = {self.p_any:.2g})"
