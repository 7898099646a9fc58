"""A change carried through the genes, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.perturbing.circuit import Circuit
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.inputs import PerturbInputs
from celldyn.betas.perturbing.respond import response_job
from celldyn.betas.perturbing.slopes import stepper_of
from celldyn.data.words import counted
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress, scaled

_STAGE = "perturbation"
_STRONGEST = 12
_VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class StepPreview:
    """What a step came to, small enough to draw while the next one runs.

    Parameters
    ----------
    step
        How many steps are done.
    genes, mean_abs
        The genes that changed most, perturbed ones left out, and the mean |delta| of each.
    shift
        (n_obs,) float32 norm of the change of each cell.
    """

    step: int
    genes: tuple[str, ...]
    mean_abs: Floats
    shift: NDArray[np.float32]


def propagate_job(
    circuit: Circuit,
    inputs: PerturbInputs,
    config: PerturbConfig,
    *,
    done: float = 0.0,
    preview: bool = True,
) -> Job[tuple[Floats, Floats]]:
    """Carry a perturbation through the genes.

    Parameters
    ----------
    circuit
        Of the inputs' tissue.
    inputs, config
        What is done, and how.
    done
        Units of work that came before; a step is one more.
    preview
        Whether steps come with a `StepPreview`.

    Returns
    -------
    (n_genes, n_cells) change, cells in the circuit's order, and (n_steps,) its mean size after
    each step.

    Raises
    ------
    DataError
        If the change grows beyond all numbers.
    """
    held = _Held.of(circuit, inputs)
    delta = np.zeros(circuit.start.shape)
    held.force(delta)
    stepper = stepper_of(config.version, circuit)
    still = np.ones(len(delta), bool)
    still[[circuit.position[gene] for gene in circuit.responding]] = False
    total = done + config.n_propagation
    steps: list[float] = []
    for step in range(1, config.n_propagation + 1):
        at, said = done + step - 1, f"step {step}"
        slopes = yield from scaled(stepper.slopes_job(delta), at, total, said)
        delta[still] = 0.0
        job = response_job(circuit, stepper, slopes, config, delta)
        yield from scaled(job, at, total, said)
        is_held = held if inputs.perturbation.active(step) else None
        yield from scaled(_settle_job(circuit, config, is_held, delta), at, total, said)
        of_gene, of_cell = yield from scaled(_size_job(delta, step), at, total, said)
        steps.append(float(of_gene.mean()))
        metrics = {"mean |delta|": steps[-1]}
        shown = _preview(circuit, inputs, step, of_gene, of_cell) if preview else None
        yield Progress(_STAGE, at + 1, total, said, metrics, shown)
    if inputs.perturbation.active(config.n_propagation):
        held.force(delta)
    return delta, np.array(steps)


def in_data_order_job(
    circuit: Circuit, delta: Floats, negligible: float
) -> Job[NDArray[np.float32]]:
    """Return a change as (n_obs, n_genes) float32 in the order of the data set's cells.

    Numbers whose size is not above `negligible` are 0.
    """
    out = np.empty(delta.shape[::-1], np.float32)
    step = max(_VALUES_AT_ONCE // max(len(delta), 1), 1)
    pace = Pace()
    for first in range(0, circuit.n_cells, step):
        some = slice(first, first + step)
        part = delta[:, some].T.astype(np.float32)
        part[np.abs(part) <= negligible] = 0.0
        out[circuit.order[some]] = part
        if pace.due():
            yield Progress(_STAGE, first, circuit.n_cells)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """The perturbed genes in the perturbed cells."""

    targets: Ints
    cells: Ints
    change: Floats

    @classmethod
    def of(cls, circuit: Circuit, inputs: PerturbInputs) -> _Held:
        place = np.empty(circuit.n_cells, np.intp)
        place[circuit.order] = np.arange(circuit.n_cells)
        cells = place[inputs.rows]
        before = circuit.start[np.ix_(inputs.targets, cells)]
        return cls(inputs.targets, cells, inputs.forced.T - before)

    def force(self, delta: Floats, *, changed_only: bool = False) -> None:
        """Put the perturbed genes where they are held."""
        where = np.ix_(self.targets, self.cells)
        if changed_only:
            delta[where] = np.where(self.change != 0, self.change, delta[where])
        else:
            delta[where] = self.change


def _settle_job(
    circuit: Circuit, config: PerturbConfig, held: _Held | None, delta: Floats
) -> Job[None]:
    """Keep expression within its bounds and perturbed genes where they are held, in place."""
    corrected = config.version == "corrected"
    if held is not None and not corrected:
        held.force(delta, changed_only=True)
    pace = Pace()
    for genes in _gene_blocks(delta) if config.bounds != "none" else ():
        start, low, high = circuit.start[genes], circuit.low[genes], circuit.high[genes]
        np.clip(delta[genes], low[:, None] - start, high[:, None] - start, out=delta[genes])
        if pace.due():
            yield Progress(_STAGE, genes.stop, len(delta))
    if held is not None and corrected:  # an over-expression goes beyond what was seen
        held.force(delta)


def _size_job(delta: Floats, step: int) -> Job[tuple[Floats, Floats]]:
    """Return the mean size of each gene's change, and the norm of each cell's.

    Raises
    ------
    DataError
        If it is beyond all numbers.
    """
    of_gene, square, pace = np.zeros(len(delta)), np.zeros(delta.shape[1]), Pace()
    for genes in _gene_blocks(delta):
        of_gene[genes] = np.abs(delta[genes]).mean(axis=1)
        square += np.einsum("gc,gc->c", delta[genes], delta[genes])
        if pace.due():
            yield Progress(_STAGE, genes.stop, len(delta))
    if not np.isfinite(of_gene).all():
        raise DataError(
            f"the changes are beyond all numbers after {counted(step, 'step')}",
            "clip expression to its range, or take fewer steps",
        )
    return of_gene, np.sqrt(square)


def _gene_blocks(delta: Floats) -> Iterator[slice]:
    step = max(_VALUES_AT_ONCE // max(delta.shape[1], 1), 1)
    for start in range(0, len(delta), step):
        yield slice(start, min(start + step, len(delta)))


def _preview(
    circuit: Circuit, inputs: PerturbInputs, step: int, of_gene: Floats, of_cell: Floats
) -> StepPreview:
    others = of_gene.copy()
    others[inputs.targets] = -1.0
    top = [int(k) for k in np.argsort(-others, kind="stable")[:_STRONGEST] if others[k] > 0]
    shift = np.empty(circuit.n_cells, np.float32)
    shift[circuit.order] = of_cell
    genes = tuple(inputs.tissue.genes[k] for k in top)
    return StepPreview(step, genes, of_gene[top], shift)
