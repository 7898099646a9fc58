"""Counts of the genes that read the states, as a group of genes like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from scipy import sparse

from celldyn.jobs import Job
from celldyn.simulate.counts import sample_means_job
from celldyn.simulate.dynamics.expression import dynamic_means, splicing_means
from celldyn.simulate.groups import GeneGroup
from celldyn.simulate.zeros import zero_inflate_job

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.dynamics.potentials import Floats
    from celldyn.simulate.dynamics.states import Dynamics
    from celldyn.simulate.specs import DynamicsSpec

UNSPLICED_STAGE = "counts/unspliced"


def dynamic_gene_names(spec: DynamicsSpec) -> list[str]:
    """Return the names of the genes that read the states."""
    return spec.gene_names


def dynamic_group(dynamics: Dynamics, cells: pd.DataFrame) -> GeneGroup:
    """Return the genes that read the states, with means of cells at their own size.

    Parameters
    ----------
    dynamics
        The states of these cells.
    cells
        `scale`, (n_cells,).
    """
    spec, scale = dynamics.spec, cells["scale"].to_numpy()

    def native(rows: slice) -> tuple[Floats, Floats]:
        mean, theta = dynamic_means(dynamics, spec, rows)
        return mean * scale[rows, None], theta

    return GeneGroup(spec.gene_names, native, zero_inflation=spec.zero_inflation)


def unspliced_job(
    dynamics: Dynamics, cells: pd.DataFrame, gene_names: list[str], *, threads: int | None = None
) -> Job[sparse.csr_matrix]:
    """Draw unspliced counts beside the spliced ones, which the genes' own counts are.

    Parameters
    ----------
    dynamics
        The states of these cells.
    cells
        `cell_id` and `scale`, (n_cells,) each.
    gene_names
        (n_vars,) columns of the whole table; genes that do not read the states have none.
    threads
        How many.

    Returns
    -------
    (n_cells, n_vars) CSR of integers.
    """
    spec, scale = dynamics.spec, cells["scale"].to_numpy()

    def block(rows: slice) -> tuple[Floats, Floats]:
        unspliced, _, theta = splicing_means(dynamics, spec, rows)
        return unspliced * scale[rows, None], theta

    ids, names = cells["cell_id"].to_numpy(), spec.gene_names
    stage = UNSPLICED_STAGE
    counts = yield from sample_means_job(
        block, len(ids), names, dynamics.seed, cell_ids=ids, stage=stage, threads=threads
    )
    if spec.zero_inflation:
        # What is lost of a cell's gene is lost of both: the same noise as that of its own counts.
        counts = yield from zero_inflate_job(
            counts, spec.zero_inflation, names=names, seed=dynamics.seed, cell_ids=ids,
            threads=threads,
        )  # fmt: skip
    at = pd.Index(gene_names).get_indexer(pd.Index(names)).astype(counts.indices.dtype)
    columns = at[counts.indices]
    whole = (counts.data, columns, counts.indptr)
    return sparse.csr_matrix(whole, shape=(len(ids), len(gene_names)))


def check_dynamics(config: SimulationConfig) -> None:
    """Refuse a dynamics that does not fit the rest of the tissue; raises one sentence."""
    spec = config.dynamics
    if spec is None or not spec.defines_celltypes:
        return
    if config.n_celltype != len(spec.type_names):
        raise ValueError(
            f"n_celltype must be {len(spec.type_names)} where the dynamics makes the cell types: "
            f"progenitors and {spec.n_fates} fates (given: {config.n_celltype})"
        )
