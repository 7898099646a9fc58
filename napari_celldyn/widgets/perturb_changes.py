"""What happens to which genes: one line a gene."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from celldyn.errors import DataError
from celldyn.perturbation import Change
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.gene_edit import GeneEdit
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.perturb_genes import Acting, in_words

KINDS = {"knock out": "knockout", "set to": "set", "multiply by": "multiply", "add": "add"}
"""Kinds of `Change` by the words a person reads."""
_FIRST_VALUE = {"set to": 1.0, "multiply by": 2.0, "add": 1.0}


class ChangeEditor(QWidget):
    """Asks for the changes of one gene or several.

    One gene needs no more than the line; "Also" keeps it and asks for another.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kept: dict[str, Change] = {}
        self._names: frozenset[str] = frozenset()
        self.gene = GeneEdit()
        self.gene.setToolTip("A gene that regulates, or is a ligand or receptor, in a fitted gene")
        self.kind = QComboBox()
        self.kind.addItems(list(KINDS))
        self.value = NumberBox()
        self.value.setToolTip("In the unit of the expression, or a factor")
        self.also = QPushButton("Also")
        self.also.setToolTip("Keep this change and add another gene")
        self._acting: Acting | None = None
        self.hint = wrapped()
        self.table = FrameTable()
        self.table.setToolTip("Click a change to take it away")
        line = QHBoxLayout()
        line.addWidget(self.kind)
        line.addWidget(self.value, 1)
        line.addWidget(self.also)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.gene)
        layout.addWidget(self.hint)
        layout.addLayout(line)
        layout.addWidget(self.table)
        self.kind.currentTextChanged.connect(self._on_kind)
        self.value.valueChanged.connect(self.changed)
        self.gene.picked.connect(self.changed)
        self.gene.picked.connect(self._say_what_it_does)
        self.gene.textChanged.connect(self._say_what_it_does)
        self.also.clicked.connect(self._keep)
        self.table.chosen.connect(self._drop)
        self._on_kind(self.kind.currentText())
        self._show()

    def set_genes(self, genes: Iterable[str], acting: Acting | None = None) -> None:
        """Offer the genes that modulate something; all where that is not known yet.

        Parameters
        ----------
        genes
            All genes of the tissue.
        acting
            The fitted genes that each modulates; None while a panel has not been read.
        """
        self._acting = acting
        self._names = frozenset(genes)
        self.gene.set_genes(genes if acting is None else [g for g in genes if g in acting])
        self._say_what_it_does()

    def changes(self) -> dict[str, Change]:
        """Return what is asked for, the line that is being edited included.

        Raises
        ------
        DataError
            If no gene is named, or a value is not possible.
        """
        asked = dict(self._kept)
        if name := self.gene.text().strip():
            asked[name] = self._change()
        if not asked:
            raise DataError("no gene is to be changed", "type a part of its name")
        return asked

    def clear(self) -> None:
        """Forget all changes."""
        self._kept = {}
        self.gene.clear()
        self.kind.setCurrentIndex(0)
        self._show()

    def _say_what_it_does(self) -> None:
        name, acting = self.gene.text().strip(), self._acting
        known = acting is not None and name in self._names
        self.hint.setText(in_words(name, acting or {}) if known else "")
        self.hint.setVisible(known)

    def _change(self) -> Change:
        kind = self.kind.currentText()
        return Change(KINDS[kind], float(self.value.number()))  # type: ignore[arg-type]

    def _keep(self) -> None:
        if name := self.gene.text().strip():
            self._kept[name] = self._change()
            self.gene.clear()
            self._show()

    def _drop(self, row: int) -> None:
        del self._kept[list(self._kept)[row]]
        self._show()

    def _on_kind(self, kind: str) -> None:
        self.value.setVisible(kind in _FIRST_VALUE)
        self.value.setValue(_FIRST_VALUE.get(kind, 0.0))
        self.changed.emit()

    def _show(self) -> None:
        said = [change.describe(gene) for gene, change in self._kept.items()]
        self.table.show_frame(pd.DataFrame({"changes": said}))
        self.table.setVisible(bool(said))
        self.changed.emit()
