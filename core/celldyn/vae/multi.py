"""The model of several modalities, under the seed's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import ConfigError
from celldyn.jobs import run
from celldyn.vae.asked import Indices
from celldyn.vae.bounds import feature_misfit_job
from celldyn.vae.config import KeysConfig, Preset
from celldyn.vae.effects import effects_job
from celldyn.vae.keeping import Kept
from celldyn.vae.options import keys_config
from celldyn.vae.querying import Queried
from celldyn.vae.showing import Shown

if TYPE_CHECKING:
    import pandas as pd


class RegularizedMultimodalVI(Shown, Queried, Kept):
    """Regularised VAE of several modalities of the same cells, as RNA and ATAC of a multiome.

    Parameters
    ----------
    mdata
        A MuData, set up by `setup_mudata`; it is not changed.
    n_hidden, n_latent, n_layers, dropout_rate
        Of the networks: one value, or {modality: value}. So may any other parameter be that is
        not shared, such as dispersion, use_additive_background or use_feature_scaling.
    latent_mode
        "concatenation": a latent space for each modality, side by side; "weighted_mean": one
        space, a mean of the modalities'; "single_encoder": one encoder of everything.
    modality_weights
        Of a weighted mean: "equal", "universal" (learned) or "cell" (learned, for each cell).
    preset
        "recommended", or "seed" for the initial values and priors of the seed document.
    seed
        Of the initial values.
    **model
        Any other parameter of `ModelConfig`.

    Raises
    ------
    NotFittedError, TypeError, ConfigError
        As `AmbientRegularizedSCVI`; ConfigError if a modality is unknown, too.

    Notes
    -----
    Source: seed 003, "RegularizedMultimodalVI generative model".
    """

    _several = True

    def __init__(
        self,
        mdata: Any,  # noqa: ANN401
        n_hidden: int | Mapping[str, int] = 128,
        n_latent: int | Mapping[str, int] = 10,
        n_layers: int | Mapping[str, int] = 1,
        dropout_rate: float | Mapping[str, float] = 0.1,
        latent_mode: str = "concatenation",
        modality_weights: str = "equal",
        preset: Preset = "recommended",
        *,
        seed: int = 0,
        **model: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(
            mdata,
            seed,
            n_hidden=n_hidden,
            n_latent=n_latent,
            n_layers=n_layers,
            dropout_rate=dropout_rate,
            latent_mode=latent_mode,
            modality_weights=modality_weights,
            preset=preset,
            **model,
        )

    @property
    def mdata(self) -> Any:  # noqa: ANN401
        """The MuData."""
        return self.adata

    @classmethod
    def setup_mudata(
        cls,
        mdata: Any,  # noqa: ANN401
        modalities: Sequence[str] | Mapping[str, str] | None = None,
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
        layers: Mapping[str, str | None] | str | None = None,
    ) -> None:
        """Say which modalities there are, and which columns stand for which technical effect.

        Parameters
        ----------
        mdata
            A MuData; uns["celldyn"]["vae_setup"] is written.
        modalities
            Their keys, in the order of the latent space, or {name: key}; None is all.
        layers
            Layer of raw counts, one or by modality; None is X.
        batch_key, size_factor_key, nn_conditioning_covariate_keys, nn_continuous_covariate_keys, \
ambient_covariate_keys, dispersion_key, library_size_key, feature_scaling_covariate_keys, \
encoder_covariate_keys, one_batch
            As in `AmbientRegularizedSCVI.setup_anndata`; columns of the MuData's obs, or of a
            modality's.

        Raises
        ------
        ConfigError, MissingKeyError
            As `AmbientRegularizedSCVI.setup_anndata`.
        """
        given = {k: v for k, v in locals().items() if k in KeysConfig.model_fields}
        from celldyn.vae.setup import setup_mudata

        setup_mudata(mdata, modalities, keys_config(given), layers)

    def get_modality_latents(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Return each modality's own slice of the latent space, (n_cells, n_latent_m).

        Raises
        ------
        ConfigError
            If the modalities share one space.
        """
        spec = self.module.spec
        if spec.latent_mode != "concatenation":
            raise ConfigError(
                f"with latent_mode {spec.latent_mode} the modalities share one latent space",
                "use get_latent_representation",
            )
        latent = self.get_latent_representation(adata, indices, batch_size=batch_size)
        assert isinstance(latent, np.ndarray)
        return {name: latent[:, start:stop] for name, (start, stop) in spec.slices.items()}

    def get_per_feature_reconstruction_loss(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
        *,
        seed: int = 0,
    ) -> dict[str, pd.Series]:
        """Return −log p(x | z, ℓ) of each feature, mean over cells, by one draw of z and ℓ.

        Returns
        -------
        By modality; each sums to `get_reconstruction_error` of that modality.
        """
        import pandas as pd

        cells = self._cells(adata, indices, batch_size)
        found = run(feature_misfit_job(cells, seed=seed), bar=False)
        return {
            name: pd.Series(found[name], index=self._features(m), name="nats")
            for m, name in enumerate(self.modalities)
        }

    def get_covariate_effects(
        self,
        indices: Indices | None = None,
        batch_size: int | None = None,
        *,
        modality: str | None = None,
    ) -> dict[str, pd.DataFrame]:
        """Return what each covariate does to each feature.

        Returns
        -------
        By modality (n_features, n_effects): "<key>=<category>" of the decoder's keys, log2 of
        mean native expression if all cells were of it over that averaged over the key's
        categories; and "scaling <key>=<category>", log2 of the feature's factor.
        """
        cells = self._cells(None, indices, batch_size)
        return {
            self.modalities[m]: run(effects_job(cells, m), bar=False)
            for m in self._which(modality)
        }
