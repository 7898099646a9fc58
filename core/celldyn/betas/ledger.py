"""What has been fitted so far, cluster by cluster, until it is a result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import BetasConfig
from celldyn.betas.inputs import BetasInputs, Floats, Ints
from celldyn.betas.results import BetasResult, ClusterFit, Status, Tensors, spread_job
from celldyn.betas.seed_model import SeedFit
from celldyn.betas.varying.cluster import Varied
from celldyn.jobs import Job, scaled

_NAN = float("nan")


@dataclass(slots=True)
class Ledger:
    """The fits of one gene over the modulators of all sections.

    Parameters
    ----------
    inputs, config
        Of the gene.
    total
        Units of work: one for each section and for each cluster in it.
    fit_of_cell
        (n_obs,) which fit each cell belongs to; −1 until it has one.
    varies
        (n_modulators,) which modulators vary in some section.
    """

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
    varied: dict[int, tuple[Ints, Ints, Varied]] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: BetasInputs, config: BetasConfig) -> Ledger:
        """Start with nothing fitted."""
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

    def begin(self, section: int, dropped: tuple[str, ...]) -> None:
        """Take note of which modulators do not vary in a section."""
        self.section = section
        gone = set(dropped)
        kept = np.array([name not in gone for name in self.inputs.modulators.names], bool)
        self.varies |= kept
        self.columns = np.flatnonzero(kept)
        self.dropped[self.inputs.sections[section]] = dropped
        self.done += 1

    def add(
        self,
        cluster: int,
        at: Ints,
        columns: Ints,
        seed: SeedFit | None,
        varied: Varied | None,
        reason: Status | None,
    ) -> ClusterFit:
        """Take in a cluster and decide what it keeps.

        Parameters
        ----------
        cluster
            Its code.
        at
            Positions of its cells in the data set.
        columns
            Which columns of the section's design it was fitted on.
        seed, varied
            Its linear model, and its betas where they vary.
        reason
            Why it was not fitted.
        """
        row = np.zeros(1 + len(self.varies))
        mine = self.columns[columns]
        r2, seed_r2, seed_heldout, heldout = 0.0, _NAN, _NAN, _NAN
        status: Status = reason or "intercept only: R² below threshold"
        if seed is not None:
            seed_r2, seed_heldout = seed.r2, seed.heldout_r2
            heldout = seed_heldout if varied is None else varied.heldout_r2
            r2 = seed_r2 if varied is None else varied.r2
        if seed is not None and r2 > self.config.score_threshold:
            status = "fitted"
            if varied is None:
                row[0], row[1 + mine] = seed.intercept, seed.coef
            else:
                mean = varied.betas.mean(axis=0)
                row[0], row[1 + mine] = mean[0], mean[1:]
                self.varied[len(self.fits)] = at, mine, varied
        elif status == "skipped":
            r2 = _NAN
        else:
            r2, row[0] = 0.0, self.inputs.y[at].mean()
        fitted = ClusterFit(
            self.inputs.sections[self.section],
            self.inputs.clusters[cluster],
            len(at),
            status,
            r2,
            heldout,
            seed_r2,
            seed_heldout,
        )
        self.fit_of_cell[at] = len(self.fits)
        self.fits.append(fitted)
        self.coefficients.append(row)
        self.done += 1
        return fitted

    def result_job(self, started: float) -> Job[BetasResult]:
        """Return the betas of all cells over the modulators that vary in some section."""
        result = self.compact(started)
        job = spread_job(result.coefficients, self.fit_of_cell)
        values = yield from scaled(job, self.done, self.total)
        for k, (at, _, varied) in self.varied.items():
            values[at, 0] = varied.betas[:, 0]
            values[np.ix_(at, 1 + result.states[k]["columns"])] = varied.betas[:, 1:]
        return replace(result, values=values)

    def compact(self, started: float) -> BetasResult:
        """Return the result without its cells: their betas are those of their fits."""
        modulators = self.inputs.modulators.select(self.varies)
        kept = np.concatenate(([True], self.varies))
        place = np.cumsum(self.varies) - 1
        coefficients = np.array(self.coefficients)[:, kept]
        losses: list[tuple[float, ...]] = [()] * len(self.fits)
        states: list[Tensors] = [{}] * len(self.fits)
        for k, (_, columns, varied) in self.varied.items():
            losses[k] = varied.losses
            states[k] = {**varied.state, "columns": place[columns]}
        return BetasResult(
            gene=self.inputs.target,
            modulators=tuple(modulators.names),
            kinds=tuple(modulators.kinds),
            values=np.empty((0, coefficients.shape[1])),
            fits=tuple(self.fits),
            coefficients=coefficients,
            dropped=self.dropped,
            config=self.config,
            species=self.inputs.species,
            seconds=time.perf_counter() - started,
            notes=self.inputs.notes,
            radii=dict(modulators.radii),
            losses=tuple(losses) if self.varied else (),
            states=tuple(states) if self.varied else (),
        )
