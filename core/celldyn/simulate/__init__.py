"""A tissue simulator whose every truth is known: genes, cells, molecules, dynamics, platforms.

Every name is imported when it is first used, so that `import celldyn.simulate` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.counts import negative_binomial, sample_counts
    from celldyn.simulate.genes import (
        generate_gene_parameters,
        get_hk_gamma_prior,
        get_marker_gamma_prior,
        get_silence_gamma_prior,
        get_theta_gamma_prior,
        var_over_mean,
    )
    from celldyn.simulate.layout.arrays import generate_celltypes, get_background_point_pattern
    from celldyn.simulate.molecules import (
        classify_leakage,
        counts_to_transcript_df,
        is_leaked,
        leak_distance,
        leak_probability,
    )
    from celldyn.simulate.output import to_spatialdata, write_simulation_job
    from celldyn.simulate.presets import preset, preset_descriptions, preset_names
    from celldyn.simulate.programs import (
        build_program_gpar_df,
        resolve_gene_names,
        sample_counts_program_model,
    )
    from celldyn.simulate.scoring import score
    from celldyn.simulate.shapes.arrays import generate_nuclei_by_celltype, nuclei_to_cells_voronoi
    from celldyn.simulate.shapes.orientation import compute_orientations
    from celldyn.simulate.shapes.outlines import CellShapes
    from celldyn.simulate.shapes.placing import (
        place_chain,
        place_cluster,
        place_crypt,
        place_ring,
        place_vessel,
    )
    from celldyn.simulate.shapes.prototypes import (
        count_prototype_cells,
        generate_spec_nuclei,
        generate_spec_points,
    )
    from celldyn.simulate.shapes.tessellation import get_expansion_radius
    from celldyn.simulate.simulation import Simulation
    from celldyn.simulate.simulator import SpotlessSimulator, simulate_job
    from celldyn.simulate.specs import (
        CellTypeSpec,
        DynamicsSpec,
        GeneSpec,
        MorphologySpec,
        PlatformSpec,
        ProgramSpec,
        PrototypeScene,
        PrototypeSceneInstance,
        PrototypeSpec,
        PrototypeSpecInstance,
        SegmentationSpec,
        TargetSpec,
        TechnicalSpec,
    )

__all__ = [
    "CellShapes",
    "CellTypeSpec",
    "DynamicsSpec",
    "GeneSpec",
    "MorphologySpec",
    "PlatformSpec",
    "ProgramSpec",
    "PrototypeScene",
    "PrototypeSceneInstance",
    "PrototypeSpec",
    "PrototypeSpecInstance",
    "SegmentationSpec",
    "Simulation",
    "SimulationConfig",
    "SpotlessSimulator",
    "TargetSpec",
    "TechnicalSpec",
    "build_program_gpar_df",
    "classify_leakage",
    "compute_orientations",
    "count_prototype_cells",
    "counts_to_transcript_df",
    "generate_celltypes",
    "generate_gene_parameters",
    "generate_nuclei_by_celltype",
    "generate_spec_nuclei",
    "generate_spec_points",
    "get_background_point_pattern",
    "get_expansion_radius",
    "get_hk_gamma_prior",
    "get_marker_gamma_prior",
    "get_silence_gamma_prior",
    "get_theta_gamma_prior",
    "is_leaked",
    "leak_distance",
    "leak_probability",
    "negative_binomial",
    "nuclei_to_cells_voronoi",
    "place_chain",
    "place_cluster",
    "place_crypt",
    "place_ring",
    "place_vessel",
    "preset",
    "preset_descriptions",
    "preset_names",
    "resolve_gene_names",
    "sample_counts",
    "sample_counts_program_model",
    "score",
    "simulate_job",
    "to_spatialdata",
    "var_over_mean",
    "write_simulation_job",
]

_HOME = {
    "CellShapes": "shapes.outlines",
    "CellTypeSpec": "specs",
    "DynamicsSpec": "specs",
    "GeneSpec": "specs",
    "MorphologySpec": "specs",
    "PlatformSpec": "specs",
    "ProgramSpec": "specs",
    "PrototypeScene": "specs",
    "PrototypeSceneInstance": "specs",
    "PrototypeSpec": "specs",
    "PrototypeSpecInstance": "specs",
    "SegmentationSpec": "specs",
    "Simulation": "simulation",
    "SimulationConfig": "config",
    "SpotlessSimulator": "simulator",
    "TargetSpec": "specs",
    "TechnicalSpec": "specs",
    "build_program_gpar_df": "programs",
    "classify_leakage": "molecules",
    "compute_orientations": "shapes.orientation",
    "count_prototype_cells": "shapes.prototypes",
    "counts_to_transcript_df": "molecules",
    "generate_celltypes": "layout.arrays",
    "generate_gene_parameters": "genes",
    "generate_nuclei_by_celltype": "shapes.arrays",
    "generate_spec_nuclei": "shapes.prototypes",
    "generate_spec_points": "shapes.prototypes",
    "get_background_point_pattern": "layout.arrays",
    "get_expansion_radius": "shapes.tessellation",
    "get_hk_gamma_prior": "genes",
    "get_marker_gamma_prior": "genes",
    "get_silence_gamma_prior": "genes",
    "get_theta_gamma_prior": "genes",
    "is_leaked": "molecules",
    "leak_distance": "molecules",
    "leak_probability": "molecules",
    "negative_binomial": "counts",
    "nuclei_to_cells_voronoi": "shapes.arrays",
    "place_chain": "shapes.placing",
    "place_cluster": "shapes.placing",
    "place_crypt": "shapes.placing",
    "place_ring": "shapes.placing",
    "place_vessel": "shapes.placing",
    "preset": "presets",
    "preset_descriptions": "presets",
    "preset_names": "presets",
    "resolve_gene_names": "programs",
    "sample_counts": "counts",
    "sample_counts_program_model": "programs",
    "score": "scoring",
    "simulate_job": "simulator",
    "to_spatialdata": "output",
    "var_over_mean": "genes",
    "write_simulation_job": "output",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
