"""What a perturbation does in several seeds of a model, pooled.

Shapes: s seeds, m cells, f fates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celldyn.errors import DataError
from celldyn.landscape.graph import Floats
from celldyn.landscape.perturbing.effect import PerturbationEffect

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 1.959964
"""Half a 95 % interval in standard errors."""


@dataclass(frozen=True, slots=True)
class PooledEffect:
    """Change of fates by a perturbation over several seeds.

    Parameters
    ----------
    names
        Fates.
    effect
        (f,) mean over seeds of the mean change of chances.
    low, high
        (f,) 95 % interval, of cells and noise within seeds and of the difference between seeds.
    sign_agreement
        (f,) share of the seeds whose change has the sign of the mean.
    p
        (f,) twice the mean of the seeds' p-values, 1 at most: right however they depend on each
        other (Vovk and Wang 2020). NaN without a null.
    agreement
        (m,) share of the seeds that see a cell's most likely fate change, or not, as most do.
    by_seed
        The effect in every seed.
    """

    names: tuple[str, ...]
    effect: Floats
    low: Floats
    high: Floats
    sign_agreement: Floats
    p: Floats
    agreement: Floats
    by_seed: tuple[PerturbationEffect, ...]

    def fates(self) -> pd.DataFrame:
        """Return one row per fate, the one that gains most first."""
        import pandas as pd

        table = pd.DataFrame({
            "fate": list(self.names), "effect": self.effect, "low": self.low, "high": self.high,
            "sign_agreement": self.sign_agreement, "p": self.p,
        })  # fmt: skip
        return table.sort_values("effect", ascending=False, kind="stable", ignore_index=True)


def pooled_effects(found: Sequence[PerturbationEffect]) -> PooledEffect:
    """Pool the effect of one perturbation on the same cells over seeds.

    Raises
    ------
    DataError
        If there are none, or of different cells.
    """
    if not found or any(not np.array_equal(one.cells, found[0].cells) for one in found):
        raise DataError("effects on different cells cannot be pooled", "perturb the same cells")
    names = tuple(sorted({name for one in found for name in one.names}))
    effect = np.stack([_in_order(one, one.effect, names) for one in found])
    half = np.stack([_in_order(one, (one.high - one.low) / 2, names) for one in found])
    mean, n_seeds = effect.mean(axis=0), len(found)
    within = np.square(half / _WIDTH).sum(axis=0) / n_seeds**2
    between = effect.var(axis=0, ddof=1) / n_seeds if n_seeds > 1 else np.zeros(len(names))
    reach = _quantile(n_seeds) * np.sqrt(between) + _WIDTH * np.sqrt(within)
    p = np.stack([_in_order(one, one.p, names, missing=1.0) for one in found])
    changed = np.stack([
        one.before.argmax(axis=1) != one.after.argmax(axis=1) for one in found
    ]).mean(axis=0)  # fmt: skip
    return PooledEffect(
        names, mean, np.maximum(mean - reach, -1.0), np.minimum(mean + reach, 1.0),
        (np.sign(effect) == np.sign(mean)).mean(axis=0), np.minimum(2 * p.mean(axis=0), 1.0)
        if n_seeds > 1 else p[0], np.maximum(changed, 1 - changed), tuple(found),
    )  # fmt: skip


def _quantile(n_seeds: int) -> float:
    """Return how many standard errors half a 95 % interval of so many seeds is."""
    from scipy.stats import t

    return float(t.ppf(0.975, n_seeds - 1)) if n_seeds > 1 else 0.0


def _in_order(
    one: PerturbationEffect, values: Floats, names: tuple[str, ...], missing: float = 0.0
) -> Floats:
    """Return values (f,) in the order of names; fates that a seed does not know are missing."""
    found = dict(zip(one.names, values, strict=True))
    return np.array([found.get(name, missing) for name in names], dtype=np.float64)
