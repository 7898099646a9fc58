"""What makes betas vary inside a cell type, and what that costs: one click each."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.betas.config import BetasConfig
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.number_box import NumberBox

FIELDS = ("num_epochs", "vision_model")
"""The fields of `BetasConfig` that are asked here."""

LINEAR = "linear"
KINDS = {
    LINEAR: "the same in a cell type",
    "smooth": "smooth over the tissue",
    "cnn": "network: cnn",
    "transformer": "network: transformer",
}
"""Words of each choice; all but the first are values of `vision_model`."""


class VaryChoice(QWidget):
    """Asks whether betas vary inside a cell type, by what, and for how many epochs."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        epochs, model = (BetasConfig.model_fields[name] for name in FIELDS)
        self.kind = QComboBox()
        self.kind.setToolTip(model.description or "")
        for value, words in KINDS.items():
            self.kind.addItem(words, value)
        self.epochs = NumberBox(1, whole=True)
        self.epochs.setToolTip(epochs.description or "")
        self.cost = wrapped()
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("betas", self.kind)
        self._form.addRow("epochs", self.epochs)
        self._form.addRow(self.cost)
        self.put(num_epochs=epochs.default, vision_model=model.default)
        self.kind.currentIndexChanged.connect(self._tell)
        self.epochs.valueChanged.connect(self._tell)

    def values(self) -> dict[str, Any]:
        """Return the fields of `FIELDS` as they stand."""
        kind, epochs = self.kind.currentData(), int(self.epochs.number())
        if kind == LINEAR:
            return {"num_epochs": 0}
        return {"num_epochs": epochs, "vision_model": kind}

    def put(self, *, num_epochs: int | None = None, vision_model: str | None = None) -> None:
        """Show some of the fields; no epochs mean that betas do not vary."""
        with signals_blocked(self.kind), signals_blocked(self.epochs):
            if num_epochs:
                self.epochs.setValue(num_epochs)
            kind = LINEAR if num_epochs == 0 else vision_model
            if kind is not None:
                self.kind.setCurrentIndex(self.kind.findData(kind))
        self._tell()

    def _tell(self) -> None:
        kind, epochs = self.kind.currentData(), int(self.epochs.number())
        is_network = kind not in (LINEAR, "smooth")
        self.epochs.setVisible(is_network)
        if (label := self._form.labelForField(self.epochs)) is not None:
            label.setVisible(is_network)
        self.cost.setText(cost_of(kind, epochs))
        self.changed.emit()


def cost_of(kind: str, num_epochs: int) -> str:
    """Say what a kind of model is, and what it costs, in one sentence."""
    if kind == LINEAR:
        return "One coefficient per cell type and modulator: a second a gene."
    if kind == "smooth":
        return "Coefficients follow place and neighbourhood, solved at once: seconds a gene."
    return f"A neural network sees each cell's surroundings, {num_epochs} epochs: minutes a gene."
