"""A perturbation: which genes, to what, in which cells, for how long; every engine takes it."""

from __future__ import annotations

from celldyn.perturbation.change import KNOCK_OUT, Change
from celldyn.perturbation.perturbed import Perturbation

__all__ = ["KNOCK_OUT", "Change", "Perturbation"]
