"""The parameters of the spatial-betas model."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from celldyn.config import Config, param

SECRETED = "Secreted Signaling"


class ModelConfig(Config):
    """From what genes are modelled, and how: all but which.

    Lengths are in µm where the data set says how many µm a unit of its coordinates is, and in
    that unit where it does not.
    """

    cluster_annot: str | None = param(
        "cell_type_int",
        "obs column of cell types; each has a model of its own; with none all share one.",
    )
    section_key: str | None = param(
        None, "obs column naming the section of each cell; sections are fitted one by one."
    )
    layer: str | None = param("imputed_count", "Layer of the expression; none is X.")

    regulators: list[str] | None = param(
        None, "Transcription factors that may regulate the gene; given, no GRN is looked at."
    )
    colinks_path: str | None = param(
        None,
        "GRN as CSV, TSV or Parquet with source, target and optionally cluster, coef_mean, p.",
    )
    alpha: float = param(
        0.05, "GRN links count if their p is below this.", gt=0, le=1, advanced=True
    )
    extra_regulators: list[str] | None = param(
        None, "More genes that are taken as regulators, after those of the GRN."
    )
    cluster_regulators: bool = param(
        False, "Whether a cell type has only the regulators that the GRN gives it.", advanced=True
    )

    use_ligands: bool = param(True, "Whether signals from neighbouring cells are modelled.")
    lr: str | None = param(
        "liana", "Ligand-receptor pairs: a file in CellChat's columns, liana, or liana:<resource>."
    )
    ligand_target: str | None = param(
        None, "Ligand-target scores in NicheNet's layout; without it no ligand-TF pairs are made."
    )
    species: Literal["auto", "mouse", "human"] = param(
        "auto", "Species of the gene names; auto reads it off their capitals."
    )
    complexes: Literal["product", "min"] = param(
        "product", "A complex is its sub-units one by one (product) or its scarcest one (min).",
        advanced=True,
    )  # fmt: skip
    secreted_classes: list[str] = param(
        [SECRETED], "Classes of signalling that reach as far as radius; others need contact.",
        advanced=True,
    )  # fmt: skip
    tf_ligand_cutoff: float = param(
        0.01, "Ligand-target scores above this make a ligand-TF pair.", ge=0, advanced=True
    )
    receptor_thresh: float = param(
        0.1, "Kept for compatibility; receptors are not filtered by it.", ge=0, advanced=True
    )

    radius: float = param(
        100.0, "How far secreted ligands reach, and how far neighbours count.", unit="µm", gt=0
    )
    contact_distance: float = param(
        30.0, "How far ligands reach that need contact.", unit="µm", gt=0
    )
    kernel: Literal["truncated", "gaussian"] = param(
        "truncated", "Weight of a neighbour: 0.001^((d/r)²) up to r, or exp(-d²/(2r²))."
    )
    normalisation: Literal["weights", "n_cells", "none"] = param(
        "weights",
        "Received signal is divided by the sum of weights, by the number of cells, or not.",
    )
    scale_factor: float = param(1.0, "Multiplies the kernel.", gt=0, advanced=True)
    include_self: bool = param(True, "Whether a cell receives its own ligands too.", advanced=True)

    estimator: Literal["lasso", "bayesian", "ard"] = param(
        "lasso", "Linear model of a cluster: group lasso, Bayesian ridge, or ARD regression."
    )
    threshold_lambda: float = param(
        1e-6, "Group-lasso penalty; larger values drop whole classes of modulators.", ge=0
    )
    l1_reg: float = param(
        1e-9, "Lasso penalty of single coefficients; larger values drop modulators.", ge=0
    )
    penalty: Literal["auto", "given", "heldout"] = param(
        "auto",
        "Whether the lasso's penalties are as given, or l1_reg grows to what predicts held-out "
        "blocks best; auto does that unless a penalty is given.",
    )
    standardise: bool = param(
        True, "Whether the lasso sees modulators on a common scale.", advanced=True
    )
    ard_threshold: float = param(
        1e4, "ARD drops modulators whose precision exceeds this.", gt=0, advanced=True
    )
    score_threshold: float = param(
        0.2, "Clusters whose R² is not above this keep the intercept only.", ge=0, lt=1
    )
    skip_clusters: list[str] = param([], "Clusters that are not modelled; their betas are 0.")
    heldout_folds: int = param(
        5, "Blocks of tissue held out in turn to test the linear model; 0 for none.", ge=0, le=20
    )
    seed: int = param(0, "Seed of everything random.", ge=0, lt=2**32)

    num_epochs: int = param(
        100,
        "Epochs in which betas learn to vary inside a cluster; 0 keeps the linear model. "
        "A smooth model is solved at once, whatever their number.",
        ge=0,
    )
    vision_model: Literal["smooth", "cnn", "transformer"] = param(
        "smooth", "What makes betas vary: a smooth field, or a network that sees the surroundings."
    )
    max_basis: int = param(
        48, "Most waves over the tissue that a smooth model is made of.", ge=0, le=512,
        advanced=True,
    )  # fmt: skip
    maps: Literal["density", "distance"] = param(
        "density", "What a network sees: cells of each type around, or how far every place is.",
        advanced=True,
    )  # fmt: skip
    map_extent: float | None = param(
        None, "Side of the window that density maps show; none is twice the radius.", unit="µm",
        gt=0, advanced=True,
    )  # fmt: skip
    channels: Literal["auto", "all", "own"] = param(
        "auto", "Maps of all cell types or the cell's own; auto: all densities, own distance.",
        advanced=True,
    )  # fmt: skip
    spatial_dim: int = param(
        64, "Side of the image of a cell's surroundings.", unit="pixels", ge=4, le=512,
        advanced=True,
    )  # fmt: skip
    rotate_maps: bool = param(
        False, "Whether images are turned by quarter turns in training.", advanced=True
    )
    activation: Literal["sigmoid", "sigmoidx2", "identity", "tanh", "gelu", "softplus"] = param(
        "sigmoid", "How the cnn's output scales the linear model's coefficients.", advanced=True
    )
    learning_rate: float = param(5e-3, "Step of the neural network.", gt=0, advanced=True)
    batch_size: int = param(
        512, "Cells the neural network sees at once.", unit="cells", ge=1, advanced=True
    )
    grad_clip: float = param(
        2.0, "Longest gradient the neural network follows.", gt=0, advanced=True
    )
    early_stopping: bool = param(
        False, "Whether training ends when held-out blocks are predicted no better.", advanced=True
    )
    patience: int = param(
        10, "Epochs without improvement until training ends early.", unit="epochs", ge=1,
        advanced=True,
    )  # fmt: skip
    network_folds: int = param(
        1, "How many of the held-out blocks a network is tested on, too.", ge=0, le=20,
        advanced=True,
    )  # fmt: skip
    device: str = param(
        "auto", "Where networks run: auto, cpu, cuda, cuda:N or mps.", advanced=True
    )

    @field_validator("skip_clusters", mode="before")
    @classmethod
    def _as_text(cls, clusters: Any) -> Any:  # noqa: ANN401
        """Labels may be numbers in the data set; they are compared as text."""
        if clusters is None:
            return []
        if isinstance(clusters, list | tuple | set | frozenset):
            return [str(cluster) for cluster in clusters]
        return clusters

    @property
    def chooses_penalty(self) -> bool:
        """Whether the lasso's penalty is chosen on held-out blocks."""
        if self.estimator != "lasso" or self.heldout_folds == 0:
            return False
        fields = type(self).model_fields
        as_declared = all(
            getattr(self, name) == fields[name].default for name in ("threshold_lambda", "l1_reg")
        )
        return self.penalty == "heldout" or (self.penalty == "auto" and as_declared)

    @model_validator(mode="after")
    def _heldout_needs_folds(self) -> Self:
        if self.penalty == "heldout" and self.heldout_folds == 0:
            raise ValueError("penalty is heldout, and heldout_folds is 0; hold out at least 2")
        return self

    @field_validator("heldout_folds")
    @classmethod
    def _no_single_fold(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("one fold leaves nothing to fit on; use 0 or at least 2")
        return folds


class BetasConfig(ModelConfig):
    """Which gene is modelled, from what, and how.

    Lengths are in µm where the data set says how many µm a unit of its coordinates is, and in
    that unit where it does not.
    """

    target_gene: str = param(..., "Gene whose expression is modelled.", min_length=1)
