"""One modality fitted in a single reading, and transformed.

Moments are of all training cells, components of a sample of them.

Shapes: n cells, m of them in the sample, G raw features, G' kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.environment.preprocessing_blocks import Floats, Ints, Modality
from celldyn.environment.preprocessing_map import LinearMap, Values
from celldyn.environment.preprocessing_pca import Moments, principal_components
from celldyn.errors import DataError
from celldyn.jobs import Job, Progress

_SPARSE_BELOW = 0.3
"""A sample with fewer entries than this is held as a sparse matrix."""


_FLOPS = 2e8
"""Multiplications of a block, so that a job speaks often enough."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to one modality; see `Preprocessing`."""

    count: float
    log: bool
    dim: int
    standardize: bool
    top_variant: int | None
    spatial: bool
    names: tuple[str, ...]
    seed: int
    max_cells: int


class Sample:
    """Values of some cells, held as float32, sparse where that is smaller; dense in blocks."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self.m = 0

    def add(self, block: Floats) -> None:
        """Take (m, G) values in."""
        from scipy.sparse import csr_matrix

        kept = block.astype(np.float32)
        few = np.count_nonzero(kept) < _SPARSE_BELOW * kept.size
        self._parts.append(csr_matrix(kept) if few else kept)
        self.m += len(kept)

    def blocks(self, columns: Ints, mean: Floats, std: Floats, centre: Floats) -> Iterator[Floats]:
        """Yield them standardised and centred, (m, G') float64."""
        for part in self._parts:
            dense = part if isinstance(part, np.ndarray) else part.toarray()
            whole = dense.shape[1] == len(columns)
            block = np.asarray(dense if whole else dense[:, columns], np.float64)
            block = (block - mean) / std
            block -= centre
            yield block


def fit_map_job(modality: Modality, cells: Ints, plan: Plan) -> Job[LinearMap]:
    """Return the map of one modality, fitted on these cells.

    Raises
    ------
    DataError
        If a value is not finite or negative where it may not be, or nothing varies.
    """
    stage = f"preparing {modality.name}"
    reduces = 0 < plan.dim < modality.n_features
    draw = _drawn(cells, plan) if reduces else np.zeros(0, np.intp)
    moments, sample, size = yield from _read_job(modality, cells, draw, plan, stage)
    std = moments.std
    if not std.any():
        raise DataError(
            f"{modality.name} does not vary across the {len(cells):,} training cells",
            "train on more cells, or leave the modality out",
        )
    kept = _most_variable(std, plan.top_variant)
    mean, scale = _scales(moments.mean[kept], std[kept], plan)
    centre = (moments.mean[kept] - mean) / scale if reduces else np.zeros(len(kept))
    components = None
    if plan.dim and len(kept) > plan.dim:
        components = yield from principal_components(
            lambda: sample.blocks(kept, mean, scale, centre), sample.m, len(kept), plan.dim,
            plan.seed, stage,
        )  # fmt: skip
        if not len(components):
            raise DataError(
                f"the cells that were drawn of {modality.name} do not vary", "draw more cells"
            )
    elif reduces:
        centre = np.zeros(len(kept))
    return LinearMap(
        components, centre, mean, scale, kept, plan.log, plan.names, moments.mean, plan.count,
        size, modality.name,
    )  # fmt: skip


def _drawn(cells: Ints, plan: Plan) -> Ints:
    """Return the cells that components are found on, rising."""
    if len(cells) <= plan.max_cells:
        return cells
    rng = np.random.default_rng(plan.seed)
    return np.sort(rng.choice(cells, plan.max_cells, replace=False))


def _read_job(
    modality: Modality, cells: Ints, draw: Ints, plan: Plan, stage: str
) -> Job[tuple[Moments, Sample, float]]:
    """Read the training cells once: moments, the sample, and their median sum."""
    values, moments, sample = Values(plan.count, plan.log), Moments(), Sample()
    sums: list[Floats] = []
    done = 0
    for at, block in modality.blocks(cells):
        if plan.log or plan.count:
            modality.require_not_negative(block, at, "logarithm" if plan.log else "count")
        sizes = block.sum(axis=1) if plan.count else None
        if sizes is not None:
            sums.append(sizes)
        block = values.of(block, sizes)
        moments.update(block)
        chosen: NDArray[np.bool_] = np.isin(at, draw, assume_unique=True)
        if chosen.any():
            sample.add(block[chosen])
        done += len(at)
        yield Progress(stage, done, len(cells), "reading")
    filled = np.concatenate(sums) if sums else np.zeros(0)
    filled = filled[filled > 0]
    return moments, sample, float(np.median(filled)) if filled.size else 0.0


def _most_variable(std: Floats, top: int | None) -> Ints:
    """Return the columns of largest standard deviation, rising; the first of those that tie."""
    if top is None or top >= len(std):
        return np.arange(len(std))
    return np.sort(np.argsort(-std, kind="stable")[:top])


def _scales(mean: Floats, std: Floats, plan: Plan) -> tuple[Floats, Floats]:
    """Return what is subtracted from features, and what they are divided by."""
    if not plan.standardize:
        return np.zeros_like(mean), np.ones_like(std)
    if plan.spatial:
        whole = float(np.sqrt(np.mean(np.square(std))))
        return mean, np.full_like(std, whole)
    return mean, np.where(std > 0, std, 1.0)


def transform_job(source: Modality, each: LinearMap) -> Job[NDArray[np.float32]]:
    """Return (n, F) features of a modality, read in blocks.

    Raises
    ------
    DataError
        If a value is not finite, or negative where it may not be.
    """
    features = np.empty((source.n, each.n_features), np.float32)
    cost = len(each.kept) * (1 if each.components is None else each.n_features)
    done = 0
    for at, block in source.blocks(most=max(int(_FLOPS / max(cost, 1)), 1)):
        if each.log or each.count:
            source.require_not_negative(block, at, "logarithm" if each.log else "count")
        features[at] = each.forward(block)
        done += len(at)
        yield Progress("preparing cells", done, source.n, source.name)
    return features
