"""What a perturbation did to cells, beside a run of the same cells without it.

Shapes: n cells, d dimensions, T frames, G_k raw features of modality k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.effects import Effect, displacement
from celldyn.environment.steady import SteadyReport

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PerturbedCells:
    """Cells with a perturbation and without, from the same state.

    Parameters
    ----------
    said
        What was done, one line per perturbation that held.
    obs_names
        (n,) names of the cells.
    times
        (T,) seconds since the perturbation began.
    positions, control
        (T, n, d) with it and without.
    changes
        {modality: (n, G_k)} what positions tell at the end, less what they tell without.
    feature_names
        {modality: (G_k,)} names of these features.
    report, control_report
        How both runs ended.
    settings
        How it was done, as plain values.
    """

    said: tuple[str, ...]
    obs_names: tuple[str, ...]
    times: NDArray[np.float64]
    positions: Floats
    control: Floats
    changes: Mapping[int, Floats]
    feature_names: Mapping[int, tuple[str, ...]]
    report: SteadyReport
    control_report: SteadyReport
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def effect(self) -> Effect:
        """How far each cell went, along which way, and how far from its control."""
        return Effect.of(self.positions, self.control)

    @property
    def move(self) -> Floats:
        """(n, d) where a cell is, less where it is without the perturbation."""
        return np.asarray(self.positions[-1] - self.control[-1], np.float32)

    @property
    def shift(self) -> Floats:
        """(n,) how far that is."""
        return displacement(self.control[-1], self.positions[-1]).astype(np.float32)

    @property
    def course(self) -> NDArray[np.float64]:
        """(T,) mean distance between cells and their controls over time."""
        pairs = zip(self.control, self.positions, strict=True)
        return np.array([displacement(a, b).mean() for a, b in pairs])

    def table(self, groups: ArrayLike | None = None) -> pd.DataFrame:
        """Return mean effect, length and shift over all cells and over each group of them."""
        return self.effect.table(groups)

    def features(
        self, modality: int | None = None, groups: ArrayLike | None = None
    ) -> pd.DataFrame:
        """Return the mean change of every told feature, those that change most first.

        Parameters
        ----------
        modality
            Which; None: the first that positions tell.
        groups
            (n,) names: a further column for each.
        """
        import pandas as pd

        from celldyn.environment.effects import group_masks

        which = next(iter(self.changes)) if modality is None else modality
        change = self.changes[which]
        table = pd.DataFrame({"feature": list(self.feature_names[which])})
        for name, cells in group_masks(groups, len(change)):
            table["change" if name == "all" else f"change {name}"] = change[cells].mean(0)
        table["size"] = np.abs(change).mean(0)
        return table.sort_values("size", ascending=False, kind="stable", ignore_index=True)

    def __str__(self) -> str:
        return (
            f"{'; '.join(self.said)}: after {self.times[-1]:g} s cells are "
            f"{self.shift.mean():.3g} from where they are without, on average"
        )
