"""The latent space beside the tissue: its UMAP, made once and then shown or hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.data.embed import MIN_CELLS
from celldyn.errors import CelldynError, DataError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session

COMPUTE, SHOW, HIDE = "Compute UMAP", "Show UMAP", "Hide UMAP"


class LatentUmap(QWidget):
    """Makes, shows and hides the UMAP of the latent space.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._view = session.workspace, session.embedding
        self._runner = session.runner
        self.button = QPushButton(COMPUTE)
        self.button.setToolTip("The latent space beside the tissue; chosen cells are shared")
        self.sentence, self.jobs = ErrorSentence(), CardPlace(self._runner)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.button, self.sentence, self.jobs):
            column.addWidget(part)
        self.button.clicked.connect(self._on_click)
        listen(self, self._view.changed, self.refresh)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self.refresh()

    @property
    def is_there(self) -> bool:
        """Whether the tissue in view has the UMAP."""
        adata = self._workspace.adata
        return adata is not None and keys.VAE_UMAP.name in adata.obsm

    @property
    def is_shown(self) -> bool:
        """Whether it stands beside the tissue."""
        return self._view.key == keys.VAE_UMAP.name

    def run(self) -> JobHandle | None:
        """Start to make it; None, and a sentence, if it cannot be made."""
        from celldyn.data import umap_job

        self.sentence.say("")
        try:
            latent = self._latent()
            handle = self._runner.submit(
                f"UMAP of the latent space of {len(latent):,} cells",
                lambda: umap_job(latent),
                system="vae",
                writes={keys.VAE_UMAP.path()},
                on_result=self._write,
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        self.button.setEnabled(False)
        handle.finished.connect(self._on_finished)
        return handle

    def refresh(self) -> None:
        """Say on the button what a click does."""
        self.button.setText(HIDE if self.is_shown else SHOW if self.is_there else COMPUTE)

    def _latent(self) -> NDArray[np.float32]:
        adata = self._workspace.require()
        if keys.LATENT.name not in adata.obsm:
            raise DataError("the tissue has no latent space", "run the VAE first")
        if adata.n_obs < MIN_CELLS:
            raise DataError(f"{adata.n_obs} cells are too few for a UMAP", "open more cells")
        return np.array(adata.obsm[keys.LATENT.name], np.float32)

    def _write(self, layout: NDArray[np.float32]) -> None:
        self._workspace.require().obsm[keys.VAE_UMAP.name] = layout
        self._workspace.announce({keys.VAE_UMAP.path()})
        self._view.show(keys.VAE_UMAP.name)
        self.jobs.clear()

    def _on_finished(self, _state: object) -> None:
        self.button.setEnabled(True)

    def _on_click(self) -> None:
        if self.is_shown:
            self._view.hide()
        elif self.is_there:
            self._view.show(keys.VAE_UMAP.name)
        else:
            self.run()

    def _on_data(self) -> None:
        self.sentence.say("")
        self.jobs.clear()
        self.refresh()

    def _on_keys(self, written: frozenset[str]) -> None:
        if keys.VAE_UMAP.path() in written:
            self.refresh()
