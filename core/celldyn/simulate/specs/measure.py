"""How a tissue is measured: technical noise, platforms that see it, and segmentation errors."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from celldyn.config import Config, param

_MOST_AMBIENT = 0.95
"""Share of the counts beyond which hardly any would be native."""


class TechnicalSpec(Config):
    """Technical noise; all of it off by default.

    The mean of cell n and gene g in group t (a section or a random batch) is
    l_n (rho_ng + s_tg) y_tg: library size, native expression, ambient, gene-wise batch factor.
    Detection, dropout, diffusion and swaps then act on the molecules that this mean gives.

    The ambient s is drawn per gene (`ambient_rate`), or it is what the batch's own cells spill
    (`ambient_share`): proportional to their mean native expression, as in a soup of burst cells.
    """

    batch_by: Literal["none", "section", "random"] = param(
        "none", "What makes a batch: nothing, a section, or chance"
    )
    n_batches: int = param(2, "Batches, where chance makes them", ge=1, le=100_000)
    batch_shape: float = param(
        200.0, "Gene factor y per batch ~ Gamma(shape, shape); larger is less", gt=0, le=1e9
    )
    library_cv: float = param(0.0, "Spread of the cells' library sizes l, lognormal", ge=0, le=3)
    library_batch_sd: float = param(0.0, "sd of a batch's mean log library size", ge=0, le=3)
    ambient_shape: float = param(
        1.0, "Ambient s per gene and batch ~ Gamma(shape, rate)", gt=0, le=1e9
    )
    ambient_rate: float | None = param(
        None, "Rate of the ambient; None for no ambient", gt=0, le=1e9
    )
    ambient_share: list[float] | None = param(
        None, "Per batch, the share of its counts that is ambient, in proportions of all its cells"
    )
    theta_rate: float | None = param(
        None, "theta per gene with 1/√theta ~ Exp(rate); None keeps the gene table's", gt=0, le=1e6
    )
    detection: float = param(1.0, "Share of the molecules that is detected", gt=0, le=1)
    detection_cv: float = param(0.0, "Spread of that share between genes", ge=0, le=2)
    dropout_midpoint: float | None = param(
        None, "Mean at which half of the values drop out (logistic in log mean); None for none",
        unit="counts", gt=0, le=1e6
    )  # fmt: skip
    dropout_slope: float = param(1.0, "Steepness of the dropout in log mean", gt=0, le=1e3)
    diffusion_um: float = param(
        0.0, "sd of the molecules' lateral diffusion", unit="µm", ge=0, le=1e5
    )
    swap_rate: float = param(
        0.0, "Share of the molecules that is decoded as another gene", ge=0, lt=1
    )
    keep_steps: bool = param(False, "Whether the counts after every step are kept as layers")

    @model_validator(mode="after")
    def _one_ambient(self) -> Self:
        shares = self.ambient_share
        if shares is None:
            return self
        if self.ambient_rate is not None:
            raise ValueError("give ambient_rate or ambient_share, not both")
        if not all(0 <= share <= _MOST_AMBIENT for share in shares):
            raise ValueError(
                f"ambient_share must be between 0 and {_MOST_AMBIENT} (given: {shares})"
            )
        wanted = {"none": 1, "random": self.n_batches}.get(self.batch_by, len(shares))
        if len(shares) != wanted:
            raise ValueError(
                f"ambient_share has {len(shares)} numbers; it must have one per batch: {wanted}"
            )
        return self


class PlatformSpec(Config):
    """One platform that looks at the tissue, beside the counts per cell."""

    kind: Literal["xenium", "merfish", "visium", "visium_hd", "slideseq"] = param(
        "visium", "Imaging panel with fields of view, spots, bins or beads"
    )
    name: str | None = param(None, "Name of its table; None is the kind's")
    genes: list[str] | None = param(None, "Its panel; None is every gene")
    efficiency: float = param(1.0, "Share of the molecules that it sees", gt=0, le=1)
    bin_um: float = param(8.0, "Side of a Visium HD bin", unit="µm", ge=0.5, le=1e4)
    spot_um: float = param(55.0, "Diameter of a Visium spot", unit="µm", ge=1, le=1e4)
    pitch_um: float = param(100.0, "Distance of the spots' centres", unit="µm", ge=1, le=1e5)
    bead_um: float = param(10.0, "Diameter of a Slide-seq bead", unit="µm", ge=1, le=1e4)
    fov_um: float = param(
        200.0, "Side of a field of view of an imaging platform", unit="µm", ge=5, le=1e6
    )
    seam_loss: float = param(
        0.0, "Share of the molecules that is lost within 2 µm of a seam", ge=0, le=1
    )

    @property
    def label(self) -> str:
        """Name of its table."""
        return self.name or self.kind

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.kind == "visium" and self.pitch_um < self.spot_um:
            raise ValueError(
                f"pitch_um = {self.pitch_um:g} must be at least spot_um = {self.spot_um:g}"
            )
        return self


class SegmentationSpec(Config):
    """What a segmentation gets wrong; its table of counts stands beside the true one."""

    jitter: float = param(0.0, "sd of the outline over its radius", ge=0, le=1)
    merge_rate: float = param(0.0, "Share of the cells merged with a neighbour", ge=0, le=1)
    split_rate: float = param(0.0, "Share of the cells that is cut in two", ge=0, le=1)
    miss_rate: float = param(0.0, "Share of the cells that is not found", ge=0, le=1)
    nucleus_expansion_um: float | None = param(
        None,
        "Cells are nuclei grown by this much; None keeps the true outlines",
        unit="µm",
        ge=0,
        le=1e4,
    )
