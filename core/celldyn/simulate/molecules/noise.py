"""Random bits of single molecules: fixed by seed, cell, gene and the molecule's number alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.simulate.streams import Bits, hash_bits, mix_in_place, stream_key, unit_interval

STAGE = "molecules"

LEAK, PLACE, WITHIN, DEPTH = range(4)
"""What a molecule's four draws decide: whether it leaks; which triangle, or edge; where in it
(two halves); its depth (upper bits) and how far it leaks (lower half)."""

N_DRAWS = np.uint64(4)
STEP = np.uint64(0xD1B54A32D192ED03)
"""Odd, so that counters run through all 2^64 states before one comes again."""

_HALF = np.uint64(32)
_LOWER = np.uint64(0xFFFFFFFF)


def entry_bits(seed: int, cell: ArrayLike, gene: ArrayLike) -> Bits:
    """Return the state from which the molecules of a (cell, gene) count.

    Parameters
    ----------
    seed
        The simulation's seed.
    cell, gene
        Integer identities that broadcast; of a gene its `streams.name_ids`.
    """
    return hash_bits(stream_key(seed, STAGE), cell, gene)


def draw(entry: Bits, number: ArrayLike, which: int) -> Bits:
    """Return 64 random bits of molecules.

    Parameters
    ----------
    entry
        From `entry_bits`.
    number
        Which molecule of its cell and gene, from 0; broadcasts against `entry`.
    which
        `LEAK`, `PLACE`, `WITHIN` or `DEPTH`.
    """
    # Arrays wrap around in silence, as is meant; scalars would warn.
    counter = np.atleast_1d(number).astype(np.uint64) * N_DRAWS + np.uint64(which + 1)
    bits = np.atleast_1d(entry) + counter * STEP
    mix_in_place(bits, np.empty_like(bits))
    return bits.reshape(np.broadcast_shapes(np.shape(entry), np.shape(number)))


def uniform(entry: Bits, number: ArrayLike, which: int) -> NDArray[np.float64]:
    """Return one uniform number in (0, 1) per molecule, in steps of 2^-53."""
    return unit_interval(draw(entry, number, which))


def upper(bits: Bits) -> NDArray[np.float64]:
    """Map the upper 32 bits to (0, 1)."""
    return ((bits >> _HALF).astype(np.float64) + 0.5) * 2.0**-32


def lower(bits: Bits) -> NDArray[np.float64]:
    """Map the lower 32 bits to (0, 1)."""
    return ((bits & _LOWER).astype(np.float64) + 0.5) * 2.0**-32


def depth(bits: Bits) -> NDArray[np.float64]:
    """Map the upper 16 bits to [0, 1), in steps that are far below a nanometre of any section.

    Few distinct values take a third less room on disk.
    """
    return (bits >> np.uint64(48)).astype(np.float64) * 2.0**-16
