"""Parameters of the genes: their table, programs, and genes of known cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from celldyn.config import Config, param
from celldyn.simulate.parameters.programs import with_program_sizes
from celldyn.simulate.specs import (
    CellTypeSpec,
    DynamicsSpec,
    GenePriors,
    GeneSpec,
    ProgramSpec,
    TargetSpec,
)


class GeneParameters(Config):
    """What is expressed, and why."""

    n_celltype: int = param(..., "Cell types", ge=1, le=10_000)
    n_genes: int = param(..., "Genes drawn from the priors", unit="genes", ge=1, le=1_000_000)
    n_markers: int | None = param(
        None,
        "Marker genes per cell type; None makes half of the genes markers",
        ge=0,
        le=1_000_000,
    )
    n_silence: int = param(
        0, "Genes that are silent in every type", unit="genes", ge=0, le=1_000_000
    )
    marker_mu: float = param(0.75, "Mean of a marker in its own type", unit="counts", gt=0, le=1e5)
    marker_cv: float = param(0.6, "Spread of marker means between genes", gt=0, le=100)
    silence_mu: float = param(
        0.05, "Mean of a gene where it is silent", unit="counts", gt=0, le=1e5
    )
    silence_cv: float = param(1.0, "Spread of silent means between genes", gt=0, le=100)
    hk_mu: float = param(0.2, "Mean of a housekeeping gene", unit="counts", gt=0, le=1e5)
    hk_cv: float = param(0.3, "Spread of housekeeping means between genes", gt=0, le=100)
    theta_alpha: float = param(2.0, "Shape of the prior on theta", gt=0, le=1e9)
    theta_rate: float = param(1.0, "Rate of the prior on theta", gt=0, le=1e9)
    theta_mu: float | None = param(
        None, "Mean of the prior on theta, in place of alpha", gt=0, le=1e9
    )
    theta_cv: float | None = param(None, "Spread of theta, in place of rate", gt=0, le=100)
    celltype_labels: list[str] | None = param(None, "Names of the types; None is ct_0, ct_1, ...")
    celltype_priors: dict[str, dict[str, float]] = param(
        {}, "Priors of single cell types, such as {'ct_0': {'marker_mu': 1.5}}", advanced=True
    )
    shared_markers: float | dict[str, list[str]] = param(
        0.0,
        "Share of each type's markers that the next type also expresses, or gene: types",
        advanced=True,
    )
    gene_labels: list[str] | None = param(
        None, "Names of the table's genes, as of a panel; None names them by class", advanced=True
    )
    zero_inflation: float = param(
        0.0, "Share of excess zeros in the table's genes (ZINB)", ge=0, lt=1, advanced=True
    )
    keep_expected: bool = param(
        False, "Whether the expected counts are kept as a dense layer", advanced=True
    )
    gene_correlation: float = param(
        0.0, "Correlation, within a cell, of the noise of genes of one class", ge=0, lt=1,
        advanced=True,
    )  # fmt: skip
    expression_model: Literal["classes", "programs"] = param(
        "classes", "Markers and housekeeping genes, or gene programs", advanced=True
    )
    programs: list[ProgramSpec] = param([], "Gene programs and their loadings", advanced=True)
    cell_type_specs: dict[str, CellTypeSpec] = param(
        {}, "Program activations of each cell type", advanced=True
    )
    expression_baseline: float = param(
        0.05, "Mean of a gene that no program drives", unit="counts", gt=0, le=1e5, advanced=True
    )
    overdispersion_cv: float = param(0.5, "CV of a gene of mean 1", gt=0, le=100, advanced=True)
    overdispersion_exponent: float = param(
        0.3,
        "How fast the CV falls with the mean: CV = cv · mean^-exponent",
        ge=0,
        le=5,
        advanced=True,
    )
    n_programs: int | None = param(
        None, "Programs, where none is listed", ge=1, le=10_000, advanced=True
    )
    n_genes_per_program: int = param(
        10, "Genes of each of them", unit="genes", ge=1, le=1_000_000, advanced=True
    )
    n_hk_genes: int = param(
        0, "Genes that no program drives", unit="genes", ge=0, le=1_000_000, advanced=True
    )
    extra_genes: list[GeneSpec] = param([], "Named genes beside the table", advanced=True)
    targets: list[TargetSpec] = param([], "Genes with known regulation", advanced=True)
    dynamics: DynamicsSpec | None = param(
        None, "A known differential equation of the cells' states", advanced=True
    )

    @model_validator(mode="before")
    @classmethod
    def _sizes_of_programs(cls, given: Any) -> Any:  # noqa: ANN401
        if not isinstance(given, Mapping):
            return given
        return with_program_sizes(given, cls.model_fields["n_genes_per_program"].default)

    @property
    def celltype_names(self) -> list[str]:
        """Names of the cell types."""
        return self.celltype_labels or [f"ct_{k}" for k in range(self.n_celltype)]

    @property
    def markers_per_type(self) -> int:
        """Marker genes of one cell type; programs know none."""
        if self.expression_model == "programs":
            return 0
        if self.n_markers is not None:
            return self.n_markers
        room = min(self.n_genes // 2, self.n_genes - self.n_silence)
        return max(room, 0) // self.n_celltype

    @property
    def n_housekeeping_genes(self) -> int:
        """Genes of the table that are neither markers nor silent."""
        return self.n_genes - self.n_celltype * self.markers_per_type - self.n_silence

    @property
    def theta_mean_cv(self) -> tuple[float, float]:
        """Mean and coefficient of variation of the prior on theta."""
        mean, cv = self.theta_alpha / self.theta_rate, self.theta_alpha**-0.5
        return self.theta_mu or mean, self.theta_cv or cv

    def priors_of(self, celltype: str) -> GenePriors:
        """Return the priors of one cell type: its own where given, the common ones elsewhere."""
        own = self.celltype_priors.get(celltype, {})

        def pair(name: str) -> tuple[float, float]:
            mu, cv = getattr(self, f"{name}_mu"), getattr(self, f"{name}_cv")
            return own.get(f"{name}_mu", mu), own.get(f"{name}_cv", cv)

        shape, scale = self.theta_alpha, 1.0 / self.theta_rate
        if self.theta_mu or self.theta_cv or {"theta_mu", "theta_cv"} & own.keys():
            mean, cv = self.theta_mean_cv
            mean, cv = own.get("theta_mu", mean), own.get("theta_cv", cv)
            cv = max(cv, 1e-6)  # below, theta is one value
            shape, scale = 1.0 / cv**2, mean * cv**2
        return GenePriors(pair("marker"), pair("silence"), pair("hk"), shape, scale)

    def shared_marker_rows(self) -> dict[str, NDArray[np.intp]]:
        """Rows of the gene table that each cell type expresses as markers of another type."""
        names, size = self.celltype_names, self.markers_per_type
        if isinstance(self.shared_markers, dict):
            from celldyn.simulate.genes import marker_rows

            rows = marker_rows(self)
            return {
                name: np.array(
                    [rows[g] for g, who in self.shared_markers.items() if name in who]
                ).astype(np.intp)
                for name in names
            }
        if self.n_celltype == 1:
            return {}
        shared = np.arange(round(self.shared_markers * size))
        return {name: (k - 1) % self.n_celltype * size + shared for k, name in enumerate(names)}
