"""The rows of a form: plain ones, advanced ones folded away, and which section each is in."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from celldyn.config import Config
from napari_celldyn.widgets.fold import Fold


class FormSection(QWidget):
    """Rows of a form, those marked advanced under a heading that folds them away."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # superqt's own icons are drawn in a colour that the theme does not change
        self.advanced = Fold("Advanced")
        self._plain, self._folded = _rows(), _rows()
        plain, folded = QWidget(), QWidget()
        plain.setLayout(self._plain)
        folded.setLayout(self._folded)
        self.advanced.addWidget(folded)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(plain)
        layout.addWidget(self.advanced)
        self.advanced.setVisible(False)

    def add(self, label: QLabel | None, native: QWidget, *, advanced: bool) -> None:
        """Add a row; one without a label takes the whole width."""
        rows = self._folded if advanced else self._plain
        if label is None:
            rows.addRow(native)
        else:
            rows.addRow(label, native)
        self.advanced.setVisible(self._folded.rowCount() > 0)


def section_titles(config: type[Config]) -> dict[str, str]:
    """Return the section of each parameter, by its name.

    A parameter belongs to the section of the module that declares its class: those that
    `parameters/genes.py` declares are "Genes". A config of one module has no sections: "".
    """
    declared: dict[str, type] = {}
    for kind in config.__mro__:
        if issubclass(kind, Config):
            for name in inspect.get_annotations(kind):
                declared.setdefault(name, kind)
    titles = {name: _title(declared[name]) for name in config.model_fields}
    return titles if len(set(titles.values())) > 1 else dict.fromkeys(titles, "")


def make_sections(titles: Iterable[str]) -> dict[str, FormSection]:
    """Return a section for each title, in the order in which they come."""
    return {title: FormSection() for title in dict.fromkeys(titles)}


def _title(kind: type) -> str:
    return kind.__module__.rsplit(".", 1)[-1].replace("_", " ").capitalize()


def _rows() -> QFormLayout:
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return rows
