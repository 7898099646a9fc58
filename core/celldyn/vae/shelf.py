"""What several initial values are read off, made once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job
from celldyn.vae.clusters import Clusters, cluster_job
from celldyn.vae.dispersion import dispersion_job
from celldyn.vae.inputs import Groups, Modality


class Shelf:
    """Coarse clusters of a modality's cells and dispersions, made once for each key."""

    def __init__(self, modality: Modality, seed: int) -> None:
        self._modality, self.seed = modality, seed
        self._made: dict[str, Clusters] = {}
        self._theta: dict[str, NDArray[np.float64]] = {}

    def clusters_job(self, groups: Groups) -> Job[Clusters]:
        """Return the clusters of cells, differences between these groups taken out."""
        if groups.key not in self._made:
            job = cluster_job(self._modality.counts, groups, seed=self.seed)
            self._made[groups.key] = yield from job
        return self._made[groups.key]

    def theta_job(self, groups: Groups) -> Job[NDArray[np.float64]]:
        """Return (n_features,) θ of all cells, by the clusters of these groups."""
        if groups.key not in self._theta:
            clusters = yield from self.clusters_job(groups)
            one, held = Groups.one(len(groups.codes)), self._modality
            job = dispersion_job(held.counts, held.totals, one, clusters=clusters)
            self._theta[groups.key] = (yield from job)[0]
        return self._theta[groups.key]
