"""The part of an LSD model that writes what it found on an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from celldyn.devices import aside_job
from celldyn.jobs import Job, Progress, run, scaled
from celldyn.landscape.graph import where_alone_stay
from celldyn.landscape.lsd_saving import SavingMixin
from celldyn.landscape.resting import flow_time_job
from celldyn.landscape.results import LandscapeResult, describe, write_result
from celldyn.landscape.states import Floats32
from celldyn.landscape.transitions import boltzmann_transitions

if TYPE_CHECKING:
    from anndata import AnnData

_BLOCK = 1 << 16
"""States whose gradient is computed at once."""


class ResultsMixin(SavingMixin):
    """Results; see `LSD`."""

    def get_adata(self) -> AnnData:
        """Return a copy of the data set with what was found; see `get_adata_job`."""
        return run(self.get_adata_job(), bar=False)

    def get_adata_job(self) -> Job[AnnData]:
        """Return a copy of the data set with what was found, as a job.

        Returns
        -------
        With obsm["X_cell_state"] (n, z_dim), obsm["X_diff_state"] (n, B_dim), obs["potential"],
        obs["entropy"], obs["lsd_pseudotime"] and, where there is a neighbour graph,
        obsp["transitions"]; and with obs["lsd_flow_time"], obsm["lsd_velocity"] and the model
        itself, which `LSD.from_adata` brings back.

        Raises
        ------
        NotFittedError
            If the model is not trained.
        """
        result = yield from self.result_job()
        found = self.adata.copy()
        write_result(found, result)
        return found

    def result_job(self) -> Job[LandscapeResult]:
        """Find what `get_adata` writes, as a job; `results.write_result` writes it.

        Raises
        ------
        NotFittedError
            If the model is not trained.
        """
        states = yield from scaled(self.states_job(), 0, 3)
        rest = yield from scaled(flow_time_job(self.potential, states.z), 1, 3)
        yield Progress("transitions", 2, 3)
        graph, chances = self._inputs.connectivities, None
        if graph is not None:
            chances = boltzmann_transitions(where_alone_stay(graph), states.V)
        saved = self.saved
        packed = yield from aside_job(lambda: describe(saved), "the model", done=2, total=3)
        return LandscapeResult(
            saved, states, self._velocity(states.z), rest.time, chances, str(self.device), packed
        )

    @torch.no_grad()
    def _velocity(self, z: Floats32) -> Floats32:
        """Return −∇V of states, (n, d)."""
        parts = torch.split(torch.from_numpy(z), _BLOCK)
        return np.asarray(-torch.cat([self.potential.gradient(part) for part in parts]).numpy())
