"""What the VAE reads: where the counts are, and which columns of obs are batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import DataError
from celldyn.vae.config import KeysConfig
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.widgets.vae_columns import ColumnBox, KeyColumn, key_columns, number_columns
from napari_celldyn.widgets.vae_purposes import LABELS, REQUIRED, Purposes

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.workspace import Workspace

ONE_KEY, BY_PURPOSE = "one batch key", "a key for each effect"

SCALED, DECODED, KEPT = "genes differ by a factor", "the decoder is told", "nothing else differs"
"""What is done about batches that differ in kind: factors of genes cost least biology."""

COSTS = {
    SCALED: (
        "Batches mix: each gene has a factor in each batch, which takes away what differs between "
        "batches in all cells alike."
    ),
    DECODED: (
        "Batches mix: the decoder takes away all that differs between them, biology that goes "
        "with the batch included."
    ),
    KEPT: (
        "Only ambient RNA, dispersion and library size are by batch; all else that differs "
        "between batches stays in the latent space."
    ),
}
ONE_BATCH = "All cells are taken as one batch."

_WORDS = (
    "batch", "sample", "donor", "patient", "library", "lane", "well", "plate", "embryo",
    "replicate", "experiment", "section", "slide", "slice",
)  # fmt: skip
"""What a column of batches is called, the likeliest first."""


class VAEKeys(QWidget):
    """Asks for the fields of `KeysConfig`, from what the tissue in view has.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._seen: dict[str, KeyColumn | None] = {}
        self._groups: dict[str, KeyColumn] = {}
        self._numbers: dict[str, KeyColumn] = {}
        self.layer = ColumnBox("X", KeysConfig.model_fields["layer"].description or "")
        self.mode = QComboBox()
        self.mode.addItems([ONE_KEY, BY_PURPOSE])
        self.mode.setToolTip("One column for all technical effects, or a column for each")
        self.batch = ColumnBox("(all are one)", "Which cells were prepared together")
        self.differ = QComboBox()
        self.differ.addItems(list(COSTS))
        self.differ.setToolTip("How batches differ in kind, beside their ambient RNA and depth")
        self.purposes = Purposes()
        self.purposes.setVisible(False)
        self.words, self.sentence = wrapped(), ErrorSentence()
        self.effects = Fold("Which effect, which key?")
        self._lay_out()
        self._connect()
        self._on_data()

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("counts", self.layer)
        self._form.addRow("keys", self.mode)
        self._form.addRow("batch", self.batch)
        self._form.addRow("batches", self.differ)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._form)
        for part in (self.purposes, self.words, self.sentence, self.effects):
            column.addWidget(part)

    def _connect(self) -> None:
        for signal in (self.layer.currentIndexChanged, self.mode.currentIndexChanged,
                       self.batch.currentIndexChanged, self.differ.currentIndexChanged,
                       self.purposes.changed):  # fmt: skip
            signal.connect(self._tell_all)
        self.effects.toggled.connect(self._show_effects)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)

    # --- what is asked ------------------------------------------------------------------------

    @property
    def by_purpose(self) -> bool:
        """Whether each technical effect has a key of its own."""
        return self.mode.currentText() == BY_PURPOSE

    @property
    def one_batch(self) -> bool:
        """Whether no column says which cells were prepared together."""
        if not self.by_purpose:
            return self.batch.column() is None
        values = self.purposes.values()
        return not any(values[name] for name in REQUIRED)

    def values(self) -> dict[str, Any]:
        """Return the fields of `KeysConfig` as they stand.

        Raises
        ------
        CelldynError
            If a column that is chosen cannot serve, or one is missing.
        """
        if problem := self.problem:
            raise DataError(problem.removesuffix("."))
        layer = {"layer": self.layer.column()}
        if self.by_purpose:
            self.purposes.check()
            return {**layer, **self.purposes.values()}
        batch, how = self.batch.column(), self.differ.currentText()
        also = {
            SCALED: "feature_scaling_covariate_keys",
            DECODED: "nn_conditioning_covariate_keys",
        }
        told = {also[how]: [batch]} if batch is not None and how in also else {}
        return {**layer, "batch_key": batch, **told}

    @property
    def problem(self) -> str:
        """Why a column that is chosen cannot serve, in one sentence; empty if all can."""
        batch = self.batch.column()
        groups, numbers = [] if batch is None else [batch], []
        if self.by_purpose:
            groups, numbers = self.purposes.chosen()
        looked_at = [self._groups.get(name) for name in groups]
        looked_at += [self._numbers.get(name) for name in numbers]
        return next((one.problem for one in looked_at if one is not None and one.problem), "")

    # --- what the tissue has ------------------------------------------------------------------

    def _on_data(self) -> None:
        adata = self._workspace.adata
        self.setEnabled(adata is not None)
        self.batch.choose(None)
        self._seen.clear()
        self._fill(adata)
        with signals_blocked(self.batch):
            self.batch.choose(None if adata is None else propose_batch(adata, self._groups))
        self._tell_all()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith(("obs/", "layers")) for path in written):
            for path in written:
                self._seen.pop(path.removeprefix("obs/"), None)
            self._fill(self._workspace.adata)
            self._tell_all()

    def _fill(self, adata: AnnData | None) -> None:
        groups = [] if adata is None else key_columns(adata, self._seen)
        numbers = [] if adata is None else number_columns(adata)
        layers = [] if adata is None else [KeyColumn(str(name), None) for name in adata.layers]
        self._groups = {one.name: one for one in groups}
        self._numbers = {one.name: one for one in numbers}
        self.layer.offer(layers)
        self.batch.offer(groups)
        self.purposes.offer(groups, numbers)

    def _tell_all(self, *_: object) -> None:
        by_purpose, one = self.by_purpose, self.one_batch
        self.purposes.setVisible(by_purpose)
        self._show_row(self.batch, shown=not by_purpose)
        self._show_row(self.differ, shown=not by_purpose and not one)
        cost = COSTS[self.differ.currentText()]
        self.words.setText(ONE_BATCH if one else "" if by_purpose else cost)
        self.words.setVisible(bool(self.words.text()))
        self.sentence.say(self.problem)
        self.changed.emit()

    def _show_row(self, field: QWidget, *, shown: bool) -> None:
        field.setVisible(shown)
        if (label := self._form.labelForField(field)) is not None:
            label.setVisible(shown)

    def _show_effects(self, *_: object) -> None:
        """Fill in the table when it is first looked at."""
        if self.effects.content().layout().count():
            return
        from celldyn.vae import effects_table

        frame = pd.DataFrame(effects_table()).drop(columns="shape")
        frame.insert(1, "key here", frame.pop("parameter").map(LABELS))
        table = FrameTable()
        table.show_frame(frame)
        self.effects.addWidget(table)


def propose_batch(adata: AnnData, columns: dict[str, KeyColumn]) -> str | None:
    """Return the column that names batches, by what it is called, or the sections; or None."""
    from celldyn.data import section_key

    can = [name for name, one in columns.items() if not one.problem]
    for word in _WORDS:
        for name in can:
            if word in name.casefold():
                return name
    section = section_key(adata)
    return section if section in can else None
