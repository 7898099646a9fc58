"""A tissue that can be acted upon, with the true effect of every action on every cell."""

from __future__ import annotations

from celldyn.simulate.environment.moments import Action, Moment, advance_job, first_moment_job
from celldyn.simulate.environment.tissue import TissueEnvironment
from celldyn.simulate.environment.world import World, world_job

__all__ = [
    "Action",
    "Moment",
    "TissueEnvironment",
    "World",
    "advance_job",
    "first_moment_job",
    "world_job",
]
