"""Betas as SpaceTravLR writes them: `<gene>_betadata.parquet` or `.feather`, one file a gene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from celldyn.betas.inputs import Floats
from celldyn.betas.panel.betadata import CELL_ID, CLUSTER, PARAMETERS
from celldyn.betas.panel.store import BetaStore
from celldyn.betas.results import BetasResult
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Progress, run
from celldyn.persist import atomic_path

if TYPE_CHECKING:
    import pandas as pd


def export_betadata(
    source: BetaStore | BetasResult,
    folder: Path | str,
    *,
    rows: Literal["cells", "clusters"] = "cells",
    file_format: Literal["parquet", "feather"] = "parquet",
    obs_names: Sequence[str] | None = None,
) -> list[Path]:
    """Write betas as SpaceTravLR does: one file a gene, columns that are all 0 left out.

    Parameters
    ----------
    source
        A panel's store, or the result of one gene.
    folder
        Where to; it is made if need be. `run_params.json` is written beside the files.
    rows
        One row for each cell, or for each cluster, which needs betas that do not vary inside
        clusters and a single section.
    file_format
        "parquet" (SpaceTravLR) or "feather" (its Rust version).
    obs_names
        (n_obs,) names of the cells of a result; a store knows them.

    Returns
    -------
    The files of betas.

    Raises
    ------
    ConfigError
        If cells have no names, or clusters cannot stand for cells.
    """
    job = export_betadata_job(
        source, folder, rows=rows, file_format=file_format, obs_names=obs_names
    )
    return run(job, bar=False)


def export_betadata_job(
    source: BetaStore | BetasResult,
    folder: Path | str,
    *,
    rows: Literal["cells", "clusters"] = "cells",
    file_format: Literal["parquet", "feather"] = "parquet",
    obs_names: Sequence[str] | None = None,
) -> Job[list[Path]]:
    """Do the work of `export_betadata`, gene by gene."""
    folder = Path(folder)
    genes = source.genes if isinstance(source, BetaStore) else [source.gene]
    written = []
    for k, gene in enumerate(genes):
        yield Progress("export", k, len(genes), gene)
        result = source.result(gene) if isinstance(source, BetaStore) else source
        names = source.obs_names if isinstance(source, BetaStore) else obs_names
        table = _of_clusters(result) if rows == "clusters" else _of_cells(result, names)
        file = folder / f"{gene.replace('/', '%2F')}_betadata.{file_format}"
        with atomic_path(file) as draft:
            if file_format == "feather":
                table.to_feather(draft, compression="lz4")
            else:
                table.set_index(table.columns[0]).to_parquet(draft)
        written.append(file)
    with atomic_path(folder / PARAMETERS) as draft:
        draft.write_text(json.dumps(source.config.model_dump(mode="json"), indent=2))
    return written


def _of_cells(result: BetasResult, names: Sequence[str] | None) -> pd.DataFrame:
    import pandas as pd

    if names is None or len(names) != len(result.values):
        raise ConfigError(
            f"the result of {result.gene} does not know its {len(result.values)} cells by name",
            "give obs_names, one for each cell",
        )
    table = _named(result, result.values)
    table.insert(0, CELL_ID, pd.Series([str(name) for name in names], dtype=object))
    return table


def _of_clusters(result: BetasResult) -> pd.DataFrame:
    if any(result.states) or len({fit.section for fit in result.fits}) > 1:
        raise ConfigError(
            f"the betas of {result.gene} are not those of a cluster: they vary in it, or there "
            "are several sections",
            "write one row for each cell",
        )
    table = _named(result, result.coefficients)
    table.insert(0, CLUSTER, [fit.cluster for fit in result.fits])
    return table


def _named(result: BetasResult, values: Floats) -> pd.DataFrame:
    import pandas as pd

    kept = np.union1d([0], np.flatnonzero(values.any(axis=0))).astype(np.intp)
    return pd.DataFrame(values[:, kept], columns=[result.columns[i] for i in kept])
