"""The parameters of a simulated tissue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator, model_validator

from celldyn.config import Config, param
from celldyn.errors import ConfigError, FileFormatError
from celldyn.persist import atomic_path
from celldyn.simulate import checks
from celldyn.simulate.specs import GenePriors, GeneSpec, TargetSpec

AREA_PER_CELL_UM2 = 150.0
"""Canvas that each cell gets when none is asked for: a dense epithelium's."""


class SimulationConfig(Config):
    """What a simulated tissue is made of; only the three sizes are required.

    Means are counts per cell, lengths are µm, and theta is the inverse dispersion.

    Raises
    ------
    ConfigError
        One sentence that names the parameter and its bound.
    """

    n_cells: int = param(..., "Cells in all sections together", unit="cells", ge=1)
    n_celltype: int = param(..., "Cell types", ge=1)
    n_genes: int = param(..., "Genes drawn from the priors", unit="genes", ge=1)
    seed: int = param(0, "Fixes every random number", ge=0)
    n_markers: int | None = param(
        None, "Marker genes per cell type; None makes half of the genes markers", ge=0
    )
    n_silence: int = param(0, "Genes that are silent in every type", unit="genes", ge=0)
    marker_mu: float = param(0.75, "Mean of a marker in its own type", unit="counts", gt=0)
    marker_cv: float = param(0.6, "Spread of marker means between genes", gt=0)
    silence_mu: float = param(0.05, "Mean of a gene where it is silent", unit="counts", gt=0)
    silence_cv: float = param(1.0, "Spread of silent means between genes", gt=0)
    hk_mu: float = param(0.2, "Mean of a housekeeping gene", unit="counts", gt=0)
    hk_cv: float = param(0.3, "Spread of housekeeping means between genes", gt=0)
    theta_alpha: float = param(2.0, "Shape of the prior on theta", gt=0)
    theta_rate: float = param(1.0, "Rate of the prior on theta", gt=0)
    theta_mu: float | None = param(None, "Mean of the prior on theta, in place of alpha", gt=0)
    theta_cv: float | None = param(None, "Spread of theta, in place of rate", gt=0)
    celltype_priors: dict[str, dict[str, float]] = param(
        {}, "Priors of single cell types, such as {'ct_0': {'marker_mu': 1.5}}", advanced=True
    )
    shared_markers: float | dict[str, list[str]] = param(
        0.0,
        "Share of each type's markers that the next type also expresses, or gene: types",
        advanced=True,
    )
    celltype_proportion: list[float] | None = param(None, "Share of each type; None is equal")
    celltype_labels: list[str] | None = param(None, "Names of the types; None is ct_0, ct_1, ...")
    canvas_size: float | tuple[float, float] | None = param(
        None, "Side, or width and height, of a section; None gives 150 µm² per cell", unit="µm"
    )
    min_distance_um: float = param(8.0, "No two cells are closer", unit="µm", ge=0)
    n_sections: int = param(1, "Sections, each on a canvas of its own", ge=1)
    n_domains: int = param(1, "Domains of a section", ge=1)
    domain_pattern: Literal["voronoi", "layers"] = param("voronoi", "Patches, or layers in depth")
    domain_purity: float = param(
        0.8, "How strongly types keep to their domain; 0 is mixed", ge=0, le=1
    )
    domain_labels: list[str] | None = param(None, "Names of the domains; None is domain_0, ...")
    scale_cv: float = param(0.25, "Spread of the cells' size factors, mean 1 per type", ge=0)
    leakage_by_gene: float | list[float] | dict[str | int, float] | None = param(
        None, "Probability that a molecule leaks: one, one per gene, or gene: probability"
    )
    extra_genes: list[GeneSpec] = param([], "Named genes beside the priors' table", advanced=True)
    targets: list[TargetSpec] = param([], "Genes with known regulation", advanced=True)

    @field_validator("leakage_by_gene", mode="before")
    @classmethod
    def _positions_as_numbers(cls, given: Any) -> Any:  # noqa: ANN401
        # JSON knows text keys only, and no gene of the table has a bare number for a name.
        if not isinstance(given, Mapping):
            return given
        return {int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in given.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in checks.ALL:
            check(self)
        return self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a config from a mapping, flat or under the key "simulation".

        Raises
        ------
        ConfigError
            If a parameter is unknown, missing or out of its bounds.
        """
        inner = values.get("simulation", values)
        if not isinstance(inner, Mapping):
            raise ConfigError(
                f"'simulation' holds {type(inner).__name__}", "put the parameters under it"
            )
        return cls(**{str(name): value for name, value in inner.items()})

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """Read a config from a YAML file, flat or under `simulation:`.

        Raises
        ------
        FileFormatError
            If the file is missing or is not a YAML mapping.
        ConfigError
            If a parameter is unknown, missing or out of its bounds.
        """
        import yaml

        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise FileFormatError(
                f"{path.name} cannot be read as YAML", "check the path and the indentation"
            ) from error
        if not isinstance(values, Mapping):
            raise FileFormatError(f"{path.name} holds no parameters", "write them as name: value")
        return cls.from_dict(values)

    def to_yaml(self, path: Path | str) -> Path:
        """Write the config to a YAML file that `from_yaml` reads."""
        import yaml

        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        with atomic_path(path) as draft:
            draft.write_text(text, encoding="utf-8")
        return Path(path)

    @property
    def celltype_names(self) -> list[str]:
        """Names of the cell types."""
        return self.celltype_labels or [f"ct_{k}" for k in range(self.n_celltype)]

    @property
    def domain_names(self) -> list[str]:
        """Names of the domains."""
        return self.domain_labels or [f"domain_{k}" for k in range(self.n_domains)]

    @property
    def section_names(self) -> list[str]:
        """Names of the sections."""
        return [f"section_{k}" for k in range(self.n_sections)]

    @property
    def markers_per_type(self) -> int:
        """Marker genes of one cell type."""
        if self.n_markers is not None:
            return self.n_markers
        return min(self.n_genes // 2, self.n_genes - self.n_silence) // self.n_celltype

    @property
    def n_housekeeping_genes(self) -> int:
        """Genes of the table that are neither markers nor silent."""
        return self.n_genes - self.n_celltype * self.markers_per_type - self.n_silence

    @property
    def proportions(self) -> NDArray[np.float64]:
        """(n_celltype,) shares of the cell types, summing to 1."""
        equal = np.full(self.n_celltype, 1.0 / self.n_celltype)
        given = equal if self.celltype_proportion is None else np.array(self.celltype_proportion)
        shares: NDArray[np.float64] = given / given.sum()
        return shares

    @property
    def section_sizes(self) -> list[int]:
        """Cells of each section, as equal as can be."""
        share, more = divmod(self.n_cells, self.n_sections)
        return [share + (k < more) for k in range(self.n_sections)]

    @property
    def canvas_um(self) -> tuple[float, float]:
        """Width and height of a section in µm."""
        if self.canvas_size is None:
            side = float(np.sqrt(max(self.section_sizes) * self._area_per_cell))
            return side, side
        if isinstance(self.canvas_size, tuple):
            return self.canvas_size
        return self.canvas_size, self.canvas_size

    @property
    def _area_per_cell(self) -> float:
        # Twice the hard core's square leaves cells room to be irregular.
        return max(AREA_PER_CELL_UM2, 2.0 * self.min_distance_um**2)

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
            shape, scale = 1.0 / cv**2, mean * cv**2
        return GenePriors(pair("marker"), pair("silence"), pair("hk"), shape, scale)

    def shared_marker_rows(self) -> dict[str, NDArray[np.intp]]:
        """Rows of the gene table that each cell type expresses as markers of another type."""
        names, size = self.celltype_names, self.markers_per_type
        if isinstance(self.shared_markers, dict):
            rows = checks.marker_rows(self)
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

    def summary(self) -> str:
        """Describe the tissue in one line."""
        width, height = self.canvas_um
        typed = self.n_celltype * self.markers_per_type
        return (
            f"{self.n_cells} cells of {self.n_celltype} types in {self.n_sections} section(s) of "
            f"{width:.0f} × {height:.0f} µm; {typed} markers, {self.n_housekeeping_genes} "
            f"housekeeping, {self.n_silence} silent, {len(self.extra_genes)} named genes, "
            f"{len(self.targets)} targets"
        )
