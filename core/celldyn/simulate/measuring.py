"""Platforms and a faulty segmentation looking at a finished tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celldyn.jobs import Job
from celldyn.simulate.molecules import molecule_stream_job, molecules_job

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.simulate.measure.segmentation import Segmentation
    from celldyn.simulate.simulation import Simulation

_IN_MEMORY = 10_000_000
"""Up to this many molecules are placed once and kept for all platforms; more are streamed."""


def measuring_job(
    simulation: Simulation, *, threads: int | None = None
) -> Job[tuple[dict[str, AnnData], Segmentation | None]]:
    """Let the config's platforms and segmentation look at a tissue.

    Parameters
    ----------
    simulation
        With its table.
    threads
        How many; None is every core.

    Returns
    -------
    Per platform, its table by its label; and the segmentation, None if the config has none.
    """
    config = simulation.config
    platforms: dict[str, AnnData] = {}
    if not config.platforms and config.segmentation is None:
        return platforms, None
    from celldyn.simulate.measure.platforms import platform_job
    from celldyn.simulate.measure.segmentation import segmentation_job

    inputs = simulation.molecule_inputs()
    kept: Any = None
    if int(simulation.counts.sum()) <= _IN_MEMORY:
        kept = yield from molecules_job(**inputs, threads=threads)

    def source_job() -> Job[Any]:
        if kept is not None:
            return kept
        return (yield from molecule_stream_job(**inputs, threads=threads))

    common: dict[str, Any] = {"cells": simulation.cells, "threads": threads}
    names = simulation.gene_names
    for spec in config.platforms:
        molecules = yield from source_job()
        platforms[spec.label] = yield from platform_job(
            spec, molecules, config.canvas_um, names, config.seed, **common
        )
    if config.segmentation is None:
        return platforms, None
    molecules = yield from source_job()
    segmentation = yield from segmentation_job(
        config.segmentation, simulation.shapes, molecules, names, config.seed, **common
    )
    return platforms, segmentation
