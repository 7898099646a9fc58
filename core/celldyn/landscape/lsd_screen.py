"""The part of an LSD model that changes genes one by one, to find those that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import MissingKeyError
from celldyn.jobs import Job, run
from celldyn.landscape.lsd_perturb import PerturbMixin
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.edits import ScreenChange
from celldyn.landscape.perturbing.screen import screen_job
from celldyn.landscape.perturbing.screened import Screen

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

TOWARD: tuple[ScreenChange, ...] = ("knockout", "overexpress")
"""What is done to genes to find those that lead somewhere."""


class ScreenMixin(PerturbMixin):
    """Screens; see `LSD`."""

    def screen(
        self,
        cluster_key: str = "clusters",
        *,
        adata: AnnData | None = None,
        cells: ArrayLike | None = None,
        genes: Sequence[str] | None = None,
        changes: Sequence[ScreenChange] | ScreenChange = "knockout",
        config: PerturbConfig | None = None,
        housekeeping: Sequence[str] | None = None,
    ) -> Screen:
        """Change each gene in turn and follow the same cells; see `screen_job`."""
        job = self.screen_job(
            cluster_key, adata=adata, cells=cells, genes=genes, changes=changes, config=config,
            housekeeping=housekeeping,
        )  # fmt: skip
        return run(job, bar=False)

    def screen_job(
        self,
        cluster_key: str = "clusters",
        *,
        adata: AnnData | None = None,
        cells: ArrayLike | None = None,
        genes: Sequence[str] | None = None,
        changes: Sequence[ScreenChange] | ScreenChange = "knockout",
        config: PerturbConfig | None = None,
        housekeeping: Sequence[str] | None = None,
    ) -> Job[Screen]:
        """Change each gene in turn and follow the same cells, as a job.

        Parameters
        ----------
        cluster_key, adata, cells
            As for `perturb_effects_job`; None is all cells.
        genes
            Names of the genes to change; None is all.
        changes, config, housekeeping
            See `celldyn.landscape.screen_job`.
        """
        config = yield from self._with_sigma_job(config)
        of = yield from self._subjects_job(adata, cluster_key, cells)
        return (
            yield from screen_job(
                of.networks, of.expression, of.z_cells, of.labels, of.genes, of.cells,
                screened=genes, changes=changes, config=config, housekeeping=housekeeping,
            )
        )  # fmt: skip

    def genes_toward(
        self,
        from_cluster: str,
        to_fate: str,
        cluster_key: str = "clusters",
        *,
        adata: AnnData | None = None,
        genes: Sequence[str] | None = None,
        changes: Sequence[ScreenChange] | ScreenChange = TOWARD,
        config: PerturbConfig | None = None,
        housekeeping: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Rank genes by how they take cells of one cluster to a fate; see `genes_toward_job`."""
        job = self.genes_toward_job(
            from_cluster, to_fate, cluster_key, adata=adata, genes=genes, changes=changes,
            config=config, housekeeping=housekeeping,
        )  # fmt: skip
        return run(job, bar=False)

    def genes_toward_job(
        self,
        from_cluster: str,
        to_fate: str,
        cluster_key: str = "clusters",
        *,
        adata: AnnData | None = None,
        genes: Sequence[str] | None = None,
        changes: Sequence[ScreenChange] | ScreenChange = TOWARD,
        config: PerturbConfig | None = None,
        housekeeping: Sequence[str] | None = None,
    ) -> Job[pd.DataFrame]:
        """Rank knock-outs and over-expressions by how they take a cluster's cells to a fate.

        Returns
        -------
        One row per gene and change, those that take most cells there first; columns as of
        `Screen.toward`.

        Raises
        ------
        MissingKeyError
            If there is no such cluster or fate.
        """
        where = self.adata if adata is None else adata
        labels = where.obs[cluster_key].astype(str) if cluster_key in where.obs else None
        if labels is not None:
            for name in (from_cluster, to_fate):
                if not (labels == name).any():
                    known = ", ".join(sorted(labels.unique())[:8])
                    raise MissingKeyError(f"{name!r} is no cluster", f"there are {known}")
        inside = None if labels is None else np.flatnonzero(labels == from_cluster)
        found = yield from self.screen_job(
            cluster_key, adata=adata, cells=inside, genes=genes, changes=changes, config=config,
            housekeeping=housekeeping,
        )  # fmt: skip
        return found.toward(to_fate)
