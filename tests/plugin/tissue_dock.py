"""A small tissue, the dock over it, and the hands that click."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt

from napari_celldyn.session import session
from napari_celldyn.widgets.tissue import TissueWidget

LEFT, CTRL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier


def tissue(n: int = 60) -> ad.AnnData:
    rng = np.random.default_rng(0)
    genes = ["Cxcl12", "Cxcr4", "Acxc", "Myc", *(f"Gene{i}" for i in range(20))]
    adata = ad.AnnData(
        rng.poisson(2.0, (n, len(genes))).astype(np.float32),
        obs=pd.DataFrame(
            {
                "cell_type": pd.Categorical(np.array(["A", "B", "C"])[np.arange(n) % 3]),
                "slice": pd.Categorical(np.array(["s1", "s2"])[np.arange(n) % 2]),
                "depth": rng.random(n),
            },
            index=[f"cell{i}" for i in range(n)],
        ),
        var=pd.DataFrame(index=genes),
        obsm={"spatial": rng.random((n, 2)) * 100},
        layers={"logged": rng.random((n, len(genes))).astype(np.float32)},
    )
    adata.obsm["betas_Myc"] = rng.normal(size=(n, 2))
    adata.uns["celldyn"] = {"betas_Myc": {"columns": np.array(["intercept", "Cxcl12$Cxcr4"])}}
    return adata


def open_dock(qtbot):
    """The dock on the screen, over a viewer that has no window of its own."""
    viewer = ViewerModel()
    widget = TissueWidget(viewer)
    qtbot.addWidget(widget)
    widget.resize(widget.sizeHint())
    widget.show()
    qtbot.waitExposed(widget)
    place = session(viewer)
    place.workspace.open(tissue())
    return viewer, widget, place.workspace


def type_colour(qtbot, widget, text):
    edit = widget.colour.edit
    edit.setFocus()
    edit.clear()
    qtbot.keyClicks(edit, text)
    qtbot.keyClick(edit, Qt.Key.Key_Return)


def click_row(qtbot, legend, row, *, modifier=Qt.KeyboardModifier.NoModifier):
    view = legend.categories
    rect = view.visualRect(view.model().index(row, 0))
    spot = QPoint(rect.left() + 60, rect.center().y())
    qtbot.mouseClick(view.viewport(), LEFT, modifier, spot)
