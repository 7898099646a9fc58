"""The part of a manager that gives its answers away, to be written on a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celldyn.environment.manager_stages import StagesMixin
from celldyn.environment.results import EnvironmentResult, write_result
from celldyn.environment.spreading import Spread
from celldyn.environment.telling import tell_job
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

    def write(self, adata: AnnData, spread: Spread | None = None) -> set[str]:
        """Write where cells are, and what that tells, on a data set; see `write_result`.

        Returns
        -------
        The keys that changed, as "slot/name".
        """
        return write_result(adata, self.result(spread))
