"""What a tissue in view has of what a landscape is learned from. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from celldyn import keys
from celldyn.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.keys import Key

RAW, GRAPH, LIBRARY = "raw", "connectivities", "librarysize"
"""Where counts, neighbours and library sizes are looked for first."""
VARIABLE = "highly_variable"
"""Column of var that scanpy marks variable genes in."""

_COUNT_WORDS = ("raw", "counts", "count", "umi")
_LOOKED_AT = 2000
"""Values of X that tell whether it holds counts."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is there.

    Parameters
    ----------
    layer
        Layer of raw counts; None where none is chosen.
    normalised
        Whether X is log-normalised.
    graph
        Whether there are neighbours.
    library
        Whether there are library sizes; they are counted where there are none.
    n_genes
        Genes that are modelled.
    """

    layer: str | None
    normalised: bool
    graph: bool
    library: bool
    n_genes: int

    @property
    def missing(self) -> list[str]:
        """What has to be there and is not."""
        asked = {
            "a layer of raw counts": self.layer is not None,
            "log-normalised X": self.normalised,
            "a neighbour graph": self.graph,
        }
        return [what for what, there in asked.items() if not there]

    @property
    def words(self) -> str:
        """Say what is there and what is missing."""
        there = [f"{self.n_genes:,} genes"]
        there += [f"counts in layers[{self.layer!r}]"] if self.layer is not None else []
        there += ["log-normalised X"] if self.normalised else []
        there += ["neighbours"] if self.graph else []
        said = f"There: {', '.join(there)}."
        if self.missing:
            return f"{said} Missing: {', '.join(self.missing)}."
        return said if self.library else f"{said} Library sizes are counted from the layer."


def look_at(adata: AnnData, layer: str | None, genes: str | None = None) -> Found:
    """Return what a tissue has; only a little of X is looked at.

    Parameters
    ----------
    adata
        The tissue.
    layer
        The layer of counts that is chosen.
    genes
        A column of var that says which genes are modelled; None for all.
    """
    n_genes = adata.n_vars if genes is None else int(np.asarray(adata.var[genes]).sum())
    return Found(
        layer,
        adata.X is not None and not holds_counts(adata.X),
        GRAPH in adata.obsp,
        LIBRARY in adata.obs,
        n_genes,
    )


def propose_layer(adata: AnnData) -> str | None:
    """Return the layer that holds counts, by its name; None where none does."""
    plain = {str(name): str(name).casefold() for name in adata.layers}
    for word in _COUNT_WORDS:
        for name, letters in plain.items():
            if letters == word or letters == f"{word}s":
                return name
    return None


def gene_columns(adata: AnnData) -> list[str]:
    """Return the columns of var that say yes or no of each gene, and yes of two or more."""
    return [
        str(name)
        for name in adata.var.columns
        if adata.var[name].dtype == bool and int(adata.var[name].sum()) > 1
    ]


def propose_genes(adata: AnnData) -> str | None:
    """Return the column of variable genes, where it leaves some out."""
    there = VARIABLE in gene_columns(adata)
    return VARIABLE if there and not adata.var[VARIABLE].all() else None


def apart(adata: AnnData, genes: str | None = None) -> AnnData:
    """Return an AnnData of its own that shares its matrices: what a job may hold.

    The window writes new columns and keys into its own; matrices are replaced, not written into.

    Parameters
    ----------
    adata
        The tissue in view.
    genes
        A column of var that says which genes are taken along; None for all.

    Raises
    ------
    DataError
        If the tissue stays on disk.
    """
    from anndata import AnnData as Tissue

    if adata.isbacked:
        raise DataError(
            "the tissue is too large for memory and is read piece by piece",
            "learn the landscape of a part of its cells, or on the command line",
        )
    made = Tissue(
        X=adata.X,
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        obsm=dict(adata.obsm),
        layers=dict(adata.layers),
        obsp=dict(adata.obsp),
        uns=dict(adata.uns),
    )
    return made if genes is None else made[:, np.asarray(adata.var[genes], bool)]


def labels_apart(adata: AnnData, column: str) -> AnnData:
    """Return an AnnData of nothing but one column of obs, for a job to hold.

    Raises
    ------
    DataError
        If no column is chosen, or it has no value for a cell.
    """
    from anndata import AnnData as Tissue

    from celldyn.data import labels

    if not column:
        raise DataError(
            "the tissue has no column of clusters",
            "lasso cells and name them in the Tissue dock, or open a file with clusters",
        )
    obs = pd.DataFrame({column: labels(adata, column)}, index=adata.obs_names)
    return Tissue(obs=obs)


def holds_any(adata: AnnData | None, key: Key) -> bool:
    """Whether an AnnData holds results under a key with a name in it; loads no model to see."""
    home = {} if adata is None else adata.uns.get(keys.CELLDYN.name, {})
    prefix = key(name="")
    return any(str(name).startswith(prefix) for name in home)


def holds_counts(matrix: Any) -> bool:  # noqa: ANN401
    """Whether the first values of a matrix that are not 0 are whole; not all are looked at."""
    rows = matrix[: max(_LOOKED_AT // max(matrix.shape[1], 1), 20)]
    values = rows.data if sparse.issparse(rows) else np.asarray(rows).ravel()
    some = values[values != 0]
    return bool(some.size) and bool((some == np.rint(some)).all())
