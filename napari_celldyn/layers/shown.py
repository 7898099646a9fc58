"""What the layers ask of the shown column: what it depends on, its table, its isolated part."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pandas as pd

from celldyn import keys

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.data import Column, Source


def keys_of(source: Source | None) -> frozenset[str]:
    """Return the keys that a coloured column depends on, as the workspace announces them."""
    if source is None:
        return frozenset()
    if source.slot == "obs":
        return frozenset({f"obs/{source.key}", keys.COLOURS.path(column=source.key)})
    return frozenset({source.slot, f"{source.slot}/{source.key}"})


def cell_table(adata: AnnData, column: Column | None) -> pd.DataFrame:
    """Return the name of every cell and the shown value, for napari's features of a layer."""
    table: dict[str, Any] = {"cell": adata.obs_names.to_numpy()}
    if column is not None and column.label != "cell":
        table[column.label] = (
            column.values
            if column.codes is None
            else pd.Categorical.from_codes(column.codes, categories=column.categories)
        )
    return pd.DataFrame(table)


def isolated_codes(column: Column | None, isolated: Collection[str] | None) -> list[int] | None:
    """Return the codes of the isolated categories; None where none are, or there are no codes."""
    if isolated is None or column is None or column.categories is None:
        return None
    return [code for code, name in enumerate(column.categories) if name in isolated]
