"""Known regulation: the mean of a target as a sum whose coefficients vary over the tissue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job
from celldyn.simulate.fields import smooth_field
from celldyn.simulate.ligands import received, received_job
from celldyn.simulate.specs import GeneSpec, TargetSpec

__all__ = [
    "Tissue",
    "TrueBetas",
    "coefficients",
    "gene_mean",
    "received",
    "received_job",
    "true_betas_job",
]

Floats = NDArray[np.float64]


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
        "beta0", then "beta_<modulator>" with modulators as "TF", "ligand$receptor", "ligand#TF".
    values
        (n_cells, 1 + n_modulators) coefficients per cell.
    features
        (n_cells, n_modulators) what they multiply.
    ligands, received
        The ligands, and (n_cells, n_ligands) w_L: what each cell receives of them.
    """

    gene: str
    columns: list[str]
    values: Floats
    features: Floats
    ligands: list[str] = field(default_factory=list)
    received: Floats = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def mean(self) -> Floats:
        """(n_cells,) negative binomial mean of the target, not below 0."""
        linear = self.values[:, 0] + (self.values[:, 1:] * self.features).sum(axis=1)
        mean: Floats = np.maximum(linear, 0.0)
        return mean


def gene_mean(spec: GeneSpec, tissue: Tissue) -> Floats:
    """Return the mean of a named gene in each cell of size 1, (n_cells,)."""
    mean = spec.mu * tissue.factor(spec.celltype_factor, spec.domain_factor)
    if spec.field_strength:
        wave = spec.field_strength * tissue.field(spec.field_length_um, f"gene/{spec.name}")
        mean = mean * np.exp(wave - 0.5 * spec.field_strength**2)
    return mean


def coefficients(spec: TargetSpec, tissue: Tissue) -> Floats:
    """Return one target's coefficients in every cell, (n_cells, 1 + n_modulators)."""
    vary = tissue.factor(spec.celltype_factor, spec.domain_factor)
    columns = [np.full(len(tissue.xy), spec.intercept)]
    for name, coefficient in spec.coefficients.items():
        beta = coefficient * vary
        if spec.field_strength:
            wave = tissue.field(spec.field_length_um, f"beta/{spec.gene}/{name}")
            beta = beta * (1.0 + spec.field_strength * wave)
        columns.append(beta)
    return np.stack(columns, axis=1)


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
        Gives (n_cells,) counts of a gene by name, or its expected counts for a truth without
        noise.

    Returns
    -------
    Coefficients as `TargetSpec` defines them; beta0 is the same in every cell. Under a
    perturbation of the target itself they still say what regulates it, and its mean is changed
    on top.
    """
    features = [expression(name) for name in spec.regulators]
    ligands, heard = list(dict(spec.pairs)), np.empty((len(tissue.xy), 0))
    if ligands:
        levels = np.stack([expression(ligand) for ligand in ligands], axis=1)
        heard = yield from received_job(tissue, levels, spec.radius_um, spec.kernel)
        signal = dict(zip(ligands, heard.T, strict=True))
        features += [signal[ligand] * expression(partner) for ligand, partner in spec.pairs]
    return TrueBetas(
        spec.gene,
        ["beta0", *(f"beta_{name}" for name in spec.coefficients)],
        coefficients(spec, tissue),
        np.stack(features, axis=1) if features else np.empty((len(tissue.xy), 0)),
        ligands,
        heard,
    )
