"""Driver genes: what a change of their expression does to the potential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.perturbation import Change, Perturbation

if TYPE_CHECKING:
    from celldyn.simulate.dynamics.potentials import Floats
    from celldyn.simulate.specs import DynamicsSpec

LARGEST_FACTOR = 2.0
"""A driver that is expressed more than this many times its mean tilts no further."""


def raised_fates(
    spec: DynamicsSpec,
    perturbation: Perturbation | None = None,
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
    perturbation
        On top of these; genes that drive nothing do not matter.
    obs
        What finds the perturbed cells: an AnnData, obs names, or the number of cells; see
        `Perturbation.rows`. Not needed if the perturbation is in all cells.

    Returns
    -------
    (n_fates,) heights, or (n_cells, n_fates) if only some cells are perturbed; exactly 0 where
    every factor is 1.
    """
    everywhere = _heights(spec, {})
    if perturbation is None or not (spec.drivers.keys() & perturbation.genes.keys()):
        return everywhere
    there = _heights(spec, dict(perturbation.genes))
    if perturbation.cells is None:
        return there
    rows = perturbation.rows(obs)
    names = getattr(obs, "obs_names", obs)
    n_cells = int(names) if isinstance(names, int | np.integer) else len(names)
    heights = np.tile(everywhere, (n_cells, 1))
    heights[rows] = there
    return heights


def _heights(spec: DynamicsSpec, changes: dict[str, Change]) -> Floats:
    lost = np.zeros(spec.n_fates)
    drivers = spec.drivers
    for gene, fate in drivers.items():
        factor = spec.knockouts.get(gene, 1.0)
        if gene in changes:
            factor = changes[gene].factor * factor + changes[gene].offset / spec.gene_mu
        lost[fate] += 1.0 - min(max(factor, 0.0), LARGEST_FACTOR)
    per_fate = max(len(drivers) // spec.n_fates, 1)
    heights: Floats = spec.depth * spec.driver_tilt * lost / per_fate
    return heights
