"""The environment of the tissue in view: trained here, opened, or on the AnnData. No Qt."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from celldyn import keys
from celldyn.errors import CelldynError, NotFittedError

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment.fitted import FittedEnvironment
    from napari_celldyn.widgets.environment_training import Learned
    from napari_celldyn.workspace import Workspace


class EnvironmentShelf:
    """Holds the environment of the tissue in view.

    Parameters
    ----------
    workspace
        The tissue in view.

    Attributes
    ----------
    problem
        Why an environment on the AnnData could not be read; empty if it could.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._learned: Learned | None = None
        self._of: weakref.ref[AnnData] | None = None
        self.problem = ""

    @property
    def learned(self) -> Learned | None:
        """The environment, and of which parts of the tissue it is; None where there is none.

        One that is on the AnnData is read when it is first asked for.
        """
        adata = self._workspace.adata
        if adata is None:
            return None
        if self._of is None or self._of() is not adata:
            self.problem = ""
            self._learned, self._of = self._read(adata), weakref.ref(adata)
        return self._learned

    @property
    def fitted(self) -> FittedEnvironment | None:
        """The environment."""
        learned = self.learned
        return None if learned is None else learned.fitted

    def require(self) -> Learned:
        """Return the environment.

        Raises
        ------
        NotFittedError
            If the tissue has none.
        """
        learned = self.learned
        if learned is None:
            raise NotFittedError("the tissue has no environment yet", "click Run, or open one")
        return learned

    def keep(self, learned: Learned) -> None:
        """Hold what was learned of the tissue in view."""
        self._learned, self._of = learned, weakref.ref(self._workspace.require())

    def _read(self, adata: AnnData) -> Learned | None:
        if keys.ENVIRONMENT_INFO.name not in adata.uns.get(keys.CELLDYN.name, {}):
            return None
        from celldyn.environment.results import read_model
        from napari_celldyn.widgets.environment_training import Learned
        from napari_celldyn.widgets.environment_writing import sources_of

        try:
            fitted = read_model(adata)
        except CelldynError as error:
            self.problem = str(error)
            return None
        return Learned(fitted, sources_of(adata, len(fitted.preprocessing.maps)))
