"""Figures of a trained environment beside simple methods, and how a data set holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from celldyn import keys
from celldyn.data.words import counted
from celldyn.environment.result_shelf import DAMAGE, damaged, home_of, put_home
from celldyn.environment.steady import SteadyReport
from celldyn.errors import MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData

SCHEMA = 1
NAME = "environment"
"""What the trained environment is called in tables."""


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """Figures of every target, of cells that were held out where there are some.

    Parameters
    ----------
    tables
        {modality: table} of methods by the figures of `imputation_scores`.
    report
        Whether cells had come to rest when they were asked; None where that is not known.
    n_scored
        Cells that the figures are of.
    held_out
        Whether these were held out of the training.
    """

    tables: Mapping[int, pd.DataFrame]
    report: SteadyReport | None
    n_scored: int
    held_out: bool

    def table(self) -> pd.DataFrame:
        """Return all figures, a row per modality and method."""
        whole: pd.DataFrame = pd.concat(dict(self.tables), names=["modality"])
        return whole.reset_index()

    def __str__(self) -> str:
        held = "held out of the training" if self.held_out else "all trained on"
        lines = [f"Figures of {counted(self.n_scored, 'cell')}, {held}."]
        for k, table in self.tables.items():
            said = f"Modality {k}: {_figures(table, NAME)}"
            others = table.drop(index=NAME)["r"]
            if len(others):
                best = str(others.idxmax())
                said += f"; best simple method {best}: {_figures(table, best)}"
            lines.append(f"{said}.")
        return "\n".join(lines if self.report is None else [*lines, str(self.report)])


def _figures(table: pd.DataFrame, method: str) -> str:
    r, mse = table.loc[[method], ["r", "mse"]].to_numpy(np.float64)[0]
    return f"r {r:.3f}, MSE {mse:.3g}"


def write_quality(adata: AnnData, found: Quality) -> set[str]:
    """Write figures on a data set, replacing earlier ones; return the key, as "slot/name"."""
    table = found.table()
    held: dict[str, Any] = {
        "schema": SCHEMA,
        "modality": table["modality"].to_numpy(np.int64),
        "method": table["method"].to_numpy(str),
        "report": json.dumps(None if found.report is None else found.report.to_dict()),
        "n_scored": found.n_scored,
        "held_out": found.held_out,
    }
    scores = table.columns.drop(["modality", "method"])
    held["scores"] = scores.to_numpy(str)  # files order names by the alphabet
    for column in scores:
        held[f"score_{column}"] = table[column].to_numpy(np.float64)
    put_home(adata, keys.ENVIRONMENT_QUALITY.name, held)
    return {keys.ENVIRONMENT_QUALITY.path()}


def read_quality(adata: AnnData) -> Quality:
    """Return the figures that `write_quality` wrote.

    Raises
    ------
    MissingKeyError
        If there are none.
    DataError
        If they are damaged.
    """
    home = home_of(adata)
    if keys.ENVIRONMENT_QUALITY.name not in home:
        raise MissingKeyError("the data set holds no figures of an environment", "compute them")
    held = home[keys.ENVIRONMENT_QUALITY.name]
    try:
        if int(held["schema"]) > SCHEMA:
            raise ValueError("schema")
        scores = {str(n): held[f"score_{n}"] for n in np.asarray(held["scores"]).astype(str)}
        methods = pd.Index(np.asarray(held["method"]).astype(str), name="method")
        whole = pd.DataFrame(scores, index=methods).astype(float)
        modality = np.asarray(held["modality"], np.int64)
        # Figures that a modality does not have were filled up beside those of others.
        tables = {
            int(k): whole[modality == k].dropna(axis=1, how="all") for k in dict.fromkeys(modality)
        }
        said = json.loads(str(held["report"]))
        report = None if said is None else SteadyReport(**said)
        return Quality(tables, report, int(held["n_scored"]), bool(held["held_out"]))
    except DAMAGE as error:
        raise damaged("quality") from error


def delete_quality(adata: AnnData) -> set[str]:
    """Take figures off a data set; return the key where there were any."""
    home = dict(home_of(adata))
    if keys.ENVIRONMENT_QUALITY.name not in home:
        return set()
    del home[keys.ENVIRONMENT_QUALITY.name]
    adata.uns[keys.CELLDYN.name] = home
    return {keys.ENVIRONMENT_QUALITY.path()}
