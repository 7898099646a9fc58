"""What several initial values are read off, made once."""

from __future__ import annotations

from celldyn.jobs import Job
from celldyn.vae.clusters import Clusters, cluster_job
from celldyn.vae.inputs import Groups, Modality


class Shelf:
    """Coarse clusters of a modality's cells, made once for each key they are needed for."""

    def __init__(self, modality: Modality, seed: int) -> None:
        self._modality, self.seed = modality, seed
        self._made: dict[str, Clusters] = {}

    def clusters_job(self, groups: Groups) -> Job[Clusters]:
        """Return the clusters of cells, differences between these groups taken out."""
        if groups.key not in self._made:
            job = cluster_job(self._modality.counts, groups, seed=self.seed)
            self._made[groups.key] = yield from job
        return self._made[groups.key]
