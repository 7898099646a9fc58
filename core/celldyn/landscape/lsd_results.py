"""The part of an LSD model that writes what it found on an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celldyn import keys
from celldyn.jobs import Job, run
from celldyn.landscape.lsd_base import LSDBase
from celldyn.landscape.transitions import boltzmann_transitions

if TYPE_CHECKING:
    from anndata import AnnData


class ResultsMixin(LSDBase):
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
        obsp["transitions"].

        Raises
        ------
        NotFittedError
            If the model is not trained.
        """
        states = yield from self.states_job()
        found = self.adata.copy()
        found.obsm["X_cell_state"], found.obsm["X_diff_state"] = states.z, states.B
        found.obs[keys.POTENTIAL()] = states.V
        found.obs[keys.ENTROPY()] = states.entropy
        found.obs[keys.PSEUDOTIME()] = states.pseudotime
        if self._inputs.connectivities is not None:
            chances = boltzmann_transitions(self._inputs.connectivities, states.V)
            found.obsp[keys.TRANSITIONS()] = chances
        return found
