"""A key for each technical effect: which columns of obs stand for which."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QVBoxLayout, QWidget

from celldyn.errors import ConfigError
from celldyn.vae.config import KeysConfig
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.vae_columns import ColumnBox, ColumnChecks, KeyColumn

LABELS = {
    "ambient_covariate_keys": "ambient RNA",
    "dispersion_key": "dispersion",
    "library_size_key": "library size",
    "nn_conditioning_covariate_keys": "decoder is told",
    "feature_scaling_covariate_keys": "gene scaling",
    "nn_continuous_covariate_keys": "numbers",
    "encoder_covariate_keys": "encoder is told",
    "size_factor_key": "size factor",
}
"""What each key is called here."""

REQUIRED = ("ambient_covariate_keys", "dispersion_key", "library_size_key")
"""Where no column is chosen for any of them, all cells are one batch."""

_SINGLE = {
    "dispersion_key": "(none)",
    "library_size_key": "(none)",
    "size_factor_key": "(learned)",
}
"""Keys of one column, and what no column is called."""
_NUMBERS = ("nn_continuous_covariate_keys", "size_factor_key")
_MORE = (
    "feature_scaling_covariate_keys", "nn_continuous_covariate_keys", "encoder_covariate_keys",
    "size_factor_key",
)  # fmt: skip


class Purposes(QWidget):
    """Asks for one or more columns for each technical effect."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxes: dict[str, ColumnBox] = {}
        self.checks: dict[str, ColumnChecks] = {}
        self.more = Fold("More keys")
        plain, folded = QWidget(), QWidget()
        forms = (_form(plain), _form(folded))
        for name, label in LABELS.items():
            tip = KeysConfig.model_fields[name].description or ""
            editor: QWidget
            if name in _SINGLE:
                editor = self.boxes[name] = ColumnBox(_SINGLE[name], tip)
                editor.currentIndexChanged.connect(self._tell)
            else:
                editor = self.checks[name] = ColumnChecks(tip)
                editor.picked.connect(self._tell)
            forms[name in _MORE].addRow(label, editor)
        self.more.addWidget(folded)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(plain)
        column.addWidget(self.more)

    def offer(self, groups: list[KeyColumn], numbers: list[KeyColumn]) -> None:
        """List the columns that name groups of cells, and those of numbers."""
        for name, editor in {**self.boxes, **self.checks}.items():
            editor.offer(numbers if name in _NUMBERS else groups)

    def values(self) -> dict[str, Any]:
        """Return the fields of `LABELS` as they stand.

        Genes are scaled as the decoder's keys say where no column is chosen for them.
        """
        chosen: dict[str, Any] = {name: box.column() for name, box in self.boxes.items()}
        chosen |= {name: checks.columns() for name, checks in self.checks.items()}
        scaling = "feature_scaling_covariate_keys"
        return {**chosen, scaling: chosen[scaling] or None}

    def put(self, **values: Any) -> None:  # noqa: ANN401
        """Show some of the fields."""
        for name, value in values.items():
            if name in self.boxes:
                self.boxes[name].choose(value)
            else:
                self.checks[name].choose(value or [])

    def check(self) -> None:
        """Refuse a choice where some of the required keys are there and others are not.

        Raises
        ------
        ConfigError
            It names the one that is missing.
        """
        values = self.values()
        lacking = [name for name in REQUIRED if not values[name]]
        if lacking and len(lacking) < len(REQUIRED):
            raise ConfigError(
                f"no column is chosen for {LABELS[lacking[0]]}",
                "choose one, or go back to one batch key",
            )

    def chosen(self) -> tuple[list[str], list[str]]:
        """Return the columns that are chosen as groups of cells, and those chosen as numbers."""
        found: tuple[list[str], list[str]] = ([], [])
        for name, value in self.values().items():
            found[name in _NUMBERS].extend([value] if isinstance(value, str) else value or [])
        return found

    def _tell(self, *_: object) -> None:
        self.changed.emit()


def _form(inside: QWidget) -> QFormLayout:
    form = QFormLayout(inside)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form
