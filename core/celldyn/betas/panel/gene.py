"""One gene of a panel: from the linear models of its clusters to what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.ledger import Ledger
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.design import PanelDesign
from celldyn.betas.panel.inputs import Target
from celldyn.betas.panel.record import GeneRecord
from celldyn.betas.panel.seeds import Seed
from celldyn.betas.seed_model import SeedFit, folds_of
from celldyn.betas.train import may_vary
from celldyn.betas.varying import varier, vary_section_job
from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied
from celldyn.jobs import Job, Progress, scaled

_STACK_BYTES = 1 << 30
"""Genes are finished together as long as their designs and betas take no more than this."""


def surroundings_of(design: PanelDesign, config: PanelConfig) -> list[Surroundings]:
    """Return what is around the cells of each section."""
    inputs = design.inputs
    found = []
    for section in range(len(inputs.sections)):
        cells = np.flatnonzero(inputs.section_codes == section)
        xy, types = np.ascontiguousarray(inputs.xy[cells]), inputs.cluster_codes[cells]
        found.append(Surroundings(xy, types, len(inputs.clusters), config.radius))
    return found


@dataclass(slots=True, eq=False)
class Fitted:
    """A gene of a panel on its way.

    Parameters
    ----------
    target
        The gene.
    digest
        What it is fitted on.
    seeds
        Its linear models, in the order of `PanelInputs.fits`.
    seconds
        How long they took.
    """

    target: Target
    digest: str
    seeds: list[Seed] = field(default_factory=list)
    seconds: float = 0.0


def n_together(design: PanelDesign, config: PanelConfig) -> int:
    """Return how many genes are finished together: those whose networks are trained together."""
    if not config.num_epochs or _stack_job(config) is None:
        return 1
    width = max(len(target.modulators) for target in design.inputs.targets)
    return max(int(_STACK_BYTES // (16 * design.inputs.n_obs * (1 + width))), 1)


def finished_genes(
    design: PanelDesign, config: PanelConfig, genes: list[Fitted], around: list[Surroundings]
) -> Generator[Progress | GeneRecord, None, None]:
    """Let the betas of genes vary where that is asked for, and yield what is kept of each.

    Parameters
    ----------
    design, config
        What is fitted.
    genes
        The genes, their linear models fitted.
    around
        The sections.

    Yields
    ------
    Progress in these genes, and a GeneRecord for each.
    """
    started = time.perf_counter()
    varied: list[dict[int, Varied]] = [{} for _ in genes]
    if config.num_epochs:
        job = _varied_job(design, config, genes, around)
        varied = yield from scaled(job, 0, len(genes), units=len(genes))
    spent = (time.perf_counter() - started) / len(genes)
    for gene, mine in zip(genes, varied, strict=True):
        record = yield from scaled(
            _record_job(design, config, gene, mine, gene.seconds + spent), len(genes), len(genes)
        )
        yield record


def _record_job(
    design: PanelDesign,
    config: PanelConfig,
    gene: Fitted,
    varied: dict[int, Varied],
    spent: float,
) -> Job[GeneRecord]:
    """Put the clusters of a gene together."""
    started = time.perf_counter() - spent
    inputs, target = design.inputs, gene.target
    proposed = list(target.modulators.regulators) if target.proposed else None
    settings = config.of_gene(target.gene, proposed)
    ledger = Ledger.of(inputs.of_target(target), settings)
    names = np.array(target.modulators.names, dtype=object)
    begun = -1
    for k, (section, cluster, cells) in enumerate(inputs.fits):
        varies = design.varies[section][target.columns]
        if section != begun:
            ledger.begin(section, tuple(names[~varies]))
            begun = section
        seed, columns = gene.seeds[k], np.arange(np.count_nonzero(varies))
        ledger.add(cluster, cells, columns, seed.fit, varied.get(k), seed.reason)
    if not ledger.varied:
        return GeneRecord(ledger.compact(started), gene.digest)
    whole = yield from ledger.result_job(started)
    dense: NDArray[np.float32] = whole.values.astype(np.float32)
    return GeneRecord(replace(whole, values=whole.values[:0]), gene.digest, dense)


def _varied_job(
    design: PanelDesign, config: PanelConfig, genes: list[Fitted], around: list[Surroundings]
) -> Job[list[dict[int, Varied]]]:
    """Let betas vary; returns for each gene those of the fits that do."""
    sections = [section for section, _, _ in design.inputs.fits]
    n_sections = len(design.inputs.sections)
    found: list[dict[int, Varied]] = [{} for _ in genes]
    for section in range(n_sections):
        clusters: list[dict[int, Cluster]] = []
        for gene in genes:
            yield Progress(config.vision_model, section, n_sections, gene.target.gene)
            clusters.append(
                {
                    k: _cluster(design, config, gene.target, seed.fit, around, k)
                    for k, seed in enumerate(gene.seeds)
                    if sections[k] == section
                    and seed.fit is not None
                    and may_vary(seed.fit, config)
                }
            )
        job = _section_job(config, clusters)
        varied = yield from scaled(job, section, n_sections)
        for mine, new in zip(found, varied, strict=True):
            mine |= new
    return found


def _section_job(
    config: PanelConfig, clusters: list[dict[int, Cluster]]
) -> Job[list[dict[int, Varied]]]:
    """Let the clusters of a section vary: gene by gene, or cluster by cluster for all genes."""
    found: list[dict[int, Varied]] = [{} for _ in clusters]
    stack_job = _stack_job(config)
    if stack_job is None:
        for g, mine in enumerate(clusters):
            if mine:
                job = vary_section_job(list(mine.values()), config)
                varied = yield from scaled(job, g, len(clusters))
                found[g] = dict(zip(mine, varied, strict=True))
        return found
    every = sorted({k for mine in clusters for k in mine})
    for step, k in enumerate(every):
        who = [g for g, mine in enumerate(clusters) if k in mine]
        stack = stack_job([clusters[g][k] for g in who], config)
        varied = yield from scaled(stack, step, len(every))
        for g, one in zip(who, varied, strict=True):
            found[g][k] = one
    return found


def _stack_job(config: PanelConfig) -> Callable[..., Job[list[Varied]]] | None:
    """Return what trains several genes on the same cells at once, if there is such a thing."""
    return getattr(varier(config.vision_model), "vary_stack_job", None)


def _cluster(
    design: PanelDesign,
    config: PanelConfig,
    target: Target,
    seed: SeedFit,
    around: list[Surroundings],
    k: int,
) -> Cluster:
    """Return the cells of one section and cluster over all modulators that vary there."""
    inputs = design.inputs
    section, cluster, cells = inputs.fits[k]
    varying = np.flatnonzero(design.varies[section][target.columns])
    here = np.flatnonzero(inputs.section_codes == section)
    xy = inputs.xy[cells]
    return Cluster(
        X=design.rows(cells, target.columns[varying]),
        y=inputs.levels[cells, inputs.place[target.gene]].astype(np.float64),
        groups=target.modulators.groups[varying],
        xy=xy,
        cells=np.searchsorted(here, cells),
        code=cluster,
        folds=folds_of(xy, config),
        seed=seed,
        around=around[section],
        label=inputs.label(section, cluster),
    )
