"""The simulator, step by step or as one job."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celldyn.devices import aside_job
from celldyn.errors import NotFittedError
from celldyn.jobs import Job, run
from celldyn.simulate.assembly import layout_job, outlines_job, states_job
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.expression import (
    Expression,
    all_gene_names,
    expression_job,
    gene_table,
    tissue_of,
)
from celldyn.simulate.regulation import Tissue, TrueBetas
from celldyn.simulate.simulation import Simulation
from celldyn.simulate.specs import PrototypeSceneInstance, PrototypeSpecInstance

if TYPE_CHECKING:
    from anndata import AnnData
    from geopandas import GeoDataFrame

    from celldyn.perturbation import Perturbation
    from celldyn.simulate.dynamics import Dynamics
    from celldyn.simulate.shapes.outlines import CellShapes

T = TypeVar("T")
Prototypes = Sequence[PrototypeSpecInstance | PrototypeSceneInstance]


class SpotlessSimulator:
    """Simulate a tissue step by step, with every truth known.

    The steps, in order: `generate_gene_parameters`, `initialize_cells`, `simulate_counts`,
    `simulate_transcript_locations`; each makes up for those before it that were not called. The
    same config gives the same tissue.

    Parameters
    ----------
    config
        What the tissue is made of.
    threads
        How many threads the large steps take; None is every core.
    """

    def __init__(self, config: SimulationConfig, *, threads: int | None = None) -> None:
        self.config = config
        self.threads = threads
        self._gpar_df: pd.DataFrame | None = None
        self._cells: pd.DataFrame | None = None
        self._cell_gdf: GeoDataFrame | None = None
        self._shapes: CellShapes | None = None
        self._dynamics: Dynamics | None = None
        self._expression: Expression | None = None
        self._transcripts: pd.DataFrame | None = None

    @property
    def gpar_df(self) -> pd.DataFrame:
        """The gene table, (n_genes, 3 + 2 n_celltype); see `generate_gene_parameters`."""
        return _made(self._gpar_df, "gpar_df", "generate_gene_parameters")

    @property
    def cells(self) -> pd.DataFrame:
        """Cells: `cell_id`, `celltype`, `x` and `y` in µm, `domain`, `section`, `prototype`.

        And, from their outlines: `orientation`, `nucleus_area`, `cell_area`, `scale`,
        `leakage_percentage`.
        """
        return _made(self._cells, "cells", "initialize_cells")

    @property
    def cell_gdf(self) -> GeoDataFrame:
        """`cells` with the outlines: `geometry` is the cell, `nucleus` its nucleus."""
        if self._cell_gdf is None:
            from celldyn.simulate.shapes.frame import cell_geodataframe

            cells = _made(self._cells, "cell_gdf", "initialize_cells")
            self._cell_gdf = cell_geodataframe(cells, self.shapes)
        return self._cell_gdf

    @property
    def shapes(self) -> CellShapes:
        """Outlines of nuclei and cells."""
        return _made(self._shapes, "shapes", "initialize_cells")

    @property
    def dynamics(self) -> Dynamics | None:
        """The cells' known states; None where the config has no `dynamics`."""
        return self._dynamics

    @property
    def expression(self) -> Expression:
        """Counts, and how they came about."""
        return _made(self._expression, "counts", "simulate_counts")

    @property
    def counts(self) -> sparse.csr_matrix:
        """(n_cells, n_vars) counts, CSR: the gene table, dynamic genes, named genes, targets."""
        return self.expression.counts

    @property
    def count_array(self) -> NDArray[np.integer]:
        """The counts as a dense array of integers; `counts` is the same without the zeros."""
        dense: NDArray[np.integer] = self.counts.toarray()
        return dense

    @property
    def true_betas(self) -> dict[str, TrueBetas]:
        """Per target gene, its coefficients in every cell; empty before `simulate_counts`."""
        return {} if self._expression is None else self._expression.true_betas

    @property
    def transcripts(self) -> pd.DataFrame:
        """One row per molecule; see `simulate_transcript_locations`."""
        return _made(self._transcripts, "transcripts", "simulate_transcript_locations")

    @property
    def gene_names(self) -> list[str]:
        """Names of the columns of `counts`."""
        return all_gene_names(self.config)

    def generate_gene_parameters(self) -> pd.DataFrame:
        """Draw the gene table; returns it, and keeps it as `gpar_df`."""
        self._gpar_df = gene_table(self.config)
        return self._gpar_df

    def initialize_cells(self, prototype_instances: Prototypes | None = None) -> GeoDataFrame:
        """Place the cells, give them domains, types, outlines and sizes; returns `cell_gdf`.

        Parameters
        ----------
        prototype_instances
            Structures at their places, in place of those of the config.
        """
        if prototype_instances is not None:
            self.config = self.config.replace(prototypes=list(prototype_instances))
        run(self.cells_job(), bar=False)
        return self.cell_gdf

    def cells_job(self) -> Job[pd.DataFrame]:
        """Do the work of `initialize_cells`; returns `cells`."""
        self._cell_gdf = self._expression = self._transcripts = self._dynamics = None
        cells = yield from layout_job(self.config)
        if self.config.dynamics is not None:
            cells = yield from self._dynamics_job(cells)
        self._cells, self._shapes = yield from outlines_job(
            self.config, cells, threads=self.threads
        )
        return self._cells

    def simulate_counts(self) -> sparse.csr_matrix:
        """Draw the counts of every gene in every cell; returns and keeps `counts`."""
        return run(self.counts_job(), bar=False)

    def counts_job(self) -> Job[sparse.csr_matrix]:
        """Do the work of `simulate_counts`."""
        if self._gpar_df is None:
            self.generate_gene_parameters()
        if self._cells is None:
            yield from self.cells_job()
        self._expression = yield from expression_job(
            self.config, self.cells, self.gpar_df, self._dynamics, threads=self.threads
        )
        self._transcripts = None
        return self._expression.counts

    def simulate_transcript_locations(self) -> pd.DataFrame:
        """Place every molecule of every cell; returns and keeps `transcripts`."""
        if self._expression is None:
            self.simulate_counts()
        self._transcripts = self.simulation().transcripts
        return self._transcripts

    def perturbed(self, perturbation: Perturbation) -> sparse.csr_matrix:
        """Return the counts under a perturbation; see `Simulation.perturbed`."""
        if self._expression is None:
            self.simulate_counts()
        job = self.simulation().perturbed_job(perturbation, threads=self.threads)
        return run(job, bar=False).counts

    def to_anndata(self) -> AnnData:
        """Return the tissue and its truth as one AnnData; see `celldyn.simulate.truth`."""
        from celldyn.simulate.truth import to_anndata

        return to_anndata(self.simulation())

    def simulation(self) -> Simulation:
        """Return what has been made, without platforms and segmentation."""
        return Simulation(
            self.config, self.cells, self.gpar_df, self.shapes, self.expression, self._dynamics
        )

    def tissue(self) -> Tissue:
        """Return positions and labels of the cells as plain arrays."""
        return tissue_of(self.config, self.cells)

    def _dynamics_job(self, cells: pd.DataFrame) -> Job[pd.DataFrame]:
        config = self.config
        self._dynamics = yield from states_job(config, cells, threads=self.threads)
        if self._dynamics.spec.defines_celltypes:
            types = pd.Index(config.celltype_names)
            cells["celltype"] = pd.Categorical.from_codes(self._dynamics.state_type, types)
        return cells


def simulate_job(config: SimulationConfig, *, threads: int | None = None) -> Job[Simulation]:
    """Simulate a whole tissue.

    Parameters
    ----------
    config
        What the tissue is made of.
    threads
        How many threads the large steps take; None is every core.
    """
    simulator = SpotlessSimulator(config, threads=threads)
    # On a thread, as all that imports much when it is first used.
    yield from aside_job(simulator.generate_gene_parameters, "gene parameters")
    yield from simulator.cells_job()
    yield from simulator.counts_job()
    simulation = simulator.simulation()
    simulation.adata = yield from aside_job(simulator.to_anndata, "table")
    if config.platforms or config.segmentation is not None:
        measuring = yield from aside_job(_measuring, "molecules")
        seen = yield from measuring.measuring_job(simulation, threads=threads)
        simulation.platforms, simulation.segmentation = seen
    return simulation


def _measuring() -> ModuleType:
    from celldyn.simulate import measuring

    return measuring


def _made(value: T | None, name: str, method: str) -> T:
    if value is None:
        raise NotFittedError(f"{name} is not there yet", f"call {method}() first")
    return value
