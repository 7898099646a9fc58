"""The linear models of a panel's genes in one section, from statistics that they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celldyn.betas.gram import Gram, gram_job
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.design import PanelDesign
from celldyn.betas.panel.inputs import Target
from celldyn.betas.partial_pooling import Lent, lent_job, pool
from celldyn.betas.results import Status
from celldyn.betas.seed_model import (
    Folds,
    SeedFit,
    folds_of,
    parents_among,
    penalties_of,
    seed_from_grams_job,
    seed_job,
)
from celldyn.betas.train import reason_not_to_fit
from celldyn.jobs import Job, Progress, scaled

_VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """The linear model of a gene in one section and cluster.

    Parameters
    ----------
    fit
        The model, over the gene's modulators that vary in the section; None if there is none.
    reason
        Why the cluster is not modelled.
    """

    fit: SeedFit | None
    reason: Status | None


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """What is computed once for all genes of a chunk in one section.

    Parameters
    ----------
    section
        Its code.
    targets
        The genes, in the order of the targets of the statistics.
    place
        (n_columns,) where a column of the union is in the statistics.
    clusters
        Code and cells of each cluster.
    folds
        Of each cluster, the blocks of tissue that are held out.
    parts
        Of each cluster, the statistics of each fold; empty where rows are needed.
    """

    section: int
    targets: tuple[Target, ...]
    place: Ints
    clusters: list[tuple[int, Ints]]
    folds: list[Folds]
    parts: list[list[Gram]]


def statistics_job(
    design: PanelDesign, config: PanelConfig, targets: tuple[Target, ...], section: int
) -> Job[Statistics]:
    """Compute what the genes of a chunk share in a section."""
    inputs = design.inputs
    shared = np.zeros(len(inputs.union), bool)
    for target in targets:
        shared[target.columns] = True
    shared &= design.varies[section]
    clusters = [(cluster, cells) for s, cluster, cells in inputs.fits if s == section]
    folds = [folds_of(inputs.xy[cells], config) for _, cells in clusters]
    parts: list[list[Gram]] = []
    for k, (cluster, cells) in enumerate(clusters):
        label = inputs.label(section, cluster)
        yield Progress("cross products", k, len(clusters), label)
        if config.estimator != "lasso" or inputs.clusters[cluster] in config.skip_clusters:
            parts.append([])
            continue
        job = _parts_job(design, targets, cells, np.flatnonzero(shared), folds[k])
        found = yield from scaled(job, k, len(clusters), label)
        parts.append(found)
    return Statistics(section, targets, np.cumsum(shared) - 1, clusters, folds, parts)


def _parts_job(
    design: PanelDesign, targets: tuple[Target, ...], cells: Ints, columns: Ints, folds: Folds
) -> Job[list[Gram]]:
    """Return the statistics of each fold over some columns, with every gene as a target."""
    inputs = design.inputs
    genes = np.array([inputs.place[target.gene] for target in targets], np.intp)
    step = max(_VALUES_AT_ONCE // max(len(columns), 1), 1)
    pieces = folds or [np.arange(len(cells))]
    parts: list[Gram] = []
    for k, piece in enumerate(pieces):
        blocks: list[Gram] = []
        for start in range(0, len(piece), step):
            at = cells[piece[start : start + step]]
            job = gram_job(design.rows(at, columns), inputs.levels[np.ix_(at, genes)])
            done = k + start / len(piece)
            block = yield from scaled(job, done, len(pieces), units=len(at) / len(piece))
            blocks = [blocks[0] + block] if blocks else [block]
        parts += blocks
    return parts


def seeds_job(
    design: PanelDesign, config: PanelConfig, target: Target, statistics: Statistics
) -> Job[list[Seed]]:
    """Fit the linear models of a gene in a section; returns one for each cluster."""
    fits = _Fits.of(design, config, target, statistics)
    n_clusters = len(statistics.clusters)
    total = float(1 + n_clusters)
    yield Progress("linear model", 0, total, target.gene)
    lent = yield from scaled(fits.lent_job(), 0, total, target.gene)
    seeds: list[Seed] = []
    for k in range(n_clusters):
        label = design.inputs.label(statistics.section, statistics.clusters[k][0])
        job = scaled(fits.one_job(k, lent), 1 + k, total, f"{target.gene}: {label}")
        seed = yield from job
        seeds.append(seed)
    return seeds


@dataclass(frozen=True, slots=True, eq=False)
class _Fits:
    """The linear models of one gene in one section.

    Parameters
    ----------
    varying
        Which of the gene's modulators vary in the section.
    parts
        The statistics of each cluster's folds over these.
    y
        (n_obs,) expression of the gene.
    """

    design: PanelDesign
    config: PanelConfig
    target: Target
    statistics: Statistics
    varying: Ints
    parts: list[list[Gram]]
    y: Floats

    @classmethod
    def of(
        cls, design: PanelDesign, config: PanelConfig, target: Target, statistics: Statistics
    ) -> _Fits:
        """Take the gene's own part of the statistics."""
        varying = np.flatnonzero(design.varies[statistics.section][target.columns])
        at = statistics.place[target.columns[varying]]
        q = statistics.targets.index(target)
        parts = [[part.select(at, q) for part in folds] for folds in statistics.parts]
        y = design.inputs.levels[:, design.inputs.place[target.gene]].astype(np.float64)
        return cls(design, config, target, statistics, varying, parts, y)

    @property
    def groups(self) -> Ints:
        """Lasso groups of the modulators that vary."""
        return self.target.modulators.groups[self.varying]

    @property
    def parents(self) -> Ints:
        """Regulators that ligand-TF pairs act through, among the modulators that vary."""
        return parents_among(self.target.modulators.parents, self.varying)

    def reason(self, k: int) -> Status | None:
        """Return why a cluster is not modelled; None if it is."""
        cluster, cells = self.statistics.clusters[k]
        name = self.design.inputs.clusters[cluster]
        return reason_not_to_fit(name, self.y[cells], self.config)

    def lent_job(self) -> Job[Lent | None]:
        """Say what all clusters know together; None where that is not asked."""
        if not self.config.chooses_penalty or not len(self.varying):
            return None
        pooled: list[Gram] = []
        n_pooled = 0
        for k, folds in enumerate(self.statistics.folds):
            if folds and self.reason(k) is None:
                pooled, n_pooled = pool(pooled, self.parts[k]), n_pooled + 1
        if n_pooled < 2:  # as one gene alone is fitted
            return None
        job = lent_job(pooled, penalties_of(self.groups, self.config, self.parents))
        lent = yield from job
        return lent

    def one_job(self, k: int, lent: Lent | None) -> Job[Seed]:
        """Fit one cluster."""
        cluster, cells = self.statistics.clusters[k]
        columns = np.arange(len(self.varying))
        if self.target.allowed is not None:
            columns = np.flatnonzero(self.target.allowed[cluster, self.varying])
        reason = self.reason(k)
        if reason is not None or not len(columns):
            return Seed(None, reason)
        groups, config = self.groups[columns], self.config
        job: Job[SeedFit]
        if self.parts[k]:
            parts = self.parts[k]
            if len(columns) < len(self.varying):
                parts = [part.select(columns) for part in parts]
            known = None if lent is None else lent.select(columns)
            parents = parents_among(self.parents, columns)
            job = seed_from_grams_job(parts, groups, config, lent=known, parents=parents)
        else:
            X = self.design.rows(cells, self.target.columns[self.varying[columns]])
            job = seed_job(X, self.y[cells], groups, self.statistics.folds[k], config)
        fit = yield from job
        return Seed(fit.over(columns, len(self.varying)), None)
