"""Cells of a program model: how active each program is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from celldyn.simulate.inversion import Floats
from celldyn.simulate.programs.genes import program_names
from celldyn.simulate.streams import hash_bits, name_ids, stream_key, unit_interval

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

_DRIFT = 0.2
"""Share of a type's activations that strays from its anchors, where no type is specified."""


def mean_activations(config: SimulationConfig) -> tuple[Floats, Floats]:
    """Return mean and sd of the activations, (n_celltype, n_programs) and (n_celltype,).

    Types that are not specified have programs as anchors, dealt out in turn; a fifth of their
    activation strays to all programs by a Dirichlet draw. Their cells do not differ.
    """
    programs = program_names(config)
    if not config.cell_type_specs:
        return _anchored(config, len(programs)), np.zeros(config.n_celltype)
    specs = [config.cell_type_specs[name] for name in config.celltype_names]
    means = np.array(
        [
            [spec.program_activations.get(name, 0.0) for name in programs]
            if isinstance(spec.program_activations, dict)
            else spec.program_activations
            for spec in specs
        ],
        dtype=np.float64,
    )
    return means, np.array([spec.activation_sd for spec in specs])


def program_proportions(config: SimulationConfig) -> list[float] | None:
    """Return the shares of the cell types by `cell_type_specs`; None where they give none."""
    specs = [config.cell_type_specs.get(name) for name in config.celltype_names]
    shares = [spec.proportion for spec in specs if spec and spec.proportion is not None]
    return shares if shares else None


def program_activations(
    config: SimulationConfig, celltype_codes: ArrayLike, seed: int, cell_ids: ArrayLike
) -> Floats:
    """Return the activations z ~ N(mu_k, sigma_k²) of cells of type k.

    Parameters
    ----------
    config
        Programs and cell types.
    celltype_codes
        (n,) positions among `celltype_names`.
    seed
        The simulation's seed.
    cell_ids
        (n,) integer identities, which fix the noise.

    Returns
    -------
    (n, n_programs).
    """
    means, sds = mean_activations(config)
    codes = np.asarray(celltype_codes)
    activations: Floats = means[codes]
    if not sds.any():
        return activations
    key = stream_key(seed, "programs/activation")
    bits = hash_bits(key, np.asarray(cell_ids)[:, None], name_ids(program_names(config)))
    activations += sds[codes, None] * ndtri(unit_interval(bits))
    return activations


def _anchored(config: SimulationConfig, n_programs: int) -> Floats:
    n_types = config.n_celltype
    types, programs = np.arange(n_types)[:, None], np.arange(n_programs)
    anchors = (programs - types) % min(n_types, n_programs) == 0
    key = stream_key(config.seed, "programs/drift")
    # Exponential numbers over their sum are a flat Dirichlet draw.
    waits = -np.log(unit_interval(hash_bits(key, types, programs)))
    drift: Floats = waits / waits.sum(axis=1, keepdims=True)
    drift *= _DRIFT
    drift += (1.0 - _DRIFT) * anchors
    return drift
