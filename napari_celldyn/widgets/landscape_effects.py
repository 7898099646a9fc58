"""Perturbations that were followed on the landscape: which fates change, where, written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.data.fates import fate_colours
from celldyn.errors import CelldynError
from napari_celldyn.widgets.export import ask_and_write
from napari_celldyn.widgets.landscape_effect_view import EffectView
from napari_celldyn.widgets.landscape_fate_view import as_sentence
from napari_celldyn.widgets.landscape_root import cluster_box, offer
from napari_celldyn.widgets.landscape_tissue import holds_any
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.data import Source
    from celldyn.landscape.perturbing.effect import PerturbationEffect
    from napari_celldyn.session import Session


class LandscapeEffects(QWidget):
    """Browses the perturbations on the AnnData, made now or come with the file.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = session.workspace
        self.effect: PerturbationEffect | None = None
        self._before: Source | None = None
        self._shown: Source | None = None
        self.scenario, self.fate = cluster_box(), cluster_box()
        self.scenario.setToolTip("Perturbations of this file")
        self.fate.setToolTip("Which fate's chance is coloured by how it changes")
        self.view = EffectView()
        self.colour_button = QPushButton("Colour")
        self.colour_button.setToolTip("Colour the cells by how their chance of this fate changes")
        self.export_button = QPushButton("Export…")
        self.export_button.setToolTip("Write fates or cells as a table (CSV)")
        self.delete_button = QPushButton("Delete")
        self.delete_button.setToolTip("Take this perturbation away")
        self.sentence = ErrorSentence()
        self._lay_out()
        self.scenario.currentTextChanged.connect(self._show)
        self.colour_button.clicked.connect(self.show_change)
        self.export_button.clicked.connect(self._export)
        self.delete_button.clicked.connect(self.delete)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self.refresh()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("perturbed", self.scenario)
        line, foot = QHBoxLayout(), QHBoxLayout()
        line.addWidget(self.fate, 1)
        line.addWidget(self.colour_button)
        foot.addWidget(self.export_button)
        foot.addWidget(self.delete_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(self.view)
        column.addLayout(line)
        column.addLayout(foot)
        column.addWidget(self.sentence)

    # --- what there is ------------------------------------------------------------------------

    def add(self, effect: PerturbationEffect, name: str) -> None:
        """Write a perturbation on the AnnData, and show it."""
        from celldyn.landscape.results import write_effect

        self._workspace.announce(write_effect(self._workspace.require(), effect, name))
        self.scenario.setCurrentText(name)
        self._show(name)
        self.show_change()

    def refresh(self) -> None:
        """Look again which perturbations there are."""
        adata = self._workspace.adata
        names: list[str] = []
        if adata is not None and holds_any(adata, keys.LANDSCAPE_PERTURBED):
            from celldyn.landscape.results import effect_names

            names = effect_names(adata)
        offer(self.scenario, names)
        self.setVisible(bool(names))
        self._show(self.scenario.currentText())

    def _on_data(self) -> None:
        self._before = self._shown = None
        self.refresh()

    def _on_keys(self, written: frozenset[str]) -> None:
        prefix = keys.LANDSCAPE_EFFECT.path(name="")
        if any(path.startswith(prefix) for path in written):
            self.refresh()

    def _show(self, name: str) -> None:
        self.sentence.say("")
        self.effect = None
        adata = self._workspace.adata
        if adata is not None and name:
            from celldyn.landscape.results import read_effect

            try:
                self.effect = read_effect(adata, name)
            except CelldynError as error:
                self.sentence.say(str(error))
        if self.effect is None or adata is None:
            self.view.clear()
            return
        fates = self.effect.fates()
        names = [str(fate) for fate in fates["fate"]]
        colours = dict(zip(names, fate_colours(adata, names), strict=True))
        words = " ".join([f"{self.effect}.", *map(as_sentence, self.effect.notes)])
        self.view.show_effect(words, fates, self.effect.per_cluster(), colours)
        offer(self.fate, names)

    # --- clicks -------------------------------------------------------------------------------

    def show_change(self) -> None:
        """Colour the cells by how their chance of the chosen fate changes; 0 is the middle."""
        from celldyn.data import Source

        if self.effect is None or not self.fate.currentText():
            return
        key = keys.LANDSCAPE_EFFECT(name=self.scenario.currentText())
        if self._workspace.colour != self._shown or self._shown is None:
            self._before = self._workspace.colour
        self._shown = Source("obsm", key, self.fate.currentText())
        self._workspace.colour = self._shown

    def delete(self) -> None:
        """Take the shown perturbation off the AnnData."""
        from celldyn.landscape.results import delete_effect

        if not (name := self.scenario.currentText()):
            return
        if self._shown is not None and self._workspace.colour == self._shown:
            self._workspace.colour = self._before
        self._workspace.announce(delete_effect(self._workspace.require(), name))

    def _export(self) -> None:
        if self.effect is None:
            return
        self.sentence.say("")
        offered = f"{self.scenario.currentText().replace(' ', '_').replace('/', '-')}.csv"
        try:
            ask_and_write(self, self.effect.fates(), offered)
        except CelldynError as error:
            self.sentence.say(str(error))
