"""The design of one section: expression of regulators, and received signal times expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.diffusion import received_ligands_job
from celldyn.betas.inputs import BetasInputs, Floats, Ints
from celldyn.betas.modulators import Modulators, Pair
from celldyn.jobs import Job, Pace, Progress, scaled

SILENT = 1e-9
"""Expression up to this sends and receives nothing."""

_CONSTANT = 1e-12
"""Spread, relative to the largest value, that is no more than rounding."""

_VALUES_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """The columns of the linear model in one section, made for any of its cells when asked.

    Parameters
    ----------
    cells
        (n_cells,) positions of the section's cells in the data set.
    modulators
        The modulators that vary in the section, in the order of the columns.
    dropped
        Names of those that do not.
    plain
        (n_cells, n_features) expression.
    gated
        The same where ligands and receptors are active, else 0.
    received, received_tfl
        (n_cells, n_ligands) signal that reaches each cell, of the ligands in `ligands` and
        `tfl_ligands`; the second is not gated.
    """

    cells: Ints
    modulators: Modulators
    dropped: tuple[str, ...]
    features: tuple[str, ...]
    plain: Floats
    gated: Floats
    ligands: tuple[str, ...]
    received: Floats
    tfl_ligands: tuple[str, ...]
    received_tfl: Floats

    def rows(self, cells: Ints) -> Floats:
        """Return the (len(cells), n_modulators) design of some of the section's cells.

        X = [TF | received ligand × receptor | received ligand × TF].
        """
        m = self.modulators
        design = np.empty((len(cells), len(m)))
        first, second = len(m.regulators), len(m.regulators) + len(m.lr)
        design[:, :first] = self._take(self.plain, self.features, cells, m.regulators)
        for out, pairs, ligands, received, own in (
            (design[:, first:second], m.lr, self.ligands, self.received, self.gated),
            (design[:, second:], m.tfl, self.tfl_ligands, self.received_tfl, self.plain),
        ):
            signal = self._take(received, ligands, cells, [ligand for ligand, _ in pairs])
            levels = self._take(own, self.features, cells, [gene for _, gene in pairs])
            np.multiply(signal, levels, out=out)
        return design

    @staticmethod
    def _take(
        table: Floats, columns: tuple[str, ...], cells: Ints, names: Sequence[str]
    ) -> Floats:
        place = {name: i for i, name in enumerate(columns)}
        at = np.array([place[name] for name in names], np.intp)
        return table[np.ix_(cells, at)]


def design_job(inputs: BetasInputs, config: ModelConfig, section: int) -> Job[Design]:
    """Diffuse the ligands of one section and drop the columns that do not vary in it.

    Each section is a tissue of its own: its design is what it would be without the others.
    """
    cells = np.flatnonzero(inputs.section_codes == section)
    plain = np.ascontiguousarray(inputs.expression[cells])
    heard = np.where(plain <= SILENT, 0.0, plain)
    gated = heard if inputs.active is None else heard * inputs.active[cells]
    m, xy = inputs.modulators, np.ascontiguousarray(inputs.xy[cells])
    ligands, tfl_ligands = _ligands(m.lr), _ligands(m.tfl)
    received = yield from scaled(_received(inputs, config, xy, gated, ligands), 0, 3)
    if gated is heard and set(tfl_ligands) <= set(ligands):
        received_tfl = received[:, [ligands.index(ligand) for ligand in tfl_ligands]]
    else:
        job = _received(inputs, config, xy, heard, tfl_ligands)
        received_tfl = yield from scaled(job, 1, 3)
    whole = Design(
        cells=cells,
        modulators=m,
        dropped=(),
        features=inputs.features,
        plain=plain,
        gated=gated,
        ligands=ligands,
        received=received,
        tfl_ligands=tfl_ligands,
        received_tfl=received_tfl,
    )
    varies = yield from scaled(_varies(whole), 2, 3)
    dropped = tuple(name for name, keep in zip(m.names, varies, strict=True) if not keep)
    return replace(whole, modulators=m.select(varies), dropped=dropped)


def _ligands(pairs: tuple[Pair, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ligand for ligand, _ in pairs))


def _received(
    inputs: BetasInputs,
    config: ModelConfig,
    xy: Floats,
    levels: Floats,
    ligands: tuple[str, ...],
) -> Job[Floats]:
    if not ligands:
        return np.zeros((len(xy), 0))
    column = {name: i for i, name in enumerate(inputs.features)}
    received = yield from received_ligands_job(
        xy,
        levels[:, [column[ligand] for ligand in ligands]],
        np.array([inputs.modulators.radii[ligand] for ligand in ligands]),
        kernel=config.kernel,
        normalisation=config.normalisation,
        scale_factor=config.scale_factor,
        include_self=config.include_self,
    )
    return received


def _varies(design: Design) -> Job[NDArray[np.bool_]]:
    """Return which columns take more than one value in the section, by blocks of cells."""
    n_cells, n_columns = len(design.cells), len(design.modulators)
    step = max(_VALUES_AT_ONCE // max(n_columns, 1), 1)
    low, high = np.full(n_columns, np.inf), np.full(n_columns, -np.inf)
    pace = Pace()
    for start in range(0, n_cells, step):
        block = design.rows(np.arange(start, min(start + step, n_cells)))
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        if pace.due():
            yield Progress("design", start, n_cells)
    return does_vary(low, high)


def does_vary(low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Whether columns with these smallest and largest values vary by more than rounding."""
    varies: NDArray[np.bool_] = high - low > _CONSTANT * np.maximum(np.abs(high), np.abs(low))
    return varies
