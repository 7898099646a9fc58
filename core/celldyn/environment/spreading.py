"""How sure an answer is: the same cells from several starts, and how much they agree.

Shapes: S starts, n cells, d dimensions, G_k raw features of modality k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.environment.alignment import rigid_alignment
from celldyn.environment.clamps import Clamp
from celldyn.environment.costs import memory_of, require_memory
from celldyn.environment.simulating import Simulator
from celldyn.environment.steady import SteadyReport, SteadyTest
from celldyn.environment.telling import tell_job
from celldyn.environment.trajectories import EnvironmentState, Trajectory
from celldyn.errors import ConfigError
from celldyn.jobs import Job, scaled

if TYPE_CHECKING:
    import pandas as pd

    from celldyn.environment.fitted import FittedEnvironment

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """What several starts come to.

    Parameters
    ----------
    positions
        (S, n, d) at the end.
    mean, sd
        {modality: (n, G_k)} mean and standard deviation over starts of what positions tell.
        Coordinates of the starts are first turned and shifted onto those of the first.
    scale
        {modality: (G_k,)} standard deviation over cells of that mean, for comparison.
    feature_names
        {modality: (G_k,)}.
    report
        Whether cells of all starts came to rest.
    """

    positions: Floats
    mean: Mapping[int, Floats]
    sd: Mapping[int, Floats]
    scale: Mapping[int, Floats]
    feature_names: Mapping[int, tuple[str, ...]]
    report: SteadyReport

    @property
    def n_starts(self) -> int:
        """Number of starts, S."""
        return len(self.positions)

    def per_cell(self, modality: int | None = None) -> Floats:
        """Return how much starts disagree on each cell, (n,).

        Mean over features of their standard deviation, in that of the feature over cells: 0 where
        all agree, about 1 where a start is as good as any cell.
        """
        k = next(iter(self.sd)) if modality is None else modality
        varies = self.scale[k] > 0
        if not varies.any():
            return np.zeros(len(self.sd[k]), np.float32)
        found: Floats = (self.sd[k][:, varies] / self.scale[k][varies]).mean(axis=1)
        return found

    def table(self) -> pd.DataFrame:
        """Return, per told modality, mean and largest disagreement of its cells."""
        import pandas as pd

        rows = []
        for k in self.sd:
            spread = self.per_cell(k)
            rows.append({
                "modality": k, "features": len(self.feature_names[k]), "spread": spread.mean(),
                "largest": spread.max(),
            })  # fmt: skip
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        told = ", ".join(f"modality {k}: {self.per_cell(k).mean():.2g}" for k in self.sd)
        return f"{self.n_starts} starts differ by {told} (sd over starts in sd over cells)"


def spread_job(
    fitted: FittedEnvironment,
    simulator: Simulator,
    n_starts: int,
    time: float,
    *,
    clamps: Sequence[Clamp] = (),
    test: SteadyTest | None = None,
    spatial: Sequence[int] = (),
    seed: int = 0,
    counts: bool = False,
) -> Job[Spread]:
    """Simulate several starts side by side.

    Raises
    ------
    ConfigError
        If there are fewer than two.
    DataError
        If the run does not fit into memory.
    """
    if n_starts < 2:
        raise ConfigError(f"the number of starts is {n_starts}", "give at least 2")
    told = sum(fitted.preprocessing.maps[k].n_raw for k in fitted.targets)
    cost = memory_of(simulator.n_cells, fitted.dim, n_environments=n_starts, n_frames=1,
                     n_told=told)  # fmt: skip
    require_memory(cost, simulator.device)
    state: EnvironmentState = simulator.start(seed, n_starts)
    began = [replace(clamp, began=0.0) for clamp in clamps]
    work = simulator.run_job(
        state, time=time, skip_time=time, clamps=began, test=test, store=None,
        stage="moving cells from several starts",
    )  # fmt: skip
    with closing(work):
        run: Trajectory = yield from scaled(work, 0.0, 1.0, units=0.9)
    positions = run.state.position.cpu().numpy()
    mean, sd, scale = {}, {}, {}
    for at, k in enumerate(fitted.targets):
        units = 0.1 / len(fitted.targets)
        told_job = tell_job(fitted, positions, k, counts=counts, device=simulator.device)
        values = yield from scaled(told_job, 0.9 + units * at, 1.0, units=units)
        if k in spatial:
            values = _together(
                values, reflection=fitted.config.reflection, partition=simulator.partition
            )
        mean[k], sd[k] = values.mean(axis=0), values.std(axis=0, ddof=1)
        scale[k] = mean[k].std(axis=0)
    names = {k: fitted.preprocessing.maps[k].names for k in fitted.targets}
    return Spread(positions, mean, sd, scale, names, run.report)


def _together(
    values: Floats, *, reflection: bool, partition: NDArray[np.int64] | None = None
) -> Floats:
    """Turn and shift coordinates of every start onto those of the first, (S, n, G).

    Sections that are kept apart are turned each by itself.
    """
    found = values.copy()
    parts = np.zeros(values.shape[1], np.int64) if partition is None else partition
    for code in np.unique(parts):
        here = parts == code
        source = values[1:, here].astype(np.float64)
        onto = np.broadcast_to(values[0, here].astype(np.float64), source.shape).copy()
        R, t = rigid_alignment(source, onto, reflection=reflection)
        found[1:, here] = source @ R + t
    return found
