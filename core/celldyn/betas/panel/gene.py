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
from celldyn.betas.seed_model import folds_of
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
        varying = np.flatnonzero(design.varies[section][target.columns])
        fits = [k for k, fit in enumerate(inputs.fits) if fit[0] == section]
        gone = np.delete(np.arange(len(names)), varying)
        ledger.begin(section, tuple(names[gone]))
        data = {
            k: _cluster(design, config, target, seeds[k], around, k, varying)
            for k in fits
            if (fit := seeds[k].fit) is not None and may_vary(fit, config)
        }
        varied: list[Varied] = []
        if data:
            yield Progress(config.vision_model, fits[0], len(seeds), inputs.sections[section])
            job = vary_section_job(list(data.values()), config)
            varied = yield from scaled(job, fits[0], len(seeds), units=len(fits))
        of_fit = dict(zip(data, varied, strict=True))
        for k in fits:
            _, cluster, cells = inputs.fits[k]
            # What varies is over all modulators that vary in the section.
            columns = np.arange(len(varying)) if k in of_fit else seeds[k].columns
            ledger.add(cluster, cells, columns, seeds[k].fit, of_fit.get(k), seeds[k].reason)
    if not ledger.varied:
        return GeneRecord(ledger.compact(started), digest)
    whole = yield from ledger.result_job(started)
    dense: NDArray[np.float32] = whole.values.astype(np.float32)
    return GeneRecord(replace(whole, values=whole.values[:0]), digest, dense)


def _cluster(
    design: PanelDesign,
    config: PanelConfig,
    target: Target,
    seed: Seed,
    around: list[Surroundings],
    k: int,
    varying: NDArray[np.intp],
) -> Cluster:
    """Return one section's cluster with its linear model, over all modulators that vary there."""
    inputs = design.inputs
    section, cluster, cells = inputs.fits[k]
    assert seed.fit is not None
    here = np.flatnonzero(inputs.section_codes == section)
    return Cluster(
        X=design.rows(cells, target.columns[varying]),
        y=inputs.levels[cells, inputs.place[target.gene]].astype(np.float64),
        groups=target.modulators.groups[varying],
        xy=inputs.xy[cells],
        cells=np.searchsorted(here, cells),
        code=cluster,
        folds=folds_of(inputs.xy[cells], config),
        seed=seed.fit.over(seed.columns, len(varying)),
        around=around[section],
        label=inputs.label(section, cluster),
    )
