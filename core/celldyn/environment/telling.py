"""What positions tell: modalities, by the pinning networks, in preprocessed or in raw units.

Shapes: n cells, d dimensions, F_k preprocessed features of modality k, G_k raw ones; leading axes,
such as times, are free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.alignment import rigid_alignment
from celldyn.environment.networks import Pinning
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress

if TYPE_CHECKING:
    from celldyn.environment.fitted import FittedEnvironment

Floats = NDArray[np.float32]


def pinning_of(fitted: FittedEnvironment, modality: int) -> Pinning:
    """Return the network that tells a modality.

    Raises
    ------
    DataError
        If positions do not tell it.
    """
    if modality not in fitted.targets:
        known = ", ".join(map(str, fitted.targets))
        raise DataError(
            f"positions do not tell modality {modality}", f"choose one that they tell: {known}"
        )
    network: Pinning = fitted.pinning[fitted.targets.index(modality)]
    return network


def tell_job(
    fitted: FittedEnvironment,
    positions: ArrayLike,
    modality: int,
    *,
    inverse: bool = True,
    counts: bool = False,
    chunk_size: int = 2000,
    device: torch.device | str = "cpu",
) -> Job[Floats]:
    """Return what positions tell of one modality.

    Parameters
    ----------
    positions
        (..., d); what follows the first d columns, such as velocities, is left out.
    modality
        Which.
    inverse
        Whether raw features (..., G_k) are told, not preprocessed ones (..., F_k).
    counts
        Whether the scaling of counts is undone, too.
    chunk_size
        Cells that are told at once.

    Raises
    ------
    DataError
        If positions do not tell the modality, or have too few dimensions.
    """
    network, each = pinning_of(fitted, modality), fitted.preprocessing.maps[modality]
    x = np.asarray(positions, np.float32)
    if x.ndim < 2 or x.shape[-1] < network.dim:
        raise DataError(
            f"positions are of shape {x.shape} and the space has {network.dim} dimensions",
            "give positions of the environment",
        )
    if chunk_size < 1:
        raise DataError(f"chunk_size is {chunk_size}", "give at least 1")
    flat = x.reshape(-1, x.shape[-1])[:, : network.dim]

    def told(block: Floats) -> Floats:
        with torch.no_grad():
            features = network(torch.from_numpy(np.ascontiguousarray(block)).to(device))
        values: Floats = features.cpu().numpy()
        return each.inverse(values, each.size if counts else None) if inverse else values

    found = yield from _in_blocks_job(
        flat, told, each.n_raw if inverse else each.n_features, chunk_size
    )
    return found.reshape(*x.shape[:-1], -1)


def _in_blocks_job(
    flat: Floats, told: Callable[[Floats], Floats], n_features: int, chunk_size: int
) -> Job[Floats]:
    found = np.empty((len(flat), n_features), np.float32)
    pace = Pace()
    for first in range(0, len(flat), chunk_size):
        block = slice(first, first + chunk_size)
        found[block] = told(flat[block])
        if pace.due():
            yield Progress("telling modalities", min(first + chunk_size, len(flat)), len(flat))
    return found


def aligned(
    told: Floats,
    truth: ArrayLike,
    train: NDArray[np.bool_] | None,
    *,
    reflection: bool = False,
    partition: NDArray[np.int64] | None = None,
) -> Floats:
    """Return coordinates turned and shifted onto known ones, without a look at held-out cells.

    Parameters
    ----------
    told
        (..., n, G) coordinates that positions tell.
    truth
        (n, G) known ones; cells without have NaN.
    train
        (n,) which cells were trained on; None: all that are known count.
    reflection
        Whether it may be mirrored.
    partition
        (n,) numbers of sections, each of which is turned by itself; one without known training
        cells stays as it is. None: all are one.

    Raises
    ------
    DataError
        If shapes differ, or too few cells are known.
    """
    known = np.asarray(truth, np.float64)
    if known.shape != told.shape[-2:]:
        raise DataError(
            f"the known coordinates are of shape {known.shape} and {told.shape[-2:]} are told",
            "give one row per cell; NaN where it is not known",
        )
    usable = np.isfinite(known).all(axis=1)
    if train is not None:
        usable &= train
    parts = np.zeros(len(known), np.int64) if partition is None else partition
    found, turned = told.copy(), False
    for code in np.unique(parts):
        here = parts == code
        by = here & usable
        if by.sum() < 2:
            continue
        onto = np.broadcast_to(known[by], (*told.shape[:-2], *known[by].shape)).copy()
        R, t = rigid_alignment(told[..., by, :].astype(np.float64), onto, reflection=reflection)
        found[..., here, :] = told[..., here, :] @ R + t
        turned = True
    if not turned:
        raise DataError(
            f"{int(usable.sum())} training cells have known coordinates",
            "give those of at least two cells that were trained on",
        )
    return found
