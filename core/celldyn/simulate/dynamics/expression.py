"""Genes that read the cells' states: means, their true velocity, spliced and unspliced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.perturbation import Perturbation
from celldyn.simulate.dynamics.potentials import Floats, Potential
from celldyn.simulate.streams import hash_bits, name_ids, stream_key, unit_interval

if TYPE_CHECKING:
    from celldyn.simulate.dynamics.states import Dynamics
    from celldyn.simulate.specs import DynamicsSpec

Rows: TypeAlias = slice | NDArray[np.intp]

SPLICING_RATE = 6.0
"""Unspliced molecules turn into spliced ones at this rate, per unit of true time."""
DEGRADATION_RATE = 6.0
"""Spliced molecules decay at this rate, per unit of true time."""
_STAGE = "dynamics/genes"
_LINEAR, _BUMP, _BIAS = 0.4, 1.5, 0.5
_DRIVER, _DRIVER_BIAS = 5.0, -2.0


@dataclass(frozen=True, slots=True)
class GeneProgram:
    """How genes read a state: mean = scale · softplus(bias + W h(z)).

    h holds z itself and Gaussian bumps around points along the valleys, so that a gene may rise
    and fall anywhere on the way. Weights are normal by chance, per gene name; drivers read the
    bumps of their own fate alone. `scale` makes the mean over those points `gene_mu`.

    Parameters
    ----------
    centres
        (n_bumps, n_core) centres of the bumps.
    width
        Their standard deviation.
    weights, bias, scale
        (n_genes, n_dims + n_bumps), (n_genes,) and (n_genes,).
    """

    centres: Floats
    width: float
    weights: Floats
    bias: Floats
    scale: Floats

    @classmethod
    def of(cls, potential: Potential, spec: DynamicsSpec, seed: int) -> GeneProgram:
        """Return the program of a specification's genes."""
        from scipy.spatial import cKDTree
        from scipy.special import ndtri

        centres, n_dims = potential.landmarks, potential.n_dims
        apart = np.asarray(cKDTree(centres).query(centres, k=2)[0])[:, 1]
        width = 1.2 * float(np.median(apart))
        ids = name_ids(spec.gene_names)[:, None]
        columns = np.arange(1 + n_dims + len(centres))
        chance = ndtri(unit_interval(hash_bits(stream_key(seed, _STAGE), ids, columns)))
        size = np.repeat([_BIAS, _LINEAR, _BUMP], [1, n_dims, len(centres)])
        chance *= size
        first_fate = len(potential.state_names) - spec.n_fates
        for row, fate in enumerate(spec.drivers.values()):
            mine = potential.landmark_states == first_fate + fate
            read = _DRIVER * mine * np.exp(0.2 * chance[row, 1 + n_dims :])
            chance[row] = np.concatenate([[_DRIVER_BIAS], np.zeros(n_dims), read])
        program = cls(centres, width, chance[:, 1:], chance[:, 0], np.ones(len(ids)))
        along = np.zeros((len(centres), n_dims))
        along[:, : potential.n_core] = centres
        scale = spec.gene_mu / program.mean(along).mean(axis=0)
        return cls(centres, width, chance[:, 1:], chance[:, 0], scale)

    def mean(self, z: Floats) -> Floats:
        """Return the genes' means, (n, n_genes), at states (n, n_dims)."""
        mean: Floats = self.scale * np.logaddexp(0.0, self._read(self._features(z)) + self.bias)
        return mean

    def slope(self, z: Floats, along: Floats) -> Floats:
        """Return the derivative of `mean`, (n, n_genes), at z along a direction, (n, n_dims)."""
        from scipy.special import expit

        features = self._features(z)
        change = features.copy()
        n_dims, n_core = z.shape[1], self.centres.shape[1]
        change[:, :n_dims] = along
        gap = z[:, None, :n_core] - self.centres
        change[:, n_dims:] *= -(gap * along[:, None, :n_core]).sum(axis=2) / self.width**2
        rise: Floats = self.scale * expit(self._read(features) + self.bias) * self._read(change)
        return rise

    def _features(self, z: Floats) -> Floats:
        gap = z[:, None, : self.centres.shape[1]] - self.centres
        bump = np.exp(-0.5 * (gap**2).sum(axis=2) / self.width**2)
        return np.concatenate([z, bump], axis=1)

    def _read(self, features: Floats) -> Floats:
        # Not a matrix product: that would round a cell's sum in a way that depends on the others.
        read: Floats = np.einsum("nf,gf->ng", features, self.weights, optimize=False)
        return read


def dynamic_means(dynamics: Dynamics, spec: DynamicsSpec, rows: Rows) -> tuple[Floats, Floats]:
    """Return mean and inverse dispersion of the genes that read the states.

    Parameters
    ----------
    dynamics
        The cells' states.
    spec
        Their specification.
    rows
        Which cells: a slice or positions.

    Returns
    -------
    (m, n_genes) means in counts of a cell of size 1, knock-outs and the perturbation included, and
    (1, n_genes) inverse dispersions.
    """
    mean = _perturbed(dynamics, spec, rows, dynamics.program.mean(dynamics.z[rows]), shift=True)
    return mean, np.full((1, spec.n_genes), spec.gene_theta)


def dynamic_velocity(dynamics: Dynamics, spec: DynamicsSpec, rows: Rows) -> Floats:
    """Return the true RNA velocity d mean / dt = J_mean(z) · (-∇V), (m, n_genes)."""
    slope = dynamics.program.slope(dynamics.z[rows], dynamics.velocity[rows])
    return _perturbed(dynamics, spec, rows, slope, shift=False)


def splicing_means(
    dynamics: Dynamics, spec: DynamicsSpec, rows: Rows
) -> tuple[Floats, Floats, Floats]:
    """Return the means of unspliced and spliced counts, and their inverse dispersion.

    Spliced molecules have the mean s of `dynamic_means`; with ds/dt = β u - γ s, unspliced ones
    have u = (ds/dt + γ s) / β, not below 0, as where a gene falls faster than it decays.

    Returns
    -------
    unspliced and spliced, (m, n_genes) each, and theta, (1, n_genes).
    """
    spliced, theta = dynamic_means(dynamics, spec, rows)
    made = dynamic_velocity(dynamics, spec, rows) + DEGRADATION_RATE * spliced
    return np.maximum(made, 0.0) / SPLICING_RATE, spliced, theta


def _perturbed(
    dynamics: Dynamics, spec: DynamicsSpec, rows: Rows, values: Floats, *, shift: bool
) -> Floats:
    """Apply knock-outs, then the perturbation where it is; offsets move means, not slopes."""
    names = spec.gene_names
    for gene, factor in spec.knockouts.items():
        values[:, names.index(gene)] *= factor
    perturbation: Perturbation | None = dynamics.perturbation
    if perturbation is None:
        return values
    here = dynamics.perturbed[rows]
    for gene, change in perturbation.genes.items():
        if gene in names:
            column = names.index(gene)
            changed = values[here, column] * change.factor
            values[here, column] = np.maximum(changed + change.offset, 0.0) if shift else changed
    return values
