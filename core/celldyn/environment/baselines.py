"""What simple methods say of the same cells, so that a trained environment stands beside them.

A method learns from training cells to tell target features from those that are seen. A further one
is a function under a name in `IMPUTERS`. Shapes: n cells, m of them trained on, F features seen,
H told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.data.words import listed
from celldyn.devices import aside_job
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    from celldyn.environment.gathering import TrainingData

Floats = NDArray[np.float64]
Imputer = Callable[[Floats, Floats, Floats, int], Floats]
"""Takes (m, F) and (m, H) of training cells, (n, F) of all, and a seed; returns (n, H)."""
Predictions = dict[str, tuple[NDArray[np.float32], ...]]
"""By method, (n, H_k) of each target."""

N_NEIGHBOURS = 10
_PENALTIES = np.logspace(-2, 6, 17)
_PLS_COMPONENTS = 16
_HIDDEN = 64
_ROWS = 4096
"""Cells that are told at once."""


def mean_imputer(seen: Floats, told: Floats, every: Floats, seed: int) -> Floats:
    """Tell each cell the mean of the training cells."""
    return np.tile(told.mean(axis=0), (len(every), 1))


def ridge_imputer(seen: Floats, told: Floats, every: Floats, seed: int) -> Floats:
    """Tell by ridge regression, its penalty chosen by leave-one-out error."""
    return np.asarray(ridge(seen, told).predict(every)).reshape(len(every), -1)


def ridge(seen: Floats, told: Floats) -> Any:  # noqa: ANN401
    """Return scikit-learn's ridge regression of targets on features that are seen."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(_PENALTIES).fit(seen, told)


def knn_imputer(seen: Floats, told: Floats, every: Floats, seed: int) -> Floats:
    """Tell each cell the mean of its 10 nearest training cells."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(N_NEIGHBOURS, len(seen))).fit(seen)
    out = np.empty((len(every), told.shape[1]))
    for start in range(0, len(every), _ROWS):
        rows = slice(start, start + _ROWS)
        out[rows] = told[search.kneighbors(every[rows], return_distance=False)].mean(axis=1)
    return out


def pls_imputer(seen: Floats, told: Floats, every: Floats, seed: int) -> Floats:
    """Tell by partial least squares of at most 16 components, fewer where targets are used up."""
    import warnings

    from sklearn.cross_decomposition import PLSRegression

    k = max(min(_PLS_COMPONENTS, len(seen) - 1, seen.shape[1]), 1)
    while k:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # where nothing is left, it warns and divides by 0
            try:
                out = np.asarray(PLSRegression(k).fit(seen, told).predict(every))
            except ValueError:
                out = np.full((1, 1), np.nan)
        if np.isfinite(out).all():
            return out.reshape(len(every), -1)
        k //= 2
    return mean_imputer(seen, told, every, seed)


def mlp_imputer(seen: Floats, told: Floats, every: Floats, seed: int) -> Floats:
    """Tell by a network with one hidden layer of 64 units, on standardised numbers."""
    import warnings

    from sklearn.neural_network import MLPRegressor

    scale_in, scale_out = _scale(seen), _scale(told)
    network = MLPRegressor(hidden_layer_sizes=(_HIDDEN,), random_state=seed, max_iter=500)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        network.fit((seen - scale_in[0]) / scale_in[1], (told - scale_out[0]) / scale_out[1])
    out = network.predict((every - scale_in[0]) / scale_in[1]).reshape(len(every), -1)
    return np.asarray(out * scale_out[1] + scale_out[0])


def _scale(values: Floats) -> tuple[Floats, Floats]:
    std = values.std(axis=0)
    return values.mean(axis=0), np.where(std > 0, std, 1.0)


IMPUTERS: dict[str, Imputer] = {
    "mean": mean_imputer,
    "ridge": ridge_imputer,
    "kNN": knn_imputer,
    "PLS": pls_imputer,
    "MLP": mlp_imputer,
}
"""Methods by the name that tables give them."""

USUAL = ("mean", "ridge", "kNN")
"""Those that stand beside every figure of quality."""


def impute_job(
    seen: ArrayLike,
    targets: Sequence[ArrayLike],
    train: ArrayLike,
    methods: Sequence[str] = USUAL,
    *,
    seed: int = 0,
) -> Job[Predictions]:
    """Tell targets from what is seen, by simple methods fitted on training cells.

    Parameters
    ----------
    seen
        (n, F) features that are seen.
    targets
        (n, H_k) features to be told; those of held-out cells are not looked at.
    train
        (n,) bool which cells are fitted on.
    methods
        Names in `IMPUTERS`.
    seed
        Seed of the methods that draw.

    Returns
    -------
    By method, (n, H_k) float32 of each target, for all cells.

    Raises
    ------
    ConfigError
        If there is no such method.
    DataError
        If shapes do not fit each other, or there are fewer than two training cells.
    """
    x, y, mask = _checked(seen, targets, train, methods)
    borders = np.cumsum([each.shape[1] for each in y])[:-1]
    told = np.concatenate([each[mask] for each in y], axis=1)
    predictions: Predictions = {}
    for done, name in enumerate(methods):
        work = partial(IMPUTERS[name], x[mask], told, x, seed)
        out = yield from aside_job(work, "baselines", name, done=done, total=len(methods))
        predictions[name] = tuple(
            part.astype(np.float32) for part in np.split(out, borders, axis=1)
        )
    return predictions


def baselines_job(
    data: TrainingData, methods: Sequence[str] = USUAL, *, seed: int = 0
) -> Job[Predictions]:
    """Tell the targets of an environment's data by simple methods; see `impute_job`."""
    targets = [data.modalities[k].numpy() for k in data.targets]
    return (yield from impute_job(data.seen.numpy(), targets, data.train, methods, seed=seed))


def baseline_predictions(
    data: TrainingData, methods: Sequence[str] = USUAL, *, seed: int = 0
) -> Predictions:
    """Tell the targets of an environment's data by simple methods; `baselines_job`, drained."""
    return run(baselines_job(data, methods, seed=seed), bar=False)


def _checked(
    seen: ArrayLike, targets: Sequence[ArrayLike], train: ArrayLike, methods: Sequence[str]
) -> tuple[Floats, list[Floats], NDArray[np.bool_]]:
    if unknown := [name for name in methods if name not in IMPUTERS]:
        raise ConfigError(f"there is no baseline {unknown[0]!r}", f"choose of {listed(IMPUTERS)}")
    x, mask = np.asarray(seen, np.float64), np.asarray(train, np.bool_).ravel()
    y = [np.asarray(each, np.float64) for each in targets]
    if not y or any(each.ndim != 2 or len(each) != len(x) for each in (x, *y)):
        raise DataError(
            "what is seen and what is to be told are not of the same cells",
            "give (n_obs, n_features) arrays of the same cells",
        )
    if mask.size != len(x) or mask.sum() < 2:
        raise DataError(
            f"baselines cannot be fitted on {int(mask.sum())} of {mask.size:,} cells",
            "give one entry per cell, at least two of them true",
        )
    return x, y, mask


def linear_perturbation(
    data: TrainingData, change: Mapping[int, ArrayLike]
) -> tuple[NDArray[np.float32], ...]:
    """Return how a linear model has targets move with a change in what cells see.

    The linear additive baseline of perturbations: ridge regression of targets on what is seen,
    times the change; the same in every cell, unless changes differ.

    Parameters
    ----------
    data
        Fitted on its training cells.
    change
        By modality that is seen, (F_k,) or (n, F_k): the change of its prepared features; that of
        the others is 0.

    Returns
    -------
    (n, H_k) float32 of each target, in prepared units.

    Raises
    ------
    ConfigError
        If a modality is not seen.
    """
    if wrong := [k for k in change if k not in data.inputs]:
        raise ConfigError(f"modality {wrong[0]} is not seen", f"choose of {listed(data.inputs)}")
    whole = [
        np.broadcast_to(np.asarray(change.get(k, 0.0), np.float64), data.modalities[k].shape)
        for k in data.inputs
    ]
    told = [data.modalities[k].numpy().astype(np.float64) for k in data.targets]
    borders = np.cumsum([each.shape[1] for each in told])[:-1]
    model = ridge(
        data.seen.numpy()[data.train].astype(np.float64),
        np.concatenate(told, axis=1)[data.train],
    )
    moved = np.concatenate(whole, axis=1) @ np.atleast_2d(model.coef_).T
    return tuple(part.astype(np.float32) for part in np.split(moved, borders, axis=1))
