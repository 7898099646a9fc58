"""A known stochastic differential equation that the cells' states follow."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from celldyn.config import Config, param

_TWO_FATES = ("pitchfork", "quartic")


class DynamicsSpec(Config):
    """States z that follow dz = -∇V(z) dt + sigma dW, and genes that read them.

    The genes are dyn_0, dyn_1, ... The first `drivers_per_fate` times the number of fates of them
    are drivers, dyn_i of fate i modulo the number of fates: what changes their mean by a factor f
    raises the valley of their fate by depth · driver_tilt · (1 - f), averaged over the drivers of
    that fate, with f kept within 0 and 2. So the shift of fates by a perturbation is known.
    """

    potential: Literal["wells", "pitchfork", "tree", "quartic"] = param(
        "tree", "Several wells, one fork, a tree of forks, or a double well"
    )
    n_dims: int = param(2, "Dimensions of the state", ge=2, le=50)
    n_fates: int = param(2, "Terminal fates of wells and tree", ge=2, le=16)
    sigma: float = param(0.3, "Noise", ge=0, le=5)
    t_max: float = param(3.0, "Latest true time", gt=0, le=1000)
    depth: float = param(2.0, "How far it is down from the root to a fate", gt=0, le=100)
    time_from: Literal["uniform", "x", "y"] = param(
        "uniform", "A cell's true time: by chance, or by its place along an axis of the section"
    )
    n_genes: int = param(50, "Genes that read the state", unit="genes", ge=1, le=100_000)
    gene_mu: float = param(1.5, "Mean of such a gene", unit="counts", gt=0, le=1e5)
    gene_theta: float = param(10.0, "Inverse dispersion of such a gene", gt=0, le=1e9)
    drivers_per_fate: int = param(
        2, "Genes whose loss makes a fate less likely, per fate", unit="genes", ge=0, le=100_000
    )
    driver_tilt: float = param(
        0.25, "How far losing all drivers of a fate raises its valley, over the depth", ge=0, le=1
    )
    n_rollouts: int = param(
        0,
        "Short runs per cell for its fate probabilities; 0 solves for them exactly",
        ge=0,
        le=100_000,
    )
    spliced: bool = param(False, "Whether spliced and unspliced counts are made")
    zero_inflation: float = param(0.0, "Share of excess zeros in these genes", ge=0, lt=1)
    defines_celltypes: bool = param(
        False, "Whether the state makes the cell types, in place of the layout"
    )
    knockouts: dict[str, float] = param({}, "Gene and factor on its mean", advanced=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.potential in _TWO_FATES and self.n_fates != 2:
            raise ValueError(
                f"n_fates must be 2 for potential = {self.potential!r} (given: {self.n_fates})"
            )
        known = set(self.gene_names)
        for gene, factor in self.knockouts.items():
            if gene not in known:
                raise ValueError(f"knockouts: {gene!r} is none of dyn_0 to dyn_{self.n_genes - 1}")
            if factor < 0:
                raise ValueError(f"knockouts: the factor of {gene!r} must be at least 0")
        return self

    @property
    def gene_names(self) -> list[str]:
        """Names of the genes that read the state."""
        return [f"dyn_{i}" for i in range(self.n_genes)]

    @property
    def fate_names(self) -> list[str]:
        """Names of the terminal fates."""
        return [f"fate_{k}" for k in range(self.n_fates)]

    @property
    def type_names(self) -> list[str]:
        """Names of the cell types that the states make: not yet committed, then the fates."""
        return ["progenitor", *self.fate_names]

    @property
    def drivers(self) -> dict[str, int]:
        """Fate, by position, of each driver gene; as many for each fate."""
        per_fate = min(self.drivers_per_fate, self.n_genes // self.n_fates)
        names = self.gene_names[: per_fate * self.n_fates]
        return {name: i % self.n_fates for i, name in enumerate(names)}
