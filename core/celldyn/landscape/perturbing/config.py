"""The parameters of a perturbation in the landscape."""

from __future__ import annotations

from typing import Literal, TypeAlias

from celldyn.config import Config, param

Mode: TypeAlias = Literal["held", "reference"]


class PerturbConfig(Config):
    """How perturbed cells are followed, what counts as their fate, and what it is held against."""

    mode: Mode = param(
        "held",
        "Genes stay at their level until they are let go (held), or as sclsd does it: cells jump "
        "to the nearest cell ten times (reference).",
    )
    time: float = param(15.0, "How long cells flow.", unit="time of the flow", gt=0, le=1e6)
    dt: float = param(
        0.5, "How often a held gene is set to its level again.", unit="time of the flow", gt=0,
        le=1e3, advanced=True,
    )  # fmt: skip
    k: int = param(15, "Cells near the end that vote on a fate.", unit="cells", ge=1, le=10**5)
    terminal: tuple[str, ...] | None = param(
        None, "Clusters that count as fates; none: all of them.", advanced=True
    )
    n_runs: int = param(
        1, "Runs of each cell; more than one where starts or paths have noise.", unit="runs", ge=1,
        le=10**5,
    )  # fmt: skip
    sigma: float | None = param(
        0.0,
        "Noise σ of the paths, the same with the perturbation and without it; none: what the "
        "model's own walks imply.",
        ge=0, le=1e3,
    )  # fmt: skip
    start_noise: bool = param(
        False, "Whether runs start from draws of what is known of a cell's state.", advanced=True
    )
    n_null: int = param(
        200,
        "Sets of matched genes that an effect is held against; 0 for no p-values.",
        unit="sets of genes", ge=0, le=10**5,
    )  # fmt: skip
    n_bootstrap: int = param(
        1000, "Draws of cells that intervals are made of.", unit="draws", ge=1, le=10**6,
        advanced=True,
    )  # fmt: skip
    n_anchors: int = param(
        2048, "Cells that say how a change of expression moves a state.", unit="cells", ge=1,
        le=10**6, advanced=True,
    )  # fmt: skip
    n_landmarks: int = param(
        128, "Groups that these cells are in, by state.", unit="groups", ge=1, le=10**4,
        advanced=True,
    )  # fmt: skip
    seed: int = param(0, "Of noise, draws and choices of cells.", ge=0, lt=2**32)
    dt_pert: float = param(
        0.2, "Time of one jump of sclsd's way.", unit="time of the flow", gt=0, le=1e3,
        advanced=True,
    )  # fmt: skip
    max_perturbations: int = param(
        10, "Jumps of sclsd's way.", unit="jumps", ge=0, le=10**5, advanced=True
    )
