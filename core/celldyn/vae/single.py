"""The model of one modality, under the seed's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celldyn.vae.config import KeysConfig, Preset
from celldyn.vae.keeping import Kept
from celldyn.vae.options import keys_config
from celldyn.vae.querying import Queried
from celldyn.vae.showing import Shown

if TYPE_CHECKING:
    from anndata import AnnData


class AmbientRegularizedSCVI(Shown, Queried, Kept):
    """Regularised VAE of counts, with ambient RNA, learned library size and dispersion priors.

    Parameters
    ----------
    adata
        (n_obs, n_vars), set up by `setup_anndata`; it is not changed.
    n_hidden, n_latent, n_layers, dropout_rate
        Of the networks.
    preset
        "recommended", or "seed" for the initial values and priors of the seed document.
    seed
        Of the initial values.
    **model
        Any other parameter of `ModelConfig`.

    Raises
    ------
    NotFittedError
        If the data are not set up.
    TypeError
        If a parameter is unknown or was removed, or a boolean is given as text.
    ConfigError
        If a value is out of bounds.

    Notes
    -----
    Source: seed 003 (regularizedvi), "regularizedvi generative model".
    """

    def __init__(
        self,
        adata: AnnData,
        n_hidden: int = 128,
        n_latent: int = 10,
        n_layers: int = 1,
        dropout_rate: float = 0.1,
        preset: Preset = "recommended",
        *,
        seed: int = 0,
        **model: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(
            adata,
            seed,
            n_hidden=n_hidden,
            n_latent=n_latent,
            n_layers=n_layers,
            dropout_rate=dropout_rate,
            preset=preset,
            **model,
        )

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        batch_key: str | None = None,
        size_factor_key: str | None = None,
        nn_conditioning_covariate_keys: list[str] | None = None,
        nn_continuous_covariate_keys: list[str] | None = None,
        ambient_covariate_keys: list[str] | None = None,
        dispersion_key: str | None = None,
        library_size_key: str | None = None,
        feature_scaling_covariate_keys: list[str] | None = None,
        encoder_covariate_keys: list[str] | bool | None = False,  # noqa: FBT001, FBT002
        one_batch: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Say which columns of obs stand for which technical effect.

        Parameters
        ----------
        adata
            (n_obs, n_vars); uns["celldyn"]["vae_setup"] is written.
        layer
            Layer of raw counts; None is X.
        batch_key
            One batch for ambient RNA, dispersion and library size, instead of a key for each.
        size_factor_key
            Known library sizes, instead of learned ones.
        nn_conditioning_covariate_keys
            What the decoder is told.
        nn_continuous_covariate_keys
            Numbers that encoder and decoder are told.
        ambient_covariate_keys
            Where ambient RNA is shared; backgrounds of several keys add.
        dispersion_key
            Within what genes share their inverse dispersion.
        library_size_key
            Within what library sizes are alike.
        feature_scaling_covariate_keys
            What scales genes; None takes the decoder's keys.
        encoder_covariate_keys
            What the encoder is told; False is nothing.
        one_batch
            Whether all cells are one batch, so that no key is needed.

        Raises
        ------
        ConfigError
            If batch_key stands beside a key of a single purpose, or neither is given.
        MissingKeyError
            If a column or the layer is not there.
        """
        given = {k: v for k, v in locals().items() if k in KeysConfig.model_fields}
        from celldyn.vae.setup import setup_anndata

        setup_anndata(adata, keys_config(given))
