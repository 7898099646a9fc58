"""Mapping new data onto a model that was trained on others (scArches)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, run
from celldyn.vae.asked import read
from celldyn.vae.base import VAEBase
from celldyn.vae.config import TrainConfig
from celldyn.vae.course import History
from celldyn.vae.fitted import FittedVAE
from celldyn.vae.saved import load_model

if TYPE_CHECKING:
    from anndata import AnnData


class Queried(VAEBase):
    """`prepare_query_anndata`, `load_query_data`, and training of what is new alone."""

    @classmethod
    def prepare_query_anndata(
        cls, adata: AnnData, reference_model: VAEBase | Path | str
    ) -> AnnData:
        """Return a data set with the reference's features in their order; those it lacks are 0.

        `load_query_data` needs no such preparation: it matches features by name.

        Parameters
        ----------
        adata
            The query.
        reference_model
            A model, or where it was saved.

        Raises
        ------
        ConfigError
            If the reference is of several modalities.
        DataError
            If the query has none of its features.
        """
        from celldyn.vae.query import matched_anndata

        setup = _reference(reference_model).setup
        if len(setup.modalities) > 1:
            raise ConfigError(
                "the reference is of several modalities", "give the MuData to load_query_data"
            )
        only = setup.modalities[0]
        return matched_anndata(adata, only.features, only.layer)

    @classmethod
    def load_query_data(
        cls,
        adata: Any,  # noqa: ANN401
        reference_model: VAEBase | Path | str,
        unfrozen: bool = False,  # noqa: FBT001, FBT002
        freeze_expression: bool = True,  # noqa: FBT001, FBT002
        *,
        seed: int = 0,
    ) -> Self:
        """Return a model of new data that knows what the reference knows.

        Features are matched by name. Categories that the reference does not know are added;
        `train` then learns their rows alone, so that the reference's cells keep their latent
        state to the bit.

        Parameters
        ----------
        adata
            The query, with the columns and layers that the reference was set up with.
        reference_model
            A model, or where it was saved; it is not changed.
        unfrozen
            Whether all parameters learn.
        freeze_expression
            Whether the encoders' first layers stay; else they learn, too, and the reference's
            cells move.
        seed
            Of the estimate of new groups' background.

        Raises
        ------
        MissingKeyError, DataError
            If the query lacks a column, or too many features.
        """
        from celldyn.vae.query import extend_job, with_encoder

        reference = _reference(reference_model)
        inputs = read(adata, reference.setup)
        fitted = run(extend_job(reference, inputs, seed=seed), bar=False)
        if unfrozen:
            fitted = fitted.with_trainable(None)
        elif not freeze_expression:
            rows = with_encoder(fitted.module, fitted.trainable or {})
            fitted = fitted.with_trainable(rows)
        model: Self = cls._of(fitted, adata)
        return model

    def train_job(self, config: TrainConfig | None = None) -> Job[History]:
        """Train as a job; of a query only what is new learns.

        Parameters
        ----------
        config
            How; see `TrainConfig`.

        Raises
        ------
        DataError
            If the query has nothing new.
        """
        from celldyn.vae.query import only_training

        trainable = self._fitted.trainable
        if trainable is None:
            return (yield from super().train_job(config))
        if not trainable:
            raise DataError(
                "the query has no category that the reference does not know, so that there is "
                "nothing to learn",
                "ask the model as it is, or load it with unfrozen=True",
            )
        still = (config or TrainConfig()).replace(weight_decay=0.0)
        with only_training(self.module, trainable):
            return (yield from super().train_job(still))


def _reference(model: VAEBase | Path | str) -> FittedVAE:
    return model._fitted if isinstance(model, VAEBase) else load_model(model)
