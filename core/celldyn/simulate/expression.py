"""Counts of every gene in every cell: table, dynamic genes, named genes, technical noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celldyn import keys
from celldyn.jobs import Job, Progress
from celldyn.simulate import genes as gene_models
from celldyn.simulate.assembly import cell_names, states_job
from celldyn.simulate.groups import GeneGroup, table_group
from celldyn.simulate.measure.effects import MeanEffects, mean_effects
from celldyn.simulate.measure.means import MeanBlock
from celldyn.simulate.measure.soup import soup_job
from celldyn.simulate.measure.technical import technical_job
from celldyn.simulate.measure.thinning import split_ambient_job
from celldyn.simulate.named import NamedGenes, named_genes_job
from celldyn.simulate.native import expected_job, joined
from celldyn.simulate.regulation import Tissue, TrueBetas

if TYPE_CHECKING:
    from celldyn.perturbation import Perturbation
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.dynamics import Dynamics
    from celldyn.simulate.specs import TechnicalSpec

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Expression:
    """Counts, and how they came about.

    Parameters
    ----------
    counts
        (n_cells, n_vars) CSR of integers, as measured.
    gene_names
        (n_vars,) names: the gene table, dynamic genes, named genes, targets.
    true_betas
        Per target, its coefficients in every cell.
    effects
        Library, batch and ambient factors; None where there is none of them.
    ambient
        (n_cells, n_vars) CSR: the ambient part of the counts; None without ambient.
    technical
        Every factor of the molecule-level noise.
    layers
        More of the same shape: expected counts, spliced and unspliced, steps of the technical
        noise.
    """

    counts: sparse.csr_matrix
    gene_names: list[str]
    true_betas: dict[str, TrueBetas] = field(default_factory=dict)
    effects: MeanEffects | None = None
    ambient: sparse.csr_matrix | None = None
    technical: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, sparse.csr_matrix | NDArray[np.float32]] = field(default_factory=dict)


def gene_table(config: SimulationConfig) -> pd.DataFrame:
    """Return the gene table of a config: drawn from the priors, or built from programs."""
    if config.expression_model == "programs":
        from celldyn.simulate.programs import build_program_gpar_df

        return build_program_gpar_df(config)
    return gene_models.generate_gene_parameters(config)


def all_gene_names(config: SimulationConfig) -> list[str]:
    """Return the names of the columns of the counts."""
    if config.expression_model == "programs":
        from celldyn.simulate.programs import resolve_gene_names

        names = list(resolve_gene_names(config))
    else:
        names = gene_models.gene_names(config)[0]
    if config.dynamics is not None:
        from celldyn.simulate.dynamics import dynamic_gene_names

        names = [*names, *dynamic_gene_names(config.dynamics)]
    named = [gene.name for gene in config.extra_genes]
    return [*names, *named, *(target.gene for target in config.targets)]


def tissue_of(config: SimulationConfig, cells: pd.DataFrame) -> Tissue:
    """Return positions and labels of the cells as plain arrays."""
    celltype, domain, section = (
        cells[name].cat.codes.to_numpy().astype(np.intp)
        for name in ("celltype", "domain", "section")
    )
    xy, names = cells[["x", "y"]].to_numpy(), (config.celltype_names, config.domain_names)
    return Tissue(xy, celltype, domain, section, *names, config.seed)


def expression_job(
    config: SimulationConfig,
    cells: pd.DataFrame,
    genes: pd.DataFrame,
    dynamics: Dynamics | None,
    *,
    perturbation: Perturbation | None = None,
    threads: int | None = None,
) -> Job[Expression]:
    """Express all genes of all cells.

    Parameters
    ----------
    config
        What the tissue is made of.
    cells, genes
        `SpotlessSimulator.cells` and `gpar_df`.
    dynamics
        The cells' states, where the config has a `dynamics`.
    perturbation
        Which genes are changed, to what, in which cells; all noise is shared with the control.
    threads
        How many; None is every core.
    """
    names, ids = all_gene_names(config), cells["cell_id"].to_numpy()
    if perturbation is not None:
        perturbation.factor_and_offset(names)  # an unknown gene is told before any work
        perturbation.rows(cell_names(len(cells)))
    effects = _effects(config, cells, names)
    groups = [table_group(config, cells, genes)]
    if perturbation is not None:
        groups = [groups[0].perturbed(perturbation, len(cells))]
    if dynamics is not None:
        from celldyn.simulate.dynamics import dynamic_group

        dynamics = yield from _moved_job(config, cells, dynamics, perturbation, threads)
        groups.append(dynamic_group(dynamics, cells))
    blocks = [group.native for group in groups]
    parts: list[sparse.csr_matrix] = []
    if effects is None:  # what regulates is then what is measured: it has to be drawn first
        parts = yield from _drawn_job(config, ids, groups, names, None, threads)
    named = yield from _named_job(config, cells, groups, parts, effects, perturbation)
    if named.names:
        blocks.append(named.block)
    if effects is not None:
        effects = yield from soup_job(joined(blocks), effects, threads=threads)
        parts = yield from _drawn_job(config, ids, groups, names, effects, threads)
    if named.names:
        parts.append((yield from _observed_job(config, ids, named, names, effects, threads)))
    yield Progress("joining")
    counts = parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr")
    made = Expression(counts, names, named.betas, effects)
    if dynamics is not None and dynamics.spec.spliced:
        from celldyn.simulate.dynamics import unspliced_job

        made.layers[keys.SPLICED()] = counts
        made.layers[keys.UNSPLICED()] = yield from unspliced_job(
            dynamics, cells, names, threads=threads
        )
    if config.keep_expected:
        made.layers[keys.TRUTH_EXPECTED()] = yield from expected_job(
            joined(blocks), (len(ids), len(names)), threads=threads
        )
    return (yield from _technical_job(made, config, cells, joined(blocks), threads))


def _drawn_job(
    config: SimulationConfig,
    ids: NDArray[np.integer],
    groups: Sequence[GeneGroup],
    names: Sequence[str],
    effects: MeanEffects | None,
    threads: int | None,
) -> Job[list[sparse.csr_matrix]]:
    parts: list[sparse.csr_matrix] = []
    for group in groups:
        own = _of_genes(effects, names, group.names)
        parts.append((yield from group.draw_job(config.seed, ids, own, threads)))
    return parts


def _moved_job(
    config: SimulationConfig,
    cells: pd.DataFrame,
    dynamics: Dynamics,
    perturbation: Perturbation | None,
    threads: int | None,
) -> Job[Dynamics]:
    """Return the cells' states: drivers move them, not only their own expression."""
    if perturbation is None or not perturbation.genes.keys() & {*dynamics.spec.gene_names}:
        return dynamics
    return (yield from states_job(config, cells, perturbation=perturbation, threads=threads))


def has_mean_effects(spec: TechnicalSpec | None) -> bool:
    """Say whether technical noise changes the means that counts are drawn with."""
    return spec is not None and (
        spec.batch_by != "none"
        or spec.library_cv > 0
        or spec.library_batch_sd > 0
        or spec.ambient_rate is not None
        or spec.ambient_share is not None
        or spec.theta_rate is not None
    )


def _effects(
    config: SimulationConfig, cells: pd.DataFrame, names: Sequence[str]
) -> MeanEffects | None:
    spec = config.technical
    if spec is None or not has_mean_effects(spec):
        return None
    codes = cells["section"].cat.codes.to_numpy()
    return mean_effects(spec, names, codes, cells["cell_id"].to_numpy(), config.seed)


def _of_genes(
    effects: MeanEffects | None, names: Sequence[str], wanted: Sequence[str]
) -> MeanEffects | None:
    """Return the effects on some of the genes."""
    if effects is None:
        return None
    at = pd.Index(names).get_indexer(pd.Index(wanted))
    theta = None if effects.theta is None else effects.theta[at]
    return replace(effects, y=effects.y[:, at], ambient=effects.ambient[:, at], theta=theta)


def _named_job(
    config: SimulationConfig,
    cells: pd.DataFrame,
    groups: Sequence[GeneGroup],
    parts: Sequence[sparse.csr_matrix],
    effects: MeanEffects | None,
    perturbation: Perturbation | None,
) -> Job[NamedGenes]:
    if not (config.extra_genes or config.targets):
        return NamedGenes([])
    ids = cells["cell_id"].to_numpy()
    drawn: dict[str, Floats] = {}
    where = {name: (g, k) for g, group in enumerate(groups) for k, name in enumerate(group.names)}
    for target in config.targets:
        for name in sorted(target.inputs & where.keys() - drawn.keys()):
            group, k = where[name]
            if effects is None:
                column = parts[group][:, [k]]
            else:  # what regulates is what the cell holds, not what is measured of it
                column = yield from groups[group].some([k]).draw_job(config.seed, ids)
            drawn[name] = column.toarray().ravel().astype(np.float64)
    scale = cells["scale"].to_numpy()
    tissue = tissue_of(config, cells)
    return (
        yield from named_genes_job(config, tissue, scale, ids, drawn.__getitem__, perturbation)
    )


def _observed_job(
    config: SimulationConfig,
    ids: NDArray[np.integer],
    named: NamedGenes,
    names: Sequence[str],
    effects: MeanEffects | None,
    threads: int | None,
) -> Job[sparse.csr_matrix]:
    """Return the named genes as they are measured, (n_cells, G)."""
    if effects is None:
        columns = [sparse.csr_matrix(named.counts[name][:, None]) for name in named.names]
        return sparse.csr_matrix(sparse.hstack(columns, format="csr"))
    group = GeneGroup(named.names, named.block)
    own = _of_genes(effects, names, named.names)
    return (yield from group.draw_job(config.seed, ids, own, threads))


def _technical_job(
    made: Expression,
    config: SimulationConfig,
    cells: pd.DataFrame,
    native: MeanBlock,
    threads: int | None,
) -> Job[Expression]:
    spec, ids = config.technical, cells["cell_id"].to_numpy()
    if spec is None:
        return made
    noise: dict[str, Any] = {"gene_names": made.gene_names, "cell_ids": ids, "seed": config.seed}
    mean = native
    if made.effects is not None:
        from celldyn.simulate.measure.means import with_effects

        mean = with_effects(native, made.effects)
        if made.effects.has_ambient:
            made.ambient = yield from split_ambient_job(
                made.counts, native, made.effects, **noise, threads=threads
            )
    result = yield from technical_job(
        made.counts,
        spec,
        **noise,
        centre=cells[["x", "y"]].to_numpy(),
        section=cells["section"].cat.codes.to_numpy(),
        mean=mean,
        threads=threads,
    )
    made.counts, made.technical = result.counts, result.truth
    for step, layer in result.layers.items():
        made.layers[keys.TRUTH_STEP(step=step)] = layer
    return made
