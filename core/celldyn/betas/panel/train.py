"""The job: the genes of a panel, chunk by chunk, written as they are finished."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celldyn.betas.panel.chunk import Chunk, divided, fit_chunk
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.design import panel_design_job
from celldyn.betas.panel.fingerprint import column_digests_job, gene_digest
from celldyn.betas.panel.inputs import PanelInputs
from celldyn.betas.panel.store import BetaStore
from celldyn.devices import in_one_thread
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Progress, scaled

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class PanelResult:
    """How a panel came out.

    Parameters
    ----------
    store
        Where the genes are.
    fitted
        Genes that this run fitted.
    kept
        Genes that an earlier run had fitted.
    skipped
        (gene, why) of those that cannot be modelled.
    seconds
        How long it took.
    """

    store: BetaStore
    fitted: tuple[str, ...]
    kept: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    seconds: float

    def table(self) -> pd.DataFrame:
        """Return one row per gene, the best predicted on held-out tissue first.

        Columns: gene, n_modulators, r2, heldout_r2 (means over cells), n_fitted, n_models,
        seconds.
        """
        return self.store.gene_table()


def panel_job(inputs: PanelInputs, config: PanelConfig, store: BetaStore) -> Job[PanelResult]:
    """Fit every gene of a panel that the store has not yet.

    Parameters
    ----------
    inputs
        What `prepare_panel` returned.
    config
        The parameters; `workers` is not read here.
    store
        `BetaStore.create(...)` for these inputs; it holds every gene as soon as it is finished.

    Yields
    ------
    Progress over the genes still to fit. When a gene is done its `metrics` hold "r2/<gene>" and,
    where blocks were held out, "heldout/<gene>".

    Raises
    ------
    ConfigError
        If the store has a gene that was fitted on other data.
    """
    result = yield from in_one_thread(_panel_job(inputs, config, store))
    return result


def _panel_job(inputs: PanelInputs, config: PanelConfig, store: BetaStore) -> Job[PanelResult]:
    started = time.perf_counter()
    kept = tuple(gene for gene in inputs.genes if gene in store)
    chunks = yield from chunks_job(inputs, config, store)
    total = float(sum(len(chunk.digests) for chunk in chunks))
    fitted: list[str] = []
    if chunks:
        job = panel_design_job(inputs, config)
        design = yield from scaled(job, 0, total, "all genes", units=0.0)
    for chunk in chunks:
        first = len(fitted)
        with closing(fit_chunk(design, config, chunk)) as steps:
            for step in steps:
                if isinstance(step, Progress):
                    done = max(first + step.done, len(fitted))
                    yield Progress(step.stage, done, total, step.message)
                    continue
                store.write(step)
                fitted.append(step.gene)
                yield Progress("panel", len(fitted), total, step.gene, step.metrics)
    seconds = time.perf_counter() - started
    return PanelResult(store, tuple(fitted), kept, inputs.skipped, seconds)


def chunks_job(inputs: PanelInputs, config: PanelConfig, store: BetaStore) -> Job[list[Chunk]]:
    """Return the chunks in which genes are to be fitted, without those that the store has.

    Raises
    ------
    ConfigError
        If the store has a gene that was fitted on other data.
    """
    columns = yield from scaled(column_digests_job(inputs), 0, len(inputs.targets), units=0.0)
    chunks = []
    for targets in divided(inputs, config):
        digests = {}
        for target in targets:
            digest = gene_digest(inputs, target, columns)
            if target.gene not in store:
                digests[target.gene] = digest
            elif store.digest(target.gene) != digest:
                raise ConfigError(
                    f"{store.path.name} has {target.gene} fitted on other data or modulators",
                    "take another folder, or overwrite it",
                )
        yield Progress("reading", 0, len(inputs.targets))
        if digests:
            chunks.append(Chunk(targets, digests))
    return chunks
