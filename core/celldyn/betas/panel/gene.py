"""One gene of a panel: from the linear models of its clusters to what is kept of it."""

from __future__ import annotations

import time
from dataclasses import replace

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
from celldyn.betas.varying import vary_section_job
from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied
from celldyn.jobs import Job, Progress, scaled


def surroundings_of(design: PanelDesign, config: PanelConfig) -> list[Surroundings]:
    """Return what is around the cells of each section."""
    inputs = design.inputs
    found = []
    for section in range(len(inputs.sections)):
        cells = np.flatnonzero(inputs.section_codes == section)
        xy, types = np.ascontiguousarray(inputs.xy[cells]), inputs.cluster_codes[cells]
        found.append(Surroundings(xy, types, len(inputs.clusters), config.radius))
    return found


def gene_job(
    design: PanelDesign,
    config: PanelConfig,
    target: Target,
    seeds: list[Seed],
    around: list[Surroundings],
    spent: float,
    digest: str,
) -> Job[GeneRecord]:
    """Let the betas of a gene vary where that is asked for, and put its clusters together.

    Parameters
    ----------
    design, config, target
        What is fitted.
    seeds
        Its linear models, in the order of `PanelInputs.fits`.
    around
        The sections.
    spent
        Seconds that the linear models took.
    digest
        What the gene is fitted on.
    """
    started = time.perf_counter() - spent
    inputs = design.inputs
    proposed = list(target.modulators.regulators) if target.proposed else None
    settings = config.of_gene(target.gene, proposed)
    ledger = Ledger.of(inputs.of_target(target), settings)
    names = np.array(target.modulators.names, dtype=object)
    for section in range(len(inputs.sections)):
        varies = design.varies[section][target.columns]
        ledger.begin(section, tuple(names[~varies]))
        mine = [k for k, fit in enumerate(inputs.fits) if fit[0] == section]
        of_code: dict[int, Varied] = {}
        if config.num_epochs:
            job = _varied_job(design, config, target, [(k, seeds[k]) for k in mine], around)
            of_code = yield from scaled(job, section, len(inputs.sections))
        columns = np.arange(np.count_nonzero(varies))
        for k in mine:
            _, cluster, cells = inputs.fits[k]
            seed = seeds[k]
            ledger.add(cluster, cells, columns, seed.fit, of_code.get(cluster), seed.reason)
    if not ledger.varied:
        return GeneRecord(ledger.compact(started), digest)
    whole = yield from ledger.result_job(started)
    dense: NDArray[np.float32] = whole.values.astype(np.float32)
    return GeneRecord(replace(whole, values=whole.values[:0]), digest, dense)


def _varied_job(
    design: PanelDesign,
    config: PanelConfig,
    target: Target,
    seeds: list[tuple[int, Seed]],
    around: list[Surroundings],
) -> Job[dict[int, Varied]]:
    """Let the betas of a section's clusters vary; returns those that do, by their code."""
    clusters = []
    for k, seed in seeds:
        if seed.fit is not None and may_vary(seed.fit, config):
            clusters.append(_cluster(design, config, target, seed.fit, around, k))
            yield Progress(config.vision_model, 0, 1, clusters[-1].label)
    if not clusters:
        return {}
    varied = yield from vary_section_job(clusters, config)
    return {data.code: one for data, one in zip(clusters, varied, strict=True)}


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
