"""Fates of the cells that were clicked, as bars with intervals, read off the AnnData."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QVBoxLayout, QWidget

from celldyn import keys
from celldyn.data.fates import fate_colours, fate_names
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.share_bars import Bar, ShareBars

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.workspace import Workspace

CLICK = "Click a cell, or lasso some, to see where they go."


class FateView(QWidget):
    """Shows the fates of the chosen cells; hidden where the tissue has none.

    Parameters
    ----------
    workspace
        The tissue in view, and which cells are chosen.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.words, self.bars = wrapped(), ShareBars()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.words)
        column.addWidget(self.bars)
        listen(self, workspace.data_changed, self.refresh)
        listen(self, workspace.keys_changed, self._on_keys)
        listen(self, workspace.selection_changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the fates of the cells that are chosen now."""
        adata, cells = self._workspace.adata, self._workspace.selection
        there = adata is not None and has_fates(adata)
        self.setVisible(there)
        if not there or adata is None:
            self.bars.show_bars([])
            return
        self.words.setText(in_words(adata, cells) if len(cells) else CLICK)
        self.bars.show_bars(fate_bars(adata, cells) if len(cells) else [])

    def _on_keys(self, written: frozenset[str]) -> None:
        if written & {keys.FATES.path(), keys.FATE.path()}:
            self.refresh()


def has_fates(adata: AnnData) -> bool:
    """Whether a tissue has chances of fates, with their names."""
    found = adata.obsm.get(keys.FATES.name)
    return found is not None and len(fate_names(adata)) == np.asarray(found).shape[1]


def fate_bars(adata: AnnData, cells: NDArray[np.intp]) -> list[Bar]:
    """Return a bar for each fate: the mean over cells, and the mean of their intervals' ends."""
    names = fate_names(adata)
    colours = fate_colours(adata, names)
    values, low, high = (
        np.asarray(adata.obsm[key.name])[cells].mean(axis=0)
        if key.name in adata.obsm
        else np.full(len(names), np.nan)
        for key in (keys.FATES, keys.FATES_LOW, keys.FATES_HIGH)
    )
    return [
        Bar(name, float(values[k]), float(low[k]), float(high[k]), colours[k])
        for k, name in enumerate(names)
    ]


def in_words(adata: AnnData, cells: NDArray[np.intp]) -> str:
    """Say of which cells the bars are, and of how many the fate is certain."""
    n = len(cells)
    who = str(adata.obs_names[cells[0]]) if n == 1 else f"{n:,} cells"
    certain = adata.obs.get(keys.FATE_CERTAIN.name)
    if certain is None:
        return who
    n_certain = int(np.asarray(certain, bool)[cells].sum())
    if n > 1:
        said = f"{who}, the fate of {n_certain:,} is certain"
    else:
        fate = adata.obs[keys.FATE.name].astype(str).iloc[cells[0]]
        said = f"{who}: {fate}" if n_certain else f"{who}: {fate}, uncertain"
    agreement = adata.obs.get(keys.FATE_AGREEMENT.name)
    if agreement is not None:
        said += f"; {float(np.asarray(agreement, float)[cells].mean()):.0%} of the models agree"
    return f"{said}."


def fate_notes(adata: AnnData) -> list[str]:
    """Return what a person should know of the fates, in sentences."""
    held = adata.uns.get(keys.CELLDYN.name, {}).get(keys.FATE_INFO.name)
    try:
        notes = json.loads(held)["notes"] if isinstance(held, str) else []
    except (ValueError, KeyError, TypeError):
        return []
    return [as_sentence(str(note)) for note in notes]


def as_sentence(note: str) -> str:
    """Return a note with a capital letter and a full stop."""
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."
