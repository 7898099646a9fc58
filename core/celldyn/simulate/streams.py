"""Counter-based random numbers: a value depends on its seed, stage, cell and gene alone.

No generator state is carried along, so a number is the same whatever the order, the chunk size or
the subset in which it is asked for, and a control shares its noise with every intervention on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Bits = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def stream_key(seed: int, stage: str) -> np.uint64:
    """Return the key of one stage of one simulation.

    Parameters
    ----------
    seed
        The simulation's seed.
    stage
        What the numbers are for ("counts", "layout/0/place"); stages share nothing.
    """
    return _digest(f"{seed}/{stage}")


def name_ids(names: Iterable[str]) -> Bits:
    """Return one 64-bit identity per gene name, the same in every panel that holds the gene."""
    return np.array([_digest(name) for name in names], dtype=np.uint64)


def mix_in_place(bits: Bits, scratch: Bits) -> None:
    """Scramble `bits` where they lie (splitmix64's finaliser, Steele et al. 2014).

    Parameters
    ----------
    bits
        Any shape, contiguous.
    scratch
        Room of the same shape, overwritten.
    """
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        np.right_shift(bits, np.uint64(shift), out=scratch)
        np.bitwise_xor(bits, scratch, out=bits)
        np.multiply(bits, factor, out=bits)
    np.right_shift(bits, np.uint64(31), out=scratch)
    np.bitwise_xor(bits, scratch, out=bits)


def spread(ids: ArrayLike, key: np.uint64 | int = 0) -> Bits:
    """Turn counters (0, 1, 2, ...) into well-mixed 64-bit keys.

    Parameters
    ----------
    ids
        Integers of any shape.
    key
        A stream's key; without one the result depends on the ids alone.
    """
    bits = np.atleast_1d(np.asarray(ids)).astype(np.uint64) * _GOLDEN + np.uint64(key)
    mix_in_place(bits, np.empty_like(bits))
    return bits.reshape(np.shape(ids))


def hash_bits(key: np.uint64, cell: ArrayLike, gene: ArrayLike) -> Bits:
    """Return 64 random bits per (cell, gene).

    Parameters
    ----------
    key
        From `stream_key`.
    cell, gene
        Integer identities that broadcast against each other.
    """
    bits = np.atleast_1d(spread(cell, key)) + np.atleast_1d(spread(gene))
    mix_in_place(bits, np.empty_like(bits))
    return bits.reshape(np.broadcast_shapes(np.shape(cell), np.shape(gene)))


def unit_interval(bits: Bits) -> NDArray[np.float64]:
    """Map bits to (0, 1), both ends excluded, in steps of 2^-53."""
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def uniforms(seed: int, stage: str, n: int, n_columns: int = 1) -> NDArray[np.float64]:
    """Return uniform numbers for cells 0 to n - 1.

    Returns
    -------
    (n, n_columns) in (0, 1); row i is the same for every n.
    """
    bits = hash_bits(stream_key(seed, stage), np.arange(n)[:, None], np.arange(n_columns))
    return unit_interval(bits)


def normals(seed: int, stage: str, n: int, n_columns: int = 1) -> NDArray[np.float64]:
    """Return standard normal numbers, (n, n_columns), for cells 0 to n - 1."""
    values: NDArray[np.float64] = ndtri(uniforms(seed, stage, n, n_columns))
    return values


def _digest(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little"))
