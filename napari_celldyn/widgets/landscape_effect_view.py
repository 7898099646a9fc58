"""What a perturbation did to the fates of cells: a sentence, bars, tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from qtpy.QtWidgets import QVBoxLayout, QWidget

from celldyn.data.palette import default_colours
from napari_celldyn.widgets.drawer import Drawer
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.share_bars import Bar, ShareBars

CHANCE = 0.05
"""A change that matched genes make as often as this is drawn pale."""

PALE = "Pale: matched housekeeping genes do as much."


class EffectView(QWidget):
    """Shows one effect: how the chance of each fate changes, and in which clusters."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words, self.bars = wrapped(), ShareBars(signed=True)
        self.fates, self.clusters = FrameTable(), FrameTable()
        self.tables = Drawer("Tables", self.fates, self.clusters)
        self.notes = wrapped()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.words, self.bars, self.notes, self.tables):
            column.addWidget(part)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.setVisible(False)
        self.bars.show_bars([])

    def show_effect(
        self,
        words: str,
        fates: pd.DataFrame,
        clusters: pd.DataFrame | None,
        colours: Mapping[str, str],
    ) -> None:
        """Show an effect.

        Parameters
        ----------
        words
            What was done, in sentences.
        fates
            One row per fate: fate, before, after, effect, low, high, p.
        clusters
            One row per cluster of origin and fate: cluster, fate, n_cells, before, after, effect.
        colours
            Of the fates; from the palette where there is none.
        """
        self.words.setText(words)
        bars = effect_bars(fates, colours)
        self.bars.show_bars(bars)
        self.notes.setText(PALE if any(bar.faint for bar in bars) else "")
        self.notes.setVisible(bool(self.notes.text()))
        self.fates.show_frame(in_percent(fates))
        self.clusters.show_frame(pd.DataFrame() if clusters is None else in_percent(clusters))
        self.clusters.setVisible(clusters is not None and len(clusters) > 0)
        self.setVisible(True)


def effect_bars(fates: pd.DataFrame, colours: Mapping[str, str]) -> list[Bar]:
    """Return a bar for the change of each fate, pale where chance makes as much."""
    p = fates["p"].to_numpy(float) if "p" in fates else np.full(len(fates), np.nan)
    spare = default_colours(len(fates))
    return [
        Bar(
            str(row.fate), float(row.effect), float(row.low), float(row.high),
            colours.get(str(row.fate), spare[k]), faint=bool(p[k] >= CHANCE),
        )
        for k, row in enumerate(fates.itertuples())
    ]  # fmt: skip


def in_percent(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of effects as a person reads it: chances in percent."""
    shown = {"cluster": "cluster", "fate": "fate", "n_cells": "cells"}
    found = {shown[name]: table[name] for name in shown if name in table}
    for name in ("before", "after", "effect"):
        if name in table:
            found["change" if name == "effect" else name] = (100 * table[name]).round(1)
    if "low" in table and "high" in table:
        ends = (100 * table[["low", "high"]]).round(1)
        pairs = zip(ends["low"], ends["high"], strict=True)
        found["between"] = pd.Series([f"{low:g} … {high:g}" for low, high in pairs], table.index)
    if "p" in table:
        found["p"] = table["p"]
    return pd.DataFrame(found)
