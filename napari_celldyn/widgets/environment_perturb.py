"""Genes held at values in clicked cells while these live on, and taken off again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError
from celldyn.perturbation import Perturbation
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.perturb_cells import CellChoice
from napari_celldyn.widgets.perturb_changes import ChangeEditor
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.environment.clamping import Clamping
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_stage import EnvironmentStage

CLAMPINGS: dict[str, Clamping] = {
    "drawn there, step by step": "pre",
    "put there at once": "post",
    "cells pushed there": "action",
}
"""Ways to hold a gene, in words: how they are called in code."""

BLINK_MS = 700
A, B = "A: left alone", "B: perturbed"
_NARROW = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
_AS_WIDE_AS_THERE_IS_ROOM = QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed


class EnvironmentPerturb(QWidget):
    """Asks which genes are held at what, in which cells and how; shows cells with and without.

    Parameters
    ----------
    session
        What the viewer's docks share.
    stage
        Where the cells live.
    """

    def __init__(
        self, session: Session, stage: EnvironmentStage, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._stage = stage
        self.changes, self.cells = ChangeEditor(), CellChoice(session)
        self.changes.gene.setToolTip("A gene that cells see, or that their places tell")
        self.modality, self.clamping = QComboBox(), QComboBox()
        self.clamping.addItems(list(CLAMPINGS))
        self.clamping.setToolTip(
            "pre: what cells see is drawn to the value; post: it is put there at once; action: "
            "cells are pushed to where their places tell the value"
        )
        for box in (self.modality, self.clamping):
            box.setSizeAdjustPolicy(_NARROW)
        self.factor = NumberBox(1e-6, 1e6)
        self.factor.setValue(1.0)
        self.factor.setToolTip("How strong the push is")
        self.perturb_button, self.let_go_button = QPushButton("Perturb"), QPushButton("Let go")
        self.forget_button = QPushButton("Take back")
        self.perturb_button.setToolTip("From the next step on")
        self.let_go_button.setToolTip("Hold nothing any more, and see whether cells come back")
        self.forget_button.setToolTip("As if nothing had been perturbed")
        self.held, self.words, self.sentence = FrameTable(), wrapped(), ErrorSentence()
        self.a_button, self.b_button = QPushButton(A), QPushButton(B)
        self.blink_button = QPushButton("Blink")
        self._blinking = QTimer(self)
        self._blinking.setInterval(BLINK_MS)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        for button in (self.a_button, self.b_button, self.blink_button):
            button.setCheckable(True)
        self.blink_button.setToolTip("Show both in turn")
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, part in (("modality", self.modality), ("genes are", self.clamping),
                           ("factor", self.factor)):  # fmt: skip
            self._form.addRow(name, part)
        acts, shows = QHBoxLayout(), QHBoxLayout()
        for button in (self.perturb_button, self.let_go_button, self.forget_button):
            acts.addWidget(button, 1)
            button.setSizePolicy(*_AS_WIDE_AS_THERE_IS_ROOM)
        for button in (self.a_button, self.b_button, self.blink_button):
            shows.addWidget(button, 1)
            button.setSizePolicy(*_AS_WIDE_AS_THERE_IS_ROOM)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.changes)
        column.addWidget(self.cells)
        column.addLayout(self._form)
        column.addLayout(acts)
        column.addWidget(self.sentence)
        column.addWidget(self.held)
        column.addLayout(shows)
        column.addWidget(self.words)

    def _connect(self) -> None:
        self.perturb_button.clicked.connect(self.perturb)
        self.let_go_button.clicked.connect(lambda: self._ask("let_go"))
        self.forget_button.clicked.connect(lambda: self._ask("forget"))
        self.a_button.clicked.connect(lambda: self._show(plain=True))
        self.b_button.clicked.connect(lambda: self._show(plain=False))
        self.blink_button.toggled.connect(self._on_blink)
        self._blinking.timeout.connect(self._swap)
        self.modality.currentIndexChanged.connect(self._on_modality)
        self.clamping.currentTextChanged.connect(self._on_clamping)
        for signal in (self.changes.changed, self.cells.changed):
            signal.connect(lambda: self.sentence.say(""))
        self._stage.changed.connect(self.refresh)
        self._stage.shown_changed.connect(self._tell)

    # --- what is asked ------------------------------------------------------------------------

    def perturbation(self) -> Perturbation:
        """Return what is asked for: genes, what becomes of them, and in which cells.

        Raises
        ------
        CelldynError
            If a gene, a value or the cells are wrong, or none of the cells lives here.
        """
        opened = self._stage.opened
        names = self.cells.cells()
        if names is not None and opened is not None:
            there = set(opened.cells.obs_names)
            names = [name for name in names if name in there]
            if not names:
                from celldyn.errors import DataError

                raise DataError(
                    "none of the chosen cells lives in the environment",
                    "choose cells of the section that was entered",
                )
        return Perturbation(self.changes.changes(), names)

    def perturb(self) -> None:
        """Hold the genes from the next step on."""
        self.sentence.say("")
        try:
            asked = self.perturbation()
            modality = int(self.modality.currentData() or 0)
            kind, factor = CLAMPINGS[self.clamping.currentText()], float(self.factor.number())
            self._stage.ask(lambda cells: cells.perturb(asked, modality, kind, factor))
        except CelldynError as error:
            self.sentence.say(str(error))
            return
        self._stage.show_plain(plain=False)

    def _ask(self, verb: str) -> None:
        self.sentence.say("")
        try:
            self._stage.ask(lambda cells: getattr(cells, verb)())
        except CelldynError as error:
            self.sentence.say(str(error))

    # --- A and B ------------------------------------------------------------------------------

    def _show(self, *, plain: bool) -> None:
        self.blink_button.setChecked(False)
        self._stage.show_plain(plain=plain)
        self._tell()

    def _on_blink(self, on: bool) -> None:  # noqa: FBT001  (Qt's signal)
        if on:
            self._blinking.start()
        else:
            self._blinking.stop()

    def _swap(self) -> None:
        self._stage.show_plain(plain=not self._stage.shows_plain)

    # --- following ----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Offer what the cells that live here have."""
        opened = self._stage.opened
        self.setEnabled(opened is not None)
        if opened is None:
            self.blink_button.setChecked(False)
            self.changes.clear()
        self._offer_modalities()
        self._on_clamping(self.clamping.currentText())
        self._tell()

    def _offer_modalities(self) -> None:
        opened = self._stage.opened
        rows: list[tuple[str, int]] = []
        if opened is not None:
            fitted = opened.manager.fitted
            every = sorted({*fitted.inputs, *fitted.targets})
            sources = opened.sources
            rows = [(sources[k], k) for k in every]
        if rows == [(self.modality.itemText(i), self.modality.itemData(i))
                    for i in range(self.modality.count())]:  # fmt: skip
            return
        with signals_blocked(self.modality):
            self.modality.clear()
            for text, k in rows:
                self.modality.addItem(text, k)
        self._form.setRowVisible(self.modality, len(rows) > 1)
        self._on_modality()

    def _on_modality(self, *_: object) -> None:
        opened, k = self._stage.opened, self.modality.currentData()
        if opened is None or k is None:
            return
        names = opened.manager.fitted.preprocessing.maps[int(k)].names
        self.changes.set_genes([str(name) for name in names])

    def _on_clamping(self, words: str) -> None:
        self._form.setRowVisible(self.factor, CLAMPINGS.get(words) == "action")

    def _show_held(self) -> None:
        cells = self._stage.cells
        said = () if cells is None else cells.holding
        if list(self.held.frame.get("held", [])) != list(said):
            self.held.show_frame(pd.DataFrame({"held": list(said)}))
        self.held.setVisible(bool(said))

    def _tell(self) -> None:
        shot, stage = self._stage.shown, self._stage
        self._show_held()
        both = shot is not None and shot.changed is not None
        if not both:
            self.blink_button.setChecked(False)
        for button in (self.a_button, self.b_button, self.blink_button):
            button.setEnabled(both)
        self.a_button.setChecked(both and stage.shows_plain)
        self.b_button.setChecked(both and not stage.shows_plain)
        for button in (self.let_go_button, self.forget_button):
            button.setEnabled(both)
        self.words.setVisible(both)
        if shot is not None and both:
            self.words.setText(self._shift_in_words())

    def _shift_in_words(self) -> str:
        shot, unit = self._stage.shown, self._stage.unit
        assert shot is not None
        shift = shot.shift() * (self._stage.per_unit if shot.plain.place is not None else 1.0)
        mean, most = float(shift.mean()), float(shift.max())
        return f"Shifted by {mean:.3g}{unit} on average, {most:.3g}{unit} at most."
