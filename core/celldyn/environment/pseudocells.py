"""Pseudocells of two stages, paired by optimal transport, for going from one to the other.

Shapes: n cells of a stage, k pseudocells, G raw features. Source: specs/environment.md C.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import counted
from celldyn.devices import aside_job
from celldyn.environment.preprocessing_blocks import as_modalities
from celldyn.environment.transport import coupling, distances, require_few
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]
Pair = tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]

_MOST_ITERATIONS = 300
_STEP = 3e9
"""Multiplications of k-means between two words of a job, about 0.3 s."""
_CAREFUL = 1e11
"""Up to so many multiplications k-means begins from centres that lie apart (k-means++)."""


def generate_pseudocells(
    origin_modalities: Sequence[Any],
    terminal_modalities: Sequence[Any],
    kmeans_modality: int = 0,
    ot_modality: int = 0,
    n_pcells: int | None = None,
    seed: int = 42,
) -> Pair:
    """Return paired pseudocells of two stages; `generate_pseudocells_job`, drained."""
    job = generate_pseudocells_job(
        origin_modalities, terminal_modalities, kmeans_modality, ot_modality, n_pcells, seed
    )
    return run(job, bar=False)


def generate_pseudocells_job(
    origin_modalities: Sequence[Any],
    terminal_modalities: Sequence[Any],
    kmeans_modality: int = 0,
    ot_modality: int = 0,
    n_pcells: int | None = None,
    seed: int = 42,
) -> Job[Pair]:
    """Cluster the cells of each stage, and pair clusters by optimal transport.

    Each stage is clustered alone by k-means; pseudocells are the means of clusters in every
    modality. Between pseudocells of equal weight, the transport of least squared distance is an
    assignment. A stage with as many cells as pseudocells is not clustered: cells stand for
    themselves, in their order.

    Parameters
    ----------
    origin_modalities, terminal_modalities
        (n, G) each: arrays, sparse matrices or AnnData, the same modalities in both stages.
    kmeans_modality
        The modality that clusters are found in.
    ot_modality
        The modality that clusters are paired in.
    n_pcells
        Pseudocells; None for as many as the smaller stage has cells.
    seed
        Seed of k-means.

    Returns
    -------
    Origin and terminal pseudocells: of each modality (k, G) float32, row i of the one paired with
    row i of the other.

    Raises
    ------
    DataError
        If stages have other modalities or features, a value is not finite, or there are fewer
        cells than pseudocells, or too many pseudocells to pair.
    ConfigError
        If a modality is named that is not there.
    """
    stages = [as_modalities(each) for each in (origin_modalities, terminal_modalities)]
    _check_stages(stages, (kmeans_modality, ot_modality))
    n_cells = [stage[0].n for stage in stages]
    k = min(n_cells) if n_pcells is None else int(n_pcells)
    if not 1 <= k <= min(n_cells):
        raise DataError(
            f"{counted(k, 'pseudocell')} cannot be made of {n_cells[0]:,} and {n_cells[1]:,} "
            "cells",
            "give n_pcells from 1 up to the cells of the smaller stage, or leave it out",
        )
    require_few(k, "pseudocell", "give a smaller n_pcells")
    means: list[list[Floats]] = []
    for stage, name in zip(stages, ("origin", "terminal"), strict=True):
        tables = [_whole(each) for each in stage]
        labels = yield from _clusters_job(tables[kmeans_modality], k, seed, f"{name} stage")
        means.append([_means(table, labels, k) for table in tables])
    pairs = yield from aside_job(
        lambda: _paired(means[0][ot_modality], means[1][ot_modality]), "pairing pseudocells"
    )
    return (
        [each.astype(np.float32) for each in means[0]],
        [each[pairs].astype(np.float32) for each in means[1]],
    )


def _check_stages(stages: Sequence[Sequence[Any]], named: Sequence[int]) -> None:
    origin, terminal = stages
    if len(origin) != len(terminal):
        raise DataError(
            f"the origin has {len(origin)} modalities and the terminal stage has {len(terminal)}",
            "give the same modalities of both",
        )
    for k in named:
        if not 0 <= k < len(origin):
            raise ConfigError(
                f"modality {k} is named, and there are {len(origin)}", "count them from 0"
            )
    for stage in stages:
        for each in stage:
            if each.n != stage[0].n:
                raise DataError(
                    f"{each.name} has {each.n:,} cells and {stage[0].name} has {stage[0].n:,}",
                    "give modalities of the same cells",
                )
    for mine, other in zip(origin, terminal, strict=True):
        if mine.n_features != other.n_features:
            raise DataError(
                f"{mine.name} has {mine.n_features:,} features at the origin and "
                f"{other.n_features:,} at the terminal stage",
                "give the same features of both stages",
            )


def _whole(modality: Any) -> Floats:  # noqa: ANN401
    """Return all of a modality, (n, G), checked."""
    values = np.empty((modality.n, modality.n_features))
    for at, block in modality.blocks():
        values[at] = block
    return values


def _clusters_job(table: Floats, k: int, seed: int, what: str) -> Job[Labels]:
    """Return the (n,) cluster of every cell, none of them empty."""
    n, n_features = table.shape
    if k == n:
        return np.arange(n)
    from sklearn.cluster import KMeans

    cost = float(n) * k * n_features
    start: Any = "k-means++" if cost * (2 + np.log(k)) < _CAREFUL else "random"
    every = int(np.clip(_STEP / cost, 1, _MOST_ITERATIONS))
    tolerance = 1e-4 * float(table.var(axis=0).mean())  # as scikit-learn's own
    labels = np.zeros(n, np.intp)
    for done in range(0, _MOST_ITERATIONS, every):
        model = KMeans(k, init=start, n_init=1, max_iter=every, random_state=seed)
        yield from aside_job(
            partial(_quietly, model, table), "clustering cells", what,
            done=done, total=_MOST_ITERATIONS,
        )  # fmt: skip
        before, start, labels = start, model.cluster_centers_, model.labels_.astype(np.intp)
        if model.n_iter_ < every or _rests(before, start, tolerance):
            break
    yield Progress("clustering cells", _MOST_ITERATIONS, _MOST_ITERATIONS, what)
    return _without_gaps(labels, k)


def _rests(before: Floats | str, after: Floats, tolerance: float) -> bool:
    """Whether centres moved by no more than a tolerance, as a sum of squares."""
    return not isinstance(before, str) and bool(np.square(after - before).sum() <= tolerance)


def _quietly(model: Any, table: Floats) -> None:  # noqa: ANN401
    """Fit k-means without a word on cells that are alike: empty clusters are filled later."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters")
        model.fit(table)


def _without_gaps(labels: Labels, k: int) -> Labels:
    """Give every empty cluster a cell of the largest one; cells that are alike leave some."""
    labels = labels.copy()
    sizes = np.bincount(labels, minlength=k)
    for empty in np.flatnonzero(sizes == 0):
        largest = int(sizes.argmax())
        labels[np.flatnonzero(labels == largest)[-1]] = empty
        sizes[largest] -= 1
        sizes[empty] = 1
    return labels


def _means(table: Floats, labels: Labels, k: int) -> Floats:
    from scipy.sparse import csr_matrix

    n = len(labels)
    sizes = np.bincount(labels, minlength=k)
    which = csr_matrix((1.0 / sizes[labels], (labels, np.arange(n))), shape=(k, n))
    return np.asarray(which @ table)


def _paired(origin: Floats, terminal: Floats) -> Labels:
    """Return which terminal pseudocell each one of the origin goes to."""
    cost = distances(origin, terminal, squared=True)
    rows, columns, _ = coupling(cost / max(float(cost.max()), np.finfo(float).tiny))
    return np.asarray(columns[np.argsort(rows)], np.intp)
