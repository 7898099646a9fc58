"""Perturbed tissues on the AnnData: what responds, where, and in which cell types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.perturb_arrows import PerturbArrows
from napari_celldyn.widgets.perturb_tables import gene_frame, in_words, type_frame
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.betas import PerturbResult
    from celldyn.data import Source
    from napari_celldyn.session import Session


class PerturbResults(QWidget):
    """Browses the perturbed tissues that were computed now, or came with the file.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._workspace = session, session.workspace
        self.result: PerturbResult | None = None
        self.scenario = QComboBox()
        self.scenario.setToolTip("Perturbed tissues of this file")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.genes = FrameTable()
        self.types = FrameTable()
        self.change_button = _button("Change", "Colour by how the gene changes")
        self.blink_button = _button("Before / after", "Show the gene without and with the change")
        self.shift_button = _button("Shift", "Colour by how far each cell moves, over all genes")
        self.bars_button = _button("Bars…", "Changes by cell type, as a figure")
        self.delete_button = _button("Delete", "Take this perturbed tissue away")
        self.arrows = PerturbArrows(session)
        self.sentence = ErrorSentence()
        self._gene = self._shown_gene = ""
        self._effects: pd.DataFrame | None = None
        self._before: Source | None = None
        self._shown: Source | None = None
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        head = QFormLayout()
        head.addRow("perturbed", self.scenario)
        tools = QGridLayout()
        buttons = (self.change_button, self.blink_button, self.shift_button,
                   self.bars_button, self.delete_button)  # fmt: skip
        for k, each in enumerate(buttons):
            tools.addWidget(each, k // 3, k % 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.summary)
        layout.addWidget(self.genes)
        layout.addLayout(tools)
        layout.addWidget(self.types)
        layout.addWidget(self.arrows)
        layout.addWidget(self.sentence)

    def _connect(self) -> None:
        self.scenario.currentTextChanged.connect(self._show_scenario)
        self.scenario.textActivated.connect(self._compare)
        self.genes.chosen.connect(self._on_gene)
        self.change_button.clicked.connect(self.show_change)
        self.blink_button.clicked.connect(self.blink)
        self.shift_button.clicked.connect(self.show_shift)
        self.bars_button.clicked.connect(self._show_bars)
        self.delete_button.clicked.connect(self.delete)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)

    # --- what there is ------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look again which perturbed tissues there are."""
        from celldyn.betas import perturbed_names

        adata = self._workspace.adata
        names = [] if adata is None else perturbed_names(adata)
        held = self.scenario.currentText()
        with signals_blocked(self.scenario):
            self.scenario.clear()
            self.scenario.addItems(names)
            self.scenario.setCurrentText(held)
        self.setVisible(bool(names))
        self._show_scenario(self.scenario.currentText())

    def show_result(self, name: str) -> None:
        """Show one perturbed tissue, and the map of the gene that responds most."""
        self.scenario.setCurrentText(name)
        if len(self.genes.frame):
            self.genes.select(0)
            self._on_gene(0)

    def leave(self) -> None:
        """Show the cells as they were before the first map, without arrows."""
        self._session.arrows.hide()
        if self._shows_own():
            self._workspace.colour = self._before

    def _on_data(self) -> None:
        self._before = self._shown = None
        self._shown_gene = ""
        self.refresh()

    def _on_keys(self, written: frozenset[str]) -> None:
        prefix = keys.BETAS_DELTA.path(name="")
        if any(path.startswith(prefix) for path in written):
            self.refresh()

    def _show_scenario(self, name: str) -> None:
        from celldyn.betas import read_perturbed

        self.result, self._effects, self._gene = None, None, ""
        self.sentence.say("")
        if name:
            try:
                self.result = read_perturbed(self._workspace.require(), name)
            except CelldynError as error:
                self.sentence.say(str(error))
        frame = pd.DataFrame() if self.result is None else gene_frame(self.result)
        self.genes.show_frame(frame)
        self.summary.setText("" if self.result is None else in_words(self.result, len(frame)))
        self._show_types()
        self.arrows.setVisible(self.result is not None)
        self.arrows.follow(name if self.result is not None else "")

    def _compare(self, _name: str) -> None:
        """Show in the perturbed tissue that was just taken up what was shown of the last one."""
        gene, limits = self._shown_gene, self._session.tissue.limits
        if not gene or self.result is None or gene not in self.genes.frame["gene"].to_list():
            return
        row = self.genes.frame["gene"].to_list().index(gene)
        self.genes.select(row)
        self._on_gene(row)
        if limits is not None:
            self._session.tissue.limits = limits

    def _show_types(self) -> None:
        frame = pd.DataFrame()
        if self.result is not None and self._gene:
            if self._effects is None:  # of all genes at once: not at every click
                self._effects = self.result.effects()
            frame = type_frame(self._effects, self._gene)
        self.types.show_frame(frame)
        self.types.setVisible(bool(len(frame)))
        for each in (self.change_button, self.blink_button):
            each.setEnabled(bool(self._gene))

    # --- clicks -------------------------------------------------------------------------------

    def _on_gene(self, row: int) -> None:
        self._gene = self._shown_gene = str(self.genes.frame["gene"].iat[row])
        self._show_types()
        self.show_change()

    def show_change(self) -> None:
        """Colour the cells by how the chosen gene changes; 0 is the middle."""
        self._colour_by(self._source("layers", key=self._layer, column=self._gene))

    def show_shift(self) -> None:
        """Colour the cells by the size of their change over all genes."""
        name = keys.BETAS_SHIFT(name=self.scenario.currentText())
        self._colour_by(self._source("obs", key=name))

    def blink(self) -> None:
        """Show the gene before the change, or after it where before is shown; limits stay."""
        if self.result is None or not self._gene:
            return
        layer = self.result.layer
        slot, key = ("X", "") if layer is None else ("layers", layer)
        before = self._source(slot, key=key, column=self._gene)
        after = self._source(slot, key=key, column=self._gene, plus=self._layer)
        tissue = self._session.tissue
        if self._workspace.colour != before:
            self._colour_by(before)
            return
        limits = tissue.limits
        self._colour_by(after)
        if limits is not None:
            tissue.limits = limits

    def delete(self) -> None:
        """Take the shown perturbed tissue off the AnnData."""
        adata, name = self._workspace.require(), self.scenario.currentText()
        if not name:
            return
        if self._is_of(name, self._workspace.colour):
            self._workspace.colour = self._before
        parts = {"name": name}
        home = dict(adata.uns[keys.CELLDYN.name])
        home.pop(keys.PERTURBED(**parts), None)
        adata.uns[keys.CELLDYN.name] = home
        gone = [(adata.layers, keys.BETAS_DELTA), (adata.obsp, keys.BETAS_TRANSITIONS),
                (adata.obsm, keys.BETAS_ARROWS)]  # fmt: skip
        for slot, key in gone:
            if key(**parts) in slot:
                del slot[key(**parts)]
        adata.obs = adata.obs.drop(columns=keys.BETAS_SHIFT(**parts), errors="ignore")
        rows = (keys.BETAS_DELTA, keys.BETAS_SHIFT, keys.PERTURBED)
        self._workspace.announce({row.path(**parts) for row in rows})

    def _show_bars(self) -> None:
        from celldyn.plots.betas_perturb import effect_bars
        from napari_celldyn.widgets.figure_window import FigureWindow

        if self.result is None:
            return
        try:
            figure = effect_bars(self.result)
        except CelldynError as error:
            self.sentence.say(str(error))
            return
        FigureWindow(figure, self.scenario.currentText(), self).show()

    @property
    def _layer(self) -> str:
        return keys.BETAS_DELTA(name=self.scenario.currentText())

    def _colour_by(self, source: Source) -> None:
        if not self._shows_own():
            self._before = self._workspace.colour
        self._shown = source
        self._workspace.colour = source

    def _shows_own(self) -> bool:
        """Whether what colours the cells was chosen here."""
        return self._shown is not None and self._workspace.colour == self._shown

    @staticmethod
    def _is_of(name: str, source: Source | None) -> bool:
        own = {keys.BETAS_DELTA(name=name), keys.BETAS_SHIFT(name=name)}
        return source is not None and bool({source.key, source.plus} & own)

    @staticmethod
    def _source(slot: str, **parts: str) -> Source:
        from celldyn.data import Source

        return Source(slot, **parts)  # type: ignore[arg-type]


def _button(text: str, tip: str) -> QPushButton:
    made = QPushButton(text)
    made.setToolTip(tip)
    return made
