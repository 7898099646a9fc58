"""What a simulation's parameters hold: genes, shapes, prototypes, measurement, dynamics."""

from __future__ import annotations

from celldyn.simulate.specs.dynamics import DynamicsSpec
from celldyn.simulate.specs.genes import (
    PRIOR_NAMES,
    CellTypeSpec,
    GenePriors,
    GeneSpec,
    ProgramSpec,
    TargetSpec,
    topological,
)
from celldyn.simulate.specs.measure import PlatformSpec, SegmentationSpec, TechnicalSpec
from celldyn.simulate.specs.shapes import (
    MorphologySpec,
    PrototypeScene,
    PrototypeSceneInstance,
    PrototypeSpec,
    PrototypeSpecInstance,
)

__all__ = [
    "PRIOR_NAMES",
    "CellTypeSpec",
    "DynamicsSpec",
    "GenePriors",
    "GeneSpec",
    "MorphologySpec",
    "PlatformSpec",
    "ProgramSpec",
    "PrototypeScene",
    "PrototypeSceneInstance",
    "PrototypeSpec",
    "PrototypeSpecInstance",
    "SegmentationSpec",
    "TargetSpec",
    "TechnicalSpec",
    "topological",
]
