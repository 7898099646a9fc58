"""Expected counts of every gene in every cell type, from the config alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.specs import topological

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.specs import TechnicalSpec

Floats = NDArray[np.float64]

_EXACT_VALUES = 60_000
"""Up to this many means the gene table is drawn as the simulation draws it."""
_REPRESENTATIVES = 200
"""Beyond, each class of genes is represented by so many quantiles of its prior."""
_STATE_CV = 1.1
"""Spread of the dynamic genes' means between genes and states, as trees and wells have it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Means and inverse dispersions that a tissue's counts are expected to have.

    Parameters
    ----------
    mean, theta
        (n_celltypes, n_columns) of a cell of size 1, after technical noise.
    weight
        (n_celltypes, n_columns) number of genes that a column stands for.
    shares
        (n_celltypes,) of the cells.
    n_genes
        Columns of the counts.
    """

    mean: Floats
    theta: Floats
    weight: Floats
    shares: Floats
    n_genes: int

    @property
    def per_cell(self) -> float:
        """Expected molecules of a cell."""
        return float(self.shares @ (self.weight * self.mean).sum(axis=1))

    @property
    def stored_per_cell(self) -> float:
        """Expected genes of a cell that are not 0."""
        zero = np.exp(self.theta * np.log(self.theta / (self.theta + self.mean)))
        return float(self.shares @ (self.weight * (1.0 - zero)).sum(axis=1))


def expected_table(config: SimulationConfig) -> Expected:
    """Return the expected counts per cell type; see `celldyn.simulate.estimate.estimate`."""
    shares, n_types = expected_shares(config), config.n_celltype
    table = _drawn(config) if config.n_genes * n_types <= _EXACT_VALUES else _quantiles(config)
    n_genes, kept = config.n_genes, 1.0 - config.zero_inflation
    # An excess zero takes a gene's whole count: as if there were fewer such genes.
    table = (table[0], table[1], table[2] * kept)
    named = _named(config, table[0] * kept, shares)
    if named is not None:
        table = _beside(table, named)
        n_genes += named[0].shape[1]
    if config.dynamics is not None:
        dynamics = config.dynamics
        n_genes += dynamics.n_genes
        mean = np.full((n_types, 1), dynamics.gene_mu * (1.0 - dynamics.zero_inflation))
        # Means that differ between states act on the zeros as a wider distribution does.
        theta = np.full_like(mean, 1.0 / (1.0 / dynamics.gene_theta + _STATE_CV**2))
        weight = np.full_like(mean, dynamics.n_genes)
        table = _beside(table, (mean, theta, weight))
    mean, theta, weight = table
    if config.technical is not None:
        mean, theta = _measured(config.technical, mean, theta, shares)
    return Expected(mean, theta, weight, shares, n_genes)


def expected_shares(config: SimulationConfig) -> Floats:
    """Return the (n_celltype,) shares of the types: those of the domains where all are given."""
    if not domains_decide(config):
        return config.proportions
    shares: Floats = domain_shares(config).mean(axis=0)
    return shares


def domains_decide(config: SimulationConfig) -> bool:
    """Whether every domain has a composition of its own, so that no shares are asked for."""
    return config.domain_composition.keys() >= set(config.domain_names)


def domain_shares(config: SimulationConfig) -> Floats:
    """Return (n_domains, n_celltype) shares of the types, where every domain has its own."""
    rows = [
        [config.domain_composition[domain].get(name, 0.0) for name in config.celltype_names]
        for domain in config.domain_names
    ]
    given = np.array(rows, dtype=np.float64)
    shares: Floats = given / given.sum(axis=1, keepdims=True)
    return shares


_Table = tuple[Floats, Floats, Floats]


def _beside(one: _Table, other: _Table) -> _Table:
    mean, theta, weight = (np.hstack(pair) for pair in zip(one, other, strict=True))
    return mean, theta, weight


def _drawn(config: SimulationConfig) -> _Table:
    """Return the very table that the simulation will draw."""
    from celldyn.simulate.genes import generate_gene_parameters

    table = generate_gene_parameters(config)
    names = config.celltype_names
    mean = table[[f"{name}_mu" for name in names]].to_numpy(dtype=np.float64).T
    theta = table[[f"{name}_theta" for name in names]].to_numpy(dtype=np.float64).T
    return mean, theta, np.ones_like(mean)


def _quantiles(config: SimulationConfig) -> _Table:
    """Return quantiles of the priors of own markers, housekeeping and silent genes."""
    from scipy.stats import gamma

    at = (np.arange(_REPRESENTATIVES) + 0.5) / _REPRESENTATIVES
    # theta is independent of mu: its quantiles come in an order of their own
    turned = np.argsort((np.arange(_REPRESENTATIVES) * 0.618033988749895) % 1.0)
    known: dict[tuple[float, float], Floats] = {}

    def quantiles(shape: float, scale: float) -> Floats:
        if (shape, scale) not in known:
            known[shape, scale] = gamma.ppf(at, shape, scale=scale)
        return known[shape, scale]

    shared = config.shared_marker_rows()
    rows: list[_Table] = []
    for name in config.celltype_names:
        prior = config.priors_of(name)
        n_own = config.markers_per_type + len(shared.get(name, ()))
        n_hk = config.n_housekeeping_genes
        numbers = np.array([n_own, n_hk, config.n_genes - n_own - n_hk])
        means = [
            quantiles(cv**-2, mu * cv**2) for mu, cv in (prior.marker, prior.hk, prior.silence)
        ]
        theta = quantiles(prior.theta_shape, prior.theta_scale)[turned]
        weight = np.repeat(numbers / _REPRESENTATIVES, _REPRESENTATIVES)
        rows.append((np.concatenate(means), np.tile(theta, 3), weight))
    mean, theta, weight = (np.stack(part) for part in zip(*rows, strict=True))
    return mean, theta, weight


def _named(config: SimulationConfig, table: Floats, shares: Floats) -> _Table | None:
    """Return the named genes and targets, targets at the expectation of what regulates them."""
    names = config.celltype_names
    known: dict[str, Floats] = {}
    theta: list[float] = []

    def factor(by_type: dict[str, float], by_domain: dict[str, float]) -> Floats:
        of_domain = np.mean([by_domain.get(name, 1.0) for name in config.domain_names])
        of_type: Floats = np.array([by_type.get(name, 1.0) for name in names], dtype=np.float64)
        return of_type * float(of_domain)

    for gene in config.extra_genes:
        known[gene.name] = gene.mu * factor(gene.celltype_factor, gene.domain_factor)
        theta.append(gene.theta)
    if config.targets:
        known.update(_of_table(config, table))
    targets: dict[str, Floats] = {}
    for target in topological(config.targets):
        linear = np.zeros(len(names))
        for regulator, beta in target.regulators.items():
            linear += beta * known[regulator]
        betas = [*target.ligand_receptor.values(), *target.tf_ligand.values()]
        for (ligand, partner), beta in zip(target.pairs, betas, strict=True):
            linear += beta * float(shares @ known[ligand]) * known[partner]
        vary = factor(target.celltype_factor, target.domain_factor)
        known[target.gene] = np.maximum(target.intercept + vary * linear, 0.0)
        targets[target.gene] = known[target.gene]
        theta.append(target.theta)
    columns = [*(known[gene.name] for gene in config.extra_genes), *targets.values()]
    if not columns:
        return None
    mean = np.stack(columns, axis=1)
    return mean, np.broadcast_to(np.array(theta), mean.shape), np.ones_like(mean)


def _of_table(config: SimulationConfig, table: Floats) -> dict[str, Floats]:
    """Return the expectation of each gene of the table that regulates a target."""
    from celldyn.simulate.genes import gene_names

    wanted = set().union(*(target.inputs for target in config.targets))
    rows = {name: row for row, name in enumerate(gene_names(config)[0]) if name in wanted}
    if table.shape[1] == config.n_genes:
        return {name: table[:, row] for name, row in rows.items()}
    return {name: np.full(len(table), table.mean()) for name in rows}  # a gene of many thousands


def _measured(
    technical: TechnicalSpec, mean: Floats, theta: Floats, shares: Floats
) -> tuple[Floats, Floats]:
    """Return what is left of the means after technical noise; diffusion and swaps keep them."""
    if technical.ambient_share is not None:
        share = np.array(technical.ambient_share)
        mean = mean + (share / (1.0 - share)).mean() * (shares @ mean)
    if technical.ambient_rate is not None:
        mean = mean + technical.ambient_shape / technical.ambient_rate
    mean = mean * technical.detection
    if technical.dropout_midpoint is not None:
        slope, middle = technical.dropout_slope, technical.dropout_midpoint
        with np.errstate(divide="ignore"):
            mean = mean / (1.0 + np.exp(-slope * (np.log(mean) - np.log(middle))))
    if technical.theta_rate is not None:
        theta = np.full_like(theta, technical.theta_rate**2)
    return mean, theta
