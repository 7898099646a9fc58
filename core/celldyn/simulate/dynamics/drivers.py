"""Driver genes: what a change of their expression does to the potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    from celldyn.simulate.dynamics.potentials import Floats
    from celldyn.simulate.specs import DynamicsSpec

LARGEST_FACTOR = 2.0
"""A driver that is expressed more than this many times its mean tilts no further."""


def raised_fates(
    spec: DynamicsSpec,
    perturbations: Perturbation | Sequence[Perturbation] | None = None,
    obs: Any = None,  # noqa: ANN401
) -> Floats:
    """Return how far each fate's valley is raised by what happens to its drivers.

    Fate k is raised by depth · driver_tilt · mean of (1 - f) over its drivers, f being the factor
    on a driver's mean, kept within 0 and 2. A level v or an addition v counts as v / gene_mu.
    The specification's own `knockouts` are in every cell, a perturbation in the cells it names.

    Parameters
    ----------
    spec
        Which genes drive what, and their knock-outs.
    perturbations
        On top of these, one after another; genes that drive nothing do not matter.
    obs
        What finds the perturbed cells: an AnnData, obs names, or the number of cells; see
        `Perturbation.rows`. Not needed if every perturbation is in all cells.

    Returns
    -------
    (n_fates,) heights, or (n_cells, n_fates) if only some cells are perturbed; exactly 0 where
    every factor is 1.
    """
    drivers = list(spec.drivers)
    given = [perturbations] if isinstance(perturbations, Perturbation) else perturbations or []
    given = [one for one in given if one.genes.keys() & spec.drivers.keys()]
    everywhere = all(one.cells is None for one in given)
    factors = np.array([[spec.knockouts.get(gene, 1.0) for gene in drivers]])
    if not everywhere:
        factors = np.tile(factors, (_n_cells(obs), 1))
    for one in given:
        rows = slice(None) if everywhere else one.rows(obs)
        for gene in one.genes.keys() & spec.drivers.keys():
            change, k = one.genes[gene], drivers.index(gene)
            factors[rows, k] = change.factor * factors[rows, k] + change.offset / spec.gene_mu
    lost = 1.0 - np.clip(factors, 0.0, LARGEST_FACTOR)
    # Drivers take turns: every n_fates-th of them is of the same fate.
    per_fate = len(drivers) // spec.n_fates
    heights = np.zeros((len(lost), spec.n_fates))
    for turn in range(per_fate):
        heights += lost[:, turn * spec.n_fates : (turn + 1) * spec.n_fates]
    heights *= spec.depth * spec.driver_tilt / max(per_fate, 1)
    return heights[0] if everywhere else heights


def _n_cells(obs: Any) -> int:  # noqa: ANN401
    names = getattr(obs, "obs_names", obs)
    return int(names) if isinstance(names, int | np.integer) else len(names)
