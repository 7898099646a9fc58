"""The change of every gene that responds, from the change of the design: blocks of cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.field import BetaField
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.modulators import Modulators
from celldyn.betas.perturbing.circuit import Circuit
from celldyn.betas.perturbing.columns import Columns, Slopes
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.derivatives import Terms, pair_factors
from celldyn.betas.perturbing.slopes import Label, Stepper
from celldyn.jobs import Job, Pace, Progress

_VALUES_AT_ONCE = 1 << 20
"""Numbers of the design in one block of cells."""
_VALUES_HELD = 1 << 25
"""The same where betas vary: a block is read once per gene, and should be long."""
_STAGE = "perturbation"


def response_job(
    circuit: Circuit, stepper: Stepper, slopes: Slopes, config: PerturbConfig, delta: Floats
) -> Job[None]:
    """Write the change of every responding gene into the (n_genes, n_cells) `delta`.

    Rows of genes without betas are left as they are.
    """
    if config.beta_cap is not None:
        yield from _capped_job(circuit, stepper, slopes, config, delta)
        return
    changed = slopes.changed(circuit.columns)
    yield from _constant_job(circuit, slopes, changed, delta)
    yield from _varying_job(circuit, slopes, changed, config.beta_scale_factor, delta)


def _constant_job(
    circuit: Circuit, slopes: Slopes, changed: NDArray[np.bool_], delta: Floats
) -> Job[None]:
    """Do it for genes whose betas are those of their fit: one product of matrices per fit."""
    pace = Pace()
    for weights in circuit.weights:
        n_columns = len(weights.common) + len(weights.rare)
        for cells in _blocks(weights.fit_of_cell, _VALUES_AT_ONCE // max(n_columns, 1)):
            delta[weights.genes, cells] = weights.respond(slopes, circuit.columns, changed, cells)
            if pace.due():
                yield Progress(_STAGE, cells.stop, circuit.n_cells)


def _blocks(fit_of_cell: Ints, longest: int) -> Iterator[slice]:
    """Yield blocks of cells that end where the fit does."""
    edges = np.flatnonzero(np.diff(fit_of_cell)) + 1
    n_cells, longest = len(fit_of_cell), max(longest, 64)
    if len(edges) > 4 * (n_cells // longest + len(np.unique(fit_of_cell))):
        edges = np.empty(0, np.intp)  # these genes are fitted otherwise than cells are sorted
    for start, stop in zip([0, *edges], [*edges, n_cells], strict=True):
        for first in range(int(start), int(stop), longest):
            yield slice(first, min(first + longest, int(stop)))


def _varying_job(
    circuit: Circuit,
    slopes: Slopes,
    changed: NDArray[np.bool_],
    scale: float,
    delta: Floats,
) -> Job[None]:
    """Do it for genes whose betas vary inside fits: the design once, then gene by gene."""
    if not circuit.varying:
        return
    from celldyn.betas.perturbing.kernels import row_products

    columns, pace = circuit.columns, Pace()
    place, mine = _needed(columns, circuit.varying, changed)
    first_pair = int(np.searchsorted(mine, columns.bounds[0]))
    step = max(_VALUES_HELD // max(len(mine), 1), 64)
    for start in range(0, circuit.n_cells, step):
        cells = slice(start, min(start + step, circuit.n_cells))
        design = np.empty((cells.stop - cells.start, len(mine)))
        small = max(_VALUES_AT_ONCE // max(len(mine), 1), 64)
        for at in range(cells.start, cells.stop, small):
            some = slice(at, min(at + small, cells.stop))
            part = slice(some.start - start, some.stop - start)
            design[part] = slopes.of_columns(columns, mine, some).T
            yield Progress(_STAGE, at, circuit.n_cells)
        design[:, first_pair:] *= scale
        out = np.empty(len(design))
        for gene in circuit.varying:
            at_gene = place[columns.of_gene[gene]]
            held = np.flatnonzero(at_gene >= 0)
            betas = _betas(circuit.fields[gene], circuit.order[cells])
            betas = betas if len(held) == len(at_gene) else betas[:, held]
            row_products(betas, design, at_gene[held], out)
            delta[circuit.position[gene], cells] = out
            if pace.due():
                yield Progress(_STAGE, cells.stop, circuit.n_cells)


def _betas(field: BetaField, cells: Ints) -> NDArray[Any]:
    """Return the (n_cells, n_modulators) betas of some cells, as they are held."""
    return (field.values(cells) if field.dense is None else field.dense[cells])[:, 1:]


def _needed(
    columns: Columns, genes: tuple[str, ...], changed: NDArray[np.bool_]
) -> tuple[Ints, Ints]:
    """Return where each column stands among the changed ones of some genes, and these."""
    used = np.zeros(len(columns), bool)
    for gene in genes:
        used[columns.of_gene[gene]] = True
    mine = np.flatnonzero(used & changed)
    place = np.full(len(columns), -1, np.intp)
    place[mine] = np.arange(len(mine))
    return place, mine


def _capped_job(
    circuit: Circuit, stepper: Stepper, slopes: Slopes, config: PerturbConfig, delta: Floats
) -> Job[None]:
    """Do it with derivatives that are clipped: they have to be made, gene by gene."""
    signal, receptor, tfl_signal, tfl_factor = stepper.middle(slopes)
    pace = Pace()
    for gene in circuit.varying:
        field = circuit.fields[gene]
        columns = circuit.columns.of_gene[gene]
        lr, tfl = _pairs(circuit, columns)
        terms = Terms.of(field.modulators, _labels(circuit, stepper, field.modulators, columns))
        n_regulators = len(field.modulators.regulators)
        step = max(_VALUES_AT_ONCE // max(2 * len(columns), 1), 64)
        for start in range(0, circuit.n_cells, step):
            cells = slice(start, min(start + step, circuit.n_cells))
            factors = pair_factors(
                n_regulators,
                signal[circuit.columns.lr.signal[lr], cells],
                receptor[circuit.columns.lr.partner[lr], cells],
                tfl_signal[circuit.columns.tfl.signal[tfl], cells],
                tfl_factor[circuit.columns.tfl.partner[tfl], cells],
                config.beta_scale_factor,
            )
            betas = field.values(circuit.order[cells])[:, 1:].T
            slope = terms.derivatives(betas, factors, config.beta_cap)
            moved = [stepper.moved(slopes, label)[cells] for label in terms.labels]
            total = np.einsum("kc,kc->c", slope, np.array(moved).reshape(slope.shape))
            delta[circuit.position[gene], cells] = total
            if pace.due():
                yield Progress(_STAGE, cells.stop, circuit.n_cells)


def _pairs(circuit: Circuit, columns: Ints) -> tuple[Ints, Ints]:
    """Return a gene's ligand-receptor and ligand-TF pairs among those of all genes."""
    first, second = circuit.columns.bounds
    lr = columns[(columns >= first) & (columns < second)] - first
    return lr, columns[columns >= second] - second


def _labels(
    circuit: Circuit, stepper: Stepper, modulators: Modulators, columns: Ints
) -> list[Label]:
    """Return what each term of a gene's derivatives is by, in the order of the terms."""
    lr, tfl = _pairs(circuit, columns)
    own = circuit.columns.regulators[columns[: len(modulators.regulators)]]
    sides = circuit.columns.lr, circuit.columns.tfl
    return [
        *(stepper.label("regulator", int(k), -1) for k in own),
        *(stepper.label("receptor", int(k), -1) for k in sides[0].partner[lr]),
        *(stepper.label("ligand", -1, int(k)) for k in sides[0].signal[lr]),
        *(stepper.label("tfl factor", int(k), -1) for k in sides[1].partner[tfl]),
        *(stepper.label("tfl ligand", -1, int(k)) for k in sides[1].signal[tfl]),
    ]
