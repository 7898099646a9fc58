"""The part of an LSD model that changes genes and follows the cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job, run
from celldyn.landscape.graph import Ints
from celldyn.landscape.lsd_base import LSDBase
from celldyn.landscape.lsd_sigma import SigmaMixin
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.edits import Edit
from celldyn.landscape.perturbing.effect import PerturbationEffect
from celldyn.landscape.perturbing.perturb import perturb_job
from celldyn.landscape.perturbing.preparing import Subjects
from celldyn.landscape.perturbing.reference import Jumps, reference_job
from celldyn.perturbation import Perturbation
from celldyn.perturbation.names import positions

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


@dataclass(frozen=True, slots=True)
class _Rows:
    """Expression of some of the model's cells, by their number among these."""

    model: LSDBase
    rows: Ints

    def __call__(self, cells: Ints) -> Tensor:
        return self.model._inputs.expression(self.rows[cells])


class PerturbMixin(SigmaMixin):
    """Perturbations; see `LSD`."""

    # --- the seed's ----------------------------------------------------------------------------

    def perturb(
        self,
        adata: AnnData,
        x: Tensor | ArrayLike,
        gene_name: str | Sequence[str],
        cluster_key: str,
        perturbation_level: float = 0,
        dt_pert: float = 0.2,
        t_unpert: float = 15,
        max_perturbations: int = 10,
        batch_size: int = 512,
    ) -> tuple[pd.Categorical, pd.Categorical]:
        """Return fates with a gene at a level and without, as sclsd gives them.

        See `perturb_effects` for an effect with interval and p-value.

        Parameters
        ----------
        adata
            Cells of the model's data set, with `cluster_key` in obs: those that paths jump to.
        x
            (m, G) log-normalised expression of the cells that are followed.
        gene_name
            What is changed; of several genes, all at once.
        cluster_key
            Column of obs whose values are the fates.
        perturbation_level
            In the unit of X, the same in all cells; 0 is a knock-out.
        dt_pert, max_perturbations
            Time of one jump, and how many are made.
        t_unpert
            Time that cells then flow for, with the gene let go.
        batch_size
            Without meaning here: memory is bounded in any case.

        Returns
        -------
        Fates of the perturbed cells and of the unperturbed, (m,) each.

        Raises
        ------
        NotFittedError
            If the model is not trained.
        MissingKeyError
            If gene, column, or a cell of adata is not there.
        DataError
            If x has another number of genes than the model, or is not finite.
        """
        job = self.perturb_job(
            adata, x, gene_name, cluster_key, perturbation_level, dt_pert, t_unpert,
            max_perturbations, batch_size,
        )  # fmt: skip
        return run(job, bar=False)

    def perturb_job(
        self,
        adata: AnnData,
        x: Tensor | ArrayLike,
        gene_name: str | Sequence[str],
        cluster_key: str,
        perturbation_level: float = 0,
        dt_pert: float = 0.2,
        t_unpert: float = 15,
        max_perturbations: int = 10,
        batch_size: int = 512,
    ) -> Job[tuple[pd.Categorical, pd.Categorical]]:
        """Do the work of `perturb`."""
        import pandas as pd

        del batch_size
        genes = [gene_name] if isinstance(gene_name, str) else list(gene_name)
        change = Perturbation.set_to(dict.fromkeys(genes, float(perturbation_level)))
        edit = Edit.of(change, self.genes)
        rows = self._expression_of(x)
        subjects = yield from self._subjects_job(adata, cluster_key, None)
        jumps = Jumps(dt_pert, t_unpert, max_perturbations)
        perturbed, control = yield from reference_job(subjects, rows, edit, jumps)
        column = adata.obs[cluster_key]
        labels = pd.Categorical(column) if not hasattr(column, "cat") else column.array
        return labels[perturbed], labels[control]

    def _expression_of(self, x: Tensor | ArrayLike) -> Tensor:
        rows = torch.as_tensor(x if isinstance(x, Tensor) else np.asarray(x)).detach().cpu()
        if rows.ndim != 2 or rows.shape[1] != len(self.genes):
            raise DataError(
                f"x is of shape {tuple(rows.shape)} and the model knows {len(self.genes)} genes",
                "give log-normalised expression, one row per cell",
            )
        if not torch.isfinite(rows).all():
            raise DataError("x is not finite", "give log-normalised expression")
        return rows.to(torch.float32)

    def _subjects_job(
        self, adata: AnnData | None, cluster_key: str, cells: ArrayLike | None
    ) -> Job[Subjects]:
        """Return cells with states and labels: all of the model's, or those of `adata`."""
        states = yield from self.states_job()
        given = self.adata if adata is None else adata
        if cluster_key not in given.obs:
            raise MissingKeyError(
                f"there is no column {cluster_key!r} in obs",
                f"use one of {', '.join(map(str, given.obs.columns[:8]))}",
            )
        rows = np.arange(len(states.z))
        if adata is not None and not adata.obs_names.equals(self.adata.obs_names):
            found = positions(adata.obs_names, self.adata.obs_names, "cell", keep_order=True)
            rows = found.astype(np.int64)
        labels = given.obs[cluster_key].to_numpy()
        z = torch.from_numpy(states.z[rows])
        expression = _Rows(self, rows)
        return Subjects.of(self.networks, expression, z, labels, self.genes, cells)

    # --- effects -------------------------------------------------------------------------------

    def perturb_effects(
        self,
        perturbation: Perturbation,
        cluster_key: str = "clusters",
        *,
        adata: AnnData | None = None,
        cells: ArrayLike | None = None,
        config: PerturbConfig | None = None,
        housekeeping: Sequence[str] | None = None,
    ) -> PerturbationEffect:
        """Follow cells with a perturbation and without; see `perturb_effects_job`."""
        job = self.perturb_effects_job(
            perturbation, cluster_key, adata=adata, cells=cells, config=config,
            housekeeping=housekeeping,
        )  # fmt: skip
        return run(job, bar=False)

    def perturb_effects_job(
        self,
        perturbation: Perturbation,
        cluster_key: str = "clusters",
        *,
        adata: AnnData | None = None,
        cells: ArrayLike | None = None,
        config: PerturbConfig | None = None,
        housekeeping: Sequence[str] | None = None,
    ) -> Job[PerturbationEffect]:
        """Follow cells with a perturbation and without, and hold the change against a null.

        Parameters
        ----------
        perturbation
            Genes, what happens to each, in which cells, and when they are let go.
        cluster_key
            Column of obs whose values are the fates.
        adata
            Where that column is, if not in the model's data set: the same cells, or some.
        cells
            Cells that are followed, by number or as a mask; None is those that are perturbed.
        config, housekeeping
            See `celldyn.landscape.perturb_job`.

        Raises
        ------
        NotFittedError
            If the model is not trained, or σ is to be read off walks that are not there.
        MissingKeyError, DataError, ConfigError
            As `celldyn.landscape.perturb_job` does.
        """
        where = self.adata if adata is None else adata
        followed = perturbation.rows(where) if cells is None else cells
        config = yield from self._with_sigma_job(config)
        of = yield from self._subjects_job(adata, cluster_key, followed)
        return (
            yield from perturb_job(
                of.networks, of.expression, of.z_cells, of.labels, perturbation, of.genes,
                of.cells, config=config, housekeeping=housekeeping,
            )
        )  # fmt: skip

    def _with_sigma_job(self, config: PerturbConfig | None) -> Job[PerturbConfig]:
        """Return the config with the model's own σ, where that is asked for."""
        config = PerturbConfig() if config is None else config
        if config.sigma is not None:
            return config
        found = yield from self.sigma_job()
        chosen: PerturbConfig = config.replace(sigma=float(found.sigma))
        return chosen
