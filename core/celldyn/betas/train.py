"""The job: one linear model per section and cluster, put together into betas of every cell."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import BetasConfig
from celldyn.betas.design import Design, design_job
from celldyn.betas.inputs import BetasInputs, Floats, Ints, check_skipped
from celldyn.betas.preparing import prepare
from celldyn.betas.results import BetasResult, ClusterFit, Status, spread_job
from celldyn.betas.seed_model import SeedFit, seed_job
from celldyn.betas.stored import write_result
from celldyn.errors import UnavailableError
from celldyn.jobs import Job, Progress, run, scaled

if TYPE_CHECKING:
    from anndata import AnnData

MIN_CELLS = 10
"""Clusters with fewer cells keep the intercept only."""

_NAN = float("nan")


def fit(adata: AnnData, config: BetasConfig, *, bar: bool = True) -> BetasResult:
    """Fit the betas of one gene and write them on the AnnData.

    Parameters
    ----------
    adata
        The tissue; `obsm["betas_<gene>"]` and its description in `uns["celldyn"]` are written.
    config
        The parameters.
    bar
        Whether to draw a progress bar.
    """
    result = run(fit_job(prepare(adata, config), config), bar=bar)
    write_result(adata, result)
    return result


def fit_job(inputs: BetasInputs, config: BetasConfig) -> Job[BetasResult]:
    """Fit a linear model in every section and cluster.

    Parameters
    ----------
    inputs
        What `prepare` returned for this config.
    config
        The parameters.

    Yields
    ------
    Progress. When a cluster is done its `metrics` hold "r2/<section · cluster>", and
    "heldout/<section · cluster>" where blocks were held out.

    Raises
    ------
    UnavailableError
        If epochs of a neural network are asked for.
    """
    refuse_networks(config)
    check_skipped(config, inputs.clusters)
    started = time.perf_counter()
    ledger = _Ledger.of(inputs, config)
    for section, name in enumerate(inputs.sections):
        yield Progress("design", ledger.done, ledger.total, name)
        job = design_job(inputs, config, section)
        design = yield from scaled(job, ledger.done, ledger.total, name)
        ledger.begin(section, design)
        codes = inputs.cluster_codes[design.cells]
        for cluster in np.unique(codes):
            yield from _one_cluster(ledger, design, int(cluster), np.flatnonzero(codes == cluster))
    result = yield from ledger.result_job(started)
    return result


def refuse_networks(config: BetasConfig) -> None:
    """Raise UnavailableError if epochs of a neural network are asked for."""
    if config.num_epochs > 0:
        raise UnavailableError(
            f"num_epochs is {config.num_epochs}, but this version has no neural network for betas",
            "pass num_epochs=0, which fits the linear model of every cluster",
        )


def _one_cluster(ledger: _Ledger, design: Design, cluster: int, cells: Ints) -> Job[None]:
    """Fit the cells of one cluster, given by their positions in the section."""
    inputs, config = ledger.inputs, ledger.config
    label = ledger.label(cluster)
    yield Progress("linear model", ledger.done, ledger.total, label)
    at = design.cells[cells]
    y = inputs.y[at]
    reason = _reason_not_to_fit(inputs.clusters[cluster], y, config)
    seed: SeedFit | None = None
    if reason is None and len(design.modulators):
        job = seed_job(design.rows(cells), y, design.modulators.groups, inputs.xy[at], config)
        seed = yield from scaled(job, ledger.done, ledger.total, label)
    fitted = ledger.add(cluster, at, seed, reason)
    metrics = {} if fitted.status == "skipped" else {f"r2/{label}": fitted.r2}
    if np.isfinite(fitted.heldout_r2):
        metrics[f"heldout/{label}"] = fitted.heldout_r2
    yield Progress("linear model", ledger.done, ledger.total, label, metrics)


def _reason_not_to_fit(cluster: str, y: Floats, config: BetasConfig) -> Status | None:
    if cluster in config.skip_clusters:
        return "skipped"
    if len(y) < MIN_CELLS:
        return "intercept only: too few cells"
    if not np.ptp(y):
        return "intercept only: target is constant"
    return None


@dataclass(slots=True)
class _Ledger:
    """What has been fitted so far, over the modulators of all sections."""

    inputs: BetasInputs
    config: BetasConfig
    total: float
    fit_of_cell: Ints
    varies: NDArray[np.bool_]
    done: float = 0.0
    section: int = 0
    columns: Ints = field(default_factory=lambda: np.empty(0, np.intp))
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fits: list[ClusterFit] = field(default_factory=list)
    coefficients: list[Floats] = field(default_factory=list)

    @classmethod
    def of(cls, inputs: BetasInputs, config: BetasConfig) -> _Ledger:
        n_pairs = len(
            np.unique(inputs.section_codes * len(inputs.clusters) + inputs.cluster_codes)
        )
        return cls(
            inputs,
            config,
            float(len(inputs.sections) + n_pairs),
            np.full(inputs.n_obs, -1, np.intp),
            np.zeros(len(inputs.modulators), bool),
        )

    def label(self, cluster: int) -> str:
        """Return "section · cluster"."""
        names = (self.inputs.sections[self.section], self.inputs.clusters[cluster])
        return " · ".join(name for name in names if name)

    def begin(self, section: int, design: Design) -> None:
        """Take note of which modulators vary in a section."""
        self.section = section
        gone = set(design.dropped)
        kept = np.array([name not in gone for name in self.inputs.modulators.names], bool)
        self.varies |= kept
        self.columns = np.flatnonzero(kept)
        self.dropped[self.inputs.sections[section]] = design.dropped
        self.done += 1

    def add(
        self, cluster: int, at: Ints, seed: SeedFit | None, reason: Status | None
    ) -> ClusterFit:
        """Take in a cluster, whose cells are at `at` in the data set; decide what it keeps."""
        row = np.zeros(1 + len(self.varies))
        r2, seed_r2, heldout = 0.0, _NAN, _NAN
        status: Status = reason or "intercept only: R² below threshold"
        if seed is not None:
            seed_r2, heldout = seed.r2, seed.heldout_r2
        if seed is not None and seed.r2 > self.config.score_threshold:
            status, r2 = "fitted", seed.r2
            row[0], row[1 + self.columns] = seed.intercept, seed.coef
        elif status == "skipped":
            r2 = _NAN
        else:
            row[0] = self.inputs.y[at].mean()
        section = self.inputs.sections[self.section]
        fitted = ClusterFit(
            section, self.inputs.clusters[cluster], len(at), status, r2, heldout, seed_r2
        )
        self.fit_of_cell[at] = len(self.fits)
        self.fits.append(fitted)
        self.coefficients.append(row)
        self.done += 1
        return fitted

    def result_job(self, started: float) -> Job[BetasResult]:
        """Return the betas over the modulators that vary in some section."""
        modulators = self.inputs.modulators.select(self.varies)
        kept = np.concatenate(([True], self.varies))
        coefficients = np.array(self.coefficients)[:, kept]
        job = spread_job(coefficients, self.fit_of_cell)
        values = yield from scaled(job, self.done, self.total)
        return BetasResult(
            gene=self.inputs.target,
            modulators=tuple(modulators.names),
            kinds=tuple(modulators.kinds),
            values=values,
            fits=tuple(self.fits),
            coefficients=coefficients,
            dropped=self.dropped,
            config=self.config,
            species=self.inputs.species,
            seconds=time.perf_counter() - started,
            notes=self.inputs.notes,
        )
