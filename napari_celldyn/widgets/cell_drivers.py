"""What drives a gene in the chosen cells: click a cell, read its strongest modulators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from celldyn.betas import BetasResult
    from napari_celldyn.workspace import Workspace

N_DRIVERS = 12
N_TYPES = 3


class CellDrivers(QWidget):
    """Lists the modulators of one gene by their betas in the selected cells.

    Parameters
    ----------
    workspace
        Whose selection is looked at.
    """

    chosen = Signal(str)
    """A modulator was clicked."""

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._result: BetasResult | None = None
        self.words, self.table = wrapped(), FrameTable()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.words)
        layout.addWidget(self.table)
        self.table.chosen.connect(self._choose)
        listen(self, workspace.selection_changed, self._show)
        self._show()

    def show_result(self, result: BetasResult | None) -> None:
        """Look at the betas of another gene."""
        self._result = result
        self._show()

    def _show(self) -> None:
        result, cells = self._result, self._workspace.selection
        if result is not None and len(cells) and cells[-1] >= len(result.values):
            return  # another tissue is on its way
        self.setVisible(result is not None)
        self.table.setVisible(len(cells) > 0)
        if result is None:
            return
        if not len(cells):
            self.words.setText(f"Click cells, or draw a lasso, to see what drives {result.gene}.")
            return
        self.words.setText(f"{result.gene} in {self._cells_in_words(result, cells)}:")
        self.table.show_frame(driver_frame(result, cells))

    def _cells_in_words(self, result: BetasResult, cells: NDArray[np.intp]) -> str:
        from celldyn.data.words import counted

        adata = self._workspace.require()
        said = str(adata.obs_names[cells[0]]) if len(cells) == 1 else counted(len(cells), "cell")
        column = result.config.cluster_annot
        if column is None or column not in adata.obs:
            return said
        counts = adata.obs[column].iloc[cells].astype(str).value_counts()
        if len(cells) == 1:
            return f"{said} ({counts.index[0]})"
        types = [f"{n:,} {name}" for name, n in counts.iloc[:N_TYPES].items()]
        more = len(counts) - N_TYPES
        return f"{said} ({', '.join(types)}{f' and {more} more types' if more > 0 else ''})"

    def _choose(self, row: int) -> None:
        self.chosen.emit(str(self.table.frame["modulator"].iat[row]))


def driver_frame(result: BetasResult, cells: NDArray[np.intp]) -> pd.DataFrame:
    """Return the modulators of a gene with the largest mean |beta| in some cells.

    Columns: modulator, "β here" (mean over these cells), "β all" (over all cells), kind. Those
    whose betas are 0 here are left out.
    """
    betas = result.values[:, 1:]
    here = betas[cells].mean(axis=0)
    size = np.abs(betas[cells]).mean(axis=0)
    order = np.argsort(-size, kind="stable")[:N_DRIVERS]
    order = order[size[order] > 0]
    return pd.DataFrame(
        {
            "modulator": np.array(result.modulators, object)[order],
            "β here": here[order],
            "β all": betas[:, order].mean(axis=0),
            "kind": np.array(result.kinds, object)[order],
        }
    )
