"""One gene as the model says it is without ambient RNA and noise, shown on the tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.errors import CelldynError, ConfigError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.gene_edit import GeneEdit
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from celldyn.data import Source
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.jobs import JobRunner
    from napari_celldyn.workspace import Workspace


class Denoise(QWidget):
    """Asks for a gene, lets the model compute it in every cell, and colours the cells by it.

    Parameters
    ----------
    workspace
        The tissue in view, with a fitted model.
    runner
        Runs the job.
    """

    def __init__(
        self, workspace: Workspace, runner: JobRunner, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._workspace, self._runner = workspace, runner
        self.layer: str | None = None
        self.gene = GeneEdit()
        self.gene.setToolTip("The gene whose expression is shown without ambient RNA and noise")
        self.button = QPushButton("Denoise")
        self.blink_button = QPushButton("Raw")
        self.blink_button.setToolTip("Show the raw counts of the gene, and again the denoised")
        self.sentence, self.jobs = ErrorSentence(), CardPlace(runner)
        line = QHBoxLayout()
        line.addWidget(self.button)
        line.addWidget(self.blink_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.gene)
        column.addLayout(line)
        column.addWidget(self.sentence)
        column.addWidget(self.jobs)
        self.button.clicked.connect(self.run)
        self.blink_button.clicked.connect(self.blink)
        self.gene.picked.connect(self._refresh)
        listen(self, workspace.data_changed, self._on_data)
        listen(self, workspace.colour_changed, self._refresh)
        self._on_data()

    def run(self) -> JobHandle | None:
        """Start to compute the gene; None, and a sentence, if that cannot be."""
        from celldyn.vae import denoise_job

        self.sentence.say("")
        try:
            gene = self._find()
            handle = self._runner.submit(
                f"{gene} without noise",
                denoise_job(self._workspace.require(), [gene]),
                system="vae",
                writes={keys.VAE_DENOISED.path(gene=gene)},
                on_result=lambda values: self._write(gene, values),
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def blink(self) -> None:
        """Show the raw counts of the gene, or what the model says where those are shown."""
        self.sentence.say("")
        try:
            gene = self._find()
        except CelldynError as error:
            self.sentence.say(str(error))
            return
        raw = self._raw(gene)
        self._workspace.colour = self._denoised(gene) if self._workspace.colour == raw else raw

    def _find(self) -> str:
        from celldyn.data import find_gene

        text = self.gene.text().strip()
        if not text:
            raise ConfigError("no gene is chosen", "type a part of its name")
        return find_gene(self._workspace.require(), text)

    def _write(self, gene: str, values: NDArray[np.float32]) -> None:
        self._workspace.require().obs[keys.VAE_DENOISED(gene=gene)] = values[:, 0]
        self._workspace.announce({keys.VAE_DENOISED.path(gene=gene)})
        self._workspace.colour = self._denoised(gene)
        self.jobs.clear()
        self._refresh()

    def _raw(self, gene: str) -> Source:
        from celldyn.data import Source

        layer = self.layer
        return Source("X", column=gene) if layer is None else Source("layers", layer, gene)

    @staticmethod
    def _denoised(gene: str) -> Source:
        from celldyn.data import Source

        return Source("obs", keys.VAE_DENOISED(gene=gene))

    def _on_data(self) -> None:
        adata = self._workspace.adata
        self.gene.clear()
        self.gene.set_genes(() if adata is None else adata.var_names)
        self.sentence.say("")
        self.jobs.clear()
        self._refresh()

    def _refresh(self, *_: object) -> None:
        adata, gene = self._workspace.adata, self.gene.text().strip()
        there = adata is not None and keys.VAE_DENOISED(gene=gene) in adata.obs
        self.blink_button.setEnabled(there)
        is_raw = there and self._workspace.colour == self._raw(gene)
        self.blink_button.setText("Denoised" if is_raw else "Raw")
