"""Several LSD models of different seeds on one data set, that are asked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn import keys
from celldyn.errors import ConfigError
from celldyn.jobs import Job, run, scaled
from celldyn.landscape.ensemble import (
    ConsensusEntropy,
    PooledFates,
    consensus_entropy,
    consensus_pseudotime,
    pooled_fates,
)
from celldyn.landscape.ensemble_base import EnsembleBase
from celldyn.landscape.ensemble_effects import PooledEffect, pooled_effects
from celldyn.landscape.results import write_fates
from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from torch import Tensor


class LSDEnsemble(EnsembleBase):
    """Several LSD models that differ by their seeds alone, and what they agree on.

    One model's intervals know the noise of its own runs. Where another seed would have learned
    another landscape, only other seeds tell. Methods are those of `LSD`, done for every model;
    fates, pseudotime and effects are pooled, with the agreement of the models beside them.

    Parameters
    ----------
    adata, cfg, device, places
        As of `LSD`. The data is read once.
    seeds
        Seeds of the models, or how many: then they count up from `cfg.walks.random_state`.

    Attributes
    ----------
    models
        The models, by seed.
    seeds
        Their seeds.
    fates
        What `get_cell_fates` found last, with agreement.

    Raises
    ------
    ConfigError
        If seeds are fewer than two, or one is there twice.

    Examples
    --------
    >>> ensemble = LSDEnsemble(adata, LSDConfig(), seeds=3)
    >>> ensemble.set_prior_transition(prior_time_key="dpt_pseudotime")
    >>> ensemble.prepare_walks()
    >>> ensemble.train(num_epochs=100)
    >>> result = ensemble.get_cell_fates(cluster_key="clusters")
    >>> result.obs["fate_agreement"].mean()
    """

    fates: PooledFates | None = None

    def get_adata(self) -> AnnData:
        """Return a copy of the data set with what was found; see `get_adata_job`."""
        return run(self.get_adata_job(), bar=False)

    def get_adata_job(self) -> Job[AnnData]:
        """Return a copy of the data set with what was found, as a job.

        Returns
        -------
        With what the first model says (cell states of different models are not in one space), but
        for obs["lsd_pseudotime"], which is the consensus, and obs["lsd_pseudotime_spread"], the
        standard deviation of a cell's rank over models.
        """
        n_models = len(self.models)
        found: AnnData = yield from scaled(self.models[0].get_adata_job(), 0, n_models)
        times = [found.obs[keys.PSEUDOTIME()].to_numpy()]
        for k, model in enumerate(self.models[1:], 1):
            states = yield from scaled(model.states_job(), k, n_models)
            times.append(states.pseudotime)
        consensus = consensus_pseudotime(times)
        found.obs[keys.PSEUDOTIME()] = consensus.value.astype(np.float32)
        found.obs[keys.PSEUDOTIME_SPREAD()] = consensus.spread.astype(np.float32)
        return found

    def entropy(self, reference: ArrayLike | None = None) -> ConsensusEntropy:
        """Return the entropy over models, and whether its sign is the same in all.

        Parameters
        ----------
        reference
            (n,) what it is held against; None is the consensus of pseudotime.
        """
        states = [run(model.states_job(), bar=False) for model in self.models]
        if reference is None:
            reference = consensus_pseudotime([of.pseudotime for of in states]).value
        return consensus_entropy([of.entropy for of in states], reference)

    def get_cell_fates(
        self,
        adata: AnnData | None = None,
        time_range: float = 15.0,
        dt: float = 0.5,
        cluster_key: str | None = None,
        **how: Any,  # noqa: ANN401
    ) -> AnnData:
        """Return a copy of the data set with pooled fates; see `get_cell_fates_job`."""
        return run(self.get_cell_fates_job(adata, time_range, dt, cluster_key, **how), bar=False)

    def get_cell_fates_job(
        self,
        adata: AnnData | None = None,
        time_range: float = 15.0,
        dt: float = 0.5,
        cluster_key: str | None = None,
        **how: Any,  # noqa: ANN401
    ) -> Job[AnnData]:
        """Find the fates of all cells in every model and pool them, as a job.

        Parameters
        ----------
        adata, time_range, dt, cluster_key, how
            As of `LSD.get_cell_fates`; paths are not kept.

        Returns
        -------
        With what `LSD.get_cell_fates` writes, pooled as `pooled_fates` says, and with
        obs["fate_agreement"], the share of models that say a cell's fate.
        """
        if how.pop("return_paths", False):
            raise ConfigError("paths of several models are not one path", "ask one of the models")
        labels = self.models[0].labels_of(adata, cluster_key)
        self.fates = yield from self.cell_fates_job(labels, time_range=time_range, dt=dt, **how)
        whole = (yield from self.get_adata_job()) if adata is None else adata.copy()
        write_fates(whole, self.fates.fates, cluster_key)
        whole.obs[keys.FATE_AGREEMENT()] = self.fates.agreement.astype(np.float32)
        return whole

    def cell_fates_job(
        self,
        labels: NDArray[Any] | None,
        **how: Any,  # noqa: ANN401
    ) -> Job[PooledFates]:
        """Find pooled fates of all cells and write them nowhere."""
        found = []
        for k, model in enumerate(self.models):
            job = model.cell_fates_job(labels, **how)
            found.append((yield from scaled(job, k, len(self.models))))
        return pooled_fates(found)

    # --- perturbations -------------------------------------------------------------------------

    def perturb(
        self,
        adata: AnnData,
        x: Tensor | ArrayLike,
        gene_name: str | Sequence[str],
        cluster_key: str,
        perturbation_level: float = 0,
        **how: Any,  # noqa: ANN401
    ) -> tuple[pd.Categorical, pd.Categorical]:
        """Return the fates that most models give with a gene at a level and without.

        Parameters are those of `LSD.perturb`; where models are level, the first by name is given.
        """
        found = [
            model.perturb(adata, x, gene_name, cluster_key, perturbation_level, **how)
            for model in self.models
        ]
        return _most([one[0] for one in found]), _most([one[1] for one in found])

    def perturb_effects(
        self,
        perturbation: Perturbation,
        cluster_key: str = "clusters",
        **how: Any,  # noqa: ANN401
    ) -> PooledEffect:
        """Follow cells with a perturbation and without in every model, and pool the effects."""
        return run(self.perturb_effects_job(perturbation, cluster_key, **how), bar=False)

    def perturb_effects_job(
        self,
        perturbation: Perturbation,
        cluster_key: str = "clusters",
        **how: Any,  # noqa: ANN401
    ) -> Job[PooledEffect]:
        """Do the work of `perturb_effects`; parameters are those of `LSD.perturb_effects_job`."""
        found = []
        for k, model in enumerate(self.models):
            job = model.perturb_effects_job(perturbation, cluster_key, **how)
            found.append((yield from scaled(job, k, len(self.models))))
        return pooled_effects(found)


def _most(found: Sequence[pd.Categorical]) -> pd.Categorical:
    """Return what most of several columns say of every row."""
    import pandas as pd

    names = sorted({str(name) for one in found for name in one.categories})
    votes = np.zeros((len(found[0]), len(names)))
    for one in found:
        told = pd.Categorical(np.asarray(one).astype(str), categories=names).codes
        votes[np.arange(len(told)), told] += 1
    return pd.Categorical(np.array(names, dtype=object)[votes.argmax(axis=1)], categories=names)
