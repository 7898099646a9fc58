"""What makes betas vary inside a cluster: a smooth field, or a network that sees around a cell.

A varier is a module with `vary_job(cluster, config) -> Job[Varied]` and `apply_varied`; it is
registered here under the name that `vision_model` gives it. One that lets the clusters of a
section vary together has `vary_section_job(clusters, config) -> Job[list[Varied]]` beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from celldyn.jobs import Job, scaled

if TYPE_CHECKING:
    from celldyn.betas.config import ModelConfig
    from celldyn.betas.inputs import Floats, Ints
    from celldyn.betas.results import Tensors
    from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied

VARIERS = {"smooth": "smooth", "cnn": "network", "transformer": "network"}
"""The module of each `vision_model`."""

NETWORKS = frozenset({"cnn", "transformer"})
"""Those that are neural networks."""


class Varier(Protocol):
    """What such a module offers."""

    def vary_job(self, cluster: Cluster, config: ModelConfig) -> Job[Varied]:
        """Let the betas of a cluster vary."""
        ...

    def apply_varied(
        self,
        state: Tensors,
        row: Floats,
        xy: Floats,
        cells: Ints,
        around: Surroundings,
        code: int,
        config: ModelConfig,
    ) -> Floats:
        """Return the (n_cells, 1 + n_modulators) betas of cells that were not trained on.

        `row` are the (1 + n_modulators,) mean betas of the fit, `cells` positions in the section
        `around`, `xy` their coordinates, `code` the cluster's channel.
        """
        ...


def varier(vision_model: str) -> Varier:
    """Return the module that a `vision_model` names; torch is imported only if it needs it."""
    module: Any = import_module(f"celldyn.betas.varying.{VARIERS[vision_model]}")
    return cast("Varier", module)


def vary_section_job(clusters: Sequence[Cluster], config: ModelConfig) -> Job[list[Varied]]:
    """Let the betas of a section's clusters vary, together or one after the other.

    Parameters
    ----------
    clusters
        Those of one section that are to vary, over the same modulators.
    config
        `vision_model` says how.
    """
    module: Any = varier(config.vision_model)
    if hasattr(module, "vary_section_job"):
        together: list[Varied] = yield from module.vary_section_job(clusters, config)
        return together
    varied = []
    for k, cluster in enumerate(clusters):
        job = module.vary_job(cluster, config)
        one = yield from scaled(job, k, len(clusters), cluster.label)
        varied.append(one)
    return varied
