"""Parameters of the layout: where the cells lie, domains, types, structures."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from celldyn.config import Config, param
from celldyn.simulate.specs import PrototypeSceneInstance, PrototypeSpecInstance

AREA_PER_CELL_UM2 = 150.0
"""Canvas that each cell gets when none is asked for: a dense epithelium's."""

UM2_PER_MM2 = 1e6

PointProcess = Literal["hardcore", "hexagonal", "random", "clustered"]
DomainPattern = Literal["voronoi", "layers", "rings", "gradient", "drawn"]


class LayoutParameters(Config):
    """Where the cells lie, and of what type they are."""

    n_cells: int = param(..., "Cells in all sections together", unit="cells", ge=1, le=100_000_000)
    seed: int = param(0, "Fixes every random number", ge=0, le=2**63 - 1)
    canvas_size: float | tuple[float, float] | None = param(
        None, "Side, or width and height, of a section; None gives 150 µm² per cell", unit="µm"
    )
    density_per_mm2: float | None = param(
        None, "Cells per mm² of the section, in place of canvas_size", ge=1, le=1e6, advanced=True
    )
    n_sections: int = param(1, "Sections, each on a canvas of its own", ge=1, le=100_000)
    point_process: PointProcess = param(
        "hardcore", "No two too close, a jittered lattice, complete chance, or clumps"
    )
    min_distance_um: float = param(
        8.0, "No two cells are closer; not for random and clustered cells", unit="µm", ge=0, le=1e4
    )
    lattice_jitter: float = param(
        0.2, "sd of a lattice's cells over their distance", ge=0, le=1, advanced=True
    )
    clump_radius_um: float = param(
        40.0, "sd of a clump's cells about its centre", unit="µm", gt=0, le=1e6, advanced=True
    )
    cells_per_clump: float = param(
        30.0, "Mean cells of a clump", unit="cells", gt=0, le=1e9, advanced=True
    )
    density_image: str | None = param(
        None, "Picture (.png, .tif, .npy) whose brightness is the density of cells", advanced=True
    )
    celltype_proportion: list[float] | dict[str, float] | None = param(
        None, "Share of each type; None is equal"
    )
    continuity: float = param(
        0.0, "How strongly cells of one type lie together; 0 not at all", ge=0, le=1
    )
    fuzziness: float = param(
        0.0, "Share of the cells at patch borders that is mixed up", ge=0, le=1
    )
    interaction: list[list[float]] | None = param(
        None, "Attraction between neighbouring types, (n_celltype, n_celltype), symmetric",
        advanced=True,
    )  # fmt: skip
    neighbour_target: list[list[float]] | None = param(
        None, "Wanted share of each type among the neighbours of each; rows sum to 1",
        advanced=True,
    )  # fmt: skip
    n_domains: int = param(1, "Domains of a section", ge=1, le=10_000)
    domain_pattern: DomainPattern = param(
        "voronoi", "Patches, layers, rings, a gradient between types, or drawn polygons"
    )
    domain_purity: float = param(
        0.8, "How strongly types keep to their domain; 0 is mixed", ge=0, le=1
    )
    domain_labels: list[str] | None = param(None, "Names of the domains; None is domain_0, ...")
    domain_polygons: dict[str, list[list[tuple[float, float]]]] = param(
        {}, "Corners (x, y) of the drawn polygons of each domain; the first domain lies outside",
        unit="µm", advanced=True,
    )  # fmt: skip
    domain_composition: dict[str, dict[str, float]] = param(
        {}, "Shares of the cell types within single domains", advanced=True
    )
    prototypes: list[PrototypeSpecInstance | PrototypeSceneInstance] = param(
        [], "Structures at their places: blobs, rings, bands, vessels, crypts", advanced=True
    )

    @property
    def domain_names(self) -> list[str]:
        """Names of the domains."""
        return self.domain_labels or [f"domain_{k}" for k in range(self.n_domains)]

    @property
    def section_names(self) -> list[str]:
        """Names of the sections."""
        return [f"section_{k}" for k in range(self.n_sections)]

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
    def placed_prototypes(self) -> list[PrototypeSpecInstance]:
        """Every structure at its place, scenes taken apart; number i has prototype id i + 1."""
        placed: list[PrototypeSpecInstance] = []
        for item in self.prototypes:
            placed += item.instances if isinstance(item, PrototypeSceneInstance) else [item]
        return placed

    @property
    def _area_per_cell(self) -> float:
        if self.density_per_mm2 is not None:
            return UM2_PER_MM2 / self.density_per_mm2
        # Twice the hard core's square leaves cells room to be irregular.
        return max(AREA_PER_CELL_UM2, 2.0 * self.min_distance_um**2)

    def shares_of(self, names: list[str]) -> NDArray[np.float64]:
        """Return the share of each cell type, summing to 1."""
        given = self.celltype_proportion
        if given is None:
            values = np.full(len(names), 1.0)
        elif isinstance(given, dict):
            values = np.array([given.get(name, 0.0) for name in names])
        else:
            values = np.array(given, dtype=np.float64)
        shares: NDArray[np.float64] = values / values.sum()
        return shares
