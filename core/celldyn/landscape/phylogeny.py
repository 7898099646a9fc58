"""Which clusters may follow which: as a mask of the neighbour graph, and inferred from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.errors import DataError
from celldyn.landscape.graph import (
    Csr,
    Floats,
    Ints,
    Matrix,
    neighbour_graph,
    refuse_isolated,
    rows_of,
)


def phylogeny_mask(
    connectivities: Matrix,
    labels: ArrayLike,
    children: Mapping[Any, Iterable[Any]],
    *,
    descendants: bool = False,
) -> Csr:
    """Return the neighbour graph without the edges that a phylogeny forbids.

    An edge from i to j stays where j is of i's own cluster or of one of its children. No cell is
    dropped: a cell that no edge is left to has one to itself, so that a walk which comes to it
    rests there.

    Parameters
    ----------
    connectivities
        (n, n) neighbour graph.
    labels
        (n,) cluster of each cell; compared as text.
    children
        Cluster to the clusters that come directly from it; a cluster that is not named has none.
    descendants
        Whether children of children may be reached in one step, too.

    Returns
    -------
    (n, n) CSR with the weights of the graph; give it to `prior_transition`.

    Raises
    ------
    DataError
        If the graph is not (n, n), a cell is without a neighbour or a cluster, or the phylogeny
        names a cluster that no cell is of.
    """
    graph = neighbour_graph(connectivities)
    refuse_isolated(graph, "compute the graph with more neighbours, or drop them")
    names, codes = label_codes(labels, graph.shape[0])
    allowed = _allowed(names, children, descendants=descendants)
    kept = allowed[codes[rows_of(graph)], codes[graph.indices]]
    graph.data[~kept] = 0.0
    graph.eliminate_zeros()
    stuck = np.diff(graph.indptr) == 0
    if not stuck.any():
        return graph
    joined = sparse.csr_array(graph + sparse.diags_array(stuck.astype(np.float64), format="csr"))
    joined.eliminate_zeros()
    joined.sort_indices()
    return joined


def infer_phylogeny(
    connectivities: Matrix,
    labels: ArrayLike,
    root: Any,  # noqa: ANN401
) -> dict[str, tuple[str, ...]]:
    """Return which clusters come from which, read off how they are connected.

    Clusters are joined one by one, from the root on: next comes the cluster with the strongest
    link to one that is joined, as the child of that one. A link's strength is the weight between
    two clusters over what it would be if the same edges were laid at random, d_a d_b / Σ d with d
    the weight that leaves a cluster: so large clusters are not parents for being large. It is the
    maximum spanning tree of these strengths, hung from the root.

    Parameters
    ----------
    connectivities
        (n, n) neighbour graph with its weights.
    labels
        (n,) cluster of each cell; compared as text.
    root
        Cluster in which it all begins.

    Returns
    -------
    Every cluster with its children, strongest first; give it to `phylogeny_mask`.

    Raises
    ------
    DataError
        If no cell is of the root's cluster, or clusters are not connected to it.

    Notes
    -----
    sclsd 0.3.0 `infer_phylo` computes neighbours anew whenever it has placed a cluster, and lets a
    cluster have a child which is linked far more strongly to another child.
    """
    graph = neighbour_graph(connectivities)
    names, codes = label_codes(labels, graph.shape[0])
    if str(root) not in names:
        raise DataError(f"no cell is of cluster {root}", f"the root is one of {', '.join(names)}")
    strength = _strengths(graph, codes, len(names))
    at = names.index(str(root))
    children: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    link, parent = strength[at].copy(), np.full(len(names), at)
    joined = np.zeros(len(names), dtype=bool)
    joined[at] = True
    for _ in range(len(names) - 1):
        best = int(np.argmax(np.where(joined, -1.0, link)))
        if link[best] <= 0:
            left = ", ".join(name for name, there in zip(names, joined, strict=True) if not there)
            raise DataError(
                f"no edge of the graph leads on to {left}",
                "compute the graph with more neighbours, or leave those clusters out",
            )
        children[names[parent[best]]] += (names[best],)
        joined[best] = True
        nearer = strength[best] > link
        link[nearer], parent[nearer] = strength[best][nearer], best
    return children


def label_codes(labels: ArrayLike, n_cells: int) -> tuple[list[str], Ints]:
    """Return the clusters in order of their names, and the number of each cell's, (n,).

    Raises
    ------
    DataError
        If there is not one label per cell.
    """
    import pandas as pd

    given = pd.Series(np.asarray(labels, dtype=object).ravel())
    if given.size != n_cells:
        raise DataError(f"{given.size} labels for {n_cells} cells", "give one label per cell")
    if given.isna().any():
        raise DataError(
            f"{int(given.isna().sum())} cells have no cluster", "label them, or leave them out"
        )
    names, codes = np.unique(given.astype(str).to_numpy(dtype=object), return_inverse=True)
    return [str(name) for name in names], codes.astype(np.int64).ravel()


def _allowed(
    names: list[str], children: Mapping[Any, Iterable[Any]], *, descendants: bool
) -> NDArray[np.bool_]:
    """Return (n_clusters, n_clusters): whether a walk may step from one cluster to another."""
    number = {name: k for k, name in enumerate(names)}
    allowed = np.eye(len(names), dtype=bool)
    for parent, heirs in children.items():
        for name in (parent, *([heirs] if isinstance(heirs, str) else heirs)):
            if str(name) not in number:
                raise DataError(
                    f"the phylogeny names {name}, and no cell is of it",
                    f"clusters are {', '.join(names)}",
                )
            allowed[number[str(parent)], number[str(name)]] = True
    if descendants:
        for _ in range(len(names).bit_length()):  # paths twice as long each time
            allowed = (allowed.astype(np.float32) @ allowed.astype(np.float32)) > 0
    return allowed


def _strengths(graph: Csr, codes: Ints, n_clusters: int) -> Floats:
    """Return (n_clusters, n_clusters) weight between clusters over what chance would give."""
    pair = codes[rows_of(graph)] * n_clusters + codes[graph.indices]
    weight = np.bincount(pair, graph.data, minlength=n_clusters**2).astype(np.float64)
    between: Floats = weight.reshape(n_clusters, n_clusters)
    between = between + between.T
    leaves = between.sum(axis=1)
    chance = np.outer(leaves, leaves)
    strength = np.zeros_like(between)
    np.divide(between * leaves.sum(), chance, out=strength, where=chance > 0)
    return strength
