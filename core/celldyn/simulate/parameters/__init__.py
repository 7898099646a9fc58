"""The parameters of a simulation in groups, as a form or a reference page shows them."""

from __future__ import annotations

from celldyn.simulate.parameters.cells import CellParameters
from celldyn.simulate.parameters.genes import GeneParameters
from celldyn.simulate.parameters.layout import LayoutParameters
from celldyn.simulate.parameters.measurement import MeasurementParameters

__all__ = ["CellParameters", "GeneParameters", "LayoutParameters", "MeasurementParameters"]
