"""Ligand-target scores, NicheNet's prior: a matrix, or one row for each ligand and target."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.data.prior_tables import read_table
from celldyn.errors import PriorError

if TYPE_CHECKING:
    import pandas as pd

_WHAT = "ligand-target"
_ALIASES = {
    "ligand": ("ligand", "from", "source"),
    "target": ("target", "to", "gene", "target_gene"),
    "weight": ("weight", "score", "regulatory_potential", "prior_interaction_potential", "value"),
}
_LAYOUTS = (
    "give one row per target gene and one column per ligand, or the columns ligand, target, weight"
)
_ZIP = b"PK\x03\x04"


def read_ligand_target(source: Path | str | pd.DataFrame) -> pd.DataFrame:
    """Read a matrix of ligand-target scores.

    Parameters
    ----------
    source
        A CSV, TSV or Parquet file, or a table, in NicheNet's layout: target genes in rows, ligands
        in columns. Or one row for each pair, with the columns ligand, target and weight (from, to
        and score are known, too); pairs without a row score 0, and of equal pairs the largest
        counts. Or an .npz file with a matrix of numbers, the names of its rows under "targets" or
        "genes", and those of its columns under "ligands".

    Returns
    -------
    (n_targets, n_ligands) float64.

    Raises
    ------
    PriorError
        If it is a pickle, no table, or not all numbers.
    """
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        table: Any = source
    elif _is_npz(Path(source)):
        return _of_npz(Path(source))
    else:
        table = read_table(source, _WHAT, index=True)
        if isinstance(table.index, pd.RangeIndex):  # a Parquet file that names no index
            table = table.set_index(table.columns[0])
    long = _long(table)
    if long is not None:
        if not isinstance(source, pd.DataFrame):  # once more, as text: a gene may be called "NA"
            long = _long(read_table(source, _WHAT))
        assert long is not None
        return _of_pairs(long)
    wrong = [str(name) for name, kind in table.dtypes.items() if kind.kind not in "fiu"]
    if wrong or table.empty:
        where = f"column {wrong[0]} is not all numbers" if wrong else "it has no columns"
        raise PriorError(f"the {_WHAT} table cannot be used: {where}", _LAYOUTS)
    table = table.set_axis(table.index.astype(str), axis=0)
    scores: pd.DataFrame = table.set_axis(table.columns.astype(str), axis=1).astype(float)
    return scores


def _long(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return ligand, target and weight of a table of pairs; None if it is none."""
    whole = table.reset_index() if table.index.name is not None else table
    headings = {str(name).strip().casefold(): name for name in reversed(whole.columns)}
    found = {
        name: next((headings[alias] for alias in aliases if alias in headings), None)
        for name, aliases in _ALIASES.items()
    }
    # A matrix, too, may have a gene called "TO"; but its entries are no names.
    if None in found.values() or not all(
        whole[found[name]].dtype.kind in "OUSTV" for name in ("ligand", "target")
    ):
        return None
    pairs = whole[[found[name] for name in _ALIASES]]
    return pairs.set_axis(list(_ALIASES), axis=1)


def _of_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    weight = pd.to_numeric(pairs["weight"], errors="coerce")
    if weight.isna().any():
        row = int(np.argmax(weight.isna()))
        given = pairs["weight"].iloc[row]
        raise PriorError(f"the {_WHAT} table has the weight {given!r} in row {row + 1}", _LAYOUTS)
    named = pairs.assign(
        ligand=pairs["ligand"].astype(str).str.strip(),
        target=pairs["target"].astype(str).str.strip(),
        weight=weight.astype(float),
    )
    best = named.groupby(["target", "ligand"])["weight"].max().unstack().fillna(0.0)
    scores: pd.DataFrame = best.rename_axis(index=None, columns=None)
    return scores


def _is_npz(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == _ZIP


def _of_npz(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name.casefold(): held[name] for name in held.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PriorError(
            f"the {_WHAT} file {path.name} is damaged, or holds Python objects",
            "write it with numpy.savez from a matrix of numbers and two lists of names",
        ) from error
    matrices = [a for a in arrays.values() if a.ndim == 2 and a.dtype.kind in "fiu"]
    rows = next((arrays[name] for name in ("targets", "genes", "target") if name in arrays), None)
    columns = next((arrays[name] for name in ("ligands", "ligand") if name in arrays), None)
    if len(matrices) != 1 or rows is None or columns is None:
        raise PriorError(
            f"the {_WHAT} file {path.name} holds {', '.join(arrays) or 'nothing'}",
            "give one matrix, its rows under targets and its columns under ligands",
        )
    if matrices[0].shape != (len(rows), len(columns)):
        raise PriorError(
            f"the {_WHAT} file {path.name} has a matrix of shape {matrices[0].shape} for "
            f"{len(rows)} targets and {len(columns)} ligands",
            "give one row per target and one column per ligand",
        )
    return pd.DataFrame(matrices[0].astype(float), rows.astype(str), columns.astype(str))
