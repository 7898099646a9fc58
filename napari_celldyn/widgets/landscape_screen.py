"""Every gene changed in turn in the same cells: which of them lead where, as a table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.export import ask_and_write
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_root import cluster_box, offer
from napari_celldyn.widgets.landscape_tissue import holds_any, labels_apart
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

    from celldyn.jobs import Job
    from celldyn.landscape.perturbing.config import PerturbConfig
    from celldyn.landscape.perturbing.edits import ScreenChange
    from celldyn.landscape.perturbing.screened import Screen
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_ensemble import Models
    from napari_celldyn.widgets.landscape_model import ModelShelf
    from napari_celldyn.widgets.landscape_perturb import LandscapePerturb

CHANGES: dict[str, tuple[ScreenChange, ...]] = {
    "knocked out": ("knockout",),
    "over-expressed": ("overexpress",),
    "both": ("knockout", "overexpress"),
}
"""What is done to every gene, in words."""

MOVES = "all fates together"
"""Genes ranked by the share of cells that come to another fate, whichever."""


class LandscapeScreen(QWidget):
    """Asks what is done to every gene; cells and parameters are those of the perturbation above.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The model of the tissue in view.
    perturb
        Says in which cells, of which clusters, and how.
    """

    chosen = Signal(str)
    """A gene was clicked."""

    def __init__(
        self,
        session: Session,
        shelf: ModelShelf,
        perturb: LandscapePerturb,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._workspace, self._runner, self._shelf = session.workspace, session.runner, shelf
        self._perturb = perturb
        self.screen: Screen | None = None
        self.change = QComboBox()
        self.change.addItems(list(CHANGES))
        self.change.setToolTip("Over-expressed genes are set to their 99th percentile")
        self.run_button = QPushButton("Screen all genes")
        self.run_button.setToolTip("In the cells, and with the parameters, that stand above")
        self.sentence, self.jobs = ErrorSentence(), CardPlace(self._runner)
        self.scenario, self.fate = cluster_box(), cluster_box()
        self.scenario.setToolTip("Screens of this file")
        self.fate.setToolTip("By which fate's change genes are ranked")
        self.words, self.table = wrapped(), FrameTable()
        self.table.setToolTip("Click a gene to perturb it above")
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("find a gene")
        self.export_button = QPushButton("Export…")
        self.found = QWidget()
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        head, form = QFormLayout(), QFormLayout()
        for each in (head, form):
            each.setContentsMargins(0, 0, 0, 0)
            each.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        head.addRow("every gene", self.change)
        form.addRow("screen", self.scenario)
        form.addRow("ranked by", self.fate)
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
        self.scenario.currentTextChanged.connect(self._show)
        self.fate.currentTextChanged.connect(self._rank)
        self.filter.textChanged.connect(self.table.filter)
        self.table.chosen.connect(self._on_gene)
        self.export_button.clicked.connect(self._export)
        listen(self, self._workspace.data_changed, self.refresh)
        listen(self, self._workspace.keys_changed, self._on_keys)

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
        adata, asked = self._workspace.require(), self.change.currentText()
        clusters = self._perturb.clusters.currentText()
        names = self._perturb.cells.cells()
        cells = None if names is None else adata.obs_names.get_indexer(names)
        n = adata.n_obs if cells is None else len(cells)
        name = f"genes {asked} in {n:,} cells"
        work = partial(
            _screen_job,
            labels=labels_apart(adata, clusters),
            clusters=clusters,
            cells=cells,
            changes=CHANGES[asked],
            config=self._perturb.config(),
        )
        return self._runner.submit(
            f"Screen of {name}",
            self._shelf.job(work),
            system="landscape",
            writes={keys.LANDSCAPE_SCREEN.path(name=name)},
            on_result=partial(self._write, name=name, clusters=clusters, changes=CHANGES[asked]),
        )

    def _write(
        self,
        found: tuple[Models, Screen],
        *,
        name: str,
        clusters: str,
        changes: tuple[ScreenChange, ...],
    ) -> None:
        from celldyn.data import record
        from celldyn.landscape.results import write_screen

        models, screen = found
        self._shelf.keep(models)
        inputs = {
            "name": name, "clusters": clusters, "changes": list(changes),
            "cells": screen.cells.tolist(),
        }  # fmt: skip
        record(self._workspace.require(), "landscape.screen", config=screen.config, inputs=inputs)
        self._workspace.announce(write_screen(self._workspace.require(), screen, name))
        self.scenario.setCurrentText(name)
        self.jobs.clear()

    # --- what there is ------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look again which screens there are."""
        adata = self._workspace.adata
        names: list[str] = []
        if adata is not None and holds_any(adata, keys.LANDSCAPE_SCREEN):
            from celldyn.landscape.results import screen_names

            names = screen_names(adata)
        offer(self.scenario, names)
        self.found.setVisible(bool(names))
        self._show(self.scenario.currentText())

    def _on_keys(self, written: frozenset[str]) -> None:
        prefix = keys.LANDSCAPE_SCREEN.path(name="")
        if any(path.startswith(prefix) for path in written):
            self.refresh()

    def _show(self, name: str) -> None:
        self.sentence.say("")
        self.screen = None
        adata = self._workspace.adata
        if adata is not None and name:
            from celldyn.landscape.results import read_screen

            try:
                self.screen = read_screen(adata, name)
            except CelldynError as error:
                self.sentence.say(str(error))
        offer(self.fate, [] if self.screen is None else [MOVES, *self.screen.names])
        self.words.setText("" if self.screen is None else f"{self.screen}.")
        self._rank()

    def _rank(self, *_: object) -> None:
        self.table.show_frame(self.ranked())

    def ranked(self) -> pd.DataFrame:
        """Return the genes as the table shows them, those that matter most first."""
        fate = self.fate.currentText()
        if self.screen is None or not fate:
            return pd.DataFrame()
        if fate == MOVES:
            table = self.screen.by_gene()
            shown = {"gene": table["gene"], "change": table["change"]}
            shown["moved %"] = (100 * table["moved"]).round(1)
            shown |= {name: table[name] for name in ("gained", "lost", "p", "q")}
        else:
            table = self.screen.toward(fate)
            shown = {"gene": table["gene"], "change": table["change"]}
            shown["effect %"] = (100 * table["effect"]).round(1)
            ends = (100 * table[["low", "high"]]).round(1)
            pairs = zip(ends["low"], ends["high"], strict=True)
            shown["between"] = pd.Series([f"{a:g} … {b:g}" for a, b in pairs], table.index)
            shown |= {name: table[name] for name in ("z", "p", "q")}
        frame = pd.DataFrame(shown)
        one_change = frame["change"].nunique() == 1
        return frame.drop(columns="change") if one_change else frame

    def _on_gene(self, row: int) -> None:
        gene = str(self.table.frame["gene"].iat[row])
        self._perturb.changes.gene.setText(gene)
        self.chosen.emit(gene)

    def _export(self) -> None:
        if self.screen is None:
            return
        self.sentence.say("")
        offered = f"{self.scenario.currentText().replace(' ', '_').replace(',', '')}.csv"
        try:
            ask_and_write(self, self.screen.table(), offered)
        except CelldynError as error:
            self.sentence.say(str(error))


def _screen_job(
    models: Models,
    *,
    labels: AnnData,
    clusters: str,
    cells: NDArray[np.intp] | None,
    changes: tuple[ScreenChange, ...],
    config: PerturbConfig,
) -> Job[Screen]:
    return models[0].screen_job(
        clusters, adata=labels, cells=cells, changes=changes, config=config
    )
