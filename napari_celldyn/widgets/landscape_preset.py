"""Parameters that belong together, chosen by their name."""

from __future__ import annotations

from typing import get_args

from qtpy.QtWidgets import QComboBox, QWidget

from celldyn.landscape.config import LSDConfig, Preset
from napari_celldyn.widgets.form import ConfigForm

_TIP = (
    "Parameters to begin with. recommended: short walks, a fourth of the rows, a fast rate that "
    "falls once. seed: the defaults of LSD. reference: as sclsd computes."
)


class PresetBox(QComboBox):
    """Puts the values of a preset into the forms of the tree and of its training.

    Parameters
    ----------
    tree
        Form of `LSDConfig`.
    training
        Form of its branch `training`.
    """

    def __init__(
        self, tree: ConfigForm, training: ConfigForm, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._tree, self._training = tree, training
        self.addItems(get_args(Preset))
        self.setCurrentText("recommended")
        self.setToolTip(_TIP)
        self._put(self.currentText())
        self.textActivated.connect(self._put)

    def _put(self, name: str) -> None:
        config = LSDConfig.preset(name)  # type: ignore[arg-type]
        self._tree.set_value(config)
        self._training.set_value(config.training)
