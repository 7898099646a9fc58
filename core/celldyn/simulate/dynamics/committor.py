"""Fate probabilities solved on a grid: the committor of the backward Kolmogorov equation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.jobs import Job
from celldyn.simulate.dynamics.potentials import Floats, Potential
from celldyn.simulate.dynamics.sde import arrived
from celldyn.simulate.parallel import blocks_job

_NODES = {1: 4001, 2: 60_000}
"""Nodes of the grid by number of shaped dimensions: a solve of half a second, some 100 MB."""
_BLOCK = 8192
_FEW = 1e-3
"""Below this argument Bernoulli's function is its series."""


def committor_job(
    potential: Potential, z: Floats, sigma: float, raised: Floats | None = None
) -> Job[Floats]:
    """Return the probability that a cell of each state reaches each fate before the others.

    The generator of dz = -∇V dt + sigma dW, discretised by the exponentially fitted scheme of
    Scharfetter and Gummel (1969), which keeps detailed balance and stays stable where the grid is
    coarse for the noise; solved with the fates as absorbing and the walls as reflecting; then
    linear between nodes. The harmonic dimensions do not matter and are left out.

    Parameters
    ----------
    potential
        V.
    z
        (n, n_dims) states.
    sigma
        Noise, above 0. The grid adds a noise of its own, sigma² grows by |∇V| h at most, with
        spacing h about 0.015.
    raised
        (n_fates,) or (n, n_fates) heights; the equation is solved once per different row.

    Returns
    -------
    (n, n_fates) rows that sum to 1.
    """
    heights = np.zeros(potential.n_fates) if raised is None else raised
    kinds, of = np.unique(np.atleast_2d(heights), axis=0, return_inverse=True)
    axes = _axes(potential)
    solved = yield from blocks_job(
        lambda k: _solve(potential, axes, sigma, kinds[k]), len(kinds), "fate probabilities"
    )
    core = np.asarray(z, dtype=np.float64)[:, : potential.n_core]
    kind = of.ravel() if np.ndim(heights) == 2 else np.zeros(len(core), dtype=np.intp)
    result = np.empty((len(core), potential.n_fates))

    def read(block: int) -> None:
        rows = slice(block * _BLOCK, (block + 1) * _BLOCK)
        result[rows] = _interpolated(axes, solved, kind[rows], core[rows])

    yield from blocks_job(read, -(-len(core) // _BLOCK), "fate probabilities")
    return result


def _axes(potential: Potential) -> list[Floats]:
    """Return the grid's axes with about the same spacing along each."""
    low, high = potential.core_box
    spacing = float(np.prod(high - low) / _NODES[potential.n_core]) ** (1 / potential.n_core)
    counts = np.ceil((high - low) / spacing).astype(int) + 1
    return [np.linspace(low[i], high[i], counts[i]) for i in range(potential.n_core)]


def _solve(potential: Potential, axes: list[Floats], sigma: float, raised: Floats) -> Floats:
    """Return the committor on the grid, (*grid, n_fates)."""
    from scipy.sparse.linalg import splu

    shape = tuple(axis.size for axis in axes)
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
    value = potential.core_value(nodes, raised[:, None])
    absorbed = arrived(potential, nodes)
    rates = _rates(value, shape, axes, sigma)
    inside, ends = absorbed < 0, np.eye(potential.n_fates)
    leaving = np.asarray(rates.sum(axis=1)).ravel()
    system = sparse.diags_array(leaving[inside]) - rates[inside][:, inside]
    into = rates[inside][:, ~inside] @ ends[absorbed[~inside]]
    # Rates differ by many orders; rows are scaled so that each says an average of neighbours.
    balance = sparse.diags_array(1.0 / leaving[inside])
    solution = np.empty((value.size, potential.n_fates))
    solution[~inside] = ends[absorbed[~inside]]
    solution[inside] = splu((balance @ system).tocsc()).solve(balance @ into)
    return solution.reshape(*shape, potential.n_fates)


def _rates(
    value: Floats, shape: tuple[int, ...], axes: list[Floats], sigma: float
) -> sparse.csr_array:
    """Return the rates of jumps between neighbouring nodes, (n_nodes, n_nodes)."""
    index = np.arange(value.size).reshape(shape)
    parts: list[tuple[Floats, NDArray[np.intp], NDArray[np.intp]]] = []
    for i, axis in enumerate(axes):
        ahead = np.moveaxis(index, i, 0)
        a, b = ahead[:-1].ravel(), ahead[1:].ravel()
        climb = 2.0 * (value[b] - value[a]) / sigma**2
        pace = 0.5 * sigma**2 / (axis[1] - axis[0]) ** 2
        parts += [(pace * _bernoulli(climb), a, b), (pace * _bernoulli(-climb), b, a)]
    rate, source, target = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sparse.csr_array((rate, (source, target)), shape=(value.size, value.size))


def _bernoulli(u: Floats) -> Floats:
    """Return u / (exp(u) - 1), with 1 at 0."""
    safe = np.where(np.abs(u) < _FEW, 1.0, np.minimum(u, 700.0))
    series = 1.0 - 0.5 * u + u**2 / 12.0
    return np.where(np.abs(u) < _FEW, series, safe / np.expm1(safe))


def _interpolated(
    axes: list[Floats], solved: list[Floats], kind: NDArray[np.intp], core: Floats
) -> Floats:
    """Return rows that sum to 1, linear between the nodes of each cell's own solution."""
    from scipy.interpolate import RegularGridInterpolator

    low = [axis[0] for axis in axes]
    high = [axis[-1] for axis in axes]
    values = np.empty((len(core), solved[0].shape[-1]))
    for k in np.unique(kind):
        here = kind == k
        values[here] = RegularGridInterpolator(axes, solved[k])(np.clip(core[here], low, high))
    values = np.clip(values, 0.0, 1.0)
    values /= values.sum(axis=1, keepdims=True)
    return values
