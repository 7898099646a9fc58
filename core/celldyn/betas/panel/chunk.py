"""Some genes of a panel, fitted together: one pass over the cells gives all their statistics."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.design import PanelDesign
from celldyn.betas.panel.gene import gene_job, surroundings_of
from celldyn.betas.panel.inputs import PanelInputs, Target
from celldyn.betas.panel.record import GeneRecord
from celldyn.betas.panel.seeds import Seed, Statistics, seeds_job, statistics_job
from celldyn.jobs import Job, Progress, scaled

Steps: TypeAlias = Generator[Progress | GeneRecord, None, None]

STATISTICS_BYTES = 1 << 30
"""Chunks are made smaller where the cross products of a section would take more than this."""

_SHARE_OF_SEED = 0.1
"""Share of a gene's work that the linear model is, where betas are to vary, too."""

_SHARE_OF_STATISTICS = 0.05
"""Share of the linear models' work that the cross products are."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Genes whose columns are computed together.

    A chunk has the same genes in every run, so that a run that goes on where another was stopped
    gives the same digits.

    Parameters
    ----------
    targets
        All its genes.
    digests
        For each gene that is to be fitted, what it is fitted on.
    """

    targets: tuple[Target, ...]
    digests: dict[str, str]

    @property
    def wanted(self) -> list[Target]:
        """The genes that are to be fitted."""
        return [target for target in self.targets if target.gene in self.digests]


def divided(inputs: PanelInputs, config: PanelConfig) -> list[tuple[Target, ...]]:
    """Return the targets in chunks that memory holds the cross products of."""
    sections = [section for section, _, _ in inputs.fits]
    n_models = max(np.bincount(sections)) * max(config.heldout_folds, 1)
    widest = max(int(np.sqrt(STATISTICS_BYTES / (8 * n_models))), 1)
    chunks: list[list[Target]] = []
    columns = np.zeros(len(inputs.union), bool)
    for target in inputs.targets:
        columns[target.columns] = True
        if not chunks or len(chunks[-1]) == config.chunk or np.count_nonzero(columns) > widest:
            chunks.append([])
            columns[:] = False
            columns[target.columns] = True
        chunks[-1].append(target)
    return [tuple(chunk) for chunk in chunks]


def fit_chunk(design: PanelDesign, config: PanelConfig, chunk: Chunk) -> Steps:
    """Fit the wanted genes of a chunk; yield each as soon as it is finished.

    Parameters
    ----------
    design
        The panel's design.
    config
        The parameters.
    chunk
        Which genes.

    Yields
    ------
    A GeneRecord for each gene, and between them Progress, in genes of this chunk.
    """
    n_sections = len(design.inputs.sections)
    around = surroundings_of(design, config) if config.num_epochs else []
    genes = [_Gene(target) for target in chunk.wanted]
    total, done = float(len(genes)), 0.0
    of_section = (_SHARE_OF_SEED if config.num_epochs else 1.0) / n_sections
    for section in range(n_sections):
        started = time.perf_counter()
        units = _SHARE_OF_STATISTICS * of_section * total
        job = statistics_job(design, config, chunk.targets, section)
        statistics = yield from scaled(job, done, total, units=units)
        spent, done = (time.perf_counter() - started) / total, done + units
        for gene in genes:
            units = (1.0 - _SHARE_OF_STATISTICS) * of_section
            fitting = gene.seeds_job(design, config, statistics, spent)
            yield from scaled(fitting, done, total, units=units)
            done += units
            if section < n_sections - 1:
                continue
            units = 1.0 - of_section * n_sections
            digest = chunk.digests[gene.target.gene]
            finishing = gene_job(
                design, config, gene.target, gene.seeds, around, gene.seconds, digest
            )
            record = yield from scaled(finishing, done, total, gene.target.gene, units=units)
            done += units
            yield record


@dataclass(slots=True, eq=False)
class _Gene:
    """A gene that is being fitted, section by section."""

    target: Target
    seeds: list[Seed] = field(default_factory=list)
    seconds: float = 0.0

    def seeds_job(
        self, design: PanelDesign, config: PanelConfig, statistics: Statistics, spent: float
    ) -> Job[None]:
        """Fit its linear models in a section, whose statistics took `spent` seconds a gene."""
        started = time.perf_counter()
        self.seeds += yield from seeds_job(design, config, self.target, statistics)
        self.seconds += time.perf_counter() - started + spent
