"""Known regulation: the mean of a target as a sum whose coefficients vary over the tissue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job, Progress, run
from celldyn.simulate.fields import smooth_field
from celldyn.simulate.specs import GeneSpec, TargetSpec

Floats = NDArray[np.float64]

_EDGE_WEIGHT = 0.001
"""Weight of a neighbour at the reach of the kernel, relative to the cell itself."""
_BLOCK = 1 << 11


@dataclass(frozen=True, slots=True)
class Tissue:
    """Where the cells lie and what they are; all arrays are (n_cells, ...).

    Parameters
    ----------
    xy
        (n_cells, 2) positions in µm within the cell's section.
    celltype, domain, section
        Codes into the names that follow; sections do not touch.
    celltype_names, domain_names
        Names of the codes.
    seed
        The simulation's seed.
    """

    xy: Floats
    celltype: NDArray[np.intp]
    domain: NDArray[np.intp]
    section: NDArray[np.intp]
    celltype_names: list[str]
    domain_names: list[str]
    seed: int

    def factor(self, by_celltype: dict[str, float], by_domain: dict[str, float]) -> Floats:
        """Return the product of both factors per cell; a name that is not given counts 1."""
        of_type = np.array([by_celltype.get(name, 1.0) for name in self.celltype_names])
        of_domain = np.array([by_domain.get(name, 1.0) for name in self.domain_names])
        product: Floats = of_type[self.celltype] * of_domain[self.domain]
        return product

    def field(self, length_um: float, stage: str) -> Floats:
        """Return a smooth field of mean 0 and variance 1, another one in each section."""
        values = np.empty(len(self.xy))
        for k in np.unique(self.section):
            here = self.section == k
            values[here] = smooth_field(self.xy[here], length_um, self.seed, f"{stage}/{k}")
        return values


@dataclass(frozen=True, slots=True)
class TrueBetas:
    """What a regression on a target should find.

    Parameters
    ----------
    gene
        The target.
    columns
        "beta0", then "beta_<modulator>" with modulators as "TF" and "ligand$receptor".
    values
        (n_cells, 1 + n_modulators) coefficients per cell.
    features
        (n_cells, n_modulators) what they multiply.
    """

    gene: str
    columns: list[str]
    values: Floats
    features: Floats

    @property
    def mean(self) -> Floats:
        """(n_cells,) negative binomial mean of the target, not below 0."""
        linear = self.values[:, 0] + (self.values[:, 1:] * self.features).sum(axis=1)
        mean: Floats = np.maximum(linear, 0.0)
        return mean


def received(tissue: Tissue, expression: Floats, radius_um: float) -> Floats:
    """Return how much of a ligand reaches each cell, (n_cells,); see `received_job`."""
    return run(received_job(tissue, expression, radius_um), bar=False)


def received_job(tissue: Tissue, expression: Floats, radius_um: float) -> Job[Floats]:
    """Average a ligand over each cell's neighbourhood; progress counts cells.

    A neighbour at distance d up to the radius r weighs 0.001^((d / r)²), the cell itself 1; the
    sum is divided by the sum of the weights. Sections do not see each other.

    Parameters
    ----------
    tissue
        Where the cells lie.
    expression
        (n_cells,) of the ligand.
    radius_um
        Reach in µm.

    Returns
    -------
    (n_cells,) in the unit of `expression`.
    """
    from scipy.spatial import cKDTree

    average = np.empty(len(tissue.xy))
    for k in np.unique(tissue.section):
        here = np.flatnonzero(tissue.section == k)
        tree = cKDTree(tissue.xy[here])
        for start in range(0, here.size, _BLOCK):
            rows = here[start : start + _BLOCK]
            near = cKDTree(tissue.xy[rows]).sparse_distance_matrix(
                tree, radius_um, output_type="ndarray"
            )
            weight = _EDGE_WEIGHT ** ((near["v"] / radius_um) ** 2)
            total = np.bincount(near["i"], weight, rows.size)
            signal = np.bincount(near["i"], weight * expression[here[near["j"]]], rows.size)
            average[rows] = signal / total
            yield Progress("received ligands", start + rows.size, here.size)
    return average


def gene_mean(spec: GeneSpec, tissue: Tissue) -> Floats:
    """Return the mean of a named gene in each cell of size 1, (n_cells,)."""
    mean = spec.mu * tissue.factor(spec.celltype_factor, spec.domain_factor)
    if spec.field_strength:
        wave = spec.field_strength * tissue.field(spec.field_length_um, f"gene/{spec.name}")
        mean = mean * np.exp(wave - 0.5 * spec.field_strength**2)
    return mean


def true_betas_job(
    spec: TargetSpec, tissue: Tissue, expression: Callable[[str], Floats]
) -> Job[TrueBetas]:
    """Give one target its coefficients in every cell, and find what they multiply.

    Parameters
    ----------
    spec
        The target's regulation.
    tissue
        Cells, their types, domains and sections.
    expression
        Gives (n_cells,) counts of a gene by name.

    Returns
    -------
    Coefficients as `TargetSpec` defines them; beta0 is the same in every cell.
    """
    vary = tissue.factor(spec.celltype_factor, spec.domain_factor)
    features = [expression(name) for name in spec.regulators]
    signal: dict[str, Floats] = {}
    for ligand in dict(spec.pairs):
        signal[ligand] = yield from received_job(tissue, expression(ligand), spec.radius_um)
    features += [signal[ligand] * expression(receptor) for ligand, receptor in spec.pairs]
    columns = [np.full(len(tissue.xy), spec.intercept)]
    coefficients = {**spec.regulators, **spec.ligand_receptor}
    for name, coefficient in coefficients.items():
        beta = coefficient * vary
        if spec.field_strength:
            wave = tissue.field(spec.field_length_um, f"beta/{spec.gene}/{name}")
            beta = beta * (1.0 + spec.field_strength * wave)
        columns.append(beta)
    return TrueBetas(
        spec.gene,
        ["beta0", *(f"beta_{name}" for name in coefficients)],
        np.stack(columns, axis=1),
        np.stack(features, axis=1) if features else np.empty((len(tissue.xy), 0)),
    )
