"""The box of presets, and how a form follows the size of the tissue that was chosen in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import ConfigError
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.presets import preset, preset_descriptions
from napari_celldyn.widgets.labels import wrapped

_OWN = "(own parameters)"


class PresetBox(QWidget):
    """Offers the presets, and says what the chosen one is.

    Parameters
    ----------
    name
        The preset that is chosen at first.
    """

    chosen = Signal(str)
    """The user chose this preset."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box, self.what = QComboBox(), wrapped()
        self.box.addItem(_OWN, None)
        for each, what in preset_descriptions().items():
            self.box.addItem(each, each)
            self.box.setItemData(self.box.count() - 1, what, 3)  # the tooltip's role
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(self.what)
        self.n_cells = 0
        """Cells for which the preset was last laid out."""
        self.show_name(name)
        self.box.currentIndexChanged.connect(self._on_chosen)

    @property
    def name(self) -> str | None:
        """The preset that the form started from; None for parameters of one's own."""
        held = self.box.currentData()
        return None if held is None else str(held)

    def show_name(self, name: str | None) -> None:
        """Show which preset the form starts from."""
        with signals_blocked(self.box):
            self.box.setCurrentIndex(self.box.findData(name))
        self.what.setText("" if name is None else preset_descriptions()[name])

    def config(self) -> SimulationConfig:
        """Return the chosen preset at its own size."""
        config = preset(self.name or "blank")
        self.n_cells = config.n_cells
        return config

    def _on_chosen(self, _index: int) -> None:
        if self.name is not None:
            self.chosen.emit(self.name)


def following_size(box: PresetBox, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else changes in a form whose number of cells was changed.

    Canvas and structures of a preset grow with its cells. What the user set otherwise stays.

    Parameters
    ----------
    box
        Knows the preset, and the number of cells for which the form was last laid out.
    raw
        What the form holds.
    """
    name, typed = box.name, str(raw.get("n_cells", ""))
    if name is None or not typed.isdecimal() or int(typed) in (0, box.n_cells):
        return {}
    n_cells = int(typed)
    try:
        old, new = preset(name, n_cells=box.n_cells), preset(name, n_cells=n_cells)
    except ConfigError:
        return {}
    box.n_cells = n_cells
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    return {
        field: getattr(new, field)
        for field in before
        if before[field] != after[field] and field != "n_cells" and raw.get(field) == before[field]
    }
