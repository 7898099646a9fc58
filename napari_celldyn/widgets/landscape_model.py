"""The model of the tissue in view: trained here, or brought back from the AnnData. No Qt."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from celldyn import keys
from celldyn.errors import DataError, NotFittedError
from celldyn.jobs import Job
from napari_celldyn.widgets.landscape_tissue import apart, propose_layer

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.landscape import LSD
    from napari_celldyn.widgets.landscape_ensemble import Models
    from napari_celldyn.workspace import Workspace

T = TypeVar("T")


class ModelShelf:
    """Holds the model of the tissue in view, with the expression that it reads.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._models: Models = ()
        self._of: weakref.ref[AnnData] | None = None

    @property
    def is_there(self) -> bool:
        """Whether the tissue in view has a model."""
        adata = self._workspace.adata
        return adata is not None and has_model(adata)

    @property
    def models(self) -> Models:
        """The model, and others of other seeds where there are; empty where it is to be read."""
        is_of_it = self._of is not None and self._of() is self._workspace.adata
        return self._models if is_of_it else ()

    @property
    def at_hand(self) -> LSD | None:
        """The model whose states are shown, where it needs not be read first."""
        return next(iter(self.models), None)

    def keep(self, models: Models) -> None:
        """Hold what was learned of the tissue in view.

        Raises
        ------
        DataError
            If another landscape was learned meanwhile: what was asked of these is of the old one.
        """
        held = self.models
        if held and held[0].fitted.history != models[0].fitted.history:
            raise DataError("another landscape was learned while this ran", "ask that one")
        self._models, self._of = models, weakref.ref(self._workspace.require())

    def drop(self) -> None:
        """Forget it: the AnnData has another, or none."""
        self._models, self._of = (), None

    def job(self, work: Callable[[Models], Job[T]]) -> Callable[[], Job[tuple[Models, T]]]:
        """Return what makes a job that works with the model, which is read first if need be.

        Parameters
        ----------
        work
            Makes the job proper. What it returns comes with the models, to `keep`.

        Raises
        ------
        NotFittedError
            If the tissue has no model.
        DataError
            If it has no counts, which the model needs to be read with.
        """
        adata = self._workspace.require()
        if not self.is_there:
            raise NotFittedError("the tissue has no landscape yet", "click Run first")
        known = self.models
        if known:
            return lambda: _ready_job(known, work)
        held, layer = apart(adata), propose_layer(adata)
        if layer is None:
            raise DataError("the tissue has no layer of raw counts", "click Prepare first")
        return lambda: _read_job(held, layer, work)


def has_model(adata: AnnData) -> bool:
    """Whether an AnnData holds a landscape."""
    return keys.LANDSCAPE_INFO.name in adata.uns.get(keys.CELLDYN.name, {})


def _ready_job(models: Models, work: Callable[[Models], Job[T]]) -> Job[tuple[Models, T]]:
    return models, (yield from work(models))


def _read_job(
    adata: AnnData, layer: str, work: Callable[[Models], Job[T]]
) -> Job[tuple[Models, T]]:
    from celldyn.landscape import LSD
    from celldyn.landscape.results import read_model

    models = ((yield from LSD.resume_job(read_model(adata), adata, layer=layer)),)
    return models, (yield from work(models))
