"""Genes with a known cause: inputs that vary in space, and targets that are regulated by them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import field_validator

from celldyn.config import Config, param

PRIOR_NAMES = (
    "marker_mu",
    "marker_cv",
    "silence_mu",
    "silence_cv",
    "hk_mu",
    "hk_cv",
    "theta_mu",
    "theta_cv",
)
"""What may be set for one cell type alone."""


class GenePriors(NamedTuple):
    """The gamma priors of one cell type, the means as (mu, cv)."""

    marker: tuple[float, float]
    silence: tuple[float, float]
    hk: tuple[float, float]
    theta_shape: float
    theta_scale: float


class GeneSpec(Config):
    """A named gene outside the table of priors: a transcription factor, ligand or receptor."""

    name: str = param(..., "Gene name", min_length=1)
    mu: float = param(1.0, "Mean counts of a cell of size 1", ge=0, le=1e5)
    theta: float = param(10.0, "Inverse dispersion", gt=0, le=1e9)
    kind: str = param("input", "What it is called in var['gene_type']", min_length=1)
    celltype_factor: dict[str, float] = param({}, "Multiplies mu per cell type; 1 if not named")
    domain_factor: dict[str, float] = param({}, "Multiplies mu per domain; 1 if not named")
    field_strength: float = param(0.0, "Log-scale sd of a smooth spatial field on mu", ge=0, le=3)
    field_length_um: float = param(
        100.0, "Length over which that field changes", unit="µm", gt=0, le=1e6
    )

    @field_validator("celltype_factor", "domain_factor")
    @classmethod
    def _not_negative(cls, factors: dict[str, float]) -> dict[str, float]:
        return require_factors(factors, negative=False)


class TargetSpec(Config):
    """A gene whose mean is a known sum of what regulates it.

    The mean of cell i is beta0 + Σ beta_TF(i) x_TF(i) + Σ beta_LR(i) w_L(i) x_R(i)
    + Σ beta_LT(i) w_L(i) x_TF(i), not below 0, with x the counts of the cell and w_L the ligand's
    average over the neighbourhood, weighted by the kernel. Each
    coefficient is its number here, times the factor of the cell's type, times that of its domain,
    times 1 + `field_strength` times a smooth field of variance 1.
    """

    gene: str = param(..., "Name of the target gene", min_length=1)
    intercept: float = param(1.0, "beta0: mean counts without any regulator", ge=0, le=1e5)
    regulators: dict[str, float] = param({}, "Coefficient per transcription factor")
    ligand_receptor: dict[str, float] = param({}, "Coefficient per pair 'ligand$receptor'")
    tf_ligand: dict[str, float] = param({}, "Coefficient per pair 'ligand#TF'")
    radius_um: float = param(100.0, "Reach of the ligands", unit="µm", gt=0, le=1e6)
    kernel: Literal["gaussian", "diffusion"] = param(
        "gaussian", "How a ligand thins out: as the estimators assume, or by screened diffusion"
    )
    theta: float = param(20.0, "Inverse dispersion of the target", gt=0, le=1e9)
    celltype_factor: dict[str, float] = param(
        {}, "Multiplies all coefficients per cell type; 0 where the gene is not regulated"
    )
    domain_factor: dict[str, float] = param({}, "Multiplies all coefficients per domain")
    field_strength: float = param(0.0, "sd of the coefficients' smooth spatial field", ge=0, le=1)
    field_length_um: float = param(
        150.0, "Length over which that field changes", unit="µm", gt=0, le=1e6
    )

    @field_validator("celltype_factor", "domain_factor")
    @classmethod
    def _any_sign(cls, factors: dict[str, float]) -> dict[str, float]:
        return require_factors(factors, negative=True)

    @field_validator("ligand_receptor")
    @classmethod
    def _pairs(cls, pairs: dict[str, float]) -> dict[str, float]:
        return _require_pairs(pairs, "$", "ligand$receptor")

    @field_validator("tf_ligand")
    @classmethod
    def _tf_pairs(cls, pairs: dict[str, float]) -> dict[str, float]:
        return _require_pairs(pairs, "#", "ligand#TF")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(ligand, receptor) of `ligand_receptor`, then (ligand, TF) of `tf_ligand`."""
        split = [pair.split("$") for pair in self.ligand_receptor]
        split += [pair.split("#") for pair in self.tf_ligand]
        return [(ligand, partner) for ligand, partner in split]

    @property
    def modulators(self) -> list[str]:
        """Names of the coefficients after beta0: regulators, then pairs."""
        return list(self.coefficients)

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficient per modulator, in the order of `modulators`."""
        return {**self.regulators, **self.ligand_receptor, **self.tf_ligand}

    @property
    def inputs(self) -> set[str]:
        """Every gene whose expression the mean depends on."""
        return {*self.regulators, *(gene for pair in self.pairs for gene in pair)}


def require_factors(factors: dict[str, float], *, negative: bool) -> dict[str, float]:
    """Return `factors` if none is negative, or if that is allowed."""
    low = [name for name, value in factors.items() if value < 0 and not negative]
    if low:
        raise ValueError(f"the factor of {low[0]!r} is {factors[low[0]]}; it must be at least 0")
    return factors


def _require_pairs(pairs: dict[str, float], mark: str, example: str) -> dict[str, float]:
    for pair in pairs:
        parts = pair.split(mark)
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{pair!r} is not a pair; write it as '{example}'")
    return pairs


def topological(targets: list[TargetSpec]) -> list[TargetSpec]:
    """Return the targets so that each comes after the targets that regulate it.

    Raises
    ------
    ValueError
        If they regulate each other in a circle.
    """
    waiting = {target.gene: target for target in targets}
    ordered: list[TargetSpec] = []
    while waiting:
        ready = [t for t in waiting.values() if not (t.inputs & waiting.keys())]
        if not ready:
            raise ValueError(
                f"targets regulate each other in a circle among {', '.join(sorted(waiting))}; "
                "remove one of the edges"
            )
        ordered += [waiting.pop(target.gene) for target in ready]
    return ordered


class ProgramSpec(Config):
    """A gene program of the linear model of coregionalisation."""

    name: str = param(..., "Name of the program", min_length=1)
    loading: dict[str, float] | list[float] = param(
        ..., "Counts per unit of activation: by gene, or one per gene of the table"
    )
    description: str = param("", "What it stands for")


class CellTypeSpec(Config):
    """How active the programs are in a cell type."""

    proportion: float | None = param(None, "Share of the tissue; None is equal", ge=0, le=1)
    program_activations: dict[str, float] | list[float] = param(
        ..., "Mean activation: by program, or one per program"
    )
    activation_sd: float = param(0.0, "sd of the activations between cells", ge=0, le=1e5)
