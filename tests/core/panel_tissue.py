"""The small tissue of the betas as a panel: several targets that share modulators."""

from __future__ import annotations

import numpy as np
import pandas as pd
from betas_tissue import PAIRS, sections, tissue

from celldyn.betas import RegulatoryFactory
from celldyn.betas.panel import BetaStore, PanelConfig, panel_job, prepare_panel
from celldyn.jobs import run

LINKS = pd.DataFrame(
    [
        ("Tf1", "Target", "0", 0.01),
        ("Tf2", "Target", "0", 0.01),
        ("Tf2", "Target", "2", 0.01),
        ("Tf3", "Target", "7", 0.01),
        ("Tf1", "RecA", "0", 0.01),
        ("Tf2", "RecC", "0", 0.2),
        ("Tf3", "LigB", "2", 0.01),
        ("Target", "LigA", "0", 0.01),
        ("Tf1", "Silent", "0", 0.01),
        ("Tf1", "Tf2", "0", 0.01),
    ],
    columns=["source", "target", "cluster", "p"],
)
SCORES = pd.DataFrame(
    [[0.5, 0.4], [0.3, 0.9], [0.2, 0.005]], index=["Tf1", "Tf2", "Tf3"], columns=["LigA", "LigB"]
)
TARGETS = ["Target", "RecA", "LigB", "Tf2"]


def network():
    return RegulatoryFactory(links=LINKS)


def config(**more):
    options = {"genes": TARGETS, "heldout_folds": 0, "chunk": 3, "num_epochs": 0}
    return PanelConfig(**(options | more))


def prepared(adata=None, settings=None, **more):
    settings = config() if settings is None else settings
    tables = {"grn": network(), "lr": PAIRS, "ligand_target": SCORES} | more
    return prepare_panel(tissue(noise=0.3) if adata is None else adata, settings, **tables)


def fitted(path, adata=None, settings=None, **more):
    """Return the store of a panel, fitted."""
    settings = config() if settings is None else settings
    inputs = prepared(adata, settings, **more)
    store = BetaStore.create(path, inputs, settings)
    run(panel_job(inputs, settings, store), bar=False)
    return store


def smooth(n=400):
    """Return a tissue in which the effect of Tf1 on Target grows from left to right."""
    adata = tissue(n, noise=0.2)
    x = adata.obsm["spatial"][:, 0] / 200
    levels = adata.layers["imputed_count"]
    levels[:, 0] += 3 * x * levels[:, 1]
    adata.layers["imputed_count"] = np.ascontiguousarray(levels)
    return adata


__all__ = [
    "LINKS", "PAIRS", "SCORES", "TARGETS", "config", "fitted", "network", "prepared", "sections",
    "smooth", "tissue",
]  # fmt: skip
