"""How well cells were told what they were not shown: figures with baselines beside them.

Shapes: n cells, H features of a target, in prepared units. Conventions: specs/environment.md E3
and Decisions 3, 7: coordinates are scored as they are told, and brought onto the truth by training
cells alone, never by the cells that are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.alignment import rigid_alignment
from celldyn.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

N_NEIGHBOURS = 10


def pearson(told: ArrayLike, truth: ArrayLike) -> float:
    """Return Pearson's r across cells, averaged over the features that vary in truth.

    A feature that is told the same for all cells counts as 0; NaN where nothing varies in truth.
    """
    (p, own), (t, size) = (_centred(np.asarray(each, np.float64)) for each in (told, truth))
    varies = size > 0
    if not varies.any():
        return float("nan")
    top = (p * t).sum(axis=0)
    r = np.divide(top, own * size, out=np.zeros_like(top), where=own * size > 0)
    return float(r[varies].mean())


def _centred(values: Floats) -> tuple[Floats, Floats]:
    """Return values about their means, and lengths of columns; 0 where only rounding varies."""
    about = values - values.mean(axis=0)
    length = np.sqrt(np.square(about).sum(axis=0))
    whole = np.sqrt(np.square(values).sum(axis=0))
    return about, np.where(length > 1e-9 * whole, length, 0.0)


def standardised_mse(told: ArrayLike, truth: ArrayLike, variance: float) -> float:
    """Return the mean squared error over a variance V, as the reward has it."""
    error = float(np.square(np.asarray(told, np.float64) - np.asarray(truth, np.float64)).mean())
    return error / variance if variance > 0 else float("nan")


def neighbour_recall(told: ArrayLike, truth: ArrayLike, k: int = N_NEIGHBOURS) -> float:
    """Return the share of each cell's k nearest others that stay among them; NaN below 2 cells."""
    from sklearn.neighbors import NearestNeighbors

    p, t = np.asarray(told, np.float64), np.asarray(truth, np.float64)
    k = min(k, len(p) - 1)
    if k < 1:
        return float("nan")
    near = [
        NearestNeighbors(n_neighbors=k).fit(each).kneighbors(return_distance=False)
        for each in (p, t)
    ]
    offset = np.arange(len(p))[:, None] * len(p)
    both = np.isin((near[0] + offset).ravel(), (near[1] + offset).ravel())
    return float(both.mean())


def label_accuracy(
    told: ArrayLike, truth: ArrayLike, labels: ArrayLike, train: ArrayLike
) -> float:
    """Return how often the nearest training cell, where a cell is told to be, has its label.

    Parameters
    ----------
    told, truth
        (n, H) what cells are told, and the truth, which places training cells.
    labels
        (n,) labels, such as cell types.
    train
        (n,) bool; the others are scored.
    """
    from sklearn.neighbors import NearestNeighbors

    mask, names = np.asarray(train, np.bool_), np.asarray(labels)
    p, t = np.asarray(told, np.float64), np.asarray(truth, np.float64)
    search = NearestNeighbors(n_neighbors=1).fit(t[mask])
    near = search.kneighbors(p[~mask], return_distance=False).ravel()
    return float((names[mask][near] == names[~mask]).mean())


def aligned_by_training(
    told: ArrayLike,
    truth: ArrayLike,
    train: ArrayLike,
    partition: ArrayLike | None = None,
    *,
    reflection: bool = False,
) -> Floats:
    """Return (n, H) coordinates brought onto the truth by what training cells say.

    Each partition is brought by its own training cells; one with fewer than H + 1 of them by those
    of all partitions together. Held-out cells have no say (specs/environment.md D1.22).
    """
    p, t = np.asarray(told, np.float64), np.asarray(truth, np.float64)
    mask = np.asarray(train, np.bool_)
    group = np.zeros(len(p), np.int64) if partition is None else np.asarray(partition)
    result = np.empty_like(p)
    for each in np.unique(group):
        inside = group == each
        by = inside & mask
        if by.sum() <= p.shape[1]:
            by = mask
        R, shift = rigid_alignment(p[by], t[by], reflection=reflection)
        result[inside] = p[inside] @ R + shift
    return result


def imputation_scores(
    told: ArrayLike,
    truth: ArrayLike,
    train: ArrayLike,
    *,
    spatial: bool = False,
    partition: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    reflection: bool = False,
) -> dict[str, float]:
    """Return figures of held-out cells (of all cells, where none is held out).

    Parameters
    ----------
    told, truth
        (n, H) prepared features of all cells.
    train
        (n,) bool which cells were trained on.
    spatial
        Whether these are coordinates: they are also scored after `aligned_by_training`.
    partition
        (n,) which cells belong together; neighbours are sought within.
    labels
        (n,) labels for `label_accuracy`; None leaves it out.
    reflection
        Whether an alignment may mirror.

    Returns
    -------
    "r", "mse" (over the variance of training cells), of coordinates "r_aligned" and "mse_aligned",
    "neighbour_recall", and "label_accuracy".

    Raises
    ------
    DataError
        If shapes do not fit each other, a value is not finite, or no cell was trained on.
    """
    p, t, mask = _checked(told, truth, train)
    scored = ~mask if not mask.all() else mask
    variance = float(t[mask].var(axis=0).mean())
    scores = {
        "r": pearson(p[scored], t[scored]),
        "mse": standardised_mse(p[scored], t[scored], variance),
    }
    if spatial:
        near = aligned_by_training(p, t, mask, partition, reflection=reflection)
        scores["r_aligned"] = pearson(near[scored], t[scored])
        scores["mse_aligned"] = standardised_mse(near[scored], t[scored], variance)
    group = np.zeros(len(p), np.int64) if partition is None else np.asarray(partition)
    scores["neighbour_recall"] = _recall(p[scored], t[scored], group[scored])
    if labels is not None and not mask.all():
        scores["label_accuracy"] = label_accuracy(p, t, labels, mask)
    return scores


def _recall(told: Floats, truth: Floats, group: NDArray[np.int64]) -> float:
    """Return the recall within partitions, each cell counted once."""
    total, weight = 0.0, 0
    for each in np.unique(group):
        inside = group == each
        if inside.sum() > 1:
            total += neighbour_recall(told[inside], truth[inside]) * int(inside.sum())
            weight += int(inside.sum())
    return total / weight if weight else float("nan")


def imputation_table(
    predictions: Mapping[str, ArrayLike],
    truth: ArrayLike,
    train: ArrayLike,
    *,
    spatial: bool = False,
    partition: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    reflection: bool = False,
) -> pd.DataFrame:
    """Return the figures of several methods, one row each; see `imputation_scores`."""
    rows = {
        name: imputation_scores(
            told, truth, train, spatial=spatial, partition=partition, labels=labels,
            reflection=reflection,
        )
        for name, told in predictions.items()
    }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "method"
    return table


def pearson_delta(told: ArrayLike, truth: ArrayLike, control: ArrayLike) -> float:
    """Return the correlation over features of mean changes: told − control with truth − control.

    Parameters
    ----------
    told, truth, control
        (n, H), (m, H) and (c, H) cells: perturbed as predicted, as measured, and unperturbed.

    Returns
    -------
    Pearson's r; 0 where no change is told, NaN where none is true.
    """
    base = np.asarray(control, np.float64).mean(axis=0)
    changes = [np.asarray(each, np.float64).mean(axis=0) - base for each in (told, truth)]
    return pearson(changes[0][:, None], changes[1][:, None])


def discrimination(told: Sequence[ArrayLike], truth: Sequence[ArrayLike]) -> float:
    """Return how well predicted perturbations are told apart, 1 at best and 0.5 by chance.

    For each of P perturbations, the share of the other true mean profiles that lie farther from
    the predicted one than its own truth does (as in the virtual cell challenge), L1 distance.

    Parameters
    ----------
    told, truth
        P mean profiles each, (H,) every one.

    Raises
    ------
    DataError
        If there are fewer than two perturbations.
    """
    p, t = np.asarray(told, np.float64), np.asarray(truth, np.float64)
    if p.shape != t.shape or p.ndim != 2 or len(p) < 2:
        raise DataError("fewer than two perturbations cannot be told apart", "give at least two")
    from sklearn.metrics import pairwise_distances

    away = pairwise_distances(p, t, metric="manhattan")
    own = np.diag(away)[:, None]
    farther = (away > own).sum(axis=1) + 0.5 * ((away == own).sum(axis=1) - 1)
    return float((farther / (len(p) - 1)).mean())


def _checked(told: ArrayLike, truth: ArrayLike, train: ArrayLike) -> tuple[Floats, Floats, Bools]:
    p, t = np.asarray(told, np.float64), np.asarray(truth, np.float64)
    mask = np.asarray(train, np.bool_).ravel()
    if p.shape != t.shape or p.ndim != 2 or mask.size != len(p):
        raise DataError(
            f"what is told, {p.shape}, the truth, {t.shape}, and the training cells, "
            f"{mask.shape}, do not fit each other",
            "give the same cells and features",
        )
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        raise DataError("what is told, or the truth, is not finite", "look at what was predicted")
    if not mask.any():
        raise DataError("no cell was trained on", "give the mask of the training cells")
    return p, t, mask
