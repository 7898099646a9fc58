"""The part of an LSD model that tells what cells come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import listed
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job, run
from celldyn.landscape.fate_table import CellFates
from celldyn.landscape.fating import cell_fates_job
from celldyn.landscape.fating_inputs import Way
from celldyn.landscape.lsd_sigma import SigmaMixin
from celldyn.landscape.result_writing import write_fates
from celldyn.landscape.voters import Terminal

if TYPE_CHECKING:
    from anndata import AnnData


class FateMixin(SigmaMixin):
    """Fates; see `LSD`."""

    fates: CellFates | None = None
    """What `get_cell_fates` found last."""

    @property
    def paths(self) -> NDArray[np.int32] | None:
        """(n_times, n) cell nearest to each path, where `get_cell_fates` was to keep them."""
        return None if self.fates is None else self.fates.paths

    def get_cell_fates(
        self,
        adata: AnnData | None = None,
        time_range: float = 15.0,
        dt: float = 0.5,
        cluster_key: str | None = None,
        batch_size: int = 512,
        return_paths: bool = False,  # noqa: FBT001, FBT002
        *,
        method: Way = "vote",
        n_runs: int = 32,
        sigma: float | None = None,
        terminal: Terminal = None,
        k: int = 15,
        seed: int = 0,
    ) -> AnnData:
        """Return a copy of the data set with the fates of all cells.

        Parameters
        ----------
        adata
            Cells of the model's data set, in their order, with `cluster_key` in obs; None is the
            data set with all results.
        time_range
            How long cells flow; training takes a whole walk for 1.
        dt
            Longest step of noisy runs, and time between two points of paths.
        cluster_key
            Column of obs whose values are the fates; None only where terminal states are found.
        batch_size
            Without meaning here: memory is bounded in any case.
        return_paths
            Whether paths are kept: the cell nearest to each, by time.
        method
            "vote", "nearest", "committor", or "reference" for fates as sclsd gives them, without
            noise; see `fating.cell_fates_job`.
        n_runs
            Noisy runs of each cell; 0 for the flow alone, which knows no uncertainty.
        sigma
            σ of the noise; None is what the model and its walks imply.
        terminal
            Names of terminal clusters, "found" for minima, None for every cluster.
        k
            How many near cells vote.
        seed
            Of the noise.

        Returns
        -------
        With obs["fate"], "fate_certain", "fate_entropy", "plasticity" with its interval, and
        obsm["fate_probabilities"], "fate_low", "fate_high".

        Raises
        ------
        NotFittedError
            If the model is not trained.
        MissingKeyError
            If the column is not there.
        DataError
            If adata has other cells than the model.
        """
        del batch_size
        job = self.get_cell_fates_job(
            adata, time_range, dt, cluster_key, return_paths=return_paths, method=method,
            n_runs=n_runs, sigma=sigma, terminal=terminal, k=k, seed=seed,
        )  # fmt: skip
        return run(job, bar=False)

    def get_cell_fates_job(
        self,
        adata: AnnData | None = None,
        time_range: float = 15.0,
        dt: float = 0.5,
        cluster_key: str | None = None,
        *,
        return_paths: bool = False,
        **how: Any,  # noqa: ANN401
    ) -> Job[AnnData]:
        """Do the work of `get_cell_fates`."""
        self._require_trained()
        labels = self.labels_of(adata, cluster_key)
        fates = yield from self.cell_fates_job(
            labels, time_range=time_range, dt=dt, return_paths=return_paths, **how
        )
        if adata is None:
            whole = yield from self.get_adata_job()  # type: ignore[attr-defined]
        else:
            whole = adata.copy()
        write_fates(whole, fates, cluster_key)
        found: AnnData = whole
        return found

    def cell_fates_job(
        self,
        labels: NDArray[Any] | None,
        *,
        method: Way = "vote",
        n_runs: int = 32,
        sigma: float | None = None,
        **how: Any,  # noqa: ANN401
    ) -> Job[CellFates]:
        """Find fates of all cells and write them nowhere; see `fating.cell_fates_job`.

        Parameters
        ----------
        labels
            (n,) cluster of every cell.
        """
        states = yield from self.states_job()
        noisy = n_runs > 0 and method == "vote"
        if noisy and sigma is None:
            sigma = (yield from self.sigma_job()).sigma
        if method == "committor":
            how.setdefault("transition", self._chances())
        self.fates = yield from cell_fates_job(
            self.potential, states.z, labels, method=method,
            z_scale=states.z_scale, n_runs=n_runs if noisy else 0,
            sigma=sigma if noisy else None, **how,
        )  # fmt: skip
        return self.fates

    def _chances(self) -> Any:  # noqa: ANN401
        from celldyn.landscape.graph import where_alone_stay
        from celldyn.landscape.transitions import boltzmann_transitions

        assert self._states is not None
        return boltzmann_transitions(where_alone_stay(self._inputs.graph()), self._states.V)

    def labels_of(self, adata: AnnData | None, cluster_key: str | None) -> NDArray[Any] | None:
        """Return the cluster of every cell, of a data set that has the model's cells."""
        held = self.adata if adata is None else adata
        if held is not self.adata and list(held.obs_names) != list(self.adata.obs_names):
            raise DataError(
                f"the data set has {held.n_obs} cells that are not the model's "
                f"{self.adata.n_obs}, or in another order",
                "give what get_adata returned",
            )
        if cluster_key is None:
            return None
        if cluster_key not in held.obs:
            raise MissingKeyError(
                f"there is no column {cluster_key!r} in obs",
                f"use {listed(list(map(str, held.obs.columns[:8])))}",
            )
        labels: NDArray[Any] = held.obs[cluster_key].to_numpy()
        return labels
