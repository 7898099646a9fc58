"""What a perturbation does, as tables and a sentence. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from celldyn.betas import PerturbResult

N_GENES = 200
"""Responding genes in the table."""


def gene_frame(result: PerturbResult) -> pd.DataFrame:
    """Return the genes that respond, the strongest first, under short names."""
    table = result.top(N_GENES)
    names = {"mean": "mean Δ", "mean_abs": "mean |Δ|", "heldout_r2": "held-out", "flag": "note"}
    table["%"] = 100.0 * table["relative"]
    return table.rename(columns=names)[["gene", "mean Δ", "%", "held-out", "mean |Δ|", "note"]]


def type_frame(effects: pd.DataFrame, gene: str) -> pd.DataFrame:
    """Return what happens to one gene in each cell type, of the effects on all."""
    table = effects[effects["gene"] == gene].reset_index(drop=True)
    table = table.replace({"cluster": {"": "all cells"}})
    names = {"cluster": "cell type", "n_cells": "cells", "mean": "mean Δ", "mean_abs": "mean |Δ|"}
    table["%"] = 100.0 * table["relative"]
    return table.rename(columns=names)[["cell type", "mean Δ", "%", "cells", "mean |Δ|", "sd"]]


def in_words(result: PerturbResult, n_shown: int) -> str:
    """Say what was done, how many genes respond, and how many models are known to predict."""
    from celldyn.data.words import counted

    said = result.perturbation.describe(result.n_obs)
    words = f"{said[:1].upper()}{said[1:]}"
    steps = counted(len(result.steps), "step")
    if not n_shown:
        return " ".join([f"{words}: no gene responds after {steps}.", *result.notes])
    respond = counted(n_shown, "gene") + (" responds" if n_shown == 1 else " respond")
    sure, models = int((result.flags == "").sum()), counted(int(result.responds.sum()), "model")
    words += f": {respond} after {steps}; {sure} of {models} predict cells that they have not seen"
    return " ".join([f"{words}. Click a gene.", *result.notes])
