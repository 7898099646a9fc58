"""The way from one stage to another, and the stages between: a slider of biological time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError, DataError
from napari_celldyn.layers.agents_stages import StagesView
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.environment_modalities import Modality, tables
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_root import offer
from napari_celldyn.widgets.landscape_view_part import slider
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celldyn.environment.stages import StageRecovery
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_model import EnvironmentShelf

STEPS = 200
NONE = "(none)"


class EnvironmentStages(QWidget):
    """Asks for an origin and a terminal stage, and shows the cells at any time between.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The environment of the tissue in view.
    """

    def __init__(
        self, session: Session, shelf: EnvironmentShelf, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._workspace, self._runner, self._shelf = session.workspace, session.runner, shelf
        self.recovery: StageRecovery | None = None
        self.drawing = StagesView(session)
        self.column, self.origin, self.terminal = QComboBox(), QComboBox(), QComboBox()
        self.truth = QComboBox()
        self.truth.setToolTip("A measured stage between both, to compare with")
        self.column.setToolTip("Column of obs that says which stage a cell is of")
        self.time = NumberBox(0.1, 1e4, unit="s")
        self.time.setValue(32.0)
        self.time.setToolTip("How long cells go from one stage to the other")
        self.run_button, self.sentence = QPushButton("Recover stages"), ErrorSentence()
        self.jobs = CardPlace(self._runner)
        self.place = slider(0, STEPS, 0, "Biological time, from the origin to the terminal stage")
        self.now, self.words = wrapped(), wrapped()
        self.compare_button, self.export_button = QPushButton("Compare"), QPushButton("Export…")
        self.compare_button.setToolTip(
            "The recovered cells with the measured stage, beside straight lines and transport"
        )
        self.export_button.setToolTip("Cells at six times from the origin to the terminal stage")
        self.scores = FrameTable()
        self._lay_out()
        self._connect()
        self._on_data()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        for name, part in (("stages in", self.column), ("origin", self.origin),
                           ("terminal", self.terminal), ("between", self.truth),
                           ("for", self.time)):  # fmt: skip
            form.addRow(name, part)
            if isinstance(part, QComboBox):
                part.setSizeAdjustPolicy(policy)
        line = QHBoxLayout()
        line.addWidget(self.compare_button)
        line.addWidget(self.export_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        for part in (self.run_button, self.sentence, self.jobs, self.place, self.now, self.words):
            column.addWidget(part)
        column.addLayout(line)
        column.addWidget(self.scores)

    def _connect(self) -> None:
        self.column.currentTextChanged.connect(self._on_column)
        self.run_button.clicked.connect(self.run)
        self.place.valueChanged.connect(self._on_place)
        self.compare_button.clicked.connect(self.compare)
        self.export_button.clicked.connect(self._ask_and_export)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)

    # --- running ------------------------------------------------------------------------------

    def run(self) -> JobHandle | None:
        """Start to go from one stage to the other; None, and a sentence, if that cannot be."""
        from celldyn.environment.stage_recovery import recover_stages_job

        self.sentence.say("")
        try:
            learned = self._shelf.require()
            both = [self._of_stage(box.currentText()) for box in (self.origin, self.terminal)]
            if self.origin.currentText() == self.terminal.currentText():
                raise DataError("origin and terminal stage are the same", "choose two stages")
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        time = float(self.time.number())

        def take(found: StageRecovery) -> None:
            self.jobs.clear()
            if self._shelf.learned is learned:
                self._take(found)

        handle = self._runner.submit(
            f"From {self.origin.currentText()} to {self.terminal.currentText()}",
            lambda: recover_stages_job(learned.fitted, both[0], both[1], time=time),
            system="environment",
            on_result=take,
        )
        self.jobs.show_job(handle)
        return handle

    def compare(self) -> JobHandle | None:
        """Start to compare the cells that are shown with the measured stage between."""
        self.sentence.say("")
        found, stage = self.recovery, self.truth.currentText()
        if found is None:
            return None
        modality = self._measured()
        try:
            if stage in ("", NONE) or modality is None:
                raise DataError(
                    "no measured stage is chosen" if modality is not None
                    else "positions tell nothing but coordinates, which no stage shares",
                    "choose one under 'between'" if modality is not None
                    else "train with expression as 'told' or 'both'",
                )  # fmt: skip
            truth = self._of_stage(stage)[modality].X
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        handle = self._runner.submit(
            f"Recovered cells and {stage}",
            lambda: found.compare_job(truth, self.biological(), modality),
            system="environment",
            on_result=self._show_scores,
        )
        self.jobs.show_job(handle)
        return handle

    def biological(self) -> float:
        """Return the biological time that the slider stands at; 0 the origin, 1 the terminal."""
        found = self.recovery
        share = self.place.value() / STEPS
        if found is None or found.clock is None:
            return share
        return found.clock.start + share * (found.clock.end - found.clock.start)

    def _measured(self) -> int | None:
        """Return the modality that recovered cells are compared in: no coordinates."""
        fitted = self._shelf.require().fitted
        return next((k for k in fitted.targets if k not in fitted.spatial), None)

    def _of_stage(self, stage: str) -> list[AnnData]:
        adata, column = self._workspace.require(), self.column.currentText()
        if column not in adata.obs:
            raise DataError("no column says which stage cells are of", "choose one")
        learned = self._shelf.require()
        rows = np.flatnonzero(adata.obs[column].astype(str).to_numpy() == stage)
        if len(rows) < 2:
            raise DataError(f"stage {stage!r} has {len(rows)} cells", "choose a larger one")
        parts = tables(adata, [Modality(source, "", "") for source in learned.sources])
        return [part[rows] for part in parts]

    def _take(self, found: StageRecovery) -> None:
        self.recovery = found
        self.drawing.show(found.positions)
        self.words.setText(" ".join([f"{found}.", *found.notes]))
        with signals_blocked(self.place):
            self.place.setValue(0)
        self._on_place()
        self.refresh()

    def _show_scores(self, table: pd.DataFrame) -> None:
        self.jobs.clear()
        self.scores.show_frame(table.rename_axis("method").reset_index())
        self.scores.setVisible(True)

    # --- following ----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Offer what there is."""
        there = self.recovery is not None
        self.run_button.setEnabled(self._shelf.learned is not None)
        for part in (self.place, self.compare_button, self.export_button):
            part.setEnabled(there)
        self.words.setVisible(there)
        self.now.setVisible(there)

    def forget(self) -> None:
        """Forget what was found: it is of another environment."""
        self.recovery = None
        self.drawing.hide()
        self.scores.setVisible(False)
        self.sentence.say("")
        self.jobs.clear()
        self.refresh()

    def _on_data(self) -> None:
        self._offer_columns()
        self.forget()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith("obs/") for path in written):
            self._offer_columns()

    def _offer_columns(self) -> None:
        from celldyn.data import type_columns

        adata = self._workspace.adata
        offer(self.column, [] if adata is None else type_columns(adata))
        self._on_column()

    def _on_column(self, *_: object) -> None:
        adata, column = self._workspace.adata, self.column.currentText()
        there = adata is not None and column in adata.obs
        names = sorted(set(adata.obs[column].dropna().astype(str))) if there and adata else []
        for box, offered in ((self.origin, names), (self.terminal, names),
                             (self.truth, [NONE, *names])):  # fmt: skip
            offer(box, offered)
        if self.origin.currentText() == self.terminal.currentText() and len(names) > 1:
            self.terminal.setCurrentText(names[-1])

    def _on_place(self, *_: object) -> None:
        found = self.recovery
        if found is None:
            return
        at = self.biological()
        frame = int(found.frames_at(at)[0])
        self.drawing.seek(frame)
        self.now.setText(f"biological time {at:.2f}, {found.times[frame]:.1f} s")

    # --- export -------------------------------------------------------------------------------

    def _ask_and_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Write recovered cells", "stages.h5ad", "AnnData (*.h5ad)"
        )
        if path:
            self.export(path)

    def export(self, path: str) -> None:
        """Write cells at six times from the origin to the terminal stage, one file a modality."""
        from pathlib import Path

        from celldyn.data.writing import write

        found, target = self.recovery, Path(path)
        if found is None:
            return
        self.sentence.say("")
        try:
            made = found.to_adatas()
            for k, table in made.items():
                name = target if len(made) == 1 else target.with_stem(f"{target.stem}_{k}")
                write(table, name)
        except CelldynError as error:
            self.sentence.say(str(error))
