"""The parameters of the regularised VAE: what its keys mean, the model, and how it is trained."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from celldyn.config import Config, param

Preset = Literal["recommended", "seed"]


class KeysConfig(Config):
    """Which column of obs stands for which technical effect.

    `batch_key` alone serves as ambient, dispersion and library key; it excludes those three.
    """

    layer: str | None = param(None, "Layer of raw counts; none is X.")
    batch_key: str | None = param(
        None, "One batch for ambient RNA, dispersion and library size; else name a key for each."
    )
    one_batch: bool = param(
        False, "Whether all cells are one batch, so that no key is needed.", advanced=True
    )
    ambient_covariate_keys: list[str] = param(
        [], "Where ambient RNA is shared: the well or the embryo; backgrounds of several keys add."
    )
    dispersion_key: str | None = param(None, "Within what genes share their inverse dispersion.")
    library_size_key: str | None = param(None, "Within what library sizes are alike.")
    nn_conditioning_covariate_keys: list[str] = param(
        [], "What the decoder is told: protocol, donor, site; removes such differences from cells."
    )
    feature_scaling_covariate_keys: list[str] | None = param(
        None, "What scales genes one by one; none takes the decoder's keys; factors multiply."
    )
    nn_continuous_covariate_keys: list[str] = param(
        [], "Numbers per cell that encoder and decoder are told."
    )
    encoder_covariate_keys: list[str] = param(
        [], "What the encoder is told, too; may leak batches into the latent space.", advanced=True
    )
    size_factor_key: str | None = param(
        None, "Known library size of each cell, instead of a learned one.", advanced=True
    )


class ModelConfig(Config):
    """The model of one modality; None means: as the preset has it.

    Source: seed 003 (regularizedvi), specs/vae.md A.7 and Decisions.
    """

    preset: Preset = param(
        "recommended", "Initial values and priors: as recommended here, or those of the seed."
    )
    n_hidden: int = param(128, "Width of the hidden layers.", ge=1, le=65_536)
    n_latent: int = param(10, "Dimensions of the latent space.", ge=1, le=4096)
    n_layers: int = param(1, "Hidden layers of encoder and decoder.", ge=1, le=32)
    dropout_rate: float = param(0.1, "Share of the encoder's inputs left out.", ge=0, lt=1)
    dispersion: Literal["gene-batch", "gene"] = param(
        "gene-batch", "Inverse dispersion per gene and group, or per gene."
    )
    gene_likelihood: Literal["gamma_poisson", "nb"] = param(
        "gamma_poisson", "Gamma-Poisson, which is the negative binomial.", advanced=True
    )
    latent_distribution: Literal["normal", "ln"] = param(
        "normal", "Latent space as it is, or on the simplex (ln).", advanced=True
    )
    scale_activation: Literal["softplus", "softmax"] = param(
        "softplus", "What makes the decoder's output non-negative.", advanced=True
    )
    use_batch_norm: Literal["none", "encoder", "decoder", "both"] = param(
        "none", "Where batch normalisation stands.", advanced=True
    )
    use_layer_norm: Literal["none", "encoder", "decoder", "both"] = param(
        "both", "Where layer normalisation stands.", advanced=True
    )
    dropout_on_input: bool = param(
        True, "Whether dropout stands before the linear layer, not after it.", advanced=True
    )
    deeply_inject_covariates: bool = param(
        True, "Whether covariates enter every layer, not only the first.", advanced=True
    )
    use_batch_in_decoder: bool = param(
        False, "Whether the decoder is told the batch.", advanced=True
    )

    library_n_hidden: int = param(
        16, "Width of the library encoder; a large one takes biology away.", ge=1, le=4096,
        advanced=True,
    )  # fmt: skip
    library_log_vars_weight: float = param(
        0.5, "Scales the variance of the library prior.", gt=0, le=100, advanced=True
    )
    library_centring: bool | None = param(
        None, "Whether library sizes are relative to the average cell.", advanced=True
    )
    library_log_means_centering_sensitivity: float | None = param(
        None, "Library size of an average cell where they are relative; none is 1.", gt=0,
        advanced=True,
    )  # fmt: skip
    residual_library_encoder: bool | None = param(
        None, "Whether the library encoder corrects the observed total.", advanced=True
    )
    library_obs_w_prior_rate: float = param(
        1.0, "Rate of the exponential prior on the observed total's weight.", gt=0, advanced=True
    )

    use_additive_background: bool | None = param(
        None, "Whether ambient RNA is modelled; none: not in modalities other than rna."
    )
    background_init: Literal["prior", "fraction", "estimated"] | None = param(
        None, "Background starts at its prior mean, a share of the mean, or an estimated share.",
        advanced=True,
    )  # fmt: skip
    bg_init_gene_fraction: float = param(
        0.2, "That share, where it is not estimated.", gt=0, lt=1, advanced=True
    )
    hold_background: bool | None = param(
        None, "Whether each group's share of background is held near its estimate.", advanced=True
    )
    regularise_background: bool = param(
        False, "Whether the background has its Gamma prior.", advanced=True
    )
    additive_bg_prior_alpha: float = param(1.0, "Shape of that prior.", gt=0, advanced=True)
    additive_bg_prior_beta: float = param(100.0, "Rate of that prior.", gt=0, advanced=True)

    use_feature_scaling: bool | None = param(
        None, "Whether genes are scaled by key; none: not in rna beside other modalities.",
        advanced=True,
    )  # fmt: skip
    feature_scaling_prior_alpha: float | None = param(
        None, "Shape of the Gamma prior of the scaling; none: as genes differ between keys.",
        gt=0, advanced=True,
    )  # fmt: skip
    feature_scaling_prior_beta: float | None = param(
        None, "Rate of the Gamma prior of the scaling; none: its shape, so that its mean is 1.",
        gt=0, advanced=True,
    )  # fmt: skip
    feature_scaling_combination: Literal["product", "sum"] = param(
        "product", "How factors of several keys combine.", advanced=True
    )

    regularise_dispersion: bool = param(True, "Whether overdispersion is held small by its prior.")
    dispersion_init: Literal["prior", "data"] | None = param(
        None, "Inverse dispersion starts at its prior, or at moments of the data.", advanced=True
    )
    dispersion_prior_direction: Literal["inverse_sqrt", "sqrt"] = param(
        "inverse_sqrt", "The exponential prior is on 1/√θ or on √θ.", advanced=True
    )
    dispersion_hyper_prior_alpha: float = param(
        9.0, "Shape of the Gamma prior of the rate λ.", gt=0, advanced=True
    )
    dispersion_hyper_prior_mean: float = param(
        1 / 3, "Mean of 1/√θ; the Gamma prior's rate is shape × mean.", gt=0, advanced=True
    )
    dispersion_jacobian: bool = param(
        True, "Whether the prior of θ has its change of variables.", advanced=True
    )
    theta_noise: Literal["feature", "cell"] = param(
        "feature", "Whether θ is drawn once a step, or for each cell.", advanced=True
    )

    init_decoder_bias: Literal["none", "mean", "topN"] | None = param(
        None, "Decoder starts at nothing, gene means, or means of the top cells.", advanced=True
    )
    decoder_weight_l2: float | None = param(
        None, "Penalty on the decoder's squared weights.", ge=0, advanced=True
    )
    global_scale: Literal["cells", "minibatch"] = param(
        "cells", "Global terms are divided by the training cells, or the minibatch.", advanced=True
    )

    latent_mode: Literal["concatenation", "weighted_mean", "single_encoder"] = param(
        "concatenation", "How modalities share the latent space."
    )
    modality_weights: Literal["equal", "universal", "cell"] = param(
        "equal", "Weights of a weighted mean: equal, learned, or learned per cell.", advanced=True
    )
    per_modality: dict[str, dict[str, Any]] = param(
        {}, "Parameters that differ by modality: {modality: {parameter: value}}.", advanced=True
    )

    @model_validator(mode="after")
    def _modalities_have_parameters(self) -> Self:
        for values in self.per_modality.values():
            if unknown := sorted(set(values) - set(ModelConfig.model_fields)):
                raise ValueError(
                    f"per_modality names {unknown[0]}, which is not a parameter of the model"
                )
        return self

    def resolved(self, modality: str, *, alone: bool) -> ModelConfig:
        """Return the parameters of one modality, with those of the preset where none are given.

        Parameters
        ----------
        modality
            Its name.
        alone
            Whether it is the only one; then it has both background and scaling.
        """
        fields = ModelConfig.model_fields
        values = {name: getattr(self, name) for name in fields} | self.per_modality.get(
            modality, {}
        )
        known = {
            **PRESETS[values["preset"]],
            "use_additive_background": alone or modality == "rna",
            "use_feature_scaling": alone or modality == "atac",
        }
        absent = {
            name: known[name] for name, value in values.items() if value is None and name in known
        }
        return ModelConfig(**{**values, **absent, "per_modality": {}})


PRESETS: dict[Preset, dict[str, Any]] = {
    "recommended": {
        "library_centring": True,
        "residual_library_encoder": True,
        "background_init": "estimated",
        "hold_background": True,
        "dispersion_init": "data",
        "init_decoder_bias": "mean",
        "decoder_weight_l2": 2.0,
    },
    "seed": {
        "library_centring": True,
        "residual_library_encoder": False,
        "background_init": "prior",
        "hold_background": False,
        "dispersion_init": "prior",
        "feature_scaling_prior_alpha": 200.0,
        "init_decoder_bias": "mean",
        "decoder_weight_l2": 0.0,
    },
}
"""What a preset gives where a parameter is None (specs/vae.md, Decisions 2 and 12)."""


class TrainConfig(Config):
    """How the model is trained."""

    max_epochs: int | None = param(
        None, "Times that all cells are seen; none: 400, fewer for more than 20,000 cells.",
        unit="epochs", ge=1, le=1_000_000,
    )  # fmt: skip
    batch_size: int = param(128, "Cells seen at once.", unit="cells", ge=1, le=1_000_000)
    train_size: float = param(0.9, "Share of the cells trained on; the rest validate.", gt=0, le=1)
    validation_size: float | None = param(
        None, "Share of the cells that validate; none is the rest.", ge=0, lt=1, advanced=True
    )
    shuffle_set_split: bool = param(
        True, "Whether validation cells are drawn, not the first.", advanced=True
    )
    validation_batch_size: int | None = param(
        None, "Cells evaluated at once; none is the batch size.", unit="cells", ge=1,
        advanced=True,
    )  # fmt: skip
    check_val_every_n_epoch: int | None = param(
        None, "How often validation cells are looked at; none: often enough.", unit="epochs",
        ge=1, advanced=True,
    )  # fmt: skip
    early_stopping: bool = param(False, "Whether training ends when validation stands still.")
    early_stopping_patience: int = param(
        45, "Epochs without improvement until training ends early.", unit="epochs", ge=1
    )
    early_stopping_min_delta: float | None = param(
        None, "What counts as improvement, in nats a cell.", unit="nats", ge=0, advanced=True
    )
    early_stopping_min_delta_per_feature: float = param(
        0.0002, "The same per gene, unless the former is given.", unit="nats", ge=0, advanced=True
    )
    lr: float = param(1e-3, "Step of the networks.", gt=0, le=10, advanced=True)
    feature_lr: float | None = param(
        None, "Step of what is per gene (θ, background, scaling); none: as the preset.", gt=0,
        le=10, advanced=True,
    )  # fmt: skip
    eps: float = param(1e-4, "Adam's ε for the networks.", gt=0, le=1, advanced=True)
    weight_decay: float = param(
        1e-6, "Shrinkage of the networks' weights.", ge=0, le=1, advanced=True
    )
    modality_lr_multiplier: dict[str, float] = param(
        {}, "Step of a modality's networks over the others'.", advanced=True
    )
    n_epochs_kl_warmup: int | None = param(
        None, "Epochs until the latent prior has its full weight; none: a third, at most 400.",
        unit="epochs", ge=0, advanced=True,
    )  # fmt: skip
    max_kl_weight: float = param(1.0, "That full weight.", ge=0, le=100, advanced=True)
    gradient_clip: float | None = param(
        None, "Longest gradient that is followed.", gt=0, advanced=True
    )
    precision: Literal["auto", "float32", "bfloat16"] = param(
        "auto", "Numbers in matrix products; auto: bfloat16 where hardware has it.", advanced=True
    )
    memory_budget_gb: float | None = param(
        None, "Counts above this are read in shards; none is half of what is free.", unit="GB",
        gt=0, advanced=True,
    )  # fmt: skip
    checkpoint: str | None = param(
        None, "File that training can go on from, written as it goes.", advanced=True
    )
    checkpoint_every: int = param(
        25, "How often it is written.", unit="epochs", ge=1, advanced=True
    )
    device: str = param("auto", "Where it runs: auto, cpu, cuda, cuda:N or mps.", advanced=True)
    seed: int = param(0, "Seed of everything random.", ge=0, lt=2**32)

    @model_validator(mode="after")
    def _early_stopping_needs_cells(self) -> Self:
        if self.early_stopping and self.train_size == 1.0:
            raise ValueError(
                "early_stopping needs validation cells, and train_size is 1; "
                "give a train_size below 1 or no early_stopping"
            )
        if self.validation_size is not None and self.train_size + self.validation_size > 1:
            raise ValueError("train_size and validation_size are more than 1 together")
        return self


class VAEConfig(KeysConfig, ModelConfig, TrainConfig):
    """Everything about one fit: keys, model and training."""
