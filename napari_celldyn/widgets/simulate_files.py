"""Configs from and to YAML, and simulated tissues to disk."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

if TYPE_CHECKING:
    from celldyn.simulate import Simulation

_YAML = "Parameters (*.yaml *.yml)"


class YamlButtons(QWidget):
    """Two buttons that ask for a file and hand it on.

    Parameters
    ----------
    load, save
        Called with the path that was chosen.
    """

    def __init__(
        self,
        load: Callable[[Path], object],
        save: Callable[[Path], object],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._load, self._save = load, save
        self.load_button, self.save_button = QPushButton("Load YAML…"), QPushButton("Save YAML…")
        self.load_button.clicked.connect(self._ask_load)
        self.save_button.clicked.connect(self._ask_save)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.load_button)
        row.addWidget(self.save_button)

    def _ask_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load parameters", "", _YAML)
        if name:
            self._load(Path(name))

    def _ask_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save parameters", "tissue.yaml", _YAML)
        if name:
            path = Path(name)
            self._save(path if path.suffix else path.with_suffix(".yaml"))


class WriteButton(QPushButton):
    """Asks in which form, and where to, a simulated tissue is written.

    Parameters
    ----------
    write
        Called with the path that was chosen: its ending says the form, none is a folder.
    """

    def __init__(self, write: Callable[[Path], object], parent: QWidget | None = None) -> None:
        super().__init__("Write to", parent)
        self._write = write
        menu = QMenu(self)
        menu.addAction(
            "AnnData (.h5ad): the table", lambda: self._ask("AnnData (*.h5ad)", ".h5ad")
        )
        menu.addAction(
            "SpatialData (.zarr): all of it", lambda: self._ask("SpatialData (*.zarr)", ".zarr")
        )
        menu.addAction("Folder of tables: all of it", lambda: self._ask("Folder (*)", ""))
        self.setMenu(menu)

    def _ask(self, kind: str, ending: str) -> None:
        offered = f"simulated{ending}"
        name, _ = QFileDialog.getSaveFileName(self, "Write the simulated tissue", offered, kind)
        if name:
            path = Path(name)
            self._write(path if path.suffix == ending else path.with_name(path.name + ending))


def snapshot(simulation: Simulation) -> Simulation:
    """Return the simulation as it stands, for a thread to write while the window goes on.

    The arrays are shared; what the window may add or replace (columns of obs, keys) is not.
    """
    from anndata import AnnData

    held = simulation.adata
    frozen = copy.copy(simulation)
    frozen.adata = AnnData(
        X=held.X,
        obs=held.obs.copy(),
        var=held.var.copy(),
        obsm=dict(held.obsm),
        varm=dict(held.varm),
        obsp=dict(held.obsp),
        layers=dict(held.layers),
        uns=_branches(held.uns),
    )
    return frozen


def _branches(mapping: Any) -> dict[str, Any]:  # noqa: ANN401
    """Copy a tree of mappings; its leaves are shared."""
    return {
        key: _branches(value) if isinstance(value, dict) else value
        for key, value in mapping.items()
    }
