"""The part of a manager that goes from one stage of its cells to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.devices import few_threads
from celldyn.environment.clamp_making import checked_rows
from celldyn.environment.manager_cells import taken
from celldyn.environment.manager_screen import ScreenMixin
from celldyn.environment.stage_recovery import STAGE_TIME, recover_stages_job
from celldyn.environment.stages import StageRecovery
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job, run


class StagesMixin(ScreenMixin):
    """Stages; see `BasicManager`."""

    def recover_stages(
        self,
        origin: str | ArrayLike,
        terminal: str | ArrayLike,
        column: str | None = None,
        *,
        progress_bar: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> StageRecovery:
        """Simulate the way from one stage to another; `recover_stages_job`, drained."""
        job = self.recover_stages_job(origin, terminal, column, **options)
        return run(job, bar=progress_bar)

    def recover_stages_job(
        self,
        origin: str | ArrayLike,
        terminal: str | ArrayLike,
        column: str | None = None,
        *,
        start: float = 0.0,
        end: float = 1.0,
        time: float = STAGE_TIME,
        rest_time: float = 512.0,
        n_pcells: int | None = None,
        kmeans_modality: int = 0,
        ot_modality: int = 0,
    ) -> Job[StageRecovery]:
        """Simulate the way from one stage of the cells to another.

        Cells of the manager stay as they are. What the seed does step by step, with
        `generate_pseudocells`, `set_modalities` and `simulate`, is done here at once, with a clock
        of biological time.

        Parameters
        ----------
        origin, terminal
            Values of a column of obs; or which cells: masks, positions or names.
        column
            That column.
        start, end
            Biological times of both stages, such as hours.
        time
            Seconds of the environment from one to the other.
        rest_time
            Seconds, at most, in which cells come to rest at the origin.
        n_pcells, kmeans_modality, ot_modality
            See `generate_pseudocells`; modalities are counted among those that are there.

        Raises
        ------
        NotFittedError
            Before `set_modalities`.
        MissingKeyError
            If there is no such column, value or cell.
        DataError
            If the stages share cells, or one is empty; see `recover_stages_job` of the package.
        """
        _ = self.simulator
        masks = [self._stage(cells, column) for cells in (origin, terminal)]
        if (masks[0] & masks[1]).any():
            raise DataError("both stages have some cells in common", "choose two that are apart")
        stages: list[Sequence[Any]] = [
            [None if one is None else taken(one, np.flatnonzero(mask)) for one in self.adatas]
            for mask in masks
        ]
        with few_threads():
            return (
                yield from recover_stages_job(
                    self.fitted, stages[0], stages[1], start=start, end=end, time=time,
                    rest_time=rest_time, n_pcells=n_pcells, kmeans_modality=kmeans_modality,
                    ot_modality=ot_modality, seed=self.seed, device=self.device,
                )
            )  # fmt: skip

    def _stage(self, cells: str | ArrayLike, column: str | None) -> NDArray[np.bool_]:
        if column is not None:
            values = self.groups_of(column)
            found: NDArray[np.bool_] = np.asarray(values) == str(cells)
            if not found.any():
                known = ", ".join(dict.fromkeys(np.asarray(values).tolist()))
                raise MissingKeyError(f"no cell has {cells!r} in {column!r}", f"there are {known}")
            return found
        mask = checked_rows([cells] if isinstance(cells, str) else cells, self.obs_names)
        return np.ones(len(self.obs_names), dtype=bool) if mask is None else mask
