"""What is given to a preprocessing, checked before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from celldyn.environment.preprocessing_blocks import Ints, Modality
from celldyn.errors import ConfigError, DataError


def check_indices(indices: Sequence[int], n_modalities: int, what: str) -> None:
    """Raise ConfigError if one names a modality that is not there."""
    for k in indices:
        if not 0 <= k < n_modalities:
            raise ConfigError(
                f"{what} names modality {k}, and there are {n_modalities}", "count them from 0"
            )


def number_of(values: Sequence[float], k: int, n_modalities: int, what: str) -> float | None:
    """Return the number of modality k; None where there are none at all."""
    if len(values) <= 1:
        return values[0] if values else None
    if len(values) != n_modalities:
        raise ConfigError(
            f"{what} has {len(values)} numbers for {n_modalities} modalities",
            "give one per modality, or one for all",
        )
    return values[k]


def names_of(
    modalities: Sequence[Modality], given: Sequence[Sequence[str]] | None
) -> list[tuple[str, ...]]:
    """Return the names of the features of each modality, each once.

    Raises
    ------
    DataError
        If there are more or fewer names than features, or one stands twice.
    """
    if given is None:
        names = [each.feature_names for each in modalities]
    else:
        names = [tuple(map(str, each)) for each in given]
    for k, (each, modality) in enumerate(zip(names, modalities, strict=False)):
        if len(each) != modality.n_features or len(names) != len(modalities):
            raise DataError(
                f"{len(each):,} names were given for the {modality.n_features:,} features of "
                f"{modality.name}",
                "give one per feature of every modality",
            )
        if len(set(each)) != len(each):
            twice = next(name for i, name in enumerate(each) if name in each[:i])
            raise DataError(
                f"feature {twice!r} of modality {k} is there more than once",
                "call adata.var_names_make_unique()",
            )
    return names


def checked_cells(cells: ArrayLike | None, modalities: Sequence[Modality]) -> Ints:
    """Return the positions of the cells that are fitted on, rising.

    Raises
    ------
    DataError
        If modalities have different numbers of cells, or no cell is chosen.
    """
    n = modalities[0].n
    for each in modalities:
        if each.n != n:
            raise DataError(
                f"{each.name} has {each.n:,} cells and {modalities[0].name} has {n:,}",
                "give modalities of the same cells",
            )
    if cells is None:
        return np.arange(n)
    given = np.asarray(cells).ravel()
    if given.dtype == bool and given.size != n:
        raise DataError(
            f"the mask of training cells has {given.size:,} entries for {n:,} cells",
            "give one per cell",
        )
    at = np.flatnonzero(given) if given.dtype == bool else np.unique(given)
    if at.size == 0:
        raise DataError("no cell is trained on", "choose at least two training cells")
    if at.dtype.kind not in "iu" or at[0] < 0 or at[-1] >= n:
        raise DataError(
            "the training cells are no mask and no positions of cells", "count cells from 0"
        )
    return at.astype(np.intp)
