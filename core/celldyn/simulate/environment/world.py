"""What does not change in a tissue that is acted upon, and the expression that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celldyn.jobs import Job, Progress
from celldyn.perturbation import Perturbation
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.dynamics.sde import time_step
from celldyn.simulate.ligands import Kernel
from celldyn.simulate.regulation import Tissue, coefficients, gene_mean
from celldyn.simulate.specs import TargetSpec, topological

if TYPE_CHECKING:
    from celldyn.simulate.dynamics.expression import GeneProgram
    from celldyn.simulate.dynamics.potentials import Potential
    from celldyn.simulate.dynamics.states import Dynamics
    from celldyn.simulate.simulation import Simulation

Floats: TypeAlias = NDArray[np.float64]
Reach: TypeAlias = tuple[float, Kernel]


@dataclass(frozen=True, slots=True)
class World:
    """The fixed part of a tissue that is acted upon.

    Parameters
    ----------
    config
        What the tissue is made of.
    tissue
        Places at the start, and labels.
    scale, cell_ids, cell_names
        (n_cells,) size factors, identities and obs names.
    gene_names
        (n_genes,) the gene table, genes that read the states, named genes, targets.
    fixed
        (n_cells, n_genes) expected counts of the genes of the table and of named genes.
    coefficients
        Per target, (n_cells, 1 + n_modulators) coefficients.
    landscape, program, z
        V, how genes read the states, and (n_cells, n_dims) states at the start; None without
        dynamics.
    """

    config: SimulationConfig
    tissue: Tissue
    scale: Floats
    cell_ids: NDArray[np.int64]
    cell_names: pd.Index
    gene_names: list[str]
    fixed: Floats
    coefficients: dict[str, Floats]
    landscape: Potential | None
    program: GeneProgram | None
    z: Floats | None

    @property
    def reaches(self) -> list[Reach]:
        """Reach and kernel of the targets that hear ligands, each once."""
        hearing = [target for target in self.config.targets if target.pairs]
        return list(dict.fromkeys((target.radius_um, target.kernel) for target in hearing))

    @property
    def sde_step(self) -> float:
        """Longest step in time of the states' equation."""
        assert self.landscape is not None
        assert self.config.dynamics is not None
        return time_step(self.landscape, self.config.dynamics.sigma)

    def expression(
        self,
        z: Floats,
        alive: NDArray[np.bool_],
        neighbours: Mapping[Reach, sparse.csr_array],
        perturbations: Sequence[Perturbation],
    ) -> Floats:
        """Return the expected counts, (n_cells, n_genes), of cells in these states.

        Parameters
        ----------
        z
            (n_cells, n_dims) states.
        alive
            (n_cells,) cells that are there; the others express nothing and say nothing.
        neighbours
            Per reach and kernel, (n_cells, n_cells) shares with which cells are heard.
        perturbations
            What is done to the genes' means, one after another; targets follow.
        """
        values, at = self.fixed.copy(), {name: k for k, name in enumerate(self.gene_names)}
        if self.program is not None and self.config.dynamics is not None:
            spec = self.config.dynamics
            mean = self.program.mean(z) * self.scale[:, None]
            mean *= [spec.knockouts.get(name, 1.0) for name in spec.gene_names]
            values[:, [at[name] for name in spec.gene_names]] = mean
        targets = topological(self.config.targets)
        changed = [(one, one.rows(self.cell_names)) for one in perturbations]
        regulated = {target.gene for target in targets}
        for gene in dict.fromkeys(g for one in perturbations for g in one.genes):
            if gene not in regulated:
                _change(values[:, at[gene]], gene, changed)
        values[~alive] = 0.0
        for target in targets:
            column = values[:, at[target.gene]]
            column[:] = np.maximum(self._regulated(target, values, at, neighbours), 0.0)
            _change(column, target.gene, changed)
            column[~alive] = 0.0
        return values

    def _regulated(
        self,
        target: TargetSpec,
        values: Floats,
        at: Mapping[str, int],
        neighbours: Mapping[Reach, sparse.csr_array],
    ) -> Floats:
        beta = self.coefficients[target.gene]
        features = [values[:, at[name]] for name in target.regulators]
        ligands = list(dict(target.pairs))
        if ligands:
            near = neighbours[target.radius_um, target.kernel]
            heard = dict(
                zip(ligands, (near @ values[:, at[name]] for name in ligands), strict=True)
            )
            features += [heard[ligand] * values[:, at[other]] for ligand, other in target.pairs]
        total = beta[:, 0].copy()
        for k, feature in enumerate(features):
            total += beta[:, 1 + k] * feature
        return total


def world_job(source: Simulation | SimulationConfig) -> Job[World]:
    """Return the fixed part of a simulation, or of the tissue that a config describes."""
    from celldyn.simulate.assembly import cell_names
    from celldyn.simulate.expression import all_gene_names, tissue_of
    from celldyn.simulate.groups import table_group
    from celldyn.simulate.simulator import SpotlessSimulator

    config = source if isinstance(source, SimulationConfig) else source.config
    if isinstance(source, SimulationConfig):
        simulator = SpotlessSimulator(source)
        yield Progress("gene parameters")
        genes = simulator.generate_gene_parameters()
        cells = yield from simulator.cells_job()
        dynamics = yield from _dynamics_job(config, cells)
    else:
        cells, genes, dynamics = source.cells, source.genes, source.dynamics
    tissue, names = tissue_of(config, cells), all_gene_names(config)
    scale = cells["scale"].to_numpy()
    fixed = np.zeros((len(cells), len(names)))
    table = table_group(config, cells, genes)
    fixed[:, : len(table.names)] = table.native(slice(0, len(cells)))[0]
    for gene in config.extra_genes:
        fixed[:, names.index(gene.name)] = gene_mean(gene, tissue) * scale
    return World(
        config=config,
        tissue=tissue,
        scale=scale,
        cell_ids=cells["cell_id"].to_numpy().astype(np.int64),
        cell_names=cell_names(len(cells)),
        gene_names=names,
        fixed=fixed,
        coefficients={target.gene: coefficients(target, tissue) for target in config.targets},
        landscape=None if dynamics is None else dynamics.landscape,
        program=None if dynamics is None else dynamics.program,
        z=None if dynamics is None else dynamics.z,
    )


def _dynamics_job(config: SimulationConfig, cells: pd.DataFrame) -> Job[Dynamics | None]:
    """Return the states that the simulation of these cells has; the same numbers make them."""
    from celldyn.simulate.dynamics import dynamics_job

    if config.dynamics is None:
        return None
    dynamics = yield from dynamics_job(
        config.dynamics,
        len(cells),
        seed=config.seed,
        cell_ids=cells["cell_id"].to_numpy(),
        xy=cells[["x", "y"]].to_numpy(),
        canvas=config.canvas_um,
    )
    return dynamics


def _change(
    column: Floats, gene: str, changed: Sequence[tuple[Perturbation, NDArray[np.intp]]]
) -> None:
    """Change one gene's means where it is perturbed, in place."""
    for one, rows in changed:
        if gene in one.genes:
            change = one.genes[gene]
            column[rows] = np.maximum(change.factor * column[rows] + change.offset, 0.0)
