"""A known stochastic differential equation that the cells' states follow."""

from __future__ import annotations

from typing import Literal

from celldyn.config import Config, param


class DynamicsSpec(Config):
    """States z that follow dz = -∇V(z) dt + sigma dW, and genes that read them."""

    potential: Literal["wells", "pitchfork", "tree", "quartic"] = param(
        "tree", "Several wells, one fork, a tree of forks, or a double well"
    )
    n_dims: int = param(2, "Dimensions of the state", ge=2, le=50)
    n_fates: int = param(2, "Terminal fates of wells and tree", ge=2, le=16)
    sigma: float = param(0.3, "Noise", ge=0, le=5)
    t_max: float = param(3.0, "Latest true time", gt=0, le=1000)
    depth: float = param(2.0, "Depth of the wells", gt=0, le=100)
    time_from: Literal["uniform", "x", "y"] = param(
        "uniform", "A cell's true time: by chance, or by its place along an axis of the section"
    )
    n_genes: int = param(50, "Genes that read the state", unit="genes", ge=1)
    gene_mu: float = param(1.5, "Mean of such a gene", unit="counts", gt=0)
    gene_theta: float = param(10.0, "Inverse dispersion of such a gene", gt=0)
    n_rollouts: int = param(64, "Short runs per cell for its fate probabilities", ge=0)
    spliced: bool = param(False, "Whether spliced and unspliced counts are made")
    zero_inflation: float = param(0.0, "Share of excess zeros in these genes", ge=0, lt=1)
    defines_celltypes: bool = param(
        False, "Whether the state makes the cell types, in place of the layout"
    )
    knockouts: dict[str, float] = param({}, "Gene and factor on its mean", advanced=True)
