"""Clamps made of what a person gives: names and values, or a perturbation.

Shapes: n cells, F preprocessed features of a modality, g raw features that are held ("genes").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celldyn.data.words import listed
from celldyn.environment.clamping import CLAMPINGS, Clamping
from celldyn.environment.clamps import Clamp
from celldyn.environment.preprocessing_map import LinearMap
from celldyn.errors import ConfigError, DataError
from celldyn.perturbation import Perturbation

Levels: TypeAlias = ArrayLike | Callable[[float], ArrayLike]
"""Raw values: one, (g,), (n, g), or a function from seconds of the clamp to one of these."""


def clamp_of(
    features: str | Sequence[str],
    each: LinearMap,
    modality: int,
    targets: Levels = 0.0,
    kind: Clamping = "pre",
    *,
    n_cells: int,
    factor: float = 1.0,
    cells: NDArray[np.bool_] | None = None,
    released_at: float | None = None,
) -> Clamp:
    """Return a clamp of named features.

    Parameters
    ----------
    features
        One name or several.
    each
        How the modality is prepared.
    modality
        Its number.
    targets
        Raw values, as they were before preprocessing but for counts.
    kind, factor, cells, released_at
        See `Clamp`.
    n_cells
        n.

    Raises
    ------
    ConfigError
        If the kind is unknown, or factor or time is no positive number.
    MissingKeyError
        If there is no such feature.
    DataError
        If the features do not vary, or the targets do not fit.
    """
    names = (features,) if isinstance(features, str) else tuple(map(str, features))
    _check(names, kind, factor, released_at)
    basis = torch.from_numpy(np.ascontiguousarray(each.columns(names).T, np.float32))
    levels = _levels(targets, each, names, n_cells)
    what = listed(names, 3)
    said = f"{what} as given over time" if callable(targets) else f"{what} = {_told(targets)}"
    return Clamp(
        features=names, modality=modality, kind=kind, basis=basis, levels=levels,
        changing=callable(targets), factor=float(factor), cells=cells, released_at=released_at,
        said=said + _where(cells) + f" ({kind})",
    )  # fmt: skip


def clamp_of_perturbation(
    perturbation: Perturbation,
    each: LinearMap,
    modality: int,
    observed: Tensor,
    kind: Clamping = "pre",
    *,
    obs_names: Sequence[str],
    factor: float = 1.0,
) -> Clamp:
    """Return a clamp that does what a perturbation says.

    A factor or a summand is taken of what the modality's features tell of the gene in each cell,
    so that a factor of 1 changes nothing, whatever principal components leave out.

    Parameters
    ----------
    perturbation
        Genes, changes, cells, and when they are let go.
    observed
        (n, F) preprocessed features of the modality.
    obs_names
        (n,) names of the cells.
    each, modality, kind, factor
        As for `clamp_of`.

    Raises
    ------
    MissingKeyError, DataError, ConfigError
        As `clamp_of` does; also if a cell is not there.
    """
    names = tuple(perturbation.genes)
    _check(names, kind, factor, perturbation.released_at)
    n = len(obs_names)
    cells = None
    if perturbation.cells is not None:
        cells = np.zeros(n, dtype=bool)
        cells[perturbation.rows(obs_names)] = True
    multiply, add = perturbation.factor_and_offset(names)
    basis = torch.from_numpy(np.ascontiguousarray(each.columns(names).T, np.float32))
    target = each.preprocessed(names, add if not each.log else np.maximum(add, 0.0))
    if multiply.any():
        target = np.where(multiply, _changed(each, names, observed, multiply, add), target)
    fixed = torch.from_numpy(np.asarray(target, np.float32))
    return Clamp(
        features=names, modality=modality, kind=kind, basis=basis, levels=lambda _time: fixed,
        factor=float(factor), cells=cells, released_at=perturbation.released_at,
        relative=bool(multiply.any()), said=f"{perturbation.describe(n)} ({kind})",
    )  # fmt: skip


def _changed(
    each: LinearMap,
    names: tuple[str, ...],
    observed: Tensor,
    multiply: NDArray[np.float64],
    add: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (n, g) preprocessed values of what features tell of genes, multiplied and added to.

    Features may tell a little less than nothing of a count; what is changed is moved by as much
    as the change of the count, so that no change moves nothing.
    """
    features = observed.cpu().numpy()
    raw = each.expression(features, names)
    after = raw * multiply + add
    after = np.maximum(after, 0.0) if each.log else after
    told = features @ each.columns(names)
    return told + (each.preprocessed(names, after) - each.preprocessed(names, raw))


def checked_rows(cells: ArrayLike | None, obs_names: Sequence[str]) -> NDArray[np.bool_] | None:
    """Return which cells are meant by a mask, positions or names, (n,); None for all."""
    if cells is None:
        return None
    given = Perturbation.knock_out("any", cells=cells)
    mask = np.zeros(len(obs_names), dtype=bool)
    mask[given.rows(obs_names)] = True
    return mask


def _check(
    names: tuple[str, ...], kind: Clamping, factor: float, released_at: float | None
) -> None:
    if kind not in CLAMPINGS:
        raise ConfigError(
            f"clamping {kind!r} is not known", f"choose one of {', '.join(CLAMPINGS)}"
        )
    if not names:
        raise DataError("no feature is to be held", "name at least one")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{twice} is to be held twice at once", "name every feature once")
    if not 0 < factor < np.inf:
        raise ConfigError(f"the factor of a push is {factor!r}", "give a number above 0")
    if released_at is not None and not 0 < released_at < np.inf:
        raise DataError(f"released_at is {released_at!r}", "give a time above 0, or None")


def _levels(
    targets: Levels, each: LinearMap, names: tuple[str, ...], n: int
) -> Callable[[float], Tensor]:
    if not callable(targets):
        return _constant(each, names, _checked(targets, len(names), n))

    def at(time: float) -> Tensor:
        raw = _checked(targets(time), len(names), n)
        return torch.from_numpy(each.preprocessed(names, raw).astype(np.float32))

    at(0.0)  # What a function gives is looked at before a run begins.
    return at


def _constant(
    each: LinearMap, names: tuple[str, ...], raw: NDArray[np.float64]
) -> Callable[[float], Tensor]:
    target = torch.from_numpy(each.preprocessed(names, raw).astype(np.float32))
    return lambda _time: target


def _checked(raw: ArrayLike, g: int, n: int) -> NDArray[np.float64]:
    try:
        values = np.asarray(raw, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("feature_targets are no numbers", "give one per feature") from error
    if values.shape not in ((), (1,), (g,), (n, g), (n, 1)):
        raise DataError(
            f"feature_targets are of shape {values.shape} for {g} features and {n} cells",
            "give one number, one per feature, or one per cell and feature",
        )
    return values


def _told(targets: ArrayLike) -> str:
    values = np.asarray(targets, np.float64)
    if values.ndim > 1:
        return "values per cell"
    return ", ".join(f"{value:g}" for value in np.atleast_1d(values)[:3]) + (
        ", ..." if values.size > 3 else ""
    )


def _where(cells: NDArray[np.bool_] | None) -> str:
    if cells is None:
        return ""
    n = int(cells.sum())
    return f" in {n} of {cells.size} cell{'' if n == 1 else 's'}"
