"""The estimator of one target gene, under the names its users know."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from celldyn.betas.config import SECRETED, BetasConfig
from celldyn.betas.fitted import FittedPrograms
from celldyn.betas.inputs import check_skipped
from celldyn.betas.preparing import prepare
from celldyn.betas.results import BetasResult
from celldyn.betas.train import fit_job
from celldyn.errors import ConfigError
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from anndata import AnnData

    from celldyn.betas.grn_factory import Regulatory

_OF_FIT = (
    "num_epochs",
    "threshold_lambda",
    "learning_rate",
    "batch_size",
    "estimator",
    "vision_model",
    "score_threshold",
    "l1_reg",
    "skip_clusters",
    "heldout_folds",
    "standardise",
    "ard_threshold",
    "penalty",
    "max_basis",
    "maps",
    "map_extent",
    "channels",
    "rotate_maps",
    "activation",
    "grad_clip",
    "early_stopping",
    "patience",
    "network_folds",
    "device",
    "seed",
)


class SpatialCellularProgramsEstimator(FittedPrograms):
    """Models one gene in each cell type from regulators and from signals of neighbouring cells.

    The data set is read when the estimator is made, and never written.

    Parameters
    ----------
    adata
        (n_obs, n_vars) with coordinates in `obsm["spatial"]`.
    target_gene
        The gene to model.
    spatial_dim
        Side, in pixels, of the image of a cell's surroundings.
    cluster_annot
        obs column of cell types, numbers or text; None makes all cells one type.
    layer
        Layer of the expression; None is X.
    radius, contact_distance
        How far secreted ligands reach, and ligands that need contact: in µm where the data set
        says how many µm a unit of its coordinates is, else in that unit.
    use_ligands
        Whether signals from neighbouring cells are modelled.
    tf_ligand_cutoff
        Ligand-target scores above this make a ligand-TF pair.
    receptor_thresh
        Kept for compatibility; nothing is filtered by it.
    regulators
        Transcription factors of the target; given, `grn` and `colinks_path` are not looked at.
    grn
        A `RegulatoryFactory`, or anything with `get_regulators(adata, gene)`.
    colinks_path
        GRN as CSV, TSV or Parquet, for a `RegulatoryFactory` made here.
    scale_factor
        Multiplies the kernel.
    extra_regulators
        More regulators, after those of the GRN.
    lr
        Ligand-receptor pairs: a table, a file, "liana", or "liana:<resource>".
    ligand_target
        Ligand-target scores, target genes × ligands; without them there are no ligand-TF pairs.
    species, kernel, normalisation, include_self, complexes, secreted_classes, section_key
        As in `BetasConfig`; and so are `alpha` and `cluster_regulators`.

    Attributes
    ----------
    regulators, ligands, receptors, tfl_regulators, tfl_ligands : list of str
        Genes by role; for pairs, one entry per pair.
    lr_pairs : pandas.Series
        "Ligand$Receptor".
    tfl_pairs : list of str
        "Ligand#TF".
    modulators, modulators_genes : list of str
        All modulators in the order of the betas, and all genes in them.
    scores, heldout_scores : dict
        By cluster, (section, cluster) where there are sections: R² of the betas on the cells they
        were fitted on (0 where only the intercept was kept), and R² of the linear model on blocks
        of tissue held out (NaN where cells are too few).
    models : dict
        By cluster, the trained network, or the (mean) coefficients as a Series.
    loss_dict : dict
        By cluster, the loss of every batch of the network's training; empty without a network.
    dropped_modulators : list of str
        Those that do not vary and were left out, known after `init_data` or `fit`.
    xy : numpy.ndarray
        (n_obs, 2) coordinates in the unit of the data set.
    species : str
        "mouse" or "human".

    Raises
    ------
    CelldynError
        Whatever `celldyn.betas.prepare` finds wrong.
    """

    def __init__(
        self,
        adata: AnnData,
        target_gene: str,
        spatial_dim: int = 64,
        cluster_annot: str | None = "cell_type_int",
        layer: str | None = "imputed_count",
        radius: float = 100,
        contact_distance: float = 30,
        use_ligands: bool = True,  # noqa: FBT001, FBT002
        tf_ligand_cutoff: float = 0.01,
        receptor_thresh: float = 0.1,
        regulators: list[str] | None = None,
        grn: Regulatory | None = None,
        colinks_path: Path | str | None = None,
        scale_factor: float = 1,
        extra_regulators: list[str] | None = None,
        *,
        lr: Path | str | pd.DataFrame | None = "liana",
        ligand_target: Path | str | pd.DataFrame | None = None,
        species: Literal["auto", "mouse", "human"] = "auto",
        kernel: Literal["truncated", "gaussian"] = "truncated",
        normalisation: Literal["weights", "n_cells", "none"] = "weights",
        include_self: bool = True,
        complexes: Literal["product", "min"] = "product",
        secreted_classes: Collection[str] = (SECRETED,),
        section_key: str | None = None,
        alpha: float = 0.05,
        cluster_regulators: bool = False,
    ) -> None:
        self.adata = adata
        self.config = BetasConfig(
            target_gene=target_gene,
            spatial_dim=spatial_dim,
            cluster_annot=cluster_annot,
            layer=layer,
            radius=radius,
            contact_distance=contact_distance,
            use_ligands=use_ligands,
            tf_ligand_cutoff=tf_ligand_cutoff,
            receptor_thresh=receptor_thresh,
            regulators=None if regulators is None else list(regulators),
            colinks_path=None if colinks_path is None else str(colinks_path),
            scale_factor=scale_factor,
            extra_regulators=None if extra_regulators is None else list(extra_regulators),
            lr=_path_of(lr),
            ligand_target=_path_of(ligand_target),
            species=species,
            kernel=kernel,
            normalisation=normalisation,
            include_self=include_self,
            complexes=complexes,
            secreted_classes=list(secreted_classes),
            section_key=section_key,
            alpha=alpha,
            cluster_regulators=cluster_regulators,
        )
        self._take(prepare(adata, self.config, grn=grn, lr=lr, ligand_target=ligand_target))
        self._forget()

    @cached_property
    def device(self) -> torch.device:
        """The device networks run on."""
        from celldyn.devices import choose_device

        return choose_device("auto")

    def fit(
        self,
        num_epochs: int = 100,
        threshold_lambda: float = 1e-6,
        learning_rate: float = 5e-3,
        batch_size: int = 512,
        pbar: Any = None,  # noqa: ANN401
        estimator: Literal["lasso", "bayesian", "ard"] = "lasso",
        vision_model: Literal["smooth", "cnn", "transformer"] = "smooth",
        score_threshold: float = 0.2,
        l1_reg: float = 1e-9,
        skip_clusters: Collection[int | str] | None = None,
        *,
        heldout_folds: int = 5,
        standardise: bool = True,
        ard_threshold: float = 1e4,
        seed: int = 0,
        **more: Any,  # noqa: ANN401
    ) -> None:
        """Fit every cluster, and fill `scores`, `heldout_scores`, `models` and `loss_dict`.

        Parameters
        ----------
        num_epochs
            Epochs in which betas learn to vary inside a cluster; 0 keeps the linear models.
        threshold_lambda, l1_reg
            Penalties of the group lasso: on whole classes of modulators, and on each.
        learning_rate, batch_size
            Of the neural network.
        vision_model
            What makes betas vary: "smooth", which is solved at once and comes closest to known
            truths, "cnn" or "transformer".
        pbar
            A progress bar, whose `update(n)` is called as clusters are done; None draws one and
            False none.
        estimator
            "lasso", "bayesian" or "ard".
        score_threshold
            Clusters whose R² is not above this keep the intercept only.
        skip_clusters
            Labels of clusters that are left out; their betas are 0.
        heldout_folds
            Blocks of tissue held out in turn; 0 for none.
        standardise
            Whether the lasso sees modulators on a common scale.
        ard_threshold
            ARD drops modulators whose precision exceeds this.
        seed
            Of everything random.
        **more
            penalty, max_basis, maps, map_extent, channels, rotate_maps, activation, grad_clip,
            early_stopping, patience, network_folds and device, as in `BetasConfig`.

        Raises
        ------
        ConfigError
            If a parameter is unknown or out of its bounds.
        """
        job = self.fit_job(
            num_epochs=num_epochs,
            threshold_lambda=threshold_lambda,
            learning_rate=learning_rate,
            batch_size=batch_size,
            estimator=estimator,
            vision_model=vision_model,
            score_threshold=score_threshold,
            l1_reg=l1_reg,
            skip_clusters=skip_clusters,
            heldout_folds=heldout_folds,
            standardise=standardise,
            ard_threshold=ard_threshold,
            seed=seed,
            **more,
        )
        run(job if pbar is None or pbar is False else _telling(job, pbar), bar=pbar is None)

    def fit_job(self, **parameters: Any) -> Job[BetasResult]:  # noqa: ANN401
        """Return the job that `fit` runs; takes the same parameters but `pbar`.

        Raises
        ------
        ConfigError
            If a parameter is out of its bounds, or is one of the constructor.
        """
        for name in parameters:
            if name not in _OF_FIT:
                raise ConfigError(f"{name} is no parameter of fit", f"use {', '.join(_OF_FIT)}")
        config: BetasConfig = self.config.replace(**{"num_epochs": 100, **parameters})
        check_skipped(config, self._inputs.clusters)
        return self._fitting(config)

    def _fitting(self, config: BetasConfig) -> Job[BetasResult]:
        result = yield from fit_job(self._inputs, config)
        self.config = config
        self._keep(result)
        return result


def _path_of(source: object) -> str | None:
    """Return what a config can hold of a prior: a path or a name, but no table."""
    return str(source) if isinstance(source, str | Path) else None


def _telling(job: Job[BetasResult], bar: Any) -> Job[BetasResult]:  # noqa: ANN401
    """Pass a job on, and tell a foreign progress bar of every finished unit."""
    told = 0
    with closing(job):
        while True:
            try:
                progress = next(job)
            except StopIteration as end:
                result: BetasResult = end.value
                return result
            if (new := int(progress.done) - told) > 0:
                bar.update(new)
                told += new
            yield progress
