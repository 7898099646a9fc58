"""The parameters of a panel: many genes of one tissue, modelled alike."""

from __future__ import annotations

from typing import Literal

from celldyn.betas.config import BetasConfig, ModelConfig
from celldyn.config import param


class PanelConfig(ModelConfig):
    """Which genes are modelled, in which order, and all that `BetasConfig` says of one.

    Lengths are in µm where the data set says how many µm a unit of its coordinates is, and in
    that unit where it does not.
    """

    genes: list[str] | None = param(
        None, "Genes that are modelled; none is every gene that can be.", min_length=1
    )
    order: Literal["given", "quick", "variable", "regulated"] = param(
        "given",
        "Which genes come first: as given, fewest modulators, largest dispersion, or most "
        "regulators.",
    )
    max_genes: int | None = param(
        None, "At most this many, the first in their order.", unit="genes", ge=1
    )
    propose: int = param(
        0,
        "Where no regulators and no GRN are given: how many genes that vary with a gene inside "
        "cell types stand in for them.",
        unit="genes", ge=0, le=1000,
    )  # fmt: skip
    chunk: int = param(
        32, "Genes that share one pass over the cells.", unit="genes", ge=1, le=4096, advanced=True
    )
    workers: int = param(
        1, "Processes that fit genes side by side; more than one needs ray.", ge=1, le=4096
    )

    def of_gene(self, gene: str, regulators: list[str] | None = None) -> BetasConfig:
        """Return the config of one gene, with its own regulators if they were proposed."""
        shared = {name: getattr(self, name) for name in ModelConfig.model_fields}
        if regulators is not None:
            shared["regulators"] = regulators
        return BetasConfig(target_gene=gene, **shared)
