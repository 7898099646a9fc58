"""What a fit gives: latent states, library sizes, ambient shares, tables, and the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.vae.config import VAEConfig
from celldyn.vae.fitted import FittedVAE, model_config, train_config
from celldyn.vae.module import VAEModule
from celldyn.vae.setup_record import Setup

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class VAEResult:
    """Everything about one fit.

    Parameters
    ----------
    config
        All its parameters.
    latent
        (n_obs, n_latent) mean of the latent posterior.
    latents
        {modality: (n_obs, n_latent_m)} of each modality's own encoder; empty of a single one.
    libraries
        {modality: (n_obs,)} learned library size, in counts.
    background_share
        (n_obs,) share of a cell's expected counts that is ambient, in the first modality that
        has a background; 0 where none has.
    background, dispersion
        {modality: (n_features, n_groups)} background s, and inverse dispersion θ; only those
        that are modelled.
    shares
        Columns group, share, low, high: which share of each group's counts is ambient.
    history
        One row per epoch: "<term>_train", "<term>_validation", in nats a cell.
    best_epoch
        The epoch with the best validation; None without.
    attribution
        {modality: (n_latent,)} mean |∂μ/∂z| over features and cells.
    latent_slices
        {modality: (start, stop)} latent dimensions that are its own.
    module
        The model.
    categories
        {key: its categories in the order of the model's rows}.
    estimates
        {modality: (n_groups, 3)} share, low and high that the background was started from.
    seconds
        How long the fit took.
    notes
        Sentences for the user.
    setup
        How the data set was read; None: as `config` has it.
    """

    config: VAEConfig
    latent: Floats
    latents: Mapping[str, Floats]
    libraries: Mapping[str, Floats]
    background_share: Floats
    background: Mapping[str, pd.DataFrame]
    dispersion: Mapping[str, pd.DataFrame]
    shares: pd.DataFrame
    history: pd.DataFrame
    best_epoch: int | None
    attribution: Mapping[str, NDArray[np.float64]]
    latent_slices: Mapping[str, tuple[int, int]]
    module: VAEModule
    categories: Mapping[str, tuple[str, ...]]
    estimates: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    setup: Setup | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return self.module.modalities

    @property
    def library(self) -> Floats:
        """(n_obs,) learned library size of the first modality, in counts."""
        return self.libraries[self.modalities[0]]

    def fitted(self, setup: Setup) -> FittedVAE:
        """Return the model apart from the cells."""
        rows = self.history.reset_index().to_dict("records")
        return FittedVAE(
            module=self.module,
            setup=setup,
            config=model_config(self.config),
            train=train_config(self.config),
            history=tuple(
                {str(k): float(v) for k, v in row.items() if np.isfinite(v)} for row in rows
            ),
            best_epoch=self.best_epoch,
            estimates=self.estimates,
            notes=self.notes,
        )
