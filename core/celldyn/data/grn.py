"""Gene regulatory networks: which transcription factor regulates which gene."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.data.prior_tables import called, clean_names, read_table, rename_columns
from celldyn.errors import PriorError

if TYPE_CHECKING:
    import pandas as pd

_ALIASES = {
    "source": ("source", "tf", "from", "regulator", "source_genesymbol", "tf_name"),
    "target": ("target", "to", "target_gene", "target_genesymbol", "gene", "gene_name"),
    "cluster": ("cluster", "cell_type", "celltype", "annotation"),
    "coef_mean": ("coef_mean", "coef", "weight", "importance", "mor"),
    "p": ("p", "p_value", "pvalue", "pval", "p_val"),
}


def read_grn(
    source: Path | str | pd.DataFrame | Mapping[Any, pd.DataFrame],
) -> pd.DataFrame:
    """Read a gene regulatory network as one table of links.

    Parameters
    ----------
    source
        A CSV, TSV or Parquet file; a table; or CellOracle's links, one table per cluster. Columns
        are found under their usual headings (source, TF, from, regulator; target, to, ...).

    Returns
    -------
    One row per link: source, target, and where they are given cluster (text), coef_mean and p
    (numbers; NaN where a row has none).

    Raises
    ------
    PriorError
        If it is a pickle, no table, lacks source or target, or has text where numbers belong.
    """
    import pandas as pd

    if isinstance(source, Mapping):
        table = _of_clusters(source)
    elif isinstance(source, pd.DataFrame):
        table = source
    else:
        table = read_table(source, "GRN")
    name = called("GRN", source)
    links = rename_columns(table, _ALIASES, ("source", "target"), name)
    links = clean_names(links, ("source", "target"), name)
    for column in ("coef_mean", "p"):
        if column in links:
            links[column] = _numbers(links[column], column)
    if "cluster" in links:
        links["cluster"] = links["cluster"].astype(str)
    return links


def _of_clusters(links: Mapping[Any, pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    if not links:
        raise PriorError("the GRN mapping is empty", "give one table of links per cluster")
    for cluster, table in links.items():
        if not isinstance(table, pd.DataFrame):
            raise PriorError(
                f"the GRN of cluster {cluster} is a {type(table).__name__}, not a table",
                "give one table with the columns source and target per cluster",
            )
    tables = [
        rename_columns(table, _ALIASES, ("source", "target"), f"GRN of cluster {cluster}").assign(
            cluster=str(cluster)
        )
        for cluster, table in links.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _numbers(values: pd.Series, column: str) -> pd.Series:
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    given = values.notna() & (values.astype(str).str.strip() != "")
    wrong = values[given & numbers.isna() & (values.astype(str).str.lower() != "nan")]
    if len(wrong):
        raise PriorError(
            f"the GRN column {column} has {wrong.iloc[0]!r} in row {wrong.index[0] + 1}",
            "give numbers there, or leave the column out",
        )
    return numbers
