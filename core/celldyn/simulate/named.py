"""Named genes and targets, in the order in which they depend on each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job, Progress
from celldyn.simulate.assembly import cell_names
from celldyn.simulate.counts import negative_binomial
from celldyn.simulate.regulation import Tissue, TrueBetas, gene_mean, true_betas_job
from celldyn.simulate.specs import topological
from celldyn.simulate.streams import name_ids

if TYPE_CHECKING:
    from celldyn.perturbation import Perturbation
    from celldyn.simulate.config import SimulationConfig

Floats = NDArray[np.float64]


@dataclass(slots=True)
class NamedGenes:
    """Named genes and targets as they are without technical noise.

    Parameters
    ----------
    names
        Named genes, then targets, as the config lists them.
    mean
        Per gene, (n_cells,) native means of the cells at their own size.
    theta
        Per gene, its inverse dispersion.
    counts
        Per gene, (n_cells,) native counts.
    betas
        Per target, its coefficients in every cell.
    """

    names: list[str]
    mean: dict[str, Floats] = field(default_factory=dict)
    theta: dict[str, float] = field(default_factory=dict)
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    betas: dict[str, TrueBetas] = field(default_factory=dict)

    def block(self, rows: slice) -> tuple[Floats, Floats]:
        """Return native means and inverse dispersions of some cells, (m, G) and (1, G)."""
        mean = np.stack([self.mean[name][rows] for name in self.names], axis=1)
        return mean, np.array([[self.theta[name] for name in self.names]])


def named_genes_job(
    config: SimulationConfig,
    tissue: Tissue,
    scale: Floats,
    cell_ids: NDArray[np.integer],
    others: Callable[[str], Floats],
    perturbation: Perturbation | None = None,
) -> Job[NamedGenes]:
    """Draw named genes, and then each target after what regulates it.

    Parameters
    ----------
    config
        Its `extra_genes` and `targets`.
    tissue
        Places and labels of the cells.
    scale, cell_ids
        (n_cells,) size factors and identities.
    others
        Gives (n_cells,) native counts of a gene that is not named here.
    perturbation
        What is changed; the change acts on the mean of a gene, and what lies downstream follows
        from the counts that are drawn with it.
    """
    extra, targets = config.extra_genes, topological(config.targets)
    made = NamedGenes([*(g.name for g in extra), *(t.gene for t in config.targets)])
    total = len(made.names)

    def draw(name: str, mean: Floats, theta: float) -> None:
        changed = _perturbed(name, mean, perturbation)
        made.mean[name], made.theta[name] = changed, theta
        made.counts[name] = negative_binomial(
            changed, theta, 1.0, config.seed, cell=cell_ids, gene=name_ids([name])
        )

    def expression(name: str) -> Floats:
        return made.counts[name].astype(np.float64) if name in made.counts else others(name)

    for spec in extra:
        yield Progress("named genes", len(made.counts), total, spec.name)
        draw(spec.name, gene_mean(spec, tissue) * scale, spec.theta)
    for target in targets:
        yield Progress("named genes", len(made.counts), total, target.gene)
        betas = yield from true_betas_job(target, tissue, expression)
        made.betas[target.gene] = betas
        # The counts that regulate it carry the cell's size already.
        draw(target.gene, betas.mean, target.theta)
    return made


def _perturbed(name: str, mean: Floats, perturbation: Perturbation | None) -> Floats:
    if perturbation is None or name not in perturbation.genes:
        return mean
    change = perturbation.genes[name]
    hit = perturbation.rows(cell_names(len(mean)))
    after = mean.copy()
    after[hit] = np.maximum(change.factor * mean[hit] + change.offset, 0.0)
    return after
