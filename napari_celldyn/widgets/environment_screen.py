"""Every gene changed in turn, from where the cells are: which moves them most, as a table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn import keys
from celldyn.errors import CelldynError, DataError
from celldyn.perturbation import KNOCK_OUT, Change
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.export import ask_and_write
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_root import offer
from napari_celldyn.widgets.landscape_tissue import holds_any
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from celldyn.environment.screened import Screen
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_perturb import EnvironmentPerturb
    from napari_celldyn.widgets.environment_stage import EnvironmentStage

CHANGES: dict[str, Change] = {
    "knocked out": KNOCK_OUT,
    "doubled": Change("multiply", 2.0),
    "raised by 1": Change("add", 1.0),
}
"""What is done to every gene, in words."""

PUT, DRAWN = "put there at once", "drawn there, step by step"
HOLDS = {DRAWN: "pre", PUT: "post"}
NONE = "(none)"
_NARROW = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
COLUMNS = {"gene": "gene", "shift": "shift", "effect": "effect", "length": "way", "z": "z",
           "z_random": "z per change"}  # fmt: skip
"""Columns of the table: as a screen calls them, and as they are shown."""


class EnvironmentScreen(QWidget):
    """Asks what is done to every gene, and ranks genes by how far cells are moved by it.

    Parameters
    ----------
    session
        What the viewer's docks share.
    stage
        Where the cells live: each gene begins at the state that they are in, left alone.
    perturb
        Says in which cells, and of which modality; a clicked gene is put there.
    """

    def __init__(
        self,
        session: Session,
        stage: EnvironmentStage,
        perturb: EnvironmentPerturb,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._workspace, self._runner = session.workspace, session.runner
        self._stage, self._perturb = stage, perturb
        self.screen: Screen | None = None
        self.change, self.hold, self.groups = QComboBox(), QComboBox(), QComboBox()
        self.change.addItems(list(CHANGES))
        self.hold.addItems(list(HOLDS))
        self.time = NumberBox(0.01, 1e4, unit="s")
        self.time.setValue(0.5)
        self.time.setToolTip("How long each gene is held")
        self.groups.setToolTip("Column of obs: effects are also told for each group of cells")
        self.run_button, self.sentence = QPushButton("Rank all genes"), ErrorSentence()
        self.run_button.setToolTip("In the cells that stand under Perturb, from where they are")
        self.jobs = CardPlace(self._runner)
        self.scenario, self.group = QComboBox(), QComboBox()
        self.scenario.setToolTip("Screens of this file")
        for box in (self.change, self.hold, self.scenario, self.group, self.groups):
            box.setSizeAdjustPolicy(_NARROW)
        self.words, self.table, self.filter = wrapped(), FrameTable(), QLineEdit()
        self.table.setToolTip("Click a gene to perturb it above")
        self.filter.setPlaceholderText("find a gene")
        self.export_button, self.found = QPushButton("Export…"), QWidget()
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        head, form = QFormLayout(), QFormLayout()
        for each in (head, form):
            each.setContentsMargins(0, 0, 0, 0)
            each.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, part in (("every gene is", self.change), ("and", self.hold),
                           ("held for", self.time), ("groups", self.groups)):  # fmt: skip
            head.addRow(name, part)
        form.addRow("screen", self.scenario)
        form.addRow("cells", self.group)
        line = QHBoxLayout()
        line.addWidget(self.filter, 1)
        line.addWidget(self.export_button)
        inside = QVBoxLayout(self.found)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addLayout(form)
        inside.addWidget(self.words)
        inside.addLayout(line)
        inside.addWidget(self.table)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(head)
        for part in (self.run_button, self.sentence, self.jobs, self.found):
            column.addWidget(part)

    def _connect(self) -> None:
        self.run_button.clicked.connect(self.run)
        self.scenario.currentTextChanged.connect(self._show_scenario)
        self.group.currentTextChanged.connect(self._rank)
        self.filter.textChanged.connect(self.table.filter)
        self.table.chosen.connect(self._on_gene)
        self.export_button.clicked.connect(self._export)
        self._stage.changed.connect(self.refresh)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self._on_data()

    # --- running ------------------------------------------------------------------------------

    def run(self) -> JobHandle | None:
        """Start to change every gene in turn; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        try:
            handle = self._submit()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def _submit(self) -> JobHandle:
        from celldyn.environment.screening import screen_job

        cells, opened = self._stage.require(), self._stage.opened
        assert opened is not None
        modality = int(self._perturb.modality.currentData() or 0)
        each = opened.manager.fitted.preprocessing.maps[modality]
        state = cells.plain  # a state is never changed: the cells may go on meanwhile
        change = CHANGES[self.change.currentText()]
        said = f"genes {self.change.currentText()} in {self._n_cells():,} cells"
        work = partial(
            screen_job, cells.simulator, each, state, modality=modality, change=change,
            clamping=HOLDS[self.hold.currentText()], time=float(self.time.number()),
            cells=self._mask(), groups=self._labels(),
        )  # fmt: skip
        return self._runner.submit(
            f"Screen of {said}",
            work,
            system="environment",
            writes={keys.ENVIRONMENT_SCREEN.path(name=said)},
            on_result=partial(self._take, name=said),
        )

    def _mask(self) -> NDArray[np.bool_] | None:
        """Return which of the cells that live here are changed; None for all."""
        chosen = self._perturb.cells.cells()
        if chosen is None:
            return None
        mask = np.isin(self._stage.require().obs_names, np.asarray(chosen, object).astype(str))
        if not mask.any():
            raise DataError(
                "none of the chosen cells lives in the environment",
                "choose cells of those that entered",
            )
        return mask

    def _n_cells(self) -> int:
        mask = self._mask()
        return self._stage.require().n_cells if mask is None else int(mask.sum())

    def _labels(self) -> NDArray[np.str_] | None:
        """Return the group of every cell that lives here; None where none are asked for."""
        opened, name = self._stage.opened, self.groups.currentText()
        adata = self._workspace.adata
        if opened is None or adata is None or name in ("", NONE):
            return None
        return adata.obs[name].astype(str).to_numpy(str)[opened.at]

    def _take(self, screen: Screen, name: str) -> None:
        from celldyn.environment.results import write_screen

        self.jobs.clear()
        self._workspace.announce(write_screen(self._workspace.require(), screen, name))
        self.scenario.setCurrentText(name)
        self._show_scenario(name)

    # --- what there is ------------------------------------------------------------------------

    def refresh(self) -> None:
        """Offer to rank while cells live here."""
        self.setEnabled(self._stage.cells is not None)

    def _on_data(self) -> None:
        self._offer_groups()
        self.jobs.clear()
        self._offer_screens()
        self.refresh()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith("obs/") for path in written):
            self._offer_groups()
        prefix = keys.ENVIRONMENT_SCREEN.path(name="")
        if any(path.startswith(prefix) for path in written):
            self._offer_screens()

    def _offer_groups(self) -> None:
        from celldyn.data import type_columns

        adata = self._workspace.adata
        names = [NONE, *([] if adata is None else type_columns(adata))]
        held = self.groups.currentText()
        with signals_blocked(self.groups):
            self.groups.clear()
            self.groups.addItems(names)
            self.groups.setCurrentText(held if held in names else NONE)

    def _offer_screens(self) -> None:
        adata, names = self._workspace.adata, []
        if adata is not None and holds_any(adata, keys.ENVIRONMENT_SCREEN):
            from celldyn.environment.results import screen_names

            names = list(screen_names(adata))
        offer(self.scenario, names)
        self._show_scenario(self.scenario.currentText())

    def _show_scenario(self, name: str) -> None:
        adata = self._workspace.adata
        screen = None
        if adata is not None and name:
            from celldyn.environment.results import read_screen

            try:
                screen = read_screen(adata, name)
            except CelldynError as error:
                self.sentence.say(str(error))
        self._show(screen)

    def _show(self, screen: Screen | None) -> None:
        self.screen = screen
        self.found.setVisible(screen is not None)
        offer(self.group, [] if screen is None else list(screen.groups))
        said = "" if screen is None else " ".join([f"{screen}.", *screen.notes])
        self.words.setText(said)
        self._rank()

    def _rank(self, *_: object) -> None:
        self.table.show_frame(self.ranked())

    def ranked(self) -> pd.DataFrame:
        """Return the genes as the table shows them, those that move cells most first."""
        if self.screen is None or not self.group.currentText():
            return pd.DataFrame()
        table = self.screen.of_group(self.group.currentText())
        shown = table[list(COLUMNS)].rename(columns=COLUMNS)
        return shown.drop(columns=[c for c in ("z", "z per change") if shown[c].isna().all()])

    def _on_gene(self, row: int) -> None:
        self._perturb.changes.gene.setText(str(self.table.frame["gene"].iat[row]))

    def _export(self) -> None:
        if self.screen is None:
            return
        self.sentence.say("")
        try:
            ask_and_write(self, self.screen.table(), "genes_ranked.csv")
        except CelldynError as error:
            self.sentence.say(str(error))
