"""What perturbations are followed with: anchors, a field of shifts, starts, voters.

Shapes: n cells, m of them followed, R runs, G genes, d dimensions of z.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celldyn.devices import compile_job
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Pace, Progress
from celldyn.landscape.flow_inputs import as_states
from celldyn.landscape.graph import Ints
from celldyn.landscape.networks import Networks
from celldyn.landscape.perturbing.anchors import Anchors, Expression, anchor_cells, anchors_job
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.field import ShiftField
from celldyn.landscape.perturbing.flow import Schedule
from celldyn.landscape.perturbing.runs import Runs, starts_of
from celldyn.landscape.perturbing.shift import ShiftEncoder
from celldyn.landscape.perturbing.voting import EndVotes
from celldyn.landscape.phylogeny import label_codes

_MANY = 300_000
"""States times looks from which on compiled code is worth importing."""
_ROWS = 256
"""Cells that are read between two words of progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Whose perturbation is asked for: a model, and the data that it knows.

    Parameters
    ----------
    networks
        Of the model; they are left as they are, wherever they are.
    expression
        Gives log-normalised expression of cells.
    z_cells
        (n, d) states of all cells.
    labels
        (n,) their clusters.
    genes
        (G,) names, as the model has them.
    cells
        (m,) which cells are followed, each once.
    """

    networks: Networks
    expression: Expression
    z_cells: Tensor
    labels: NDArray[np.object_]
    genes: tuple[str, ...]
    cells: Ints

    @classmethod
    def of(
        cls,
        networks: Networks,
        expression: Expression,
        z_cells: Tensor | ArrayLike,
        labels: ArrayLike,
        genes: Sequence[str],
        cells: ArrayLike | None,
    ) -> Subjects:
        """Check what is given.

        Raises
        ------
        DataError
            If numbers of cells or genes do not fit, or no cell is followed.
        """
        at_hand = deepcopy(networks).cpu().eval().requires_grad_(requires_grad=False)
        z = as_states(at_hand.potential, _on_cpu(z_cells))
        names = np.asarray(labels, dtype=object).ravel()
        label_codes(names, len(z))
        if len(genes) != at_hand.n_genes:
            raise DataError(
                f"{len(genes)} genes are named and the model knows {at_hand.n_genes}",
                "give the names of the genes that it was trained on, in their order",
            )
        followed = _checked_cells(cells, len(z))
        return cls(at_hand, expression, z, names, tuple(map(str, genes)), followed)

    def clusters(self) -> NDArray[np.object_]:
        """Return the cluster of every cell that is followed, (m,)."""
        return np.array([str(name) for name in self.labels[self.cells]], dtype=object)


def _on_cpu(z_cells: Tensor | ArrayLike) -> Tensor | ArrayLike:
    return z_cells.detach().cpu() if isinstance(z_cells, Tensor) else z_cells


def _checked_cells(cells: ArrayLike | None, n: int) -> Ints:
    if cells is None:
        return np.arange(n)
    given = np.asarray(cells).ravel()
    if given.dtype == bool:
        if len(given) != n:
            raise DataError(f"the mask of cells is of {len(given)} and there are {n} cells")
        given = np.flatnonzero(given)
    if not len(given):
        raise DataError("no cell is followed", "name some cells")
    if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= n:
        raise DataError("cells are not numbers of cells", f"give whole numbers from 0 to {n - 1}")
    return np.unique(given).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What every perturbation of these subjects is followed with.

    Parameters
    ----------
    subjects
        See there.
    anchors, codes
        Cells that answer, and their clusters as numbers.
    runs
        Follows cells.
    config
        How.
    """

    subjects: Subjects
    anchors: Anchors
    codes: Ints
    runs: Runs
    config: PerturbConfig

    def notes(self) -> list[str]:
        """Return what to know of how fates were read."""
        said, voters = [], self.runs.voters
        if voters.n_voters < voters.n_of:
            said.append(f"{voters.n_voters} of {voters.n_of} cells vote, drawn by chance.")
        return said


def prepare_job(
    subjects: Subjects, config: PerturbConfig, released_at: float | None, n_followed: int
) -> Job[Prepared]:
    """Read and encode what all perturbations of these cells have in common.

    Parameters
    ----------
    released_at
        When genes are let go; None is never.
    n_followed
        About how many perturbations will be followed, for what is worth compiling.

    Raises
    ------
    ConfigError
        If σ is to be the model's own, which only an `LSD` with its walks knows.
    """
    if config.sigma is None:
        raise ConfigError(
            "sigma is not known here", "give a number; an LSD reads it off its walks"
        )
    _, codes = label_codes(subjects.labels, len(subjects.z_cells))
    encoder = ShiftEncoder(subjects.networks)
    at = anchor_cells(codes, config.n_anchors, config.seed)
    anchors = yield from anchors_job(encoder, subjects.expression, at)
    field = ShiftField(anchors, config.n_landmarks, config.seed)
    voters = EndVotes(subjects.z_cells, subjects.labels, config.k, config.terminal, config.seed)
    scale = (yield from _scales_job(subjects)) if config.start_noise else None
    z = subjects.z_cells[torch.from_numpy(subjects.cells)]
    starts = starts_of(z, scale, config.n_runs, config.seed)
    n_looks = n_followed * starts[..., 0].numel() * config.time / config.dt
    if compiled := n_looks >= _MANY:
        from celldyn.landscape.cosh_kernels import compile_kernel

        yield from compile_job([compile_kernel])
    schedule = Schedule(config.time, config.dt, released_at, config.sigma, config.seed, compiled)
    runs = Runs(subjects.networks.potential, field, voters, starts, schedule)
    return Prepared(subjects, anchors, codes[at], runs, config)


def _scales_job(subjects: Subjects) -> Job[Tensor]:
    """Return what is not known of the followed cells' states, (m, d)."""
    parts = []
    for begin in range(0, len(subjects.cells), _ROWS):
        yield Progress("what is known of states", begin, len(subjects.cells))
        with torch.no_grad():
            x = subjects.expression(subjects.cells[begin : begin + _ROWS]).cpu()
            parts.append(subjects.networks.encode(x)[1])
    return torch.cat(parts)


def expressed_job(subjects: Subjects, genes: Ints) -> Job[NDArray[np.bool_]]:
    """Return which followed cells express each of these genes, (m, k)."""
    parts, pace = [], Pace()
    at = torch.from_numpy(np.asarray(genes))
    for begin in range(0, len(subjects.cells), _ROWS):
        x = subjects.expression(subjects.cells[begin : begin + _ROWS]).cpu()
        parts.append((x[:, at] > 0).numpy())
        if pace.due():
            yield Progress("expression", begin, len(subjects.cells))
    return np.concatenate(parts)
