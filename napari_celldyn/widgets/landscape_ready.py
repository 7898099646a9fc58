"""What the landscape is learned from, and a button that prepares what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError, DataError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_preparing import Prepared, prepared_job, write_prepared
from napari_celldyn.widgets.landscape_tissue import (
    GRAPH,
    RAW,
    VARIABLE,
    apart,
    gene_columns,
    look_at,
    propose_genes,
    propose_layer,
)
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.widgets.vae_columns import ColumnBox, KeyColumn

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session

NOTHING_OPEN = "No tissue is open; open a file or a sample."


class LandscapeReady(QWidget):
    """Asks for the counts and the genes, says what is missing, and prepares it.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._runner = session.workspace, session.runner
        self.layer = ColumnBox("(none)", "Layer of raw counts; X holds log-normalised expression")
        self.genes = ColumnBox("(all)", "Column of var that says which genes are modelled")
        self.words, self.notes = wrapped(), wrapped()
        self.prepare_button = QPushButton("Prepare")
        self.prepare_button.setToolTip(
            "Counts go to a layer, X becomes log-normalised, the most variable genes are marked, "
            "principal components and neighbours are computed"
        )
        self.sentence, self.jobs = ErrorSentence(), CardPlace(self._runner)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("counts", self.layer)
        form.addRow("genes", self.genes)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        for part in (self.words, self.notes, self.prepare_button, self.sentence, self.jobs):
            column.addWidget(part)
        for box in (self.layer, self.genes):
            box.currentIndexChanged.connect(self.refresh)
        self.prepare_button.clicked.connect(self.prepare)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self._on_data()

    # --- what is asked ------------------------------------------------------------------------

    @property
    def layer_key(self) -> str:
        """The layer of counts; empty where none is chosen."""
        return self.layer.column() or ""

    def tissue(self) -> AnnData:
        """Return what a job may hold of the tissue in view: its matrices, and the genes chosen.

        Raises
        ------
        DataError
            If nothing is open, or something is missing.
        """
        adata = self._workspace.require()
        missing = look_at(adata, self.layer.column(), self.genes.column()).missing
        if missing:
            raise DataError(f"the tissue lacks {' and '.join(missing)}", "click Prepare first")
        return apart(adata, self.genes.column())

    # --- preparing ----------------------------------------------------------------------------

    def prepare(self) -> JobHandle | None:
        """Start to prepare the tissue; None, and a sentence, if it cannot be prepared.

        Cells without counts cannot stay: a tissue without them then takes the place of this one.
        """
        self.sentence.say("")
        try:
            adata = self._workspace.require()
            held = apart(adata)
            handle = self._runner.submit(
                f"Preparing {adata.n_obs:,} cells",
                lambda: prepared_job(held),
                system="landscape",
                writes={"X", f"layers/{RAW}", f"obsp/{GRAPH}"},
                on_result=self._write,
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def _write(self, prepared: Prepared) -> None:
        from celldyn.data import record

        if prepared.tissue is not None:
            held = self._workspace.colour
            self._workspace.open(prepared.tissue, None, origin=self._workspace.origin)
            self._workspace.colour = held
            self._workspace.announce({"X"})  # it is in no file yet
        else:
            written = write_prepared(self._workspace.require(), prepared)
            self._workspace.announce(written)
        record(self._workspace.require(), "landscape.prepare", config={})
        self.jobs.clear()
        self.notes.setText(" ".join(f"{note.rstrip('.')}." for note in prepared.notes))
        self.notes.setVisible(bool(prepared.notes))

    # --- following ----------------------------------------------------------------------------

    def refresh(self, *_: object) -> None:
        """Look again what there is."""
        adata = self._workspace.adata
        self.setEnabled(adata is not None)
        if adata is None:
            self.words.setText(NOTHING_OPEN)
            self.prepare_button.setVisible(False)
            return
        found = look_at(adata, self.layer.column(), self.genes.column())
        self.words.setText(found.words)
        self.prepare_button.setVisible(bool(found.missing))
        self.changed.emit()

    def _on_data(self) -> None:
        self.notes.setVisible(False)
        self.sentence.say("")
        self.jobs.clear()
        self._fill()
        adata = self._workspace.adata
        with signals_blocked(self.layer), signals_blocked(self.genes):
            self.layer.choose(None if adata is None else propose_layer(adata))
            self.genes.choose(None if adata is None else propose_genes(adata))
        self.refresh()

    def _on_keys(self, written: frozenset[str]) -> None:
        if not any(path.startswith(("X", "layers", "obsp", "var", "obs/")) for path in written):
            return
        self._fill()
        adata = self._workspace.adata
        if adata is not None and self.layer.column() is None:
            with signals_blocked(self.layer):
                self.layer.choose(propose_layer(adata))
        if adata is not None and f"var/{VARIABLE}" in written:
            with signals_blocked(self.genes):
                self.genes.choose(propose_genes(adata))
        self.refresh()

    def _fill(self) -> None:
        adata = self._workspace.adata
        layers = [] if adata is None else list(adata.layers)
        genes = [] if adata is None else gene_columns(adata)
        self.layer.offer([KeyColumn(str(name), None) for name in layers])
        self.genes.offer([KeyColumn(name, int(adata.var[name].sum())) for name in genes])
