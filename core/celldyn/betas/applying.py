"""A fitted model on other tissue: each cell gets the betas of its cluster and surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celldyn.betas.inputs import BetasInputs, Floats, Ints
from celldyn.betas.results import BetasResult, Tensors, spread
from celldyn.betas.varying import NETWORKS, varier
from celldyn.betas.varying.cluster import Surroundings

if TYPE_CHECKING:
    from torch import nn


def apply_result(result: BetasResult, inputs: BetasInputs) -> Floats:
    """Return the betas of the cells of a data set by a model that was fitted on another.

    Parameters
    ----------
    result
        The model; its clusters and sections are found by their names.
    inputs
        The data set, read for the model's config and modulators.

    Returns
    -------
    (n_obs, 1 + n_modulators); 0 in cells of clusters that the model does not know.
    """
    fit_of = {(fitted.section, fitted.cluster): k for k, fitted in enumerate(result.fits)}
    table = np.array(
        [[fit_of.get((s, c), -1) for c in inputs.clusters] for s in inputs.sections], np.intp
    )
    fit_of_cell = table[inputs.section_codes, inputs.cluster_codes]
    values = spread(result.coefficients, fit_of_cell)
    if not any(result.states):
        return values
    known = {name: code for code, name in enumerate(inputs.clusters)}
    for section in range(len(inputs.sections)):
        cells = np.flatnonzero(inputs.section_codes == section)
        around = Surroundings(
            np.ascontiguousarray(inputs.xy[cells]),
            inputs.cluster_codes[cells],
            len(inputs.clusters),
            result.config.radius,
        )
        for k in np.unique(fit_of_cell[cells]):
            if k < 0 or not result.states[k]:
                continue
            mine = np.flatnonzero(fit_of_cell[cells] == k)
            code = known[result.fits[k].cluster]
            _fill(values, result, int(k), cells, mine, around, code)
    return values


def network_of(result: BetasResult, fit: int) -> nn.Module | None:
    """Return the trained network of a fit, in evaluation mode; None if it has none."""
    if not result.states or not result.states[fit]:
        return None
    if result.config.vision_model not in NETWORKS:
        return None
    from celldyn.betas.varying.network import network_from

    return network_from(result.states[fit], result.config)


def _fill(
    values: Floats,
    result: BetasResult,
    fit: int,
    cells: Ints,
    mine: Ints,
    around: Surroundings,
    code: int,
) -> None:
    """Write the betas of one fit's cells into `values`; `mine` are positions in the section."""
    state: Tensors = result.states[fit]
    columns = np.concatenate(([0], 1 + np.asarray(state["columns"], np.intp)))
    row = result.coefficients[fit, columns]
    module = varier(result.config.vision_model)
    betas = module.apply_varied(state, row, around.xy[mine], mine, around, code, result.config)
    values[np.ix_(cells[mine], columns)] = betas
