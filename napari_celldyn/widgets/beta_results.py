"""The betas that the tissue has: how well they fit, which modulators count, their maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.cell_drivers import CellDrivers
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.betas import BetasResult
    from napari_celldyn.workspace import Workspace

_PREFIX = keys.BETAS(gene="")


class BetaResults(QWidget):
    """Browses the fitted genes of the tissue in view.

    A result that came with the file is shown like one made now: both are read off the AnnData.

    Parameters
    ----------
    workspace
        The tissue in view; a click on a modulator colours its cells.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.result: BetasResult | None = None
        self.gene = QComboBox()
        self.gene.setToolTip("Fitted genes of this tissue")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.scores = FrameTable()
        self.find = QLineEdit()
        self.find.setPlaceholderText("find a modulator")
        self.find.setClearButtonEnabled(True)
        self.modulators = FrameTable()
        self.drivers = CellDrivers(workspace)
        self.cloud = QPushButton("Word cloud")
        self.cloud.setToolTip("The modulators by their expression, coloured by role")
        self.sentence = ErrorSentence()
        self._lay_out()
        self.gene.currentTextChanged.connect(self._show_gene)
        self.find.textChanged.connect(self.modulators.filter)
        self.modulators.chosen.connect(self._show_map)
        self.drivers.chosen.connect(self._show_map_of)
        self.cloud.clicked.connect(self._show_cloud)
        listen(self, workspace.data_changed, self.refresh)
        listen(self, workspace.keys_changed, self._on_keys)
        self.refresh()

    def _lay_out(self) -> None:
        head = QFormLayout()
        head.addRow("fitted gene", self.gene)
        tools = QHBoxLayout()
        tools.addWidget(self.find, 1)
        tools.addWidget(self.cloud)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        for part in (self.summary, self.scores):
            layout.addWidget(part)
        layout.addLayout(tools)
        layout.addWidget(self.modulators)
        layout.addWidget(self.drivers)
        layout.addWidget(self.sentence)

    # --- what there is ------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look again which genes of the tissue have betas."""
        adata = self._workspace.adata
        info = {} if adata is None else adata.uns.get(keys.CELLDYN.name, {})
        prefix = keys.BETAS_INFO(gene="")
        genes = sorted(name.removeprefix(prefix) for name in info if name.startswith(prefix))
        genes = [gene.replace("%2F", "/") for gene in genes]
        held = self.gene.currentText()
        with signals_blocked(self.gene):
            self.gene.clear()
            self.gene.addItems(genes)
            self.gene.setCurrentText(held)
        self.setVisible(bool(genes))
        self._show_gene(self.gene.currentText())

    def show_result(self, gene: str) -> None:
        """Show one fitted gene, and the map of its strongest modulator."""
        self.gene.setCurrentText(gene)
        if len(self.modulators.frame):
            self.modulators.select(0)
            self._show_map(0)

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith(f"{keys.BETAS.slot}/{_PREFIX}") for path in written):
            self.refresh()

    def _show_gene(self, gene: str) -> None:
        from celldyn.betas import read_result

        self.result = None
        self.sentence.say("")
        if gene:
            try:
                self.result = read_result(self._workspace.require(), gene)
            except CelldynError as error:
                self.sentence.say(str(error))
        result = self.result
        self.cloud.setEnabled(result is not None)
        self.summary.setText("" if result is None else _in_words(result))
        self.scores.show_frame(pd.DataFrame() if result is None else score_frame(result))
        self.modulators.show_frame(pd.DataFrame() if result is None else modulator_frame(result))
        self.drivers.show_result(result)

    # --- clicks -------------------------------------------------------------------------------

    def _show_map(self, row: int) -> None:
        self._show_map_of(str(self.modulators.frame["modulator"].iat[row]))

    def _show_map_of(self, modulator: str) -> None:
        from celldyn.data import Source

        if self.result is not None:
            self._workspace.colour = Source(
                "obsm", key=keys.BETAS(gene=self.result.gene), column=f"beta_{modulator}"
            )

    def _show_cloud(self) -> None:
        from celldyn.plots.betas import result_cloud
        from napari_celldyn.widgets.figure_window import FigureWindow

        if self.result is None:
            return
        try:
            figure = result_cloud(self._workspace.require(), self.result)
        except CelldynError as error:
            self.sentence.say(str(error))
            return
        FigureWindow(figure, f"{self.result.gene} modulators", self).show()


def modulator_frame(result: BetasResult) -> pd.DataFrame:
    """Return the modulators, strongest first, under short names."""
    names = {"mean_abs": "mean |β|", "mean": "mean β", "n_nonzero": "models"}
    return result.table().rename(columns=names)[
        ["modulator", "mean |β|", "mean β", "sd", "kind", "models"]
    ]


def score_frame(result: BetasResult) -> pd.DataFrame:
    """Return the scores per section and cluster under short names."""
    frame = result.score_table().replace({"cluster": {"": "all cells"}})
    names = {"n_cells": "cells", "r2": "R²", "heldout_r2": "held-out"}
    shown = ["cluster", "cells", "R²", "held-out", "status"]
    if frame["section"].nunique() > 1:
        shown.insert(1, "section")
    return frame.rename(columns=names)[shown]


def _in_words(result: BetasResult) -> str:
    fitted = sum(fit.status == "fitted" for fit in result.fits)
    scores = [fit.heldout_r2 for fit in result.fits if fit.status == "fitted"]
    held_out = pd.Series(scores, dtype=float).median()
    words = f"{len(result.modulators)} modulators; {fitted} of {len(result.fits)} models fitted"
    if fitted and not pd.isna(held_out):
        words += f", median held-out R² {held_out:.2f}"
    return f"{words}; seed {result.config.seed}. Click a modulator to see its map."
