"""The design of a panel: every column that some target has, made for any cells when asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.design import SILENT, does_vary
from celldyn.betas.diffusion import received_ligands_job
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.panel.inputs import PanelInputs, Signal
from celldyn.betas.panel.preparing import DOUBLE_BYTES
from celldyn.jobs import Job, Pace, Progress, scaled

_VALUES_AT_ONCE = 1 << 21


@dataclass(frozen=True, eq=False)
class PanelDesign:
    """The columns of `PanelInputs.union` over all sections.

    Parameters
    ----------
    inputs
        The panel's inputs.
    received, received_tfl
        (n_obs, n_signals) signal that reaches each cell within its section, of `signals` and of
        `tfl_signals`; the second is sent by every cell, the first where ligands are active.
    varies
        (n_sections, n_columns), whether a column varies in a section.
    """

    inputs: PanelInputs
    signals: tuple[Signal, ...]
    received: NDArray[np.floating]
    tfl_signals: tuple[Signal, ...]
    received_tfl: NDArray[np.floating]
    varies: NDArray[np.bool_]

    @cached_property
    def _recipe(self) -> tuple[Ints, Ints]:
        """Where each column has its own expression and its signal: (n_columns,) each."""
        place, union = self.inputs.place, self.inputs.union
        sent = {signal: at for at, signal in enumerate(self.signals)}
        sent_tfl = {signal: at for at, signal in enumerate(self.tfl_signals)}
        own = [place[name] for name in union.regulators]
        own += [place[name] for _, name in (*union.lr, *union.tfl)]
        signal = [0] * len(union.regulators) + [sent[signal] for signal, _ in union.lr]
        signal += [sent_tfl[signal] for signal, _ in union.tfl]
        return np.array(own, np.intp), np.array(signal, np.intp)

    def rows(self, cells: Ints, columns: Ints) -> Floats:
        """Return the (len(cells), len(columns)) design of some cells of the data set.

        X = [TF | received ligand × receptor | received ligand × TF], in the order of `columns`.
        """
        inputs, union = self.inputs, self.inputs.union
        own, signal = self._recipe
        design = inputs.levels[np.ix_(cells, own[columns])].astype(np.float64)
        first = len(union.regulators)
        kind = np.searchsorted([first, first + len(union.lr)], columns, side="right")
        pairs = np.flatnonzero(kind == 1)
        if len(pairs):
            levels = design[:, pairs]
            levels[levels <= SILENT] = 0.0
            if inputs.active is not None:
                levels *= inputs.active[np.ix_(cells, own[columns[pairs]])]
            design[:, pairs] = levels * self.received[np.ix_(cells, signal[columns[pairs]])]
        pairs = np.flatnonzero(kind == 2)
        if len(pairs):
            design[:, pairs] *= self.received_tfl[np.ix_(cells, signal[columns[pairs]])]
        return design


def panel_design_job(inputs: PanelInputs, config: ModelConfig) -> Job[PanelDesign]:
    """Diffuse every ligand once in each section, and see which columns vary there."""
    union = inputs.union
    signals = tuple(dict.fromkeys(signal for signal, _ in union.lr))
    tfl_signals = tuple(dict.fromkeys(signal for signal, _ in union.tfl))
    received = yield from scaled(_received(inputs, config, signals, gated=True), 0, 3)
    if inputs.active is None and set(tfl_signals) <= set(signals):
        received_tfl = received[:, [signals.index(signal) for signal in tfl_signals]]
    else:
        job = _received(inputs, config, tfl_signals, gated=False)
        received_tfl = yield from scaled(job, 1, 3)
    varies = np.zeros((len(inputs.sections), len(union)), bool)
    design = PanelDesign(inputs, signals, received, tfl_signals, received_tfl, varies)
    yield from scaled(_see_what_varies(design), 2, 3)
    return design


def _received(
    inputs: PanelInputs, config: ModelConfig, signals: tuple[Signal, ...], *, gated: bool
) -> Job[NDArray[np.floating]]:
    size = 8 * inputs.n_obs * len(signals)
    received = np.zeros((inputs.n_obs, len(signals)), np.float64 if size <= DOUBLE_BYTES else "f4")
    at = np.array([inputs.place[ligand] for ligand, _ in signals], np.intp)
    radii = np.array([radius for _, radius in signals])
    for section in range(len(inputs.sections) if signals else 0):
        cells = np.flatnonzero(inputs.section_codes == section)
        sent = inputs.levels[np.ix_(cells, at)].astype(np.float64)
        sent[sent <= SILENT] = 0.0
        if gated and inputs.active is not None:
            sent *= inputs.active[np.ix_(cells, at)]
        job = received_ligands_job(
            np.ascontiguousarray(inputs.xy[cells]),
            sent,
            radii,
            kernel=config.kernel,
            normalisation=config.normalisation,
            scale_factor=config.scale_factor,
            include_self=config.include_self,
        )
        received[cells] = yield from scaled(job, section, len(inputs.sections))
    return received


def _see_what_varies(design: PanelDesign) -> Job[None]:
    """Fill in `varies`, by blocks of cells."""
    inputs = design.inputs
    columns = np.arange(len(inputs.union))
    step = max(_VALUES_AT_ONCE // max(len(columns), 1), 1)
    pace = Pace()
    for section in range(len(inputs.sections)):
        cells = np.flatnonzero(inputs.section_codes == section)
        low, high = np.full(len(columns), np.inf), np.full(len(columns), -np.inf)
        for start in range(0, len(cells), step):
            block = design.rows(cells[start : start + step], columns)
            low = np.minimum(low, block.min(axis=0))
            high = np.maximum(high, block.max(axis=0))
            if pace.due():
                done = section + start / len(cells)
                yield Progress("design", done, len(inputs.sections))
        design.varies[section] = does_vary(low, high)
