"""Where perturbed cells go: chances to reach their neighbours in an embedding, and fates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from celldyn.betas.inputs import Floats, Ints
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run

NOWHERE = "null"
"""Fate of a cell that no type attracts."""

_PAIRS_AT_ONCE = 20_000_000
"""Pairs of cells times genes between two yields: some 30 ms."""


def transition_probabilities(
    delta: ArrayLike,
    expression: ArrayLike,
    embedding: ArrayLike,
    *,
    n_neighbors: int = 150,
    temperature: float = 0.05,
    remove_null: bool = False,
    decimals: int | None = 3,
) -> csr_matrix:
    """Return the chance of each cell to become like each of its neighbours.

    P_ij ∝ exp(corr(delta_i, x_j − x_i) / temperature) over the neighbours j of i, with Pearson's
    correlation over the genes, taken as 1 where it is not defined: a cell that does not change
    goes anywhere alike.

    Parameters
    ----------
    delta, expression
        (n_cells, n_genes) change, and expression before it.
    embedding
        (n_cells, n_dims) coordinates in which neighbours are sought.
    n_neighbors
        Nearest cells, the cell itself among them; it is left out, so that one fewer remains.
    temperature
        Softness of the choice.
    remove_null
        Whether the chances without a change are taken off; then rows sum to 0.
    decimals
        What `delta` is rounded to; None for no rounding.

    Returns
    -------
    (n_cells, n_cells) CSR, float64; rows sum to 1.

    Raises
    ------
    DataError
        If the arrays do not fit each other or are not finite.
    ConfigError
        If a parameter is out of its bounds.
    """
    job = transition_job(
        delta,
        expression,
        embedding,
        n_neighbors=n_neighbors,
        temperature=temperature,
        remove_null=remove_null,
        decimals=decimals,
    )
    return run(job, bar=False)


def transition_job(
    delta: ArrayLike,
    expression: ArrayLike,
    embedding: ArrayLike,
    *,
    n_neighbors: int = 150,
    temperature: float = 0.05,
    remove_null: bool = False,
    decimals: int | None = 3,
) -> Job[csr_matrix]:
    """Compute `transition_probabilities` block by block of cells."""
    from celldyn.betas.perturbing.kernels import pair_correlations

    change, x, places = _checked(delta, expression, embedding, decimals)
    if not (n_neighbors >= 2 and temperature > 0):
        raise ConfigError(
            f"{n_neighbors} neighbours at temperature {temperature:g} give no chances",
            "take at least 2 neighbours and a temperature above 0",
        )
    n_cells, k = len(x), min(n_neighbors, len(x))
    tree = cKDTree(places)
    step = max(_PAIRS_AT_ONCE // max(k * x.shape[1], 1), 1)
    parts: list[csr_matrix] = []
    for first in range(0, n_cells, step):
        rows = np.arange(first, min(first + step, n_cells))
        near = np.asarray(tree.query(places[rows], k=k)[1], np.intp).reshape(len(rows), k)
        weight = np.empty(near.shape)
        pair_correlations(x, change, first, near, weight)
        parts.append(_chances(weight, near, rows, temperature, n_cells, remove_null))
        yield Progress("transitions", int(rows[-1]) + 1, n_cells)
    return _stacked(parts, n_cells)


def _chances(
    correlation: Floats,
    near: Ints,
    rows: Ints,
    temperature: float,
    n_cells: int,
    remove_null: bool,  # noqa: FBT001
) -> csr_matrix:
    """Turn the correlations of some cells into rows of the matrix."""
    weight = np.exp((np.where(np.isnan(correlation), 1.0, correlation) - 1.0) / temperature)
    others = near != rows[:, None]
    weight *= others
    total = weight.sum(axis=1, keepdims=True)
    chance = np.divide(weight, total, out=np.zeros(weight.shape), where=total > 0)
    if remove_null:
        chance -= others / np.maximum(others.sum(axis=1, keepdims=True), 1)
    indptr = np.concatenate(([0], np.cumsum(others.sum(axis=1))))
    block = csr_matrix((chance[others], near[others], indptr), shape=(len(rows), n_cells))
    block.sort_indices()
    return block


def _stacked(blocks: list[csr_matrix], n_cells: int) -> csr_matrix:
    from scipy.sparse import vstack

    if not blocks:
        return csr_matrix((n_cells, n_cells))
    return csr_matrix(vstack(blocks, format="csr"))


def _checked(
    delta: ArrayLike, expression: ArrayLike, embedding: ArrayLike, decimals: int | None
) -> tuple[Floats, Floats, Floats]:
    change = np.asarray(delta, np.float64)
    change = np.ascontiguousarray(change if decimals is None else np.round(change, decimals))
    x = np.ascontiguousarray(expression, np.float64)
    places = np.ascontiguousarray(embedding, np.float64)
    if change.ndim != 2 or change.shape != x.shape or len(places) != len(x) or places.ndim != 2:
        raise DataError(
            f"changes {change.shape}, expression {x.shape} and embedding {places.shape} do not "
            "fit each other",
            "give (n_cells, n_genes) twice, and (n_cells, n_dims)",
        )
    for what, values in (("changes", change), ("expression", x), ("embedding", places)):
        if not np.isfinite(values).all():
            raise DataError(f"some values of the {what} are not finite", "leave those cells out")
    return change, x, places


def embedding_vectors(
    P: csr_matrix,
    embedding: ArrayLike,
    *,
    unit: bool = True,
) -> Floats:
    """Return the mean step of each cell in an embedding: Σ_j P_ij u_ij.

    Parameters
    ----------
    P
        (n_cells, n_cells) from `transition_probabilities`.
    embedding
        (n_cells, n_dims).
    unit
        Whether u_ij is the direction from i to j alone, of length 1, or the whole way.

    Returns
    -------
    (n_cells, n_dims).
    """
    places = np.asarray(embedding, np.float64)
    matrix = csr_matrix(P)
    if places.ndim != 2 or matrix.shape != (len(places), len(places)):
        raise DataError(
            f"the transitions are {matrix.shape} and the embedding {places.shape}",
            "give both of the same cells",
        )
    out = np.zeros(places.shape)
    step = max(_PAIRS_AT_ONCE // 8 * len(places) // max(matrix.nnz, 1), 1)
    for first in range(0, len(places), step):
        some = matrix[first : first + step]
        row = np.repeat(np.arange(some.shape[0]), np.diff(some.indptr))
        away = places[some.indices] - places[first + row]
        if unit:
            length = np.linalg.norm(away, axis=1, keepdims=True)
            away = np.divide(away, length, out=np.zeros(away.shape), where=length > 0)
        away *= some.data[:, None]
        for axis in range(places.shape[1]):
            moved = np.bincount(row, away[:, axis], minlength=some.shape[0])
            out[first : first + some.shape[0], axis] = moved
    return out


def cell_fates(
    P: csr_matrix,
    labels: ArrayLike,
    threshold: float = 0.0,
) -> NDArray[np.object_]:
    """Return the type that each cell becomes.

    Parameters
    ----------
    P
        (n_cells, n_cells) from `transition_probabilities`; its mean over the cells of a type is
        the pull of that type.
    labels
        (n_cells,) type of each cell.
    threshold
        A pull counts if it is above this.

    Returns
    -------
    (n_cells,) the type that pulls most, if it pulls more than the cell's own and counts; else the
    cell's own if that counts; else "null".
    """
    import pandas as pd

    codes, names = pd.factorize(np.asarray(labels).astype(str), sort=True)
    matrix = csr_matrix(P)
    if len(codes) != matrix.shape[0]:
        raise DataError(f"{len(codes)} labels for {matrix.shape[0]} cells", "label every cell")
    count = np.bincount(codes)
    cells = np.arange(len(codes))
    member = csr_matrix((1.0 / count[codes], (cells, codes)), shape=(len(codes), len(names)))
    pull = np.asarray((matrix @ member).toarray())
    best, own = pull.argmax(axis=1), pull[cells, codes]
    fates = np.where(own > threshold, codes, len(names))
    moves = (pull[cells, best] > own) & (pull[cells, best] > threshold)
    fates[moves] = best[moves]
    called: NDArray[np.object_] = np.array([*names, NOWHERE], object)[fates]
    return called
