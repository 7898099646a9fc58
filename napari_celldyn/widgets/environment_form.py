"""The parameters of a virtual environment: how long it is trained first, the rest in drawers."""

from __future__ import annotations

from typing import Any, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from celldyn.environment.config import (
    DataConfig,
    EnvironmentConfig,
    PolicyConfig,
    Preset,
    RewardConfig,
    SpaceConfig,
    TrainingConfig,
)
from napari_celldyn.widgets.drawer import Drawer
from napari_celldyn.widgets.form import ConfigForm

FIRST = ("max_timesteps", "update_timesteps", "num_cells_min", "num_cells_max", "early_stopping",
         "seed")  # fmt: skip
"""Parameters of the training that stand in sight."""

ELSEWHERE = ("input_modalities", "target_modalities", "spatial", "partition_cols",
             "sample_counts", "log_modalities", "train_mask", "train_split", "train_partitions",
             "backed")  # fmt: skip
"""Parameters of the data that the dock asks for by itself."""

ON_RAY = ("num_gpus", "num_learners", "num_runners", "dont_sync_across_nodes",
          "checkpoint_iterations", "flush_iterations")  # fmt: skip
"""Parameters of the training that act on the command line only."""


class EnvironmentForm(QWidget):
    """Asks for all parameters but those that say which data there are."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.preset = QComboBox()
        self.preset.addItems(get_args(Preset))
        self.preset.setToolTip(
            "Parameters to begin with. recommended: trains in minutes on one core. seed: the "
            "defaults of the reference's command line."
        )
        others = (name for name in TrainingConfig.model_fields if name not in FIRST)
        self.first = ConfigForm(TrainingConfig, hidden=others)
        self.folded: dict[str, ConfigForm] = {
            "Space": ConfigForm(SpaceConfig),
            "Rewards": ConfigForm(RewardConfig),
            "Policy": ConfigForm(PolicyConfig),
            "Learning": ConfigForm(TrainingConfig, hidden=(*FIRST, *ON_RAY)),
            "Data": ConfigForm(DataConfig, hidden=ELSEWHERE),
        }
        row = QFormLayout()
        row.addRow("preset", self.preset)
        row.setContentsMargins(0, 0, 0, 0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.first)
        for name, form in self.folded.items():
            column.addWidget(Drawer(name, form))
        for form in (self.first, *self.folded.values()):
            form.changed.connect(self.changed)
        self.preset.textActivated.connect(self.put_preset)
        self.put_preset(self.preset.currentText())

    def put_preset(self, name: str) -> None:
        """Show the parameters of a preset."""
        self.set_value(EnvironmentConfig.preset(name))  # type: ignore[arg-type]

    def value(self) -> EnvironmentConfig:
        """Return the parameters as they stand; those of the data are the defaults.

        Raises
        ------
        ConfigError
            If one is wrong; its form says so, too.
        """
        found: dict[str, Any] = {}
        for form in (self.first, *self.folded.values()):
            found |= form.raw()
        return EnvironmentConfig(**found)

    def set_value(self, config: EnvironmentConfig) -> None:
        """Show all parameters."""
        for form in (self.first, *self.folded.values()):
            form.put(**{name: getattr(config, name) for name in form.shown})
