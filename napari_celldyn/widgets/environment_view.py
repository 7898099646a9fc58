"""How virtual cells are shown: where, in which colours, with trails and velocities or without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError
from napari_celldyn.widgets.environment_look import (
    AS_TISSUE,
    CHANGE,
    COLOURS,
    GENE,
    OF_GENE,
    SHIFT,
    SPACE,
    SPEED,
    TISSUE,
)
from napari_celldyn.widgets.gene_edit import GeneEdit
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari_celldyn.widgets.environment_stage import EnvironmentStage


class EnvironmentView(QWidget):
    """Asks how the cells of a stage are shown.

    Parameters
    ----------
    stage
        Where they live.
    """

    def __init__(self, stage: EnvironmentStage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._stage = stage
        self._had_perturbed = False
        self.where, self.colour, self.gene = QComboBox(), QComboBox(), GeneEdit()
        self.where.addItems([TISSUE, SPACE])
        self.where.setToolTip("Where their positions tell that they lie, or where they are")
        self.colour.addItems(list(COLOURS))
        self.gene.setToolTip("A gene that positions tell")
        self.trails, self.velocities = QCheckBox("trails"), QCheckBox("velocities")
        self.trails.setChecked(stage.look.trails)
        self.velocities.setChecked(stage.look.velocities)
        self.words, self.sentence = wrapped(), ErrorSentence()
        self._lay_out()
        self.where.currentTextChanged.connect(self._on_choice)
        self.colour.currentTextChanged.connect(self._on_choice)
        self.gene.picked.connect(self._on_choice)
        for box in (self.trails, self.velocities):
            box.toggled.connect(self._on_choice)
        stage.changed.connect(self.refresh)
        stage.shown_changed.connect(self._on_shown)
        self.refresh()

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        for box in (self.where, self.colour):
            box.setSizeAdjustPolicy(policy)
        for name, part in (("shown", self.where), ("colours", self.colour), ("gene", self.gene)):
            self._form.addRow(name, part)
        line = QHBoxLayout()
        line.addWidget(self.trails)
        line.addWidget(self.velocities)
        line.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._form)
        column.addLayout(line)
        column.addWidget(self.words)
        column.addWidget(self.sentence)

    def refresh(self) -> None:
        """Offer what the cells that live here have."""
        opened = self._stage.opened
        self.setEnabled(opened is not None)
        told = self._told()
        can = {TISSUE: opened is not None and opened.on_tissue, GENE: bool(told),
               CHANGE: bool(told)}  # fmt: skip
        for box in (self.where, self.colour):
            for k in range(box.count()):
                box.model().item(k).setEnabled(can.get(box.itemText(k), True))
        with signals_blocked(self.where), signals_blocked(self.colour):
            self.where.setCurrentText(self._stage.look.where)
            self.colour.setCurrentText(self._stage.look.colour)
        self.gene.set_genes(gene for _, names in told for gene in names)
        self._form.setRowVisible(self.gene, self.colour.currentText() in OF_GENE)
        self._tell()

    def _told(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return the modalities that positions tell and that are no coordinates, with names."""
        opened = self._stage.opened
        if opened is None:
            return []
        fitted = opened.manager.fitted
        maps = fitted.preprocessing.maps
        return [(k, maps[k].names) for k in fitted.targets if k not in fitted.spatial]

    def _on_choice(self, *_: object) -> None:
        self.sentence.say("")
        colour, gene = self.colour.currentText(), self.gene.text().strip()
        self._form.setRowVisible(self.gene, colour in OF_GENE)
        of = next((k for k, names in self._told() if gene in names), None)
        if colour in OF_GENE and gene and of is None:
            self.sentence.say(f"No position tells of {gene!r}; choose one of the list.")
        look = replace(
            self._stage.look, where=self.where.currentText(), colour=colour,
            gene=gene if of is not None else "", modality=of or 0,
            trails=self.trails.isChecked(), velocities=self.velocities.isChecked(),
        )  # fmt: skip
        try:
            self._stage.set_look(look)
        except CelldynError as error:
            self.sentence.say(str(error))
        self._tell()

    def _on_shown(self) -> None:
        """Show the difference by itself as soon as there is one."""
        both = self._stage.perturbed
        if both and not self._had_perturbed and self.colour.currentText() == AS_TISSUE:
            self.colour.setCurrentText(SHIFT)
        elif not both and self._had_perturbed and self.colour.currentText() in (SHIFT, CHANGE):
            self.colour.setCurrentText(AS_TISSUE)
        self._had_perturbed = both

    def _tell(self) -> None:
        opened, unit = self._stage.opened, self._stage.unit.strip()
        on_tissue = opened is not None and opened.on_tissue
        other = "in the unit of the coordinates" if on_tissue else "in units of their space"
        in_unit = f", in {unit}" if unit else f", {other}"
        said = {
            SHIFT: f"Distance between B, perturbed, and A, left alone{in_unit}.",
            SPEED: "Speed in their own space, per second.",
            CHANGE: "What positions tell of the gene in B, less what they tell in A.",
        }.get(self.colour.currentText(), "")
        placing = None if opened is None else opened.cells.placing
        if placing is not None and not placing.by_training:
            said += (
                " No cell here was trained on: what is told is turned onto their true places, "
                "to look at it; scores are not."
            )
        self.words.setText(said.strip())
        self.words.setVisible(bool(said))
