"""Ligand-receptor pairs, from a table or from liana."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from celldyn.data.prior_tables import called, clean_names, read_table, rename_columns
from celldyn.errors import ConfigError, PriorError, UnavailableError

if TYPE_CHECKING:
    import pandas as pd

SECRETED = "Secreted Signaling"
"""CellChat's class of the ligands that diffuse."""

_ALIASES = {
    "ligand": ("ligand", "source_genesymbol", "ligand_symbol", "gene_a", "0"),
    "receptor": ("receptor", "target_genesymbol", "receptor_symbol", "gene_b", "1"),
    "pathway": ("pathway", "pathway_name", "classification", "2"),
    "signaling": ("signaling", "annotation", "signaling_type", "class", "3"),
}
_COLUMNS = list(_ALIASES)


def read_ligand_receptors(
    source: Path | str | pd.DataFrame, species: str | None = None
) -> pd.DataFrame:
    """Read a table of ligand-receptor pairs.

    Parameters
    ----------
    source
        A CSV, TSV or Parquet file, or a table, with CellChat's columns ligand, receptor, pathway
        and signaling (the headings of COMMOT and CellPhoneDB are known too); or "liana", or
        "liana:<resource>", for a resource of the installed liana.
    species
        "mouse" or "human": which resource "liana" alone means; human if it is None.

    Returns
    -------
    (n_pairs, 4): ligand, receptor, pathway, signaling. Sub-units of a complex are joined by "_".
    Where no class is given, as in liana, signaling is "Secreted Signaling".

    Raises
    ------
    PriorError
        If it is a pickle, no table, lacks a column, or liana has no such resource.
    UnavailableError
        If liana is asked for and not installed.
    """
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        table = source
    elif isinstance(source, str) and (source == "liana" or source.startswith("liana:")):
        table = _liana(source.partition(":")[2], species)
    else:
        table = read_table(source, "ligand-receptor")
    name = called("ligand-receptor", source)
    pairs = rename_columns(table, _ALIASES, ("ligand", "receptor"), name)
    pairs = clean_names(pairs, ("ligand", "receptor"), name)
    for column, default in (("pathway", ""), ("signaling", SECRETED)):
        given = pairs[column] if column in pairs else pd.Series("", index=pairs.index)
        given = given.fillna("").astype(str).str.strip()
        pairs[column] = given.where(given != "", default)
    return pairs[_COLUMNS]


def _liana(resource: str, species: str | None) -> pd.DataFrame:
    import pandas as pd

    # The table is read beside the package: importing all of liana takes seconds.
    spec = find_spec("liana")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "liana, which holds the ligand-receptor pairs, is not installed",
            'run pip install "napari-celldyn[priors]", or give a table of your own',
        )
    path = Path(spec.origin).parent / "resource" / "omni_resource.csv"
    if not path.is_file():
        raise UnavailableError(
            "the installed liana keeps its ligand-receptor pairs in another place",
            "give a table of your own",
        )
    resource = resource or ("mouseconsensus" if species == "mouse" else "consensus")
    columns = ["source_genesymbol", "target_genesymbol", "resource"]
    table = pd.read_csv(path, usecols=columns, keep_default_na=False)
    chosen = table[table["resource"] == resource.lower()]
    if chosen.empty:
        known = ", ".join(sorted(table["resource"].unique()))
        raise PriorError(f"liana has no resource {resource!r}", f"choose one of {known}")
    return chosen[columns[:2]]


def explode_complexes(
    pairs: pd.DataFrame, complexes: Literal["product", "min"] = "product"
) -> pd.DataFrame:
    """Resolve complexes, whose sub-units are joined by "_".

    Parameters
    ----------
    pairs
        What `read_ligand_receptors` returns.
    complexes
        "product": one row for each ligand sub-unit with each receptor sub-unit. "min": rows stay
        as they are, and a complex counts as its scarcest sub-unit.
    """
    if complexes == "min":
        return pairs.reset_index(drop=True)
    if complexes != "product":
        raise ConfigError(f"complexes is {complexes!r}", 'use "product" or "min"')
    for column in ("ligand", "receptor"):
        pairs = pairs.assign(**{column: pairs[column].str.split("_")}).explode(column)
        pairs = pairs[pairs[column] != ""]
    return pairs.reset_index(drop=True)
