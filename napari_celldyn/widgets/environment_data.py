"""What cells of an environment see, what their positions are to tell, and what is held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn.errors import DataError
from napari_celldyn.widgets.environment_modalities import (
    KINDS,
    ROLES,
    SEEN,
    Held,
    Modality,
    kind_of,
    proposed,
    sources,
)
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox

if TYPE_CHECKING:
    from napari_celldyn.session import Session

NOTHING, A_SHARE, GROUP = "nothing", "a share of the cells", "cells of…"
NONE = "(none)"
_SHARE = 0.2
_TIPS = (
    "A part of the tissue: its expression, a layer, or a table of obsm",
    "seen: cells know it of themselves and of each other; told: their positions learn to tell it",
    "values: standardised; counts: scaled to the same sum and logged first; places: coordinates "
    "of which only distances count, for sections that lie differently",
)


class ModalityRows(QWidget):
    """Two lines a modality: which part of the tissue; in which role, and of which kind."""

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = session.workspace
        self.rows: list[tuple[QComboBox, QComboBox, QComboBox, QToolButton]] = []
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)
        self.add_button = QPushButton("Add a modality")
        self.add_button.clicked.connect(self._add_another)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._grid)
        column.addWidget(self.add_button)

    def chosen(self) -> list[Modality]:
        """Return the modalities as they stand."""
        return [
            Modality(source.currentText(), role.currentText(), kind.currentText())
            for source, role, kind, _ in self.rows
        ]

    def show(self, modalities: list[Modality]) -> None:  # type: ignore[override]
        """Show these in place of others."""
        while self.rows:
            self._drop(self.rows[-1])
        for each in modalities:
            self._add(each)
        self.changed.emit()

    def offer(self, parts: list[str]) -> None:
        """Offer these parts; a row whose part is gone goes, too."""
        for row in list(self.rows):
            box = row[0]
            held = box.currentText()
            if held not in parts:
                self._drop(row)
                continue
            with signals_blocked(box):
                box.clear()
                box.addItems(parts)
                box.setCurrentText(held)

    def _add_another(self) -> None:
        adata = self._workspace.adata
        if adata is None:
            return
        parts, used = sources(adata), {each.source for each in self.chosen()}
        part = next((each for each in parts if each not in used), parts[0])
        self._add(Modality(part, SEEN, kind_of(adata, part)))
        self.changed.emit()

    def _add(self, modality: Modality) -> None:
        adata = self._workspace.require()
        boxes = (QComboBox(), QComboBox(), QComboBox())
        choices = (sources(adata), ROLES, KINDS)
        held = (modality.source, modality.role, modality.kind)
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        for k, (box, offered, now) in enumerate(zip(boxes, choices, held, strict=True)):
            box.addItems(list(offered))
            box.setCurrentText(now)
            box.setToolTip(_TIPS[k])
            box.setMinimumContentsLength(6)
            box.setSizeAdjustPolicy(policy)
        away = QToolButton()
        away.setText("×")
        away.setToolTip("Leave it out")
        row = (*boxes, away)
        at = self._grid.rowCount()
        self._grid.addWidget(boxes[0], at, 0, 1, 2)
        self._grid.addWidget(away, at, 2)
        self._grid.addWidget(boxes[1], at + 1, 0)
        self._grid.addWidget(boxes[2], at + 1, 1)
        self.rows.append(row)
        boxes[0].currentTextChanged.connect(lambda name: self._on_source(boxes[2], name))
        for box in boxes:
            box.currentTextChanged.connect(lambda _text: self.changed.emit())
        away.clicked.connect(lambda: self._on_away(row))

    def _on_source(self, kind: QComboBox, name: str) -> None:
        adata = self._workspace.adata
        if adata is not None and name in sources(adata):
            kind.setCurrentText(kind_of(adata, name))

    def _on_away(self, row: tuple[QComboBox, QComboBox, QComboBox, QToolButton]) -> None:
        self._drop(row)
        self.changed.emit()

    def _drop(self, row: tuple[QComboBox, QComboBox, QComboBox, QToolButton]) -> None:
        self.rows.remove(row)
        for part in row:
            self._grid.removeWidget(part)
            part.setParent(None)
            part.deleteLater()


class EnvironmentData(QWidget):
    """Asks which parts of the tissue are modalities, which cells meet, and which are held out.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = session.workspace
        self.modalities = ModalityRows(session)
        self.partition, self.hold = QComboBox(), QComboBox()
        self.column, self.category = QComboBox(), QComboBox()
        self.share, self.words = NumberBox(0.01, 0.9), wrapped()
        self.share.setValue(_SHARE)
        self.hold.addItems([NOTHING, A_SHARE, GROUP])
        self.partition.setToolTip(
            "Cells of different sections, donors or treatments are apart: they never meet"
        )
        self.hold.setToolTip("Cells that are not trained on; scores are told of them")
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, part in (("apart by", self.partition), ("held out", self.hold),
                           ("share", self.share), ("column", self.column),
                           ("category", self.category)):  # fmt: skip
            self._form.addRow(name, part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.modalities)
        column.addLayout(self._form)
        column.addWidget(self.words)
        self.modalities.changed.connect(self._tell)
        self.hold.currentTextChanged.connect(self._on_hold)
        self.column.currentTextChanged.connect(self._on_column)
        for signal in (self.partition.currentTextChanged, self.category.currentTextChanged,
                       self.share.valueChanged):  # fmt: skip
            signal.connect(self._tell)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self._on_data()

    # --- what is asked ------------------------------------------------------------------------

    def partition_key(self) -> str | None:
        """Return the column of obs whose groups never meet; None where all may."""
        name = self.partition.currentText()
        return None if name in ("", NONE) else name

    def held(self) -> Held:
        """Return what is held out.

        Raises
        ------
        DataError
            If no cell is of the category, or all are.
        """
        hold = self.hold.currentText()
        if hold == A_SHARE:
            return Held(share=float(self.share.number()))
        if hold == NOTHING:
            return Held()
        adata, name = self._workspace.require(), self.column.currentText()
        if name not in adata.obs:
            raise DataError("no column says which cells are held out", "choose one")
        found = adata.obs[name].astype(str).to_numpy() == self.category.currentText()
        if not found.any() or found.all():
            which = "all cells are" if found.any() else "no cell is"
            raise DataError(f"{which} of the category that is held out", "choose another one")
        return Held(cells=np.asarray(found))

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        from celldyn.data import section_key

        adata = self._workspace.adata
        self.setEnabled(adata is not None)
        self.hold.setCurrentText(NOTHING)
        key = None if adata is None else section_key(adata)
        several = adata is not None and key is not None and adata.obs[key].nunique() > 1
        self._fill(key if several else None)
        self.modalities.show([] if adata is None else proposed(adata))
        self._on_hold()

    def _on_keys(self, written: frozenset[str]) -> None:
        adata = self._workspace.adata
        if adata is None:
            return
        if any(path.startswith(("X", "layers", "obsm")) for path in written):
            self.modalities.offer(sources(adata))
        if any(path.startswith("obs/") for path in written):
            self._fill(self.partition_key())

    def _fill(self, partition: str | None) -> None:
        from celldyn.data import type_columns

        adata = self._workspace.adata
        names = [] if adata is None else type_columns(adata)
        held = self.column.currentText() or partition or ""
        with signals_blocked(self.partition), signals_blocked(self.column):
            for box, offered, now in ((self.partition, [NONE, *names], partition or NONE),
                                      (self.column, names, held)):  # fmt: skip
                box.clear()
                box.addItems(offered)
                box.setCurrentText(now)
        self._on_column()

    def _on_hold(self, *_: object) -> None:
        hold = self.hold.currentText()
        for part, shown in ((self.share, hold == A_SHARE), (self.column, hold == GROUP),
                            (self.category, hold == GROUP)):  # fmt: skip
            self._form.setRowVisible(part, shown)
        self._tell()

    def _on_column(self, *_: object) -> None:
        adata, name = self._workspace.adata, self.column.currentText()
        there = adata is not None and name in adata.obs
        names = sorted(set(adata.obs[name].dropna().astype(str))) if there and adata else []
        held = self.category.currentText()
        with signals_blocked(self.category):
            self.category.clear()
            self.category.addItems(names)
            self.category.setCurrentText(held if held in names else "".join(names[-1:]))
        self._tell()

    def _tell(self, *_: object) -> None:
        adata = self._workspace.adata
        if adata is None:
            self.words.setText("")
            return
        try:
            held = self.held()
        except DataError as error:
            self.words.setText(str(error))
            self.changed.emit()
            return
        n = adata.n_obs
        out = round(held.share * n) if held.cells is None else int(held.cells.sum())
        self.words.setText(f"{n - out:,} of {n:,} cells are trained on")
        self.changed.emit()
