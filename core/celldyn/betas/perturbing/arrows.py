"""Arrows of a perturbed tissue on its embedding: made, put on a grid, and written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix

from celldyn import keys
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.perturbing.config import TransitionConfig
from celldyn.betas.perturbing.stored import read_perturbed
from celldyn.betas.perturbing.transitions import embedding_vectors, transition_job
from celldyn.data import expression, record
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import Job

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, slots=True, eq=False)
class TransitionInputs:
    """What the arrows of a perturbed tissue are made of.

    Parameters
    ----------
    delta, expression
        (n_obs, n_genes) change, and expression before it.
    embedding
        (n_obs, n_dims).
    """

    delta: Any
    expression: Floats
    embedding: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Where perturbed cells go.

    Parameters
    ----------
    probabilities
        (n_obs, n_obs) CSR; rows sum to 1.
    arrows
        (n_obs, n_dims) mean step in the embedding.
    config
        The parameters.
    seconds
        How long it took.
    """

    probabilities: csr_matrix
    arrows: Floats
    config: TransitionConfig
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class GridVectors:
    """Arrows on a grid.

    Parameters
    ----------
    points, vectors
        (n_boxes, 2) centres of the boxes that hold cells, and their arrows as drawn.
    counts
        (n_boxes,) cells of each.
    box
        Side of a box, in units of the embedding.
    scale
        Length of a drawn arrow per unit of the summed arrows; 0 if there are none.
    """

    points: Floats
    vectors: Floats
    counts: Ints
    box: float
    scale: float


def prepare_transitions(adata: AnnData, name: str, config: TransitionConfig) -> TransitionInputs:
    """Read what the arrows of a perturbed tissue on the AnnData are made of.

    Raises
    ------
    MissingKeyError
        If the perturbation or the embedding is not there.
    """
    result = read_perturbed(adata, name)
    if config.embedding not in adata.obsm:
        raise MissingKeyError(
            f"there is no embedding obsm[{config.embedding!r}]", "compute one, such as a UMAP"
        )
    places = np.asarray(adata.obsm[config.embedding], np.float64)
    levels = expression(adata, list(result.genes), result.layer)
    return TransitionInputs(result.delta, levels, places)


def transitions_job(inputs: TransitionInputs, config: TransitionConfig) -> Job[Transitions]:
    """Find where perturbed cells go, and their arrows."""
    started = time.perf_counter()
    chances = yield from transition_job(
        inputs.delta,
        inputs.expression,
        inputs.embedding,
        n_neighbors=config.n_neighbors,
        temperature=config.temperature,
        decimals=config.decimals,
    )
    arrows = embedding_vectors(chances, inputs.embedding, unit=config.unit)
    if config.remove_null:
        per_row = np.diff(chances.indptr)
        even = np.repeat(1.0 / np.maximum(per_row, 1), per_row)
        crowd = csr_matrix((even, chances.indices, chances.indptr), shape=chances.shape)
        arrows -= embedding_vectors(crowd, inputs.embedding, unit=config.unit)
    return Transitions(chances, arrows, config, time.perf_counter() - started)


def write_transitions(adata: AnnData, transitions: Transitions, name: str) -> set[str]:
    """Write where perturbed cells go beside the perturbation `name`.

    Returns
    -------
    What was written, as "slot/name".

    Raises
    ------
    DataError
        If the AnnData has not the cells that were perturbed.
    """
    if len(transitions.arrows) != adata.n_obs:
        raise DataError(
            f"the arrows are of {len(transitions.arrows)} cells, and there are {adata.n_obs} now",
            "perturb again",
        )
    adata.obsp[keys.BETAS_TRANSITIONS(name=name)] = transitions.probabilities
    adata.obsm[keys.BETAS_ARROWS(name=name)] = transitions.arrows
    record(
        adata,
        "betas.transitions",
        config=transitions.config,
        seconds=transitions.seconds,
        inputs={"name": name},
    )
    rows = (keys.BETAS_TRANSITIONS, keys.BETAS_ARROWS)
    return {*(row.path(name=name) for row in rows), keys.RECORDS.path()}


def grid_vectors(
    xy: ArrayLike,
    vectors: ArrayLike,
    *,
    n_boxes: int = 25,
    min_cells: int = 1,
    length: float | None = None,
) -> GridVectors:
    """Sum the arrows of the cells in each box of a grid, and scale them to be drawn.

    Parameters
    ----------
    xy, vectors
        (n_cells, 2) places and arrows.
    n_boxes
        Boxes along the longer side; they are squares.
    min_cells
        Boxes with fewer cells have no arrow.
    length
        Of the longest arrow as drawn, in units of `xy`; by default a box and a half. A box's
        arrow is the mean of its cells times their number, so that many cells weigh more.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    ConfigError
        If there is no box.
    """
    places, arrows = np.asarray(xy, np.float64), np.asarray(vectors, np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or arrows.shape != places.shape:
        raise DataError(
            f"places {places.shape} and arrows {arrows.shape} do not fit each other",
            "give (n_cells, 2) twice",
        )
    if n_boxes < 1:
        raise ConfigError(f"{n_boxes} boxes were asked for", "ask for at least one")
    low = places.min(axis=0) if len(places) else np.zeros(2)
    side = float(np.ptp(places, axis=0).max()) if len(places) else 0.0
    box = side / n_boxes if side > 0 else 1.0
    at = np.minimum(((places - low) / box).astype(np.intp), n_boxes - 1)
    which, of_box = np.unique(at[:, 0] * n_boxes + at[:, 1], return_inverse=True)
    counts = np.bincount(of_box, minlength=len(which))
    sums = np.column_stack(
        [np.bincount(of_box, arrows[:, axis], minlength=len(which)) for axis in (0, 1)]
    )
    kept = counts >= min_cells
    middle = np.column_stack(np.divmod(which, n_boxes)) + 0.5
    points = np.asarray(low + box * middle, np.float64)
    longest = float(np.linalg.norm(sums[kept], axis=1).max()) if kept.any() else 0.0
    scale = (1.5 * box if length is None else length) / longest if longest > 0 else 0.0
    drawn = np.asarray(sums[kept] * scale, np.float64)
    return GridVectors(points[kept], drawn, counts[kept], box, scale)
