"""Parameters of single cells: nuclei, outlines, size factors."""

from __future__ import annotations

from typing import Literal

from celldyn.config import Config, param
from celldyn.simulate.specs import MorphologySpec


class CellParameters(Config):
    """What single cells look like."""

    default_morphology: MorphologySpec = param(
        MorphologySpec(), "Nuclei of the types that have no morphology of their own"
    )
    celltype_morphology: dict[str, MorphologySpec] = param(
        {}, "Nuclei of single cell types", advanced=True
    )
    cell_outline: Literal["voronoi", "power"] = param(
        "voronoi", "Cells meet half-way, or further from the larger nucleus"
    )
    expansion_um: float | None = param(
        None, "Farthest that a cell reaches from its centre; None follows the density",
        unit="µm", gt=0, le=1e6
    )  # fmt: skip
    cell_gap_um: float = param(0.0, "Gap between neighbouring cells", unit="µm", ge=0, le=1e6)
    size_factor: Literal["nucleus_area", "cell_area", "lognormal", "none"] = param(
        "nucleus_area", "What makes large cells express more, with mean 1 per cell type"
    )
    scale_cv: float = param(0.25, "Spread of lognormal size factors", ge=0, le=10)
