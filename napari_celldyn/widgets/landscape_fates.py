"""Where cells end: asked of the model in the background, shown as colours and as bars."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_ends import EndsChoice
from napari_celldyn.widgets.landscape_ensemble import fates_job
from napari_celldyn.widgets.landscape_fate_view import FateView, fate_notes, has_fates
from napari_celldyn.widgets.landscape_tissue import labels_apart
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.landscape.ensemble import PooledFates
    from celldyn.landscape.fate_table import CellFates
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_ensemble import Models
    from napari_celldyn.widgets.landscape_model import ModelShelf

TIME, RUNS = 15.0, 32
"""How long cells flow, and noisy runs of each: 22 of 32 runs make a fate certain."""

WRITES = (
    keys.FATE, keys.FATE_CERTAIN, keys.FATE_ENTROPY, keys.PLASTICITY, keys.PLASTICITY_LOW,
    keys.PLASTICITY_HIGH, keys.FATE_AGREEMENT, keys.FATES, keys.FATES_LOW, keys.FATES_HIGH,
    keys.FATE_INFO,
)  # fmt: skip


class LandscapeFates(QWidget):
    """Asks what counts as a fate, and how cells are followed; shows the fates of clicked cells.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The model of the tissue in view.
    """

    def __init__(self, session: Session, shelf: ModelShelf, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._runner, self._shelf = session.workspace, session.runner, shelf
        self.ends = EndsChoice(self._workspace)
        self.time = NumberBox(1e-3, 1e6)
        self.time.setValue(TIME)
        self.time.setToolTip("How long cells flow down; training takes a whole walk for 1")
        self.runs = NumberBox(0, 10_000, whole=True)
        self.runs.setValue(RUNS)
        self.runs.setToolTip("Runs with noise of each cell; 0 follows the flow alone")
        self.run_button = QPushButton("Find fates")
        self.sentence, self.jobs = ErrorSentence(), CardPlace(self._runner)
        self.notes, self.view = wrapped(), FateView(self._workspace)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("time", self.time)
        form.addRow("noisy runs", self.runs)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.ends)
        column.addLayout(form)
        for part in (self.run_button, self.sentence, self.jobs, self.notes, self.view):
            column.addWidget(part)
        self.run_button.clicked.connect(self.run)
        self.ends.changed.connect(lambda: self.sentence.say(""))
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self._show_notes()

    def run(self) -> JobHandle | None:
        """Start to follow the cells; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        try:
            adata, clusters = self._workspace.require(), self.ends.clusters()
            how = {
                "terminal": self.ends.terminal(),
                "time_range": float(self.time.number()),
                "n_runs": int(self.runs.number()),
            }
            labels = labels_apart(adata, clusters)
            ask = partial(fates_job, labels=labels, clusters=clusters, **how)
            handle = self._runner.submit(
                f"Fates of {adata.n_obs:,} cells",
                self._shelf.job(ask),
                system="landscape",
                writes={key.path() for key in WRITES},
                on_result=partial(self._write, clusters=clusters, how=how),
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def _write(
        self,
        found: tuple[Models, CellFates | PooledFates],
        *,
        clusters: str,
        how: dict[str, Any],
    ) -> None:
        from celldyn.data import Source, record
        from celldyn.landscape.results import write_fates

        models, fates = found
        adata, agreement = self._workspace.require(), getattr(fates, "agreement", None)
        self._shelf.keep(models)
        write_fates(adata, getattr(fates, "fates", fates), clusters)
        if agreement is not None:
            adata.obs[keys.FATE_AGREEMENT.name] = agreement.astype(np.float32)
        elif keys.FATE_AGREEMENT.name in adata.obs:
            del adata.obs[keys.FATE_AGREEMENT.name]
        record(adata, "landscape.fates", config=how, inputs={"clusters": clusters})
        self._workspace.announce({key.path() for key in WRITES})
        self._workspace.colour = Source("obsm", keys.FATES.name)
        self.jobs.clear()

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        self.sentence.say("")
        self.jobs.clear()
        self._show_notes()

    def _on_keys(self, written: frozenset[str]) -> None:
        if keys.FATES.path() in written:
            self._show_notes()

    def _show_notes(self) -> None:
        adata = self._workspace.adata
        notes = [] if adata is None or not has_fates(adata) else fate_notes(adata)
        self.notes.setText(" ".join(notes))
        self.notes.setVisible(bool(notes))
