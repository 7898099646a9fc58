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
from celldyn.betas.varying import varier
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
    begun = -1
    for k, ((section, cluster, cells), seed) in enumerate(zip(inputs.fits, seeds, strict=True)):
        if section != begun:
            gone = ~design.varies[section][target.columns]
            ledger.begin(section, tuple(names[gone]))
            begun = section
        varied: Varied | None = None
        if seed.fit is not None and config.num_epochs and seed.fit.r2 > config.score_threshold:
            job = _varied_job(design, config, target, seed, around, k)
            varied = yield from scaled(job, k, len(seeds))
        ledger.add(cluster, cells, seed.columns, seed.fit, varied, seed.reason)
    if not ledger.varied:
        return GeneRecord(ledger.compact(started), digest)
    whole = yield from ledger.result_job(started)
    dense: NDArray[np.float32] = whole.values.astype(np.float32)
    return GeneRecord(replace(whole, values=whole.values[:0]), digest, dense)


def _varied_job(
    design: PanelDesign,
    config: PanelConfig,
    target: Target,
    seed: Seed,
    around: list[Surroundings],
    k: int,
) -> Job[Varied]:
    """Let the betas of one section and cluster vary."""
    inputs = design.inputs
    section, cluster, cells = inputs.fits[k]
    own = np.flatnonzero(design.varies[section][target.columns])[seed.columns]
    assert seed.fit is not None
    label = inputs.label(section, cluster)
    yield Progress(config.vision_model, 0, 1, label)
    here = np.flatnonzero(inputs.section_codes == section)
    data = Cluster(
        X=design.rows(cells, target.columns[own]),
        y=inputs.levels[cells, inputs.place[target.gene]].astype(np.float64),
        groups=target.modulators.groups[own],
        xy=inputs.xy[cells],
        cells=np.searchsorted(here, cells),
        code=cluster,
        folds=folds_of(inputs.xy[cells], config),
        seed=seed.fit,
        around=around[section],
        label=label,
    )
    varied = yield from varier(config.vision_model).vary_job(data, config)
    return varied
