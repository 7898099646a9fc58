"""Embeddings of the cells: which a data set has, and a UMAP for one that has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.check import require_counts
from celldyn.data.child import child_job, get_matrix, put_matrix, say_stages
from celldyn.data.words import listed
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job

if TYPE_CHECKING:
    from anndata import AnnData

USUAL = (keys.UMAP.name, "X_tsne", keys.LATENT.name, keys.CELL_STATE.name, "X_pca")
"""Embeddings under the names that they usually have, the one to look at first in front."""

MAX_COMPONENTS = 50
"""A matrix with more columns is reduced to so many principal components first."""

N_NEIGHBORS = 15
MIN_CELLS = 10
"""Fewer cells have no neighbourhoods to speak of."""

_NOT_A_STATE = (
    keys.SPATIAL.name, keys.NUCLEUS_RADII.name, keys.CELL_RADII.name, keys.TRUTH_COMPOSITION.name,
)  # fmt: skip
_STAGES = ("principal components", "neighbours", "layout")


def embedding_keys(adata: AnnData) -> list[str]:
    """List the tables of obsm that say where a cell is among states, those usual in front.

    That is every table of at least two columns of numbers which holds neither places in the
    tissue, nor outlines, nor results that have maps of their own.
    """
    found = [str(key) for key in adata.obsm if _is_embedding(str(key), adata.obsm[key])]
    rank = {key: place for place, key in enumerate(USUAL)}
    return sorted(found, key=lambda key: (rank.get(key, len(rank)), not key.startswith("X_"), key))


def _is_embedding(key: str, table: Any) -> bool:  # noqa: ANN401
    if "spatial" in key.casefold() or key in _NOT_A_STATE or key.startswith(_result_prefixes()):
        return False
    if isinstance(table, pd.DataFrame):
        return table.shape[1] >= 2 and all(kind.kind in "fiu" for kind in table.dtypes)
    is_array = isinstance(table, np.ndarray) and table.ndim == 2 and table.shape[1] >= 2
    return is_array and table.dtype.kind in "fiu"


def _result_prefixes() -> tuple[str, ...]:
    results = (keys.BETAS, keys.ARROWS, keys.LANDSCAPE_EFFECT, keys.VELOCITY, keys.FATES,
               keys.FATES_LOW, keys.FATES_HIGH, keys.FATE_PATHS)  # fmt: skip
    return tuple(key.name.partition("{")[0] for key in results)


def embedding(adata: AnnData, key: str, axes: tuple[int, int] = (0, 1)) -> NDArray[np.float64]:
    """Return two axes of an embedding.

    Parameters
    ----------
    adata
        The data set.
    key
        Of obsm.
    axes
        Which columns.

    Returns
    -------
    (n_obs, 2); NaN for a cell that is not in it.

    Raises
    ------
    MissingKeyError
        If there is no such embedding; names those that there are.
    """
    if key not in adata.obsm or not _is_embedding(key, adata.obsm[key]):
        there = embedding_keys(adata)
        remedy = f"there are: {listed(there)}" if there else "compute a UMAP, or open one with it"
        raise MissingKeyError(f"obsm holds no embedding {key!r}", remedy)
    xy = np.array(np.asarray(adata.obsm[key])[:, list(axes)], np.float64)
    xy[~np.isfinite(xy).all(axis=1)] = np.nan
    return xy


def umap_input(adata: AnnData) -> Any:  # noqa: ANN401
    """Return what a UMAP is best made from: a latent space if there is one, else X.

    Returns
    -------
    (n_obs, n_columns) array or sparse matrix that shares nothing with the AnnData.

    Raises
    ------
    DataError
        If the data set has neither, or too few cells.
    """
    if adata.n_obs < MIN_CELLS:
        raise DataError(f"{adata.n_obs} cells are too few for a UMAP", "open more cells")
    for key in (keys.LATENT.name, "X_pca"):
        if key in adata.obsm:
            return np.array(adata.obsm[key], np.float32)
    if adata.X is None:
        raise DataError("the data set has no X to make a UMAP from", "give it X or obsm['X_pca']")
    return adata.X[:].copy()


def umap_job(matrix: Any, *, seed: int = 0) -> Job[NDArray[np.float32]]:  # noqa: ANN401
    """Lay cells out in two dimensions with scanpy's neighbours and UMAP; progress counts stages.

    It runs in a Python of its own: the libraries hold the interpreter's lock for seconds, and
    cannot be stopped in the middle.

    Parameters
    ----------
    matrix
        (n_cells, n_columns) dense or sparse. Counts are brought to a common depth and
        logarithms; of more than 50 columns the first 50 principal components are taken.
    seed
        Of the layout.

    Returns
    -------
    (n_cells, 2) float32.

    Raises
    ------
    DataError
        If the layout cannot be made; says what the library said.
    """
    with TemporaryDirectory(prefix="celldyn-umap-") as folder:
        given = put_matrix(matrix, Path(folder))
        made = Path(folder, "umap.npy")
        arguments = [str(given), str(made), str(seed)]
        yield from child_job(f"{__name__}:umap_file", arguments, _STAGES, made, "UMAP")
        layout: NDArray[np.float32] = np.load(made)
        return layout


def umap_file(matrix: str, result: str, seed: str) -> None:
    """Do the work of `umap_job` from file to file; each stage is written as a line."""
    from anndata import AnnData

    adata = AnnData(get_matrix(Path(matrix)))
    say_stages(_umap_stages(adata, int(seed)))
    np.save(result, np.asarray(adata.obsm[keys.UMAP.name], np.float32))


def _umap_stages(adata: AnnData, seed: int) -> Iterator[str]:
    """Name each stage, then do it."""
    import scanpy

    yield _STAGES[0]
    reduced = adata.n_vars > MAX_COMPONENTS
    if reduced:
        with suppress(DataError):  # logarithms and the like stay as they are
            require_counts(adata)
            scanpy.pp.normalize_total(adata)
            scanpy.pp.log1p(adata)
        most = min(MAX_COMPONENTS, *(side - 1 for side in adata.shape))
        scanpy.pp.pca(adata, n_comps=most, random_state=seed)
    yield _STAGES[1]
    scanpy.pp.neighbors(
        adata,
        n_neighbors=min(N_NEIGHBORS, adata.n_obs - 1),
        use_rep="X_pca" if reduced else "X",
        random_state=seed,
    )
    yield _STAGES[2]
    scanpy.tl.umap(adata, random_state=seed)
