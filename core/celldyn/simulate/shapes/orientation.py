"""Which way long cells point."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from celldyn.errors import ConfigError
from celldyn.simulate.shapes.outlines import Floats
from celldyn.simulate.specs.shapes import OrientationMode
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

MODES: tuple[str, ...] = get_args(OrientationMode)
"""Their positions are the codes that `axis_angles` takes."""


def compute_orientations(
    xy: ArrayLike,
    mode: OrientationMode,
    *,
    centre: ArrayLike,
    noise: float = 0.0,
    angle: float = 0.0,
    seed: int,
    stage: str,
    cell_ids: ArrayLike | None = None,
) -> Floats:
    """Return the direction of each cell's long axis.

    Parameters
    ----------
    xy
        (n, 2) positions in µm.
    mode
        "random"; "radial" away from the centre, "tangential" around it; "aligned" along `angle`.
    centre
        (2,) or (n, 2) in µm.
    noise
        sd about the direction, rad; "random" has none.
    angle
        Direction of aligned cells from the x axis, rad.
    seed, stage
        The random stream.
    cell_ids
        (n,) integers, by default 0 to n - 1: a cell's direction depends on its own id alone.

    Returns
    -------
    (n,) angles from the x axis in [0, π), rad.

    Raises
    ------
    ConfigError
        If there is no such mode.
    """
    if mode not in MODES:
        raise ConfigError(f"orientation mode {mode!r} is not known", f"use {', '.join(MODES)}")
    away = np.asarray(xy, dtype=np.float64) - np.asarray(centre, dtype=np.float64)
    ids = np.arange(len(away)) if cell_ids is None else np.asarray(cell_ids)
    code = np.full(len(away), MODES.index(mode))
    return axis_angles(away, code, noise, angle, seed, stage, ids)


def axis_angles(
    away: Floats,
    mode: NDArray[np.intp],
    noise: ArrayLike,
    angle: ArrayLike,
    seed: int,
    stage: str,
    cell_ids: NDArray[np.integer],
) -> Floats:
    """Return the direction of each cell's long axis, each cell by its own mode.

    Parameters
    ----------
    away
        (n, 2) µm from what the cell is radial or tangential about.
    mode
        (n,) positions in `MODES`.
    noise, angle
        sd and direction of aligned cells, rad; numbers or (n,).
    seed, stage, cell_ids
        As in `compute_orientations`.

    Returns
    -------
    (n,) angles in [0, π), rad.
    """
    draw = unit_interval(hash_bits(stream_key(seed, stage), cell_ids, 0))
    radial = np.arctan2(away[:, 1], away[:, 0])
    base = np.where(mode == MODES.index("aligned"), angle, radial)
    base[mode == MODES.index("tangential")] += 0.5 * np.pi
    # One number per cell serves every mode, so that a change of mode moves no other number.
    direction = np.where(mode == 0, np.pi * draw, base + np.asarray(noise) * ndtri(draw))
    direction = np.mod(direction, np.pi)
    direction[direction >= np.pi] = 0.0  # what mod makes of -1e-17
    return direction
