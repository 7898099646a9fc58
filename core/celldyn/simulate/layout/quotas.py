"""How many free cells of each type a section gets, and where: domains, gradients, structures."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job
from celldyn.simulate.layout.domains import depth_job
from celldyn.simulate.layout.tables import affinity, balanced, rounded

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

Codes = NDArray[np.intp]
Floats = NDArray[np.float64]

_CELLS_PER_STRATUM = 40
_STRATA_PER_BAND = 16
_TOLERANCE = 0.01
"""Shares that are further off than this are told to the user."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many cells of each type every stratum of a section gets.

    Parameters
    ----------
    stratum
        (n_free,) code of each free cell: its domain, or its depth along a gradient.
    numbers
        (n_strata, n_types) cells; rows sum to the sizes of the strata.
    """

    stratum: Codes
    numbers: NDArray[np.intp]


def quotas_job(
    config: SimulationConfig, xy: Floats, domain: Codes, section: int, held: NDArray[np.intp]
) -> Job[Quotas]:
    """Share the types out.

    Parameters
    ----------
    config
        Its `celltype_proportion`, `domain_purity`, `domain_composition` and `domain_pattern`.
    xy, domain
        (n_free, 2) and (n_free,) of the free cells.
    section
        Which one.
    held
        (n_types,) cells of each type that are there already.
    """
    if config.domain_pattern != "gradient":
        sizes = np.bincount(domain)
        table = _by_domain(config, sizes, held, section)
        return Quotas(domain, rounded(table, sizes))
    depth = yield from depth_job(config, xy, section)
    # One domain is a gradient all the same: from the first type to the last.
    n_bands = config.n_domains if config.n_domains > 1 else config.n_celltype
    finer = np.clip(domain.size // (_CELLS_PER_STRATUM * n_bands), 1, _STRATA_PER_BAND)
    n_strata = int(n_bands * finer)
    stratum = np.minimum((depth * n_strata).astype(np.intp), n_strata - 1)
    sizes = np.bincount(stratum, minlength=n_strata)
    in_bands = sizes.reshape(n_bands, -1).sum(axis=1)
    table = _by_domain(config, in_bands, held, section)
    shares = _interpolated(table / np.maximum(in_bands, 1)[:, None], n_strata)
    return Quotas(
        stratum, rounded(balanced(shares, sizes, table.sum(axis=0) / sizes.sum()), sizes)
    )


def _by_domain(
    config: SimulationConfig, sizes: NDArray[np.intp], held: NDArray[np.intp], section: int
) -> Floats:
    """Return (n_domains, n_types) expected numbers of free cells, with the wanted margins."""
    n_free = int(sizes.sum())
    wanted = config.proportions * (n_free + held.sum()) - held
    table = affinity(sizes.size, config.n_celltype, config.domain_purity)
    given = _compositions(config, sizes.size)
    locked = ~np.isnan(given).any(axis=1)
    table[locked] = given[locked] * sizes[locked, None]
    left = wanted - table[locked].sum(axis=0)
    open_sizes = sizes[~locked]
    n_open = int(open_sizes.sum())
    if n_open:
        left = np.maximum(left, 0.0)
        shares = left / left.sum() if left.sum() > 0 else config.proportions
        if not held.any() and not locked.any():
            shares = config.proportions
        table[~locked] = balanced(table[~locked], open_sizes, shares)
    if config.celltype_proportion is not None or held.any():
        _warn_if_off(config, table.sum(axis=0) + held, section)
    return table


def _compositions(config: SimulationConfig, n_domains: int) -> Floats:
    """Return (n_domains, n_types) shares as given, nan where none are."""
    given = np.full((n_domains, config.n_celltype), np.nan)
    for code, name in enumerate(config.domain_names[:n_domains]):
        if name in config.domain_composition:
            own = config.domain_composition[name]
            shares = np.array([own.get(celltype, 0.0) for celltype in config.celltype_names])
            given[code] = shares / shares.sum()
    return given


def _interpolated(shares: Floats, n_strata: int) -> Floats:
    """Return (n_strata, n_types) shares that go evenly from the middle of a band to the next."""
    last = len(shares) - 1
    place = np.clip((np.arange(n_strata) + 0.5) / n_strata * len(shares) - 0.5, 0, last)
    below = np.minimum(place.astype(np.intp), max(last - 1, 0))
    part = (place - below)[:, None]
    above = np.minimum(below + 1, last)
    between: Floats = (1 - part) * shares[below] + part * shares[above]
    return between


def _warn_if_off(config: SimulationConfig, numbers: Floats, section: int) -> None:
    got = numbers / numbers.sum()
    off = np.abs(got - config.proportions)
    worst = int(off.argmax())
    if off[worst] > _TOLERANCE:
        warnings.warn(
            f"{config.section_names[section]} gets {got[worst]:.3f} of "
            f"{config.celltype_names[worst]!r}, not the celltype_proportion of "
            f"{config.proportions[worst]:.3f}, since structures and domain_composition hold "
            "to theirs",
            UserWarning,
            stacklevel=2,
        )
