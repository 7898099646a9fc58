"""The environment of the tissue in view: trained here, opened, or on the AnnData. No Qt."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from celldyn.errors import NotFittedError

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
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._learned: Learned | None = None
        self._of: weakref.ref[AnnData] | None = None

    @property
    def learned(self) -> Learned | None:
        """The environment, and of which parts of the tissue it is; None where there is none."""
        adata = self._workspace.adata
        if adata is None or self._of is None or self._of() is not adata:
            return None
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

    def drop(self) -> None:
        """Forget it."""
        self._learned, self._of = None, None
