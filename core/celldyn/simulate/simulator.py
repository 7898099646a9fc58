"""The simulator: gene table, cells, counts, and all of it on one AnnData."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celldyn.errors import NotFittedError
from celldyn.jobs import Job, Progress, run
from celldyn.simulate import genes
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.counts import negative_binomial, sample_counts_job
from celldyn.simulate.layout.domains import celltype_codes, domain_codes
from celldyn.simulate.layout.points import positions_job
from celldyn.simulate.regulation import Tissue, TrueBetas, gene_mean, true_betas_job
from celldyn.simulate.specs import topological
from celldyn.simulate.streams import name_ids, normals

if TYPE_CHECKING:
    from anndata import AnnData

T = TypeVar("T")


class SpotlessSimulator:
    """Simulate a tissue step by step, with every truth known.

    The steps, in order: `generate_gene_parameters`, `initialize_cells`, `simulate_counts`; each
    makes up for those before it that were not called. The same config gives the same tissue.

    Parameters
    ----------
    config
        What the tissue is made of.

    Attributes
    ----------
    true_betas
        Per target gene, its coefficients in every cell; empty before `simulate_counts`.
    """

    def __init__(self, config: SimulationConfig) -> None:
        self.config = config
        self.true_betas: dict[str, TrueBetas] = {}
        self._gpar_df: pd.DataFrame | None = None
        self._cell_gdf: pd.DataFrame | None = None
        self._counts: sparse.csr_matrix | None = None

    @property
    def gpar_df(self) -> pd.DataFrame:
        """The gene table, (n_genes, 3 + 2 n_celltype); see `generate_gene_parameters`."""
        return _made(self._gpar_df, "gpar_df", "generate_gene_parameters")

    @property
    def cell_gdf(self) -> pd.DataFrame:
        """Cells: `cell_id`, `celltype`, `x` and `y` in µm, `domain`, `section`, `scale`."""
        return _made(self._cell_gdf, "cell_gdf", "initialize_cells")

    @property
    def counts(self) -> sparse.csr_matrix:
        """(n_cells, n_genes + named genes + targets) counts, CSR."""
        return _made(self._counts, "counts", "simulate_counts")

    @property
    def count_array(self) -> NDArray[np.integer]:
        """The counts as a dense array of integers; `counts` is the same without the zeros."""
        dense: NDArray[np.integer] = self.counts.toarray()
        return dense

    @property
    def gene_names(self) -> list[str]:
        """Names of the columns of `counts`: the gene table, named genes, targets."""
        config = self.config
        named = [gene.name for gene in config.extra_genes]
        return [*genes.gene_names(config)[0], *named, *(t.gene for t in config.targets)]

    def generate_gene_parameters(self) -> pd.DataFrame:
        """Draw the gene table; returns it, and keeps it as `gpar_df`."""
        self._gpar_df = genes.generate_gene_parameters(self.config)
        return self._gpar_df

    def initialize_cells(self) -> pd.DataFrame:
        """Place the cells, give them domains, types and sizes; returns and keeps `cell_gdf`."""
        return run(self.cells_job(), bar=False)

    def cells_job(self) -> Job[pd.DataFrame]:
        """Do the work of `initialize_cells`; progress counts the steps of a section."""
        config, frames = self.config, []
        for k, size in enumerate(config.section_sizes):
            frames.append((yield from _section_job(config, k, size)))
        cells = pd.concat(frames, ignore_index=True)
        spread = float(np.sqrt(np.log1p(config.scale_cv**2)))
        scale = np.exp(spread * normals(config.seed, "scale", len(cells))[:, 0])
        cells["scale"] = scale / pd.Series(scale).groupby(cells["celltype"].cat.codes).transform(
            "mean"
        )
        cells.insert(0, "cell_id", np.arange(len(cells)))
        self._cell_gdf = cells
        return cells

    def simulate_counts(self) -> sparse.csr_matrix:
        """Draw the counts of every gene in every cell; returns and keeps `counts`."""
        return run(self.counts_job(), bar=False)

    def counts_job(self) -> Job[sparse.csr_matrix]:
        """Do the work of `simulate_counts`; progress counts cells, then named genes."""
        if self._gpar_df is None:
            self.generate_gene_parameters()
        if self._cell_gdf is None:
            yield from self.cells_job()
        cells, config = self.cell_gdf, self.config
        table = yield from sample_counts_job(
            self.gpar_df, cells["celltype"], cells["scale"], config.seed, cell_ids=cells["cell_id"]
        )
        columns = yield from self._named_genes_job(table)
        blocks = [table, *(sparse.csr_matrix(column[:, None]) for column in columns)]
        self._counts = sparse.hstack(blocks, format="csr") if columns else table
        return self._counts

    def to_anndata(self) -> AnnData:
        """Return the tissue and its truth as one AnnData; see `celldyn.simulate.truth`."""
        from celldyn.simulate.truth import to_anndata

        return to_anndata(self)

    def tissue(self) -> Tissue:
        """Return positions and labels of the cells as plain arrays."""
        cells = self.cell_gdf
        celltype, domain, section = (
            cells[name].cat.codes.to_numpy().astype(np.intp)
            for name in ("celltype", "domain", "section")
        )
        xy = cells[["x", "y"]].to_numpy()
        names = self.config.celltype_names, self.config.domain_names
        return Tissue(xy, celltype, domain, section, *names, self.config.seed)

    def _named_genes_job(self, table: sparse.csr_matrix) -> Job[list[NDArray[np.int64]]]:
        """Draw the named genes and then the targets, in the order in which they depend."""
        config, scale = self.config, self.cell_gdf["scale"].to_numpy()
        tissue = self.tissue()
        drawn: dict[str, NDArray[np.int64]] = {}
        rows = {name: row for row, name in enumerate(self.gpar_df["feature_name"])}

        def expression(name: str) -> NDArray[np.float64]:
            if name in drawn:
                return drawn[name].astype(np.float64)
            column: NDArray[np.float64] = table[:, [rows[name]]].toarray().ravel().astype(float)
            return column

        total = len(config.extra_genes) + len(config.targets)
        for spec in config.extra_genes:
            yield Progress("named genes", len(drawn), total, spec.name)
            drawn[spec.name] = self._draw(gene_mean(spec, tissue), spec.theta, scale, spec.name)
        self.true_betas = {}
        for target in topological(config.targets):
            yield Progress("named genes", len(drawn), total, target.gene)
            betas = yield from true_betas_job(target, tissue, expression)
            self.true_betas[target.gene] = betas
            # The counts that regulate it carry the cell's size already.
            drawn[target.gene] = self._draw(betas.mean, target.theta, np.ones(1), target.gene)
        order = [*(g.name for g in config.extra_genes), *(t.gene for t in config.targets)]
        return [drawn[name] for name in order]

    def _draw(
        self, mean: NDArray[np.float64], theta: float, scale: NDArray[np.float64], gene: str
    ) -> NDArray[np.int64]:
        ids = self.cell_gdf["cell_id"].to_numpy()
        return negative_binomial(
            mean, theta, scale, self.config.seed, cell=ids, gene=name_ids([gene])
        )


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated tissue.

    Parameters
    ----------
    adata
        Counts, labels, positions and every truth; see `SpotlessSimulator.to_anndata`.
    cells
        One row per cell; see `SpotlessSimulator.cell_gdf`.
    genes
        One row per gene of the priors' table; see `SpotlessSimulator.gpar_df`.
    """

    adata: AnnData
    cells: pd.DataFrame
    genes: pd.DataFrame


def simulate_job(config: SimulationConfig) -> Job[Simulation]:
    """Simulate a whole tissue.

    Parameters
    ----------
    config
        What the tissue is made of.
    """
    simulator = SpotlessSimulator(config)
    yield Progress("gene parameters")
    simulator.generate_gene_parameters()
    yield from simulator.cells_job()
    yield from simulator.counts_job()
    return Simulation(simulator.to_anndata(), simulator.cell_gdf, simulator.gpar_df)


def _section_job(config: SimulationConfig, k: int, n_cells: int) -> Job[pd.DataFrame]:
    canvas, seed, stage = config.canvas_um, config.seed, f"layout/{k}"
    xy = yield from positions_job(n_cells, canvas, config.min_distance_um, seed, f"{stage}/place")
    yield Progress("domains", k, config.n_sections)
    domain = domain_codes(
        xy, canvas, config.n_domains, config.domain_pattern, seed, f"{stage}/domain"
    )
    yield Progress("cell types", k, config.n_sections)
    celltype = celltype_codes(
        domain, config.proportions, config.domain_purity, seed, f"{stage}/type"
    )
    section = np.full(n_cells, k)
    return pd.DataFrame(
        {
            "celltype": pd.Categorical.from_codes(celltype, pd.Index(config.celltype_names)),
            "x": xy[:, 0],
            "y": xy[:, 1],
            "domain": pd.Categorical.from_codes(domain, pd.Index(config.domain_names)),
            "section": pd.Categorical.from_codes(section, pd.Index(config.section_names)),
        }
    )


def _made(value: T | None, name: str, method: str) -> T:
    if value is None:
        raise NotFittedError(f"{name} is not there yet", f"call {method}() first")
    return value
