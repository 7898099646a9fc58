"""Pseudotime from a root: diffusion pseudotime of cells that a person knows to be early.

Shapes: n cells.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import counted, listed
from celldyn.devices import aside_job
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.graph import Csr, Floats, neighbour_graph

if TYPE_CHECKING:
    from anndata import AnnData

Root: TypeAlias = "str | int | Sequence[str] | Sequence[int] | NDArray[Any]"

MOST_ROOTS = 10
"""Of more root cells those deepest inside the root are taken."""

_N_COMPONENTS = 10
"""Diffusion components, the stationary one among them; scanpy's."""
_STATIONARY = 0.9994
"""From here on an eigenvalue is 1 but for rounding; scanpy's."""
_BORDER = 30
"""Cells outside the root whose distance tells how deep inside it a cell is."""
_FEW = 64
"""Of so few cells the whole matrix is solved."""


def pseudotime_from_root(adata: AnnData, root: Root, **options: Any) -> Floats:  # noqa: ANN401
    """Return diffusion pseudotime from a root, (n,); see `pseudotime_from_root_job`."""
    return run(pseudotime_from_root_job(adata, root, **options), bar=False)


def pseudotime_from_root_job(
    adata: AnnData,
    root: Root,
    *,
    cluster_key: str | None = None,
    connectivities_key: str = "connectivities",
    n_components: int = _N_COMPONENTS,
    seed: int = 0,
) -> Job[Floats]:
    """Compute diffusion pseudotime from root cells as a job.

    Of one root cell it is scanpy's `tl.dpt`, the Euclidean distance in diffusion components that
    are weighted by λ/(1 − λ) (Haghverdi et al. 2016). Of several it is the mean of theirs. Of
    more than 10 those 10 are taken that lie deepest inside the root, with the largest distance
    from cells outside: the tip of a cluster that ends there, the middle of one that does not.

    Parameters
    ----------
    adata
        With a neighbour graph in obsp; where it has none, one is computed of obsm["X_vae"] or
        ["X_pca"], or of X. What is needed is taken out of it now; it is left as it is.
    root
        A cell or cells, by name or number or as a (n,) mask; or, with `cluster_key`, a cluster or
        clusters.
    cluster_key
        Column of obs in which `root` is a cluster.
    connectivities_key
        The graph in obsp.
    n_components
        Diffusion components.
    seed
        Of the eigenvectors' start, and of neighbours that are computed.

    Returns
    -------
    (n,) float64 in [0, 1]; NaN for cells that no root is connected with.

    Raises
    ------
    MissingKeyError
        If a cell, a cluster or the column is not there.
    DataError
        If the root is no cell or every cell, or the graph is none of n x n.
    ConfigError
        If there are to be fewer than 2 components.
    """
    if n_components < 2:
        raise ConfigError(f"n_components is {n_components}", "give 2 or more")
    cells = root_cells(adata, root, cluster_key)
    if connectivities_key in adata.obsp:
        graph: Any = neighbour_graph(adata.obsp[connectivities_key], adata.n_obs)
        return pseudotime_job(graph, cells, n_components=n_components, seed=seed)
    from celldyn.data.embed import umap_input

    return _with_neighbours_job(umap_input(adata), cells, n_components, seed)


def _with_neighbours_job(
    matrix: Any,  # noqa: ANN401
    cells: NDArray[np.intp],
    n_components: int,
    seed: int,
) -> Job[Floats]:
    from celldyn.data.neighbours import neighbours_job

    near = yield from neighbours_job(matrix, seed=seed)
    graph = neighbour_graph(near.connectivities)
    return (yield from pseudotime_job(graph, cells, n_components=n_components, seed=seed))


def root_cells(adata: AnnData, root: Root, cluster_key: str | None = None) -> NDArray[np.intp]:
    """Return the positions of root cells; see `pseudotime_from_root_job`."""
    given = np.atleast_1d(np.asarray(root))
    if cluster_key is not None:
        at = _of_clusters(adata, given, cluster_key)
    elif given.dtype == np.bool_:
        if given.shape != (adata.n_obs,):
            raise DataError(f"the root is a mask of {given.size} cells for {adata.n_obs}",
                            "give one value per cell")  # fmt: skip
        at = np.flatnonzero(given)
    elif given.dtype.kind in "iu" and given.ndim == 1:
        outside = given[(given < 0) | (given >= adata.n_obs)]
        if outside.size:
            raise MissingKeyError(f"there is no cell {outside[0]}",
                                  f"cells are numbered 0 to {adata.n_obs - 1}")  # fmt: skip
        at = given.astype(np.intp)
    else:
        at = adata.obs_names.get_indexer_for(given.astype(str))
        if (at < 0).any():
            names = [str(name) for name in given if str(name) not in adata.obs_names]
            raise MissingKeyError(f"there is no cell {listed(names, 3)}",
                                  "name cells, or give cluster_key to name a cluster")  # fmt: skip
    at = np.unique(at)
    if not at.size:
        raise DataError("the root has no cells", "name one or more")
    return at


def _of_clusters(adata: AnnData, names: NDArray[Any], key: str) -> NDArray[np.intp]:
    if key not in adata.obs:
        raise MissingKeyError(f"there is no column {key!r} in obs",
                              f"use one of {listed(adata.obs.columns, 8)}")  # fmt: skip
    labels = adata.obs[key].astype(str).to_numpy()
    for name in names.astype(str):
        if name not in labels:
            there = listed(sorted(set(labels)))
            raise MissingKeyError(f"no cell has {key} {name!r}", f"there are: {there}")
    return np.flatnonzero(np.isin(labels, names.astype(str)))


def pseudotime_job(
    graph: Csr, roots: NDArray[np.intp], *, n_components: int = _N_COMPONENTS, seed: int = 0
) -> Job[Floats]:
    """Compute diffusion pseudotime on a graph; see `pseudotime_from_root_job`.

    Parameters
    ----------
    graph
        (n, n) weights; it may fall into parts, each of which has a pseudotime of its own.
    roots
        Positions of root cells, rising.
    """
    from scipy.sparse.csgraph import connected_components

    n = graph.shape[0]
    if len(roots) == n:
        raise DataError("the root is every cell", "choose those that are early")
    yield Progress("pseudotime", 0, 1, "parts of the graph")
    _, part = connected_components(graph, directed=False)
    time = np.full(n, np.nan)
    reached = np.unique(part[roots])
    for k, number in enumerate(reached):
        cells = np.flatnonzero(part == number)
        inside = np.searchsorted(cells, roots[part[roots] == number])
        yield Progress("pseudotime", k, len(reached), counted(len(cells), "cell"))
        if len(inside) == len(cells):
            time[cells] = 0.0
            continue
        whole = len(cells) == n
        places = yield from _components_job(
            graph if whole else graph[cells][:, cells], n_components, seed
        )
        time[cells] = _from(places, _deepest(places, inside))
    return time


def _components_job(graph: Csr, n_components: int, seed: int) -> Job[Floats]:
    """Return diffusion components of a connected graph, scaled so that distance is DPT's."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = graph.shape[0]
    symmetric = _transitions(graph)
    if n <= max(_FEW, n_components + 1):
        values, vectors = np.linalg.eigh(symmetric.toarray())
        order = np.argsort(-np.abs(values))[: min(n_components, n)]
        return _scaled(values[order], vectors[:, order])
    stopped = threading.Event()

    def times(x: Floats) -> Floats:
        if stopped.is_set():
            raise _StoppedError
        return np.asarray(symmetric @ x)

    start = np.random.default_rng(seed).standard_normal(n)
    operator = LinearOperator((n, n), matvec=times, dtype=np.float64)
    job = aside_job(
        lambda: eigsh(operator, k=n_components, which="LM", v0=start), "pseudotime",
        "diffusion components", total=1,
    )  # fmt: skip
    try:
        while True:
            try:
                step = next(job)
            except StopIteration as end:
                values, vectors = end.value
                return _scaled(values, vectors)
            yield step
    finally:
        stopped.set()
        job.close()


class _StoppedError(Exception):
    """Ends the search for eigenvectors when nobody wants them any more."""


def _transitions(graph: Csr) -> Csr:
    """Return symmetric transitions whose density of cells is divided out (Coifman, Lafon 2006)."""
    from scipy import sparse

    density: Floats = np.asarray(graph.sum(axis=0)).ravel()
    scale = sparse.diags_array(1.0 / density, format="csr")
    even = scale @ graph @ scale
    root = sparse.diags_array(1.0 / np.sqrt(np.asarray(even.sum(axis=0)).ravel()), format="csr")
    found: Csr = sparse.csr_array(root @ even @ root)
    return found


def _scaled(values: Floats, vectors: Floats) -> Floats:
    near_one = values >= _STATIONARY
    weight = np.where(near_one, 1.0, values / np.where(near_one, 1.0, 1.0 - values))
    scaled: Floats = vectors * weight
    return scaled


def _deepest(places: Floats, inside: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the root cells that are farthest from cells outside the root."""
    if len(inside) <= MOST_ROOTS:
        return inside
    from scipy.spatial import cKDTree

    outside = np.delete(places, inside, axis=0)
    k = min(_BORDER, len(outside))
    far = np.asarray(cKDTree(outside).query(places[inside], k=k)[0]).reshape(len(inside), k)
    return np.sort(inside[np.argsort(-far.mean(axis=1), kind="stable")[:MOST_ROOTS]])


def _from(places: Floats, roots: NDArray[np.intp]) -> Floats:
    """Return mean distances from roots, (n,), brought to [0, 1]."""
    time = np.zeros(len(places))
    for root in roots:
        time += np.linalg.norm(places - places[root], axis=1)
    time -= time.min()
    last = time.max()
    return time / last if last > 0 else time
