"""SpaceTravLR's files of betas, `<gene>_betadata.parquet` and `.feather`, as fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celldyn.betas.field import BetaField
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.modulators import Modulators, Pair
from celldyn.betas.results import INTERCEPT
from celldyn.data import find_gene, labels
from celldyn.errors import ConfigError, DataError, FileFormatError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

SUFFIXES = ("_betadata.parquet", "_betadata.feather")
PARAMETERS = "run_params.json"

_PREFIX = "beta_"
CELL_ID, CLUSTER = "CellID", "Cluster"
_RADIUS = 100.0
_MOST_ROWS = 4096
"""Tables of cells with fewer different rows than this are kept as these rows."""


def import_betadata(
    path: Path | str,
    adata: AnnData,
    *,
    cluster_annot: str | None = None,
    radii: Mapping[str, float] | float | None = None,
) -> dict[str, BetaField]:
    """Read the betas that SpaceTravLR, in Python or Rust, wrote for the cells of a data set.

    Parameters
    ----------
    path
        A `<gene>_betadata.parquet` or `.feather` file, or a folder of them. Rows are cells
        (column or index CellID) or clusters (column Cluster); columns beta0 and
        beta_<modulator>. Modulators without a column have betas of 0.
    adata
        The cells, by name; those that a table lacks have betas of 0.
    cluster_annot
        obs column of the clusters, where rows are clusters.
    radii
        How far ligands reach, which the files do not say: one length, or one for each ligand. By
        default the `radius` of `run_params.json` beside them, else 100.

    Returns
    -------
    The field of each gene; a mapping as perturbations take it.

    Raises
    ------
    FileFormatError
        If there is no such file, or one is damaged or has no betas.
    MissingKeyError
        If a gene is not in the data set.
    DataError, ConfigError
        If no cell or cluster of a table is in the data set, or clusters are not named.
    """
    path = Path(path)
    files = _files_of(path)
    reach = _reach(files[0].parent, radii)
    fields = {}
    for file in files:
        gene = find_gene(adata, _gene_of(file))
        table = _read(file)
        modulators, values = _columns_of(table, file, reach)
        if CLUSTER in table.columns:
            fit_of_cell = _rows_of_clusters(table, file, adata, cluster_annot)
        else:
            fit_of_cell = _rows_of_cells(table, file, adata)
        fields[gene] = _field(gene, modulators, values, fit_of_cell)
    return fields


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(item for item in path.iterdir() if item.name.endswith(SUFFIXES))
    else:
        files = [path] if path.is_file() and path.name.endswith(SUFFIXES) else []
    if not files:
        raise FileFormatError(
            f"{path} has no betas", f"give a file, or a folder of files, ending in {SUFFIXES[0]}"
        )
    return files


def _gene_of(file: Path) -> str:
    """Return the gene of a file; its name may have underscores of its own."""
    for suffix in SUFFIXES:
        if file.name.endswith(suffix):
            return file.name.removesuffix(suffix).replace("%2F", "/")
    return file.stem


def _reach(folder: Path, radii: Mapping[str, float] | float | None) -> Mapping[str, float] | float:
    if radii is not None:
        return radii
    try:
        held = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))
        radius = float(held["radius"])
    except (OSError, ValueError, KeyError, TypeError):
        return _RADIUS
    return radius if np.isfinite(radius) and radius > 0 else _RADIUS


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        table = (pd.read_feather if file.suffix == ".feather" else pd.read_parquet)(file)
        return table.reset_index() if table.index.name == CLUSTER else table
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these two kinds
        raise FileFormatError(f"{file.name} is damaged", "write it again") from error


def _columns_of(
    table: pd.DataFrame, file: Path, reach: Mapping[str, float] | float
) -> tuple[Modulators, Floats]:
    """Return the modulators of a table, by role, and the betas in their order."""
    kinds: tuple[list[str], list[str], list[str]] = ([], [], [])
    for column in map(str, table.columns):
        if column.startswith(_PREFIX):
            kinds[1 if "$" in column else 2 if "#" in column else 0].append(column)
    chosen = [column for kind in kinds for column in kind]
    if not chosen and INTERCEPT not in table:
        raise FileFormatError(f"{file.name} has no column of betas", "give SpaceTravLR's betadata")
    pairs: list[tuple[Pair, ...]] = []
    for sign, kind in (("$", kinds[1]), ("#", kinds[2])):
        split = [column.removeprefix(_PREFIX).partition(sign) for column in kind]
        pairs.append(tuple((ligand, other) for ligand, _, other in split))
    ligands = dict.fromkeys(ligand for kind in pairs for ligand, _ in kind)
    far = reach if isinstance(reach, Mapping) else dict.fromkeys(ligands, float(reach))
    lacking = [ligand for ligand in ligands if ligand not in far]
    if lacking:
        raise ConfigError(f"radii says nothing of the ligand {lacking[0]}", "give it, or a length")
    modulators = Modulators(
        tuple(column.removeprefix(_PREFIX) for column in kinds[0]),
        pairs[0],
        pairs[1],
        {ligand: float(far[ligand]) for ligand in ligands},
    )
    try:
        values = np.zeros((len(table), 1 + len(chosen)))
        if INTERCEPT in table:
            values[:, 0] = table[INTERCEPT].to_numpy(np.float64)
        values[:, 1:] = table[chosen].to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{file.name} has betas that are no numbers", "mend it") from error
    if not np.isfinite(values).all():
        raise FileFormatError(f"{file.name} has betas that are not finite", "mend it")
    return modulators, values


def _rows_of_clusters(
    table: pd.DataFrame, file: Path, adata: AnnData, cluster_annot: str | None
) -> Ints:
    if cluster_annot is None:
        raise ConfigError(
            f"the rows of {file.name} are clusters, and nothing says which cell is in which",
            "give cluster_annot, the obs column of the clusters",
        )
    held = labels(adata, cluster_annot)
    row = {str(name): k for k, name in enumerate(table[CLUSTER])}
    of_code = np.array([row.get(str(name), -1) for name in held.categories], np.intp)
    if (of_code < 0).all():
        raise DataError(
            f"no cluster of {file.name} is a label of {cluster_annot}", "name another obs column"
        )
    return np.asarray(of_code[held.codes], np.intp)


def _rows_of_cells(table: pd.DataFrame, file: Path, adata: AnnData) -> Ints:
    import pandas as pd

    named = table[CELL_ID] if CELL_ID in table.columns else table.index
    names = pd.Index(named).astype(str)
    if names.has_duplicates:
        raise FileFormatError(f"{file.name} has two rows for one cell", "make cell names unique")
    found = np.asarray(names.get_indexer(adata.obs_names.astype(str)), np.intp)
    if (found < 0).all():
        raise DataError(
            f"no cell of {file.name} is in the data set, whose first is {adata.obs_names[0]!r}",
            "open the data set that it was made from",
        )
    return found


def _field(gene: str, modulators: Modulators, values: Floats, row_of_cell: Ints) -> BetaField:
    """Return a field of few different rows, or a dense one."""
    rows = np.ascontiguousarray(values)
    as_one = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, which = np.unique(as_one, return_index=True, return_inverse=True)
    there = row_of_cell >= 0
    if len(first) <= min(_MOST_ROWS, max(len(row_of_cell) // 4, 1)):
        return BetaField(gene, modulators, values[first], np.where(there, which[row_of_cell], -1))
    dense = np.where(there[:, None], values[row_of_cell], 0.0)
    mean = dense[there].mean(axis=0, keepdims=True)
    return BetaField(gene, modulators, mean, np.where(there, 0, -1), dense)
