"""A simulated tissue for other programs: SpatialData, GeoParquet, tables, folders."""

from __future__ import annotations

from celldyn.simulate.output.geoparquet import outlines_parquet_job
from celldyn.simulate.output.spatial import to_spatialdata
from celldyn.simulate.output.writing import check_output, write_simulation, write_simulation_job

__all__ = [
    "check_output",
    "outlines_parquet_job",
    "to_spatialdata",
    "write_simulation",
    "write_simulation_job",
]
