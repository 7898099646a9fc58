"""From a tissue of raw counts to one that a landscape is learned of, all genes kept. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.jobs import Job, Progress
from napari_celldyn.widgets.landscape_tissue import GRAPH, RAW, VARIABLE, holds_counts

if TYPE_CHECKING:
    from anndata import AnnData

MOST_VARIABLE = 2000
"""Genes that are marked as variable, where there are more."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What was made of a tissue.

    Parameters
    ----------
    slots
        Slot, key, value of what is new; X under the slot "X".
    tissue
        The tissue that takes the place of the one in view, where cells had to go; else None.
    notes
        What a person should know, in sentences.
    """

    slots: tuple[tuple[str, str, Any], ...]
    tissue: AnnData | None
    notes: tuple[str, ...]


def prepared_job(adata: AnnData, n_genes: int = MOST_VARIABLE) -> Job[Prepared]:
    """Find what is missing: counts in a layer, logarithms in X, variable genes, neighbours.

    Parameters
    ----------
    adata
        With raw counts in X or a layer; it is left as it is.
    n_genes
        How many of the most variable genes are marked in var.

    Raises
    ------
    CelldynError
        If there are no counts.
    """
    from celldyn.landscape.preparing import count_layer, prepare_job

    layer = count_layer(adata)
    found = yield from prepare_job(adata, layer=layer, n_top_genes=min(n_genes, adata.n_vars))
    made = found.adata
    if made.n_obs < adata.n_obs:  # walks cannot go through cells without counts
        return Prepared((), made, found.notes)
    yield Progress("preparing", 1, 1, "all genes")
    kept = np.isin(adata.var_names, made.var_names)
    slots: list[tuple[str, str, Any]] = [
        ("obsm", "X_pca", made.obsm.get("X_pca")),
        ("obsp", GRAPH, made.obsp[GRAPH]),
        ("obsp", "distances", made.obsp["distances"]),
        ("uns", "neighbors", made.uns["neighbors"]),
    ]
    if not kept.all():
        slots.append(("var", VARIABLE, kept))
    if not layer:
        slots.append(("layers", RAW, adata.X.copy()))
    if holds_counts(adata.X):
        slots.append(("X", "", _log_normalised(adata, layer)))
    there = {(slot, str(key)) for slot in ("obsm", "obsp", "uns") for key in getattr(adata, slot)}
    fresh = [each for each in slots if each[:2] not in there and each[2] is not None]
    return Prepared(tuple(fresh), None, found.notes)


def write_prepared(adata: AnnData, prepared: Prepared) -> set[str]:
    """Write into a tissue what was made of it, and return the keys."""
    for slot, key, value in prepared.slots:
        if slot == "X":
            adata.X = value
        else:
            getattr(adata, slot)[key] = value
    return {f"{slot}/{key}".rstrip("/") for slot, key, _ in prepared.slots}


def _log_normalised(adata: AnnData, layer: str) -> Any:  # noqa: ANN401
    from scipy import sparse

    from celldyn.data.genes import matrix_of
    from celldyn.landscape.preparing import log_normalised

    return log_normalised(sparse.csr_matrix(matrix_of(adata, layer or None), dtype=np.float32))
