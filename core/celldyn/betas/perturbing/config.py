"""The parameters of a perturbation that is carried through the fitted betas."""

from __future__ import annotations

from typing import Literal, TypeAlias

from celldyn.config import Config, param

Version: TypeAlias = Literal["corrected", "0.1.18", "0.1.21"]
Clip: TypeAlias = Literal["auto", "range", "max", "none"]


class PerturbConfig(Config):
    """How far the change of a gene is followed, and within which bounds.

    Kernel, reach, thresholds, layer and sections are those that the betas were fitted with.
    """

    n_propagation: int = param(
        4, "How many times the change is passed on from gene to gene.", unit="steps", ge=1, le=100
    )
    clip: Clip = param(
        "auto",
        "Genes stay between their lowest and highest expression (range), between 0 and the "
        "highest (max), or go anywhere (none); auto is range, and max in 0.1.21.",
    )
    version: Version = param(
        "corrected",
        "How it is passed on: by the model's own difference, or as those versions of "
        "SpaceTravLR do, whose knocked-out receptors act in the first step alone.",
        advanced=True,
    )
    beta_cap: float | None = param(
        None, "Largest derivative of one gene by another; none for no cap.", gt=0, advanced=True
    )
    beta_scale_factor: float = param(
        1.0, "Multiplies the betas of ligand-receptor and ligand-TF pairs.", gt=0, advanced=True
    )
    min_heldout_r2: float | None = param(
        None, "Genes whose model has a held-out R² below this do not respond; none: all do.", le=1
    )
    confident_r2: float = param(
        0.1, "Genes whose held-out R² is not above this are flagged as uncertain.", ge=-1, le=1
    )
    negligible: float = param(
        1e-6, "Changes no larger than this are 0 in the result.", ge=0, advanced=True
    )

    @property
    def bounds(self) -> Clip:
        """What `clip` comes to: "range", "max" or "none"."""
        if self.clip != "auto":
            return self.clip
        return "max" if self.version == "0.1.21" else "range"


class TransitionConfig(Config):
    """Where a perturbed cell goes: to neighbours in an embedding that its change points to."""

    embedding: str = param("X_umap", "obsm key of the embedding.", min_length=1)
    n_neighbors: int = param(
        150, "Nearest cells in the embedding, the cell itself among them.", unit="cells", ge=2
    )
    temperature: float = param(
        0.05, "How soft the choice is: the chance grows as exp(correlation / temperature).", gt=0
    )
    decimals: int | None = param(
        3, "Decimals that changes are rounded to; none for all of them.", ge=0, advanced=True
    )
    remove_null: bool = param(
        True, "Whether arrows are less what they are without a change: the pull of the crowd."
    )
    unit: bool = param(
        True, "Whether a neighbour counts by its direction alone, not by its distance."
    )
