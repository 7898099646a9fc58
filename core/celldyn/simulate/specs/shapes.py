"""What single cells look like, and structures that many of them make together."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from celldyn.config import Config, param

Pattern = Literal["cluster", "ring", "chain", "vessel", "crypt"]
OrientationMode = Literal["random", "radial", "tangential", "aligned"]


class MorphologySpec(Config):
    """Size and outline of the nuclei of a cell type."""

    mean_area: float = param(50.0, "Mean area of a nucleus", unit="µm²", gt=0, le=1e5)
    cv_area: float = param(0.25, "Spread of the areas between cells", ge=0, le=2)
    elongation: float = param(1.0, "Long axis over short axis, at the same area", ge=1, le=10)
    n_vertices: int = param(16, "Corners of the outline", ge=6, le=128)
    boundary_noise_apt: float = param(
        0.15, "How bumpy the outline is; 0 is an ellipse", ge=0, le=0.5
    )
    orientation_mode: OrientationMode = param(
        "random",
        "Which way long cells point: away from, or around, their structure's axis or the middle "
        "of the canvas",
    )
    orientation_noise: float = param(
        0.15, "sd of the angle about that direction", unit="rad", ge=0, le=3.2
    )
    orientation_angle: float = param(
        0.0,
        "Direction of aligned cells from the x axis; a structure turns its own",
        unit="°",
        ge=-360,
        le=360,
        advanced=True,
    )


class PrototypeSpec(Config):
    """A structure of many cells: its pattern, what it is made of, and how big it is."""

    name: str = param("prototype", "Name of the structure", min_length=1)
    pattern: Pattern = param("cluster", "Blob, ring, band, vessel wall with lumen, or crypt")
    composition: dict[str, float] = param({}, "Share of each cell type; empty is the tissue's")
    n_cells: int | None = param(
        None,
        "Cells in it; None fills it at the density of the tissue",
        unit="cells",
        ge=1,
        le=100_000_000,
    )
    size_um: float = param(
        50.0,
        "Radius of a blob or ring, length of a band, depth of a crypt",
        unit="µm",
        gt=0,
        le=1e6,
    )
    elongation: float = param(1.0, "Long axis over short axis", ge=1, le=20)
    orientation: float = param(
        0.0,
        "Angle of the long axis from the x axis; a crypt at 0 opens upwards",
        unit="°",
        ge=-360,
        le=360,
    )
    shape: float = param(
        0.3,
        "Blob: raggedness; ring and vessel: thickness over radius; band and crypt: width over "
        "length",
        ge=0,
        le=1,
    )
    morphology: dict[str, MorphologySpec] = param(
        {}, "Morphology of single cell types within it", advanced=True
    )

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.composition and (min(self.composition.values()) < 0 or not self._total > 0):
            raise ValueError(
                f"composition of {self.name!r} must hold shares of at least 0 with a sum above 0"
            )
        return self

    @property
    def _total(self) -> float:
        return sum(self.composition.values())


class PrototypeSpecInstance(Config):
    """A structure at its place."""

    spec: PrototypeSpec = param(..., "The structure")
    x: float = param(..., "Centre, from the left of its section", unit="µm", ge=0)
    y: float = param(..., "Centre, from the top of its section", unit="µm", ge=0)
    section: int = param(0, "Which section it lies in", ge=0)
    orientation: float = param(0.0, "Turns the structure further", unit="°", ge=-360, le=360)


class PrototypeScene(Config):
    """Structures that share a centre; the later ones take the room that the earlier ones leave."""

    name: str = param("scene", "Name of the scene", min_length=1)
    specs: list[PrototypeSpec] = param(..., "Its structures, from the inside out", min_length=1)


class PrototypeSceneInstance(Config):
    """A scene at its place."""

    scene: PrototypeScene = param(..., "The scene")
    x: float = param(..., "Centre, from the left of its section", unit="µm", ge=0)
    y: float = param(..., "Centre, from the top of its section", unit="µm", ge=0)
    section: int = param(0, "Which section it lies in", ge=0)
    orientation: float = param(0.0, "Turns the whole scene", unit="°", ge=-360, le=360)

    @property
    def instances(self) -> list[PrototypeSpecInstance]:
        """The scene's structures, each at the scene's centre."""
        return [
            PrototypeSpecInstance(
                spec=spec, x=self.x, y=self.y, section=self.section, orientation=self.orientation
            )
            for spec in self.scene.specs
        ]
