"""States that follow a known stochastic differential equation, and the genes that read them."""

from __future__ import annotations

from celldyn.simulate.dynamics.counting import (
    check_dynamics,
    dynamic_gene_names,
    dynamic_group,
    unspliced_job,
)
from celldyn.simulate.dynamics.drivers import raised_fates
from celldyn.simulate.dynamics.expression import (
    dynamic_means,
    dynamic_velocity,
    splicing_means,
)
from celldyn.simulate.dynamics.potentials import Potential, make_potential
from celldyn.simulate.dynamics.sde import Walkers, evolve, evolve_job, time_step
from celldyn.simulate.dynamics.states import Dynamics, dynamics_job, fate_shift_job

__all__ = [
    "Dynamics",
    "Potential",
    "Walkers",
    "check_dynamics",
    "dynamic_gene_names",
    "dynamic_group",
    "dynamic_means",
    "dynamic_velocity",
    "dynamics_job",
    "evolve",
    "evolve_job",
    "fate_shift_job",
    "make_potential",
    "raised_fates",
    "splicing_means",
    "time_step",
    "unspliced_job",
]
