"""The job that places molecules: block after block, the same whatever the blocks and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.devices import aside_job, compile_job
from celldyn.jobs import Job, run
from celldyn.simulate.molecules.ambient import NO_AMBIENT, Ambient, draw_ambient, plan_ambient_job
from celldyn.simulate.molecules.landing import CellGrid, compile_landing
from celldyn.simulate.molecules.leaking import Away, leak
from celldyn.simulate.molecules.placement import place
from celldyn.simulate.molecules.rays import OUTSIDE
from celldyn.simulate.molecules.sources import (
    BLOCK,
    Sources,
    blocks_of,
    make_sources,
    molecules_per_row,
)
from celldyn.simulate.molecules.table import Molecules
from celldyn.simulate.parallel import piped_job

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.shapes.outlines import CellShapes

Reals = NDArray[np.float32]

COMPILE_FROM = 5_000_000
"""Molecules from which compiling pays; below, numpy is done before a compiler would be."""


@dataclass(frozen=True, slots=True)
class Work:
    """Molecules to be made, in blocks.

    Parameters
    ----------
    sources
        What they come from.
    rows
        Runs of cells, one block each.
    ambient
        Molecules of no cell.
    background
        (section, first, last) of each block of these; they come after the cells' blocks.
    grid
        Where to look up who lies at a point; None if nobody can ask.
    total
        All molecules.
    compiled
        Whether the compiled twins do it.
    """

    sources: Sources
    rows: list[slice]
    ambient: Ambient
    background: list[tuple[int, int, int]]
    grid: CellGrid | None
    total: int
    compiled: bool

    def __len__(self) -> int:
        return len(self.rows) + len(self.background)

    def block(self, k: int) -> Molecules:
        """Make one block."""
        if k < len(self.rows):
            return _of_cells(self, self.rows[k])
        return _of_no_cell(self, *self.background[k - len(self.rows)])

    def piped_job(self, sink: Callable[[Molecules], object], threads: int | None) -> Job[int]:
        """Make all blocks and give them to `sink` in order; progress counts blocks."""
        blocks = range(len(self))
        return piped_job(blocks, self.block, sink, "molecules", total=len(self), threads=threads)


def molecules_job(
    shapes: CellShapes,
    counts: sparse.csr_matrix,
    *,
    section: ArrayLike,
    cell_ids: ArrayLike,
    leak_cell: ArrayLike,
    leak_gene: ArrayLike,
    compartment: ArrayLike,
    gene_names: Sequence[str],
    config: SimulationConfig,
    rows: slice | None = None,
    threads: int | None = None,
    block: int = BLOCK,
    compiled: bool | None = None,
) -> Job[Molecules]:
    """Place every molecule of every cell, and those of no cell.

    Parameters
    ----------
    shapes
        Outlines of the cells.
    counts
        (n_cells, n_genes) CSR: how many molecules there are.
    section
        (n_cells,) position of each cell's section, or one for all.
    cell_ids
        (n_cells,) identities of the cells, from 0.
    leak_cell, leak_gene
        (n_cells,) and (n_genes,) probabilities that a molecule leaks for either reason.
    compartment
        (n_genes,) positions in `rays.COMPARTMENTS`.
    gene_names
        (n_genes,); they fix the genes' random numbers, so that a panel's are those of the whole.
    config
        Seed, leak law, depth, quality value, ambient rate, canvas.
    rows
        Cells whose molecules are wanted; then the ambient ones are left out. A molecule is the
        same in a part as in the whole, and may land in any cell.
    threads
        How many; by default every core.
    block
        Molecules placed at once; the result does not depend on it.
    compiled
        Whether compiled loops are used; by default for 5 million molecules and more. The result
        does not depend on it.

    Returns
    -------
    Molecules by cell, gene and number; then those of no cell. Progress counts blocks.

    Raises
    ------
    DataError
        If lengths differ, a count is not whole, or a probability or code is out of range.
    """
    work = yield from work_job(
        shapes, counts, section=section, cell_ids=cell_ids, leak_cell=leak_cell,
        leak_gene=leak_gene, compartment=compartment, gene_names=gene_names, config=config,
        rows=rows, block=block, compiled=compiled,
    )  # fmt: skip
    whole, at = Molecules.empty(work.total), 0

    def keep(part: Molecules) -> None:
        nonlocal at
        whole.write(at, part)
        at += len(part)

    yield from work.piped_job(keep, threads)
    return whole


def molecules(*args: Any, **inputs: Any) -> Molecules:  # noqa: ANN401
    """Do the work of `molecules_job` at once; parameters are its own."""
    return run(molecules_job(*args, **inputs), bar=False)


def iterate_molecules(*args: Any, **inputs: Any) -> Iterator[Molecules]:  # noqa: ANN401
    """Yield the molecules block by block, never all at once; see `molecule_stream_job`."""
    stream: Iterator[Molecules] = run(molecule_stream_job(*args, **inputs), bar=False)
    yield from stream


def molecule_stream_job(
    *args: Any,  # noqa: ANN401
    threads: int | None = None,
    **inputs: Any,  # noqa: ANN401
) -> Job[Iterator[Molecules]]:
    """Make ready to place molecules, and return an iterator over blocks of them.

    Parameters are those of `molecules_job`. Blocks are made a few ahead on threads while the
    iterator is in use, and closing it stops the work.
    """
    work = yield from work_job(*args, **inputs)
    return _stream(work, threads)


def _stream(work: Work, threads: int | None) -> Iterator[Molecules]:
    ready: list[Molecules] = []
    with closing(work.piped_job(ready.append, threads)) as job:
        for _ in job:
            while ready:
                yield ready.pop(0)
    yield from ready


def work_job(
    shapes: CellShapes,
    counts: sparse.csr_matrix,
    *,
    rows: slice | None = None,
    block: int = BLOCK,
    compiled: bool | None = None,
    **inputs: Any,  # noqa: ANN401
) -> Job[Work]:
    """Check the inputs of `molecules_job` and lay out its blocks; compiles if that pays."""
    sources, totals = yield from aside_job(lambda: _prepared(shapes, counts, inputs), "molecules")
    start, stop, _ = (rows or slice(None)).indices(totals.size)
    wanted = totals[start:stop]
    ambient = (yield from plan_ambient_job(sources)) if rows is None else NO_AMBIENT
    background = [
        (section, first, min(first + block, number))
        for section, number in ambient.number.items()
        for first in range(0, number, block)
    ]
    total = int(wanted.sum()) + ambient.total
    compiled = total >= COMPILE_FROM if compiled is None else compiled
    lands = sources.leaks or ambient.total > 0
    if compiled:
        yield from compile_job(_compilers(sources, lands=lands))
    grid = None
    if lands:
        parts = sources.centre, sources.nucleus, sources.cell, sources.section
        grid = yield from aside_job(lambda: CellGrid.build(*parts, compiled=compiled), "molecules")
    runs = blocks_of(wanted, block, start)
    return Work(sources, runs, ambient, background, grid, total, compiled)


def _prepared(
    shapes: CellShapes, counts: sparse.csr_matrix, inputs: dict[str, Any]
) -> tuple[Sources, NDArray[np.int64]]:
    sources = make_sources(shapes, counts, **inputs)
    return sources, molecules_per_row(sources.counts)


def _compilers(sources: Sources, *, lands: bool) -> list[Callable[[], object]]:
    def placing() -> object:
        from celldyn.simulate.molecules import kernels

        return kernels.place(sources, slice(0, 0))

    def leaking() -> None:
        from celldyn.simulate.molecules import kernels, leaking_kernels

        made, away = kernels.place(sources, slice(0, 0))
        leaking_kernels.leak(sources, away, made)

    return [placing, leaking, compile_landing] if lands else [placing]


def _of_cells(work: Work, rows: slice) -> Molecules:
    sources = work.sources
    if work.compiled:
        from celldyn.simulate.molecules import kernels, leaking_kernels

        made, away = kernels.place(sources, rows)
        leaking_kernels.leak(sources, away, made)
    else:
        made, who, at = place(sources, rows)
        away = Away.of(who, at)
        made.x[at], made.y[at] = leak(sources, away)
    if away.at.size and work.grid is not None:
        here = made.x[away.at], made.y[away.at], made.section[away.at]
        made.landed_cell_id[away.at], made.overlaps_nucleus[away.at] = _landed(work, *here)
    return made


def _landed(
    work: Work, x: Reals, y: Reals, section: NDArray[np.int16]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the cells that places lie in, -1 for none, and whether in their nuclei."""
    if work.grid is None:
        return np.full(x.size, -1, dtype=np.int32), np.zeros(x.size, dtype=np.bool_)
    row = work.grid.rows(x, y, section, compiled=work.compiled)
    in_nucleus = work.grid.in_nucleus(x, y, row, compiled=work.compiled)
    return np.where(row >= 0, work.sources.cell_id[row], np.int32(-1)), in_nucleus


def _of_no_cell(work: Work, section: int, first: int, last: int) -> Molecules:
    sources, m = work.sources, last - first
    gene, x, y, z = draw_ambient(sources, work.ambient, section, first, last)
    codes = np.full(m, section, dtype=np.int16)
    landed, in_nucleus = _landed(work, x, y, codes)
    return Molecules(
        x, y, z, np.full(m, -1, dtype=np.int32), gene, np.zeros(m, dtype=np.bool_),
        np.full(m, OUTSIDE, dtype=np.uint8), landed, in_nucleus,
        np.full(m, sources.config.qv, dtype=np.float32), codes,
    )  # fmt: skip
