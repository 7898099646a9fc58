"""Of what type every cell of a section is: by domain, by neighbours, mixed at the borders."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.devices import aside_job
from celldyn.jobs import Job, Progress, run
from celldyn.simulate.layout.borders import mixed_borders
from celldyn.simulate.layout.graph import N_NEIGHBOURS, neighbours_job
from celldyn.simulate.layout.potts import Wishes, neighbour_shares, pair_counts, potts_job
from celldyn.simulate.layout.quotas import quotas_job
from celldyn.simulate.layout.tables import dealt
from celldyn.simulate.streams import uniforms

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

Codes = NDArray[np.intp]
Floats = NDArray[np.float64]

_COUPLING_SLOPE, _STRONGEST_COUPLING = 3.6, 2.0
"""The coupling per continuity, and its limit, in units of the critical coupling: a continuity of
.25 lies just below it, where patches show, and from .56 on patches are clean."""
_INTERACTION_SWEEPS = 40
_SWEEPS, _MORE_SWEEPS = 20, 60
"""Without, and in addition with a continuity of 1: patches grow with the root of the time."""
_TOLERANCE = 0.02


def celltypes(
    config: SimulationConfig,
    xy: Floats,
    domain: Codes,
    section: int,
    *,
    fixed: Codes | None = None,
) -> Codes:
    """Return the type of every cell of a section; see `types_job`."""
    return run(types_job(config, xy, domain, section, fixed=fixed), bar=False)


def types_job(
    config: SimulationConfig,
    xy: Floats,
    domain: Codes,
    section: int,
    *,
    fixed: Codes | None = None,
) -> Job[Codes]:
    """Choose the type of every cell of a section; progress counts sweeps.

    Every domain gets its numbers of cells of each type: those of `domain_composition`, or what
    `domain_purity` makes of `celltype_proportion`; along a gradient they change continuously.
    Within a domain, types lie at random, or as neighbours want it: patches by `continuity`
    (Potts 1952), any attraction by `interaction`, or such that the shares among neighbours come
    out as in `neighbour_target`. Then `fuzziness` exchanges neighbours at the patches' borders.

    Neighbours are the 6 nearest cells and those that a cell is among the 6 nearest of.

    Parameters
    ----------
    config
        A checked config.
    xy, domain
        (n_cells, 2) positions in µm and (n_cells,) domain codes.
    section
        Which one.
    fixed
        (n_cells,) types of cells that stay as they are, -1 elsewhere. The others are chosen so
        that the section as a whole has the shares that were asked for.

    Returns
    -------
    (n_cells,) codes into `config.celltype_names`. Shares are as asked, up to rounding; where
    structures or compositions do not allow it, or a target is missed by more than .02, one
    warning says so.
    """
    yield Progress("cell types")
    seed, stage = config.seed, f"layout/{section}/type"
    codes = np.full(len(xy), -1, dtype=np.intp) if fixed is None else fixed.astype(np.intp)
    free = np.flatnonzero(codes < 0)
    if not free.size:
        return codes
    held = np.bincount(codes[codes >= 0], minlength=config.n_celltype)
    quotas = yield from quotas_job(config, xy[free], domain[free], section, held)

    def deal() -> Codes:
        return dealt(quotas.stratum, quotas.numbers, uniforms(seed, stage, len(xy))[free, 0])

    codes[free] = yield from aside_job(deal, "cell types")
    coupled = config.continuity > 0 or config.interaction or config.neighbour_target
    if config.n_celltype == 1 or len(xy) < 2 or not (coupled or config.fuzziness > 0):
        return codes
    graph = yield from neighbours_job(xy)
    if coupled:
        wishes = _wishes(config, graph)
        codes = yield from potts_job(graph, codes, free, quotas, wishes, seed, stage)
    if config.fuzziness > 0:
        share, before = config.fuzziness, codes
        codes = yield from aside_job(
            lambda: mixed_borders(graph, before, free, share, seed, stage), "cell types"
        )
    elif config.neighbour_target is not None:
        _warn_if_missed(config, graph, codes, section)
    return codes


def _wishes(config: SimulationConfig, graph: sparse.csr_matrix) -> Wishes:
    """Say what the config wants of neighbours.

    On a lattice of 4 neighbours, patches appear at a coupling of ln(1 + √q), q types (Potts
    1952); in inverse proportion to the neighbours there are, that holds here within a tenth.
    """
    n_types, c = config.n_celltype, config.continuity
    critical = np.log1p(np.sqrt(n_types)) * 4 * graph.shape[0] / max(graph.nnz, 1)
    strength = min(_COUPLING_SLOPE * c, _STRONGEST_COUPLING)
    coupling = np.eye(n_types) * critical * strength
    n_sweeps = round(_SWEEPS + _MORE_SWEEPS * c**2)
    if config.interaction is not None:
        coupling = coupling + np.array(config.interaction)
        n_sweeps = max(n_sweeps, _INTERACTION_SWEEPS)
    target = config.neighbour_target
    return Wishes(
        coupling,
        n_sweeps,
        None if target is None else np.array(target, dtype=np.float64),
    )


def _warn_if_missed(
    config: SimulationConfig, graph: sparse.csr_matrix, codes: Codes, section: int
) -> None:
    """Say which pair of types is farthest from its target, where chance cannot be the reason."""
    near = neighbour_shares(pair_counts(graph, codes, config.n_celltype))
    there = np.bincount(codes, minlength=config.n_celltype) > 0
    target = np.array(config.neighbour_target)
    off = np.where(there[:, None], np.abs(near - target), 0.0)
    a, b = np.unravel_index(int(off.argmax()), off.shape)
    if off[a, b] > _TOLERANCE + 2 / np.sqrt(codes.size):
        names = config.celltype_names
        warnings.warn(
            f"neighbour_target: in {config.section_names[section]} {near[a, b]:.3f} of the "
            f"neighbours of {names[a]!r} are {names[b]!r}, not {target[a, b]:.3f}; no arrangement "
            f"of cells with about {N_NEIGHBOURS} neighbours, in these domains, came closer",
            UserWarning,
            stacklevel=2,
        )
