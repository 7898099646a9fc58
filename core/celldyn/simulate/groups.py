"""Groups of genes whose means are known before any count is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celldyn.jobs import Job
from celldyn.simulate.assembly import cell_names
from celldyn.simulate.counts import sample_means_job, sample_strata_job
from celldyn.simulate.measure.effects import MeanEffects
from celldyn.simulate.measure.means import MeanBlock, strata_block, with_effects
from celldyn.simulate.strata import Strata
from celldyn.simulate.zeros import zero_inflate_job

if TYPE_CHECKING:
    from celldyn.perturbation import Perturbation
    from celldyn.simulate.config import SimulationConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GeneGroup:
    """Genes that are drawn together.

    Parameters
    ----------
    names
        (G,) gene names.
    native
        Gives the native means and inverse dispersions of some cells.
    strata
        The same by strata, where the cells of a stratum differ by their size alone.
    correlation, classes
        Of the noise within a cell; see `celldyn.simulate.copula`.
    zero_inflation
        Share of the counts that is lost whatever their size.
    """

    names: list[str]
    native: MeanBlock
    strata: Strata | None = None
    correlation: float = 0.0
    classes: list[str] | None = None
    zero_inflation: float = 0.0

    def some(self, columns: Sequence[int]) -> GeneGroup:
        """Return the group of some of its genes."""
        kept = list(columns)
        classes = None if self.classes is None else [self.classes[k] for k in kept]
        return GeneGroup(
            [self.names[k] for k in kept],
            _columns(self.native, kept),
            correlation=self.correlation,
            classes=classes,
            zero_inflation=self.zero_inflation,
        )

    def perturbed(self, perturbation: Perturbation, n_cells: int) -> GeneGroup:
        """Return the group with the means that a perturbation gives its genes."""
        own = {g: change for g, change in perturbation.genes.items() if g in set(self.names)}
        if not own:
            return self
        factor, offset = replace(perturbation, genes=own).factor_and_offset(self.names)
        is_hit = np.zeros(n_cells, dtype=bool)
        is_hit[perturbation.rows(cell_names(n_cells))] = True
        return replace(self, native=_changed(self.native, factor, offset, is_hit), strata=None)

    def draw_job(
        self,
        seed: int,
        cell_ids: NDArray[np.integer],
        effects: MeanEffects | None = None,
        threads: int | None = None,
    ) -> Job[sparse.csr_matrix]:
        """Draw the group's counts, (n_cells, G) CSR, with what a batch does to their means."""
        noise: dict[str, Any] = {
            "cell_ids": cell_ids,
            "correlation": self.correlation,
            "classes": self.classes,
            "threads": threads,
        }
        if self.strata is not None and effects is None:
            counts = yield from sample_strata_job(self.strata, self.names, seed, **noise)
        else:
            block = self.native if effects is None else with_effects(self.native, effects)
            counts = yield from sample_means_job(block, len(cell_ids), self.names, seed, **noise)
        if not self.zero_inflation:
            return counts
        lost = self.zero_inflation
        return (
            yield from zero_inflate_job(
                counts, lost, seed, self.names, cell_ids=cell_ids, threads=threads
            )
        )


def table_group(config: SimulationConfig, cells: pd.DataFrame, genes: pd.DataFrame) -> GeneGroup:
    """Return the genes of the table: by classes, or by programs."""
    names = genes["feature_name"].tolist()
    classes = genes["gene_type"].tolist() if config.gene_correlation else None
    scale = cells["scale"].to_numpy()
    if config.expression_model == "programs":
        from celldyn.simulate.programs import program_block, program_strata

        codes = cells["celltype"].cat.codes.to_numpy()
        block = program_block(config, codes, scale, cell_ids=cells["cell_id"].to_numpy())
        alike = program_strata(config, codes, scale)
        return GeneGroup(
            names, block, alike, config.gene_correlation, classes, config.zero_inflation
        )
    strata = Strata.of_types(genes, cells["celltype"], scale)
    block = strata_block(strata.mu, strata.theta, strata.of, strata.scale)
    return GeneGroup(names, block, strata, config.gene_correlation, classes, config.zero_inflation)


def _columns(block: MeanBlock, columns: list[int]) -> MeanBlock:
    def some(rows: slice) -> tuple[Floats, Floats]:
        mean, theta = block(rows)
        return mean[:, columns], theta[:, columns]

    return some


def _changed(
    block: MeanBlock, factor: Floats, offset: Floats, is_hit: NDArray[np.bool_]
) -> MeanBlock:
    def changed(rows: slice) -> tuple[Floats, Floats]:
        mean, theta = block(rows)
        hit = is_hit[rows]
        after = mean.copy()
        after[hit] = np.maximum(mean[hit] * factor + offset, 0.0)
        return after, theta

    return changed
