"""Parts of an AnnData as modalities of their own: layers, and tables such as coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from celldyn.errors import MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData


def as_modality(adata: AnnData, source: str = "X") -> AnnData:
    """Return one part of an AnnData as a modality of its own, with the same cells and obs.

    Parameters
    ----------
    adata
        Cells.
    source
        "X", "layers/NAME", or "obsm/NAME", such as "obsm/spatial" for coordinates.

    Raises
    ------
    MissingKeyError
        If there is no such part.
    """
    import anndata
    import pandas as pd

    if source == "X":
        return adata
    slot, _, name = source.partition("/")
    if slot not in ("layers", "obsm") or name not in getattr(adata, slot):
        there = ["X", *(f"layers/{k}" for k in adata.layers), *(f"obsm/{k}" for k in adata.obsm)]
        raise MissingKeyError(f"{source!r} is no part of the data", f"there are {there}")
    part = getattr(adata, slot)[name]
    if slot == "layers":
        return anndata.AnnData(part, obs=adata.obs, var=adata.var)
    columns = part.columns if isinstance(part, pd.DataFrame) else _axes(name, part.shape[1])
    values = part.to_numpy() if isinstance(part, pd.DataFrame) else part
    return anndata.AnnData(values, obs=adata.obs, var=pd.DataFrame(index=list(map(str, columns))))


def _axes(name: str, n: int) -> Sequence[str]:
    if "spatial" in name and n in (2, 3):
        return "xyz"[:n]
    return [f"{name}_{k}" for k in range(n)]
