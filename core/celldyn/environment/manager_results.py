"""The part of a manager that gives its answers away, to be written on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.baselines import USUAL
from celldyn.environment.gathering import TrainingData
from celldyn.environment.manager_stages import StagesMixin
from celldyn.environment.quality import quality_job
from celldyn.environment.quality_results import Quality
from celldyn.environment.results import EnvironmentResult, write_result
from celldyn.environment.spreading import Spread
from celldyn.environment.telling import tell_job
from celldyn.errors import DataError
from celldyn.jobs import Job, run, scaled

if TYPE_CHECKING:
    from anndata import AnnData


class ResultsMixin(StagesMixin):
    """Results; see `BasicManager`."""

    def result(self, spread: Spread | None = None, *, impute: bool = True) -> EnvironmentResult:
        """Return where cells are and what that tells; `result_job`, drained."""
        return run(self.result_job(spread, impute=impute), bar=False)

    def result_job(
        self, spread: Spread | None = None, *, impute: bool = True
    ) -> Job[EnvironmentResult]:
        """Return where cells are, and what that tells, to be written on a data set.

        Parameters
        ----------
        spread
            Of `simulate_spread`, if there is one.
        impute
            Whether modalities are told.

        Raises
        ------
        NotFittedError
            Before `reset_env`.
        """
        state = self.state
        position, velocity = (x[0].cpu().numpy().copy() for x in (state.position, state.velocity))
        told = {}
        for at, k in enumerate(self.fitted.targets if impute else ()):
            work = tell_job(self.fitted, position, k, counts=self._counts, device=self.device)
            n = len(self.fitted.targets)
            told[k] = yield from scaled(work, at, n, units=1.0)
        return EnvironmentResult(
            fitted=self.fitted, obs_names=self.obs_names, positions=position, velocities=velocity,
            told=told, report=None if self._trajectory is None else self.report,
            spread=None if spread is None else spread.per_cell(), train=self._trained(),
            seed=self.seed, device=str(self.device),
        )  # fmt: skip

    def quality(
        self,
        methods: Sequence[str] = USUAL,
        *,
        labels: str | ArrayLike | None = None,
        progress_bar: bool = True,
    ) -> Quality:
        """Score what cells tell now, beside simple methods; `quality_job`, drained."""
        return run(self.quality_job(methods, labels=labels), bar=progress_bar)

    def quality_job(
        self, methods: Sequence[str] = USUAL, *, labels: str | ArrayLike | None = None
    ) -> Job[Quality]:
        """Score what positions tell of held-out cells now, beside simple methods.

        Coordinates are compared as they are told, and turned onto the truth by training cells
        alone; never by the cells that are scored.

        Parameters
        ----------
        methods
            Names in `celldyn.environment.baselines.IMPUTERS`, each trained on the same cells.
        labels
            Column of obs, or (n,) labels, of which it is told how many are right.

        Raises
        ------
        NotFittedError
            Before `reset_env`, or if it is not known which cells were trained on.
        MissingKeyError
            If there is no such column.
        DataError
            If a modality that is told is not there.
        """
        train, state, labels = self.get_mask(), self.state, self.groups_of(labels)
        for k in self.fitted.targets:
            if self.adatas[k] is None:
                raise DataError(
                    f"modality {k} is not there, so what is told of it cannot be scored",
                    "give it to set_modalities",
                )
        data = yield from self._data_job(train)
        return (
            yield from quality_job(
                self.fitted, data, places=state.position[0].cpu().numpy(),
                report=None if self._trajectory is None else self.report, labels=labels,
                methods=methods, seed=self.seed, device=self.device,
            )
        )  # fmt: skip

    def _data_job(self, train: NDArray[np.bool_]) -> Job[TrainingData]:
        """Return the cells as training would have them."""
        fitted, empty = self.fitted, torch.empty((len(train), 0))
        prepare, modalities = fitted.preprocessing, []
        for k, table in enumerate(self.adatas):
            if table is None:
                modalities.append(empty)
                continue
            (values,) = yield from prepare.transform_job([table], [k])
            modalities.append(torch.from_numpy(values))
        partition = self.simulator.partition
        return TrainingData(
            tuple(modalities), prepare, fitted.inputs, fitted.targets, self.spatial,
            np.zeros(len(train), np.int64) if partition is None else partition, (), train,
            self.obs_names, tuple(each.names for each in prepare.maps),
        )  # fmt: skip

    def write(self, adata: AnnData, spread: Spread | None = None) -> set[str]:
        """Write where cells are, and what that tells, on a data set; see `write_result`.

        Returns
        -------
        The keys that changed, as "slot/name".
        """
        return write_result(adata, self.result(spread))
