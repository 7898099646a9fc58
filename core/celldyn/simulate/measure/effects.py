"""What a batch does to the mean: library size, gene factor, ambient, dispersion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv, ndtri

from celldyn.errors import DataError
from celldyn.simulate.specs import TechnicalSpec
from celldyn.simulate.streams import hash_bits, name_ids, stream_key, unit_interval

Floats = NDArray[np.float64]

POISSON_THETA = 1e8
"""Largest inverse dispersion that is drawn: beyond it the counts are Poisson all the same."""


@dataclass(frozen=True, slots=True)
class MeanEffects:
    """The factors of mu_ng = l_n (rho_ng + s_bg) y_bg, with b the batch of cell n.

    Parameters
    ----------
    batch
        (n,) position of each cell's batch among `batch_names`.
    batch_names
        Names of the B batches; one, "all", where there are none.
    y
        (B, G) gene factors, 1 where there are no batches.
    ambient
        (B, G) ambient s in counts of a cell of library size 1; 0 where there is none.
    library
        (n,) library sizes l, of expectation 1.
    theta
        (G,) inverse dispersion in place of the gene table's; None keeps that.
    ambient_share
        (B,) expected share of each batch's counts that is ambient; None where it was not given.
    """

    batch: NDArray[np.int32]
    batch_names: tuple[str, ...]
    y: Floats
    ambient: Floats
    library: Floats
    theta: Floats | None
    ambient_share: Floats | None = None

    @property
    def has_ambient(self) -> bool:
        """Whether some gene has ambient molecules."""
        return bool(self.ambient.any())

    def truth(self) -> dict[str, Any]:
        """Return every factor under its name, for uns["truth"].

        theta is there only if it was drawn, and ambient_share only if it was given.
        """
        factors: dict[str, Any] = {
            "batch": self.batch,
            "batch_names": np.array(self.batch_names),
            "batch_factor": self.y,
            "ambient": self.ambient,
            "library": self.library,
        }
        for name in ("theta", "ambient_share"):
            if getattr(self, name) is not None:
                factors[name] = getattr(self, name)
        return factors


def mean_effects(
    spec: TechnicalSpec,
    gene_names: Sequence[str],
    section_codes: ArrayLike,
    cell_ids: ArrayLike,
    seed: int,
) -> MeanEffects:
    """Draw library sizes, batch factors, ambient and dispersion.

    A cell's numbers depend on its identity and batch, a gene's on its name and batch, so a subset
    of cells or genes has the factors that it has in the whole.

    Parameters
    ----------
    spec
        What is on. l is lognormal: the cells' spread `library_cv` times the batch's factor of
        log sd `library_batch_sd`, both of mean 1. y ~ Gamma(batch_shape, batch_shape), s ~
        Gamma(ambient_shape, ambient_rate), 1 / √theta ~ Exp(theta_rate). With `ambient_share` the
        ambient is still 0 here: it follows from the cells, see `celldyn.simulate.measure.soup`.
    gene_names
        (G,) names.
    section_codes
        (n,) position of each cell's section.
    cell_ids
        (n,) integer identities.
    seed
        The simulation's seed.

    Raises
    ------
    DataError
        If cells and sections differ in number.
    """
    sections, cells = np.asarray(section_codes), np.asarray(cell_ids)
    if sections.ndim != 1 or sections.shape != cells.shape:
        raise DataError(
            f"{cells.shape} cell_ids and {sections.shape} section codes", "give one per cell"
        )
    batch, names = _batches(spec, sections, cells, seed)
    genes, rows = name_ids(gene_names), name_ids(names)[:, None]

    def uniform(what: str) -> Floats:
        return unit_interval(hash_bits(stream_key(seed, f"technical/{what}"), rows, genes))

    y: Floats = np.ones((len(names), len(genes)))
    ambient: Floats = np.zeros_like(y)
    if spec.batch_by != "none":
        y = _gammas(spec.batch_shape, spec.batch_shape, uniform("batch"))
    if spec.ambient_rate is not None:
        ambient = _gammas(spec.ambient_shape, spec.ambient_rate, uniform("ambient"))
    library = _libraries(spec, batch, rows[:, 0], cells, seed)
    share = None if spec.ambient_share is None else np.array(spec.ambient_share, dtype=np.float64)
    return MeanEffects(batch, tuple(names), y, ambient, library, _theta(spec, genes, seed), share)


def _batches(
    spec: TechnicalSpec, sections: NDArray[Any], cells: NDArray[Any], seed: int
) -> tuple[NDArray[np.int32], list[str]]:
    if spec.batch_by == "section":
        n_sections = int(sections.max(initial=0)) + 1
        return sections.astype(np.int32), [f"section_{k}" for k in range(n_sections)]
    if spec.batch_by == "random":
        chance = _per_identity(cells, "batch of a cell", seed)
        names = [f"batch_{k}" for k in range(spec.n_batches)]
        return (chance * spec.n_batches).astype(np.int32), names
    return np.zeros(cells.size, dtype=np.int32), ["all"]


def _libraries(
    spec: TechnicalSpec,
    batch: NDArray[np.int32],
    batch_ids: NDArray[np.uint64],
    cells: NDArray[Any],
    seed: int,
) -> Floats:
    # exp(s z - s² / 2) has expectation 1 at every s, so the mean of the counts stays in place.
    log_size = np.zeros(cells.size)
    spread = float(np.sqrt(np.log1p(spec.library_cv**2)))
    if spread:
        log_size += spread * ndtri(_per_identity(cells, "library", seed)) - spread**2 / 2
    between = spec.library_batch_sd
    if between:
        level = between * ndtri(_per_identity(batch_ids, "library of a batch", seed))
        log_size += (level - between**2 / 2)[batch]
    library: Floats = np.exp(log_size)
    return library


def _theta(spec: TechnicalSpec, genes: NDArray[np.uint64], seed: int) -> Floats | None:
    if spec.theta_rate is None:
        return None
    inverse_root = -np.log(_per_identity(genes, "theta", seed)) / spec.theta_rate
    theta: Floats = np.minimum(inverse_root**-2.0, POISSON_THETA)
    return theta


def _gammas(shape: float, rate: float, chance: Floats) -> Floats:
    return np.asarray(gammaincinv(shape, chance) / rate, dtype=np.float64)


def _per_identity(ids: NDArray[Any], what: str, seed: int) -> Floats:
    return unit_interval(hash_bits(stream_key(seed, f"technical/{what}"), ids, 0))
