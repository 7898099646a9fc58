"""The part of a manager that screens genes, and tells how sure its answers are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.devices import few_threads
from celldyn.environment.clamp_making import checked_rows
from celldyn.environment.clamping import Clamping
from celldyn.environment.manager_perturb import PerturbMixin
from celldyn.environment.screened import Screen
from celldyn.environment.screening import TIME, screen_job
from celldyn.environment.spreading import Spread, spread_job
from celldyn.environment.steady import PATIENCE, TOLERANCE, SteadyTest
from celldyn.errors import MissingKeyError
from celldyn.jobs import Job, run
from celldyn.perturbation import KNOCK_OUT, Change


class ScreenMixin(PerturbMixin):
    """Screens and confidence; see `BasicManager`."""

    def screen(
        self,
        genes: Sequence[str] | None = None,
        modality: int = 0,
        change: Change = KNOCK_OUT,
        clamping: Clamping = "pre",
        time: float = TIME,
        *,
        cells: ArrayLike | None = None,
        groups: str | ArrayLike | None = None,
        n_control: int = 16,
        n_random: int = 16,
        progress_bar: bool = True,
    ) -> Screen:
        """Change genes one by one in the state that cells are in; `screen_job`, drained."""
        job = self.screen_job(
            genes, modality, change, clamping, time, cells=cells, groups=groups,
            n_control=n_control, n_random=n_random,
        )  # fmt: skip
        return run(job, bar=progress_bar)

    def screen_job(
        self,
        genes: Sequence[str] | None = None,
        modality: int = 0,
        change: Change = KNOCK_OUT,
        clamping: Clamping = "pre",
        time: float = TIME,
        *,
        cells: ArrayLike | None = None,
        groups: str | ArrayLike | None = None,
        n_control: int = 16,
        n_random: int = 16,
    ) -> Job[Screen]:
        """Change genes one by one in the state that cells are in.

        Cells and perturbations stay as they are; perturbations do not hold meanwhile.

        Parameters
        ----------
        genes
            Names; None: all that are not left out and vary.
        modality
            Whose they are.
        change
            What is done to each: `KNOCK_OUT`, `Change("multiply", 2)`, ...
        clamping
            "pre" or "post".
        time
            Seconds that each is held for.
        cells
            Which cells are changed: a mask, positions or names; None for all.
        groups
            Column of obs, or (n,) names: effects are also told for each group of cells.
        n_control, n_random
            Stretches without a change, and directions at random, that effects are held against.

        Raises
        ------
        NotFittedError
            Before `reset_env`.
        MissingKeyError
            If there is no such gene, cell or column.
        DataError, ConfigError
            See `celldyn.environment.screen_job`.
        """
        each = self.fitted.preprocessing.maps[self._check_modality(modality)]
        state = self.state
        with few_threads():
            return (
                yield from screen_job(
                    self.simulator, each, state, modality=int(modality), genes=genes,
                    change=change, clamping=clamping, time=time,
                    cells=checked_rows(cells, self.obs_names), groups=self.groups_of(groups),
                    n_control=n_control, n_random=n_random, seed=self.seed,
                )
            )  # fmt: skip

    def groups_of(self, groups: str | ArrayLike | None) -> NDArray[np.str_] | None:
        """Return names of groups of cells, (n,), given as such or as a column of obs.

        Raises
        ------
        MissingKeyError
            If there is no such column.
        """
        if groups is None:
            return None
        if not isinstance(groups, str):
            return np.asarray(groups).astype(str)
        for table in self.adatas:
            if table is not None and groups in table.obs:
                return np.asarray(table.obs[groups].astype(str).to_numpy(), dtype=str)
        known = [str(c) for table in self.adatas if table is not None for c in table.obs.columns]
        raise MissingKeyError(
            f"there is no column {groups!r} in obs",
            f"use one of {', '.join(dict.fromkeys(known)) or 'none'}",
        )

    def simulate_spread(
        self,
        n_starts: int = 8,
        time: float = 512.0,
        *,
        tolerance: float = TOLERANCE,
        patience: int = PATIENCE,
        progress_bar: bool = True,
    ) -> Spread:
        """Ask several starts how much they agree; `simulate_spread_job`, drained."""
        job = self.simulate_spread_job(n_starts, time, tolerance=tolerance, patience=patience)
        return run(job, bar=progress_bar)

    def simulate_spread_job(
        self,
        n_starts: int = 8,
        time: float = 512.0,
        *,
        tolerance: float = TOLERANCE,
        patience: int = PATIENCE,
    ) -> Job[Spread]:
        """Simulate the same cells from several starts, and compare what they come to.

        Cells of the manager stay where they are; perturbations that were added hold.

        Parameters
        ----------
        n_starts
            How many starts; the first is that of `reset_env`.
        time
            Seconds, at most.
        tolerance, patience
            When cells are at rest, as for `simulate`.

        Raises
        ------
        NotFittedError
            Before `set_modalities`.
        ConfigError, DataError
            If there are fewer than two starts, or the run does not fit into memory.
        """
        with few_threads():
            return (
                yield from spread_job(
                    self.fitted, self.simulator, n_starts, time, clamps=self._clamps,
                    test=SteadyTest(tolerance, patience), spatial=self.spatial, seed=self.seed,
                    counts=self._counts,
                )
            )  # fmt: skip
