"""Received signals again and again: one kernel matrix per reach, made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from celldyn.betas.config import ModelConfig
from celldyn.betas.diffusion import PRODUCTS_PER_BLOCK, kernel_matrix
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.kernels import kernel_reach
from celldyn.betas.neighbours import radius_graph_job
from celldyn.jobs import Job, Progress


@dataclass(frozen=True, slots=True)
class Signal:
    """What reaches a cell of one ligand, at one reach."""

    ligand: str
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class Diffuser:
    """The kernels of all reaches on the cells of a tissue."""

    kernels: dict[float, csr_array]

    def received_job(self, sent: Floats, radii: Floats, stage: str) -> Job[Floats]:
        """Return what each cell receives.

        Parameters
        ----------
        sent
            (n_signals, n_cells) expression of the ligand in the cells that send it.
        radii
            (n_signals,) reach of each.
        stage
            Name of the stage.
        """
        received = np.zeros(sent.shape)
        done = 0
        for radius, kernel in self.kernels.items():
            of_radius = np.flatnonzero(radii == radius)
            at_once = max(PRODUCTS_PER_BLOCK // max(kernel.nnz, 1), 1)
            for start in range(0, len(of_radius), at_once):
                some = of_radius[start : start + at_once]
                received[some] = (kernel @ np.ascontiguousarray(sent[some].T)).T
                done += len(some)
                yield Progress(stage, done, len(radii))
        return received


def diffuser_job(
    xy: Floats, section_codes: Ints, radii: Sequence[float], model: ModelConfig
) -> Job[Diffuser]:
    """Build the kernel of every reach, from one search for neighbours.

    Raises
    ------
    ConfigError
        If the reach gives more pairs of cells than memory should hold.
    """
    reach = sorted(set(radii))
    if not reach:
        return Diffuser({})
    job = radius_graph_job(xy, kernel_reach(model.kernel, reach[-1]), sections=section_codes)
    graph = yield from job
    kernels = {}
    for radius in reach:
        kernels[radius] = kernel_matrix(
            graph,
            radius,
            kernel=model.kernel,
            normalisation=model.normalisation,
            scale_factor=model.scale_factor,
            include_self=model.include_self,
            sections=section_codes,
        )
        yield Progress("kernels", len(kernels), len(reach))
    return Diffuser(kernels)
