"""Parameters of the measurement: molecules, leakage, noise, platforms, segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator

from celldyn.config import Config, param
from celldyn.simulate.specs import PlatformSpec, SegmentationSpec, TechnicalSpec

Compartment = Literal["uniform", "nuclear", "perinuclear", "cytoplasmic", "membrane"]


class MeasurementParameters(Config):
    """Where the molecules lie, and what is seen of them."""

    leakage_by_celltype: float | dict[str, float] | None = param(
        None, "Probability that a molecule of a cell leaks: one, or cell type: probability"
    )
    leakage_by_gene: float | list[float] | dict[str | int, float] | None = param(
        None, "Probability that a molecule leaks: one, one per gene, or gene: probability"
    )
    leak_dist_factor: float = param(
        1.0, "Farthest leak, in effective radii √(area / π) of the cell", gt=0, le=100
    )
    leak_coverage: float = param(
        0.97, "Share of the untruncated leak law within the farthest leak", gt=0, lt=1,
        advanced=True,
    )  # fmt: skip
    compartments: dict[str, Compartment] = param(
        {}, "Where a gene's molecules lie, by gene or gene type; uniform if not named",
        advanced=True,
    )  # fmt: skip
    ambient_rate_per_um2: float = param(
        0.0, "Molecules of no cell", unit="per µm²", ge=0, le=1e4, advanced=True
    )
    depth_um: float = param(
        5.0, "Thickness of the section", unit="µm", ge=0, le=1e4, advanced=True
    )
    qv: float = param(40.0, "Quality value of a molecule", ge=0, le=60, advanced=True)
    technical: TechnicalSpec | None = param(None, "Technical noise", advanced=True)
    platforms: list[PlatformSpec] = param([], "Platforms that see the tissue", advanced=True)
    segmentation: SegmentationSpec | None = param(
        None, "What a segmentation gets wrong", advanced=True
    )

    @field_validator("leakage_by_gene", mode="before")
    @classmethod
    def _positions_as_numbers(cls, given: Any) -> Any:  # noqa: ANN401
        # JSON knows text keys only, and no gene of the table has a bare number for a name.
        if not isinstance(given, Mapping):
            return given
        return {int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in given.items()}
