"""Some genes of a panel, fitted together: one pass over the cells gives all their statistics."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.design import PanelDesign
from celldyn.betas.panel.gene import Fitted, finished_genes, n_together, surroundings_of
from celldyn.betas.panel.inputs import PanelInputs, Target
from celldyn.betas.panel.record import GeneRecord
from celldyn.betas.panel.seeds import Statistics, seeds_job, statistics_job
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
    genes = [Fitted(target, chunk.digests[target.gene]) for target in chunk.wanted]
    total, done = float(len(genes)), 0.0
    of_section = (_SHARE_OF_SEED if config.num_epochs else 1.0) / n_sections
    together = n_together(design, config)
    for section in range(n_sections):
        started = time.perf_counter()
        units = _SHARE_OF_STATISTICS * of_section * total
        job = statistics_job(design, config, chunk.targets, section)
        statistics = yield from scaled(job, done, total, units=units)
        spent, done = (time.perf_counter() - started) / total, done + units
        ready: list[Fitted] = []
        for gene in genes:
            units = (1.0 - _SHARE_OF_STATISTICS) * of_section
            fitting = _fit_job(design, config, gene, statistics, spent)
            yield from scaled(fitting, done, total, units=units)
            done += units
            if section == n_sections - 1:
                ready.append(gene)
            if len(ready) == together or (ready and gene is genes[-1]):
                units = (1.0 - of_section * n_sections) * len(ready)
                yield from _placed(
                    finished_genes(design, config, ready, around), done, total, units
                )
                done, ready = done + units, []


def _placed(steps: Steps, done: float, total: float, units: float) -> Steps:
    """Pass steps on, their progress as so many units of a whole."""
    with closing(steps):
        for step in steps:
            if isinstance(step, Progress):
                at = min(done + units * (step.fraction or 0.0), total)
                yield replace(step, done=at, total=total)
            else:
                yield step


def _fit_job(
    design: PanelDesign, config: PanelConfig, gene: Fitted, statistics: Statistics, spent: float
) -> Job[None]:
    """Fit a gene's linear models in a section, whose statistics took `spent` seconds a gene."""
    started = time.perf_counter()
    gene.seeds += yield from seeds_job(design, config, gene.target, statistics)
    gene.seconds += time.perf_counter() - started + spent
