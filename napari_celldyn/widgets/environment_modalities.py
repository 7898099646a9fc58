"""Parts of a tissue as modalities of an environment: seen by its cells, or told by places. No Qt.

A modality is X, a layer or a table of obsm; it is measured values, counts, or coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.errors import ConfigError, DataError
from napari_celldyn.widgets.landscape_tissue import apart, holds_counts

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment.config import DataConfig

SEEN, TOLD, BOTH = "seen", "told", "both"
ROLES = (SEEN, TOLD, BOTH)
"""What cells know of each other, what their positions are to tell, or both."""

VALUES, COUNTS, PLACES = "values", "counts", "places"
KINDS = (VALUES, COUNTS, PLACES)
"""Standardised as they are; scaled to the same sum and logged first; only distances count."""

TRAIN = "celldyn_train"
"""Column of a job's own obs that says which cells are trained on."""

_LOOKED_AT = 2_000
"""Cells whose sums tell what counts are scaled to."""


@dataclass(frozen=True, slots=True)
class Modality:
    """One part of the tissue, and what it is taken for.

    Parameters
    ----------
    source
        "X", "layers/NAME" or "obsm/NAME".
    role, kind
        One of `ROLES`, one of `KINDS`.
    """

    source: str
    role: str
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What is held out of the training.

    Parameters
    ----------
    share
        Share of the cells, drawn at random; 0 for none.
    cells
        (n,) which cells; None where a share says it.
    """

    share: float = 0.0
    cells: NDArray[np.bool_] | None = None


def sources(adata: AnnData) -> list[str]:
    """Return the parts of a tissue that can be a modality; not what was computed of one."""
    made = {row.name for row in keys.TABLE if row.slot == "obsm" and "{" not in row.name}
    made -= {keys.SPATIAL.name}
    obsm = [
        str(name) for name, part in adata.obsm.items()
        if str(name) not in made and getattr(part, "ndim", 0) == 2 and _is_numeric(part)
    ]  # fmt: skip
    layers = [f"layers/{name}" for name in adata.layers]
    return ["X", *layers, *(f"obsm/{name}" for name in obsm)]


def kind_of(adata: AnnData, source: str) -> str:
    """Return what a part is likely to be."""
    slot, _, name = source.partition("/")
    if slot == "obsm":
        return PLACES if name == keys.SPATIAL.name or "spatial" in name.casefold() else VALUES
    matrix = adata.X if slot == "X" else adata.layers[name]
    return COUNTS if holds_counts(matrix) else VALUES


def proposed(adata: AnnData) -> list[Modality]:
    """Return what is likely to be asked: expression is seen, and places in the tissue are told.

    Of several sections, which may lie in any way, only distances are to be told; in a single one
    places are what they are.
    """
    from celldyn.data import section_key

    first = Modality("X", SEEN, kind_of(adata, "X"))
    if keys.SPATIAL.name in adata.obsm:
        key = section_key(adata)
        several = key is not None and adata.obs[key].nunique() > 1
        kind = PLACES if several else VALUES
        return [first, Modality(f"obsm/{keys.SPATIAL.name}", TOLD, kind)]
    return [Modality("X", BOTH, first.kind)]


def check(chosen: Sequence[Modality]) -> None:
    """Refuse a choice that leaves nothing to see or to tell.

    Raises
    ------
    ConfigError
        If there is none, or one stands twice.
    """
    if not any(each.role in (SEEN, BOTH) for each in chosen):
        raise ConfigError("no modality is seen by the cells", "choose 'seen' for one")
    if not any(each.role in (TOLD, BOTH) for each in chosen):
        raise ConfigError("no modality is told by positions", "choose 'told' for one")
    names = [each.source for each in chosen]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{twice[0]} is chosen twice", "take one of them away")


def data_config(
    adata: AnnData,
    chosen: Sequence[Modality],
    base: DataConfig,
    *,
    partition: str | None = None,
    held: Held | None = None,
) -> DataConfig:
    """Return how data are read, of what was chosen.

    Parameters
    ----------
    adata
        The tissue.
    chosen
        Its modalities, in order.
    base
        Gives all else.
    partition
        Column of obs whose groups never meet.
    held
        What is held out.

    Raises
    ------
    ConfigError
        If the choice cannot be.
    """
    check(chosen)
    held = held or Held()
    every = list(enumerate(chosen))
    found: DataConfig = base.replace(
        input_modalities=[k for k, each in every if each.role in (SEEN, BOTH)],
        target_modalities=[k for k, each in every if each.role in (TOLD, BOTH)],
        spatial=[k for k, each in every if each.kind == PLACES],
        log_modalities=[k for k, each in every if each.kind == COUNTS],
        sample_counts=[_usual_sum(adata, e.source) if e.kind == COUNTS else 0.0 for e in chosen],
        pca_dim=[0 if each.kind == PLACES else base.pca_dim[0] for each in chosen],
        partition_cols=[partition] if partition else [],
        train_mask=TRAIN if held.cells is not None else None,
        train_split=1.0 - held.share if held.cells is None else 1.0,
    )
    return found


def tables(adata: AnnData, chosen: Sequence[Modality], held: Held | None = None) -> list[AnnData]:
    """Return one table per modality, for a job to hold.

    Raises
    ------
    DataError
        If the tissue stays on disk, or no cell is left to train on.
    """
    from celldyn.environment.modality_parts import as_modality

    own = apart(adata)
    if held is not None and held.cells is not None:
        if not (~held.cells).any():
            raise DataError("all cells are held out", "hold out fewer")
        own.obs[TRAIN] = ~held.cells
    return [as_modality(own, each.source) for each in chosen]


def _usual_sum(adata: AnnData, source: str) -> float:
    """Return the median sum of counts of a cell, of some cells of a large tissue."""
    slot, _, name = source.partition("/")
    matrix: Any = {"X": adata.X, "layers": adata.layers, "obsm": adata.obsm}[slot]
    matrix = matrix if slot == "X" else matrix[name]
    rows = matrix[:: max(1, adata.n_obs // _LOOKED_AT)]
    sums = np.asarray(rows.sum(axis=1), float).ravel()
    some = sums[sums > 0]
    return float(round(np.median(some))) if some.size else 0.0


def _is_numeric(part: Any) -> bool:  # noqa: ANN401
    dtypes = getattr(part, "dtypes", None)
    if dtypes is not None:
        return all(kind.kind in "fiu" for kind in dtypes)
    return part.dtype.kind in "fiu"
