"""Tables of prior knowledge on disk: CSV, TSV and Parquet; a pickle is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from celldyn.errors import PriorError

if TYPE_CHECKING:
    import pandas as pd

_PICKLES = (".pkl", ".pickle", ".celloracle.links")
_GZIP, _PARQUET, _PICKLE = b"\x1f\x8b", b"PAR1", b"\x80"
_AS_TABLE = "save the table as CSV, TSV or Parquet"


def read_table(path: Path | str, what: str, *, index: bool = False) -> pd.DataFrame:
    """Read a table that is CSV, TSV or Parquet, whatever its name ends in.

    Parameters
    ----------
    path
        The file; CSV and TSV may be gzipped.
    what
        What it should be ("GRN"), for the sentence when it is not.
    index
        Whether the first column names the rows, and the others are numbers. Without it, text
        stays text: a gene called "NA" is a gene.

    Raises
    ------
    PriorError
        If it is missing, empty, a pickle, or no table.
    """
    path = Path(path)
    if not path.is_file():
        raise PriorError(f"the {what} file {path} is not there", "check the path")
    with path.open("rb") as file:
        head = file.read(4096)
    if path.name.lower().endswith(_PICKLES) or head.startswith(_PICKLE):
        raise PriorError(
            f"the {what} file {path.name} is a pickle, which can run any code when it is opened",
            "open it where it was made and save the table as CSV or Parquet",
        )
    if not head.strip():
        raise PriorError(f"the {what} file {path.name} is empty", _AS_TABLE)
    table = _parquet(path, what) if head.startswith(_PARQUET) else _text(path, what, index=index)
    if table.empty:
        raise PriorError(f"the {what} file {path.name} has no rows", _AS_TABLE)
    return table


def _parquet(path: Path, what: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these two kinds
        raise PriorError(
            f"the {what} file {path.name} is a damaged Parquet file", _AS_TABLE
        ) from (error)


def _text(path: Path, what: str, *, index: bool) -> pd.DataFrame:
    import pandas as pd

    try:
        line = _first_line(path)
        if "\0" in line:
            raise ValueError("binary")
        return pd.read_csv(
            path,
            sep=max("\t,;", key=line.count),
            compression="gzip" if _is_gzip(path) else None,
            encoding="utf-8-sig",
            index_col=0 if index else None,
            dtype=None if index else str,
            keep_default_na=index,
        )
    except (ValueError, OSError, EOFError) as error:
        raise PriorError(f"the {what} file {path.name} is not a table", _AS_TABLE) from error


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _first_line(path: Path) -> str:
    import gzip

    if _is_gzip(path):
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            return file.readline()
    with path.open(encoding="utf-8-sig") as file:
        return file.readline()


def called(what: str, source: object) -> str:
    """Return what to call a table: "GRN table", or "GRN table links.csv" if it is a file."""
    return (
        f"{what} table {Path(source).name}" if isinstance(source, str | Path) else f"{what} table"
    )


def rename_columns(
    table: pd.DataFrame,
    aliases: Mapping[str, Iterable[str]],
    required: Iterable[str],
    what: str,
) -> pd.DataFrame:
    """Return the columns that are known under their one name, in the order of `aliases`.

    Parameters
    ----------
    table
        Any table.
    aliases
        For each name, the headings that mean it, the best first; compared case-free.
    required
        Names that must be found.
    what
        What to call the table in the sentence when a column is missing; see `called`.

    Raises
    ------
    PriorError
        If a required column is missing; it names what was looked for and what is there.
    """
    headings = {str(heading).strip().casefold(): heading for heading in reversed(table.columns)}
    found = {
        name: next((headings[alias] for alias in known if alias in headings), None)
        for name, known in aliases.items()
    }
    missing = [name for name in required if found[name] is None]
    if missing:
        looked_for = " and ".join(f"{name} (or {', '.join(aliases[name])})" for name in missing)
        there = ", ".join(str(heading)[:40] for heading in table.columns[:20])
        raise PriorError(
            f"the {what} has no column for {looked_for}; its columns are {there}",
            "rename its columns",
        )
    present = {name: heading for name, heading in found.items() if heading is not None}
    renamed = table[list(present.values())].copy()
    renamed.columns = list(present)
    return renamed.reset_index(drop=True)


def clean_names(table: pd.DataFrame, columns: Iterable[str], what: str) -> pd.DataFrame:
    """Return the rows in which none of these columns is empty, names stripped of blanks."""
    for column in columns:
        names = table[column].fillna("").astype(str).str.strip()
        table = table.assign(**{column: names})[names != ""]
    if table.empty:
        raise PriorError(f"the {what} names no gene in any row", "check its columns")
    return table.reset_index(drop=True)
