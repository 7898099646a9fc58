"""A quick sketch of the tissue that a config describes: at most 2,000 cells, in the background."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import QObject, QTimer, Signal

from celldyn.jobs import Job, Progress
from celldyn.simulate.config import SimulationConfig
from napari_celldyn.worker import JobState, Worker

if TYPE_CHECKING:
    from celldyn.simulate.shapes.outlines import CellShapes

MOST_CELLS = 2000
"""Cells of a sketch; a larger tissue is sketched by larger cells on the same canvas."""
STILL_MS = 250
"""A sketch is begun when nothing was changed for this long."""
_LOOK_MS = 25


@dataclass(frozen=True, slots=True)
class Sketch:
    """The cells of a sketch.

    Parameters
    ----------
    config
        What was sketched: `sketch_config` of what was asked for.
    cells
        One row per cell: x, y, celltype, domain, ...
    shapes
        Their outlines.
    """

    config: SimulationConfig
    cells: pd.DataFrame
    shapes: CellShapes


def sketch_config(config: SimulationConfig) -> SimulationConfig:
    """Return the config of a sketch: the first section, thinned to `MOST_CELLS`."""
    in_section = config.section_sizes[0]
    n_cells = min(in_section, MOST_CELLS)
    share = n_cells / in_section
    placed = [each.model_dump() for each in config.placed_prototypes if each.section == 0]
    for each in placed:
        if (asked := each["spec"]["n_cells"]) is not None:
            each["spec"]["n_cells"] = max(1, round(share * asked))
    changed: SimulationConfig = config.replace(
        n_cells=n_cells, n_sections=1, canvas_size=config.canvas_um, prototypes=placed
    )
    return changed


def sketch_job(config: SimulationConfig) -> Job[Sketch]:
    """Place and outline the cells of a sketch; no counts are drawn."""
    from celldyn.simulate.simulator import SpotlessSimulator

    small = sketch_config(config)
    simulator = SpotlessSimulator(small, threads=1)
    yield Progress("sketch")
    cells = yield from simulator.cells_job()
    return Sketch(small, cells, simulator.shapes)


class Sketcher(QObject):
    """Sketches the latest config that was asked for; earlier ones are dropped.

    Used on the main thread. A sketch runs in a thread of its own beside the jobs: it lasts a
    fraction of a second, and no card is worth showing for it.
    """

    made = Signal(object)
    """A `Sketch`."""
    failed = Signal(str)
    """A sentence: why there is none."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted: SimulationConfig | None = None
        self._live: list[Worker] = []
        self._still, self._look = QTimer(self), QTimer(self)
        self._still.setSingleShot(True)
        self._still.setInterval(STILL_MS)
        self._still.timeout.connect(self._start)
        self._look.setInterval(_LOOK_MS)
        self._look.timeout.connect(self._take)
        weakref.finalize(self, _stop, self._live)

    def request(self, config: SimulationConfig) -> None:
        """Sketch this config as soon as the user is still."""
        self._wanted = config
        self._still.start()

    def stop(self) -> None:
        """Forget what was asked for and what is under way."""
        self._still.stop()
        self._look.stop()
        self._wanted = None
        _stop(self._live)

    def _start(self) -> None:
        _stop(self._live)
        config, self._wanted = self._wanted, None
        if config is None:
            return
        worker = Worker(partial(sketch_job, config), _not_woken)
        self._live.append(worker)
        worker.start()
        self._look.start()

    def _take(self) -> None:
        """Look whether the sketch is done.

        The thread itself tells nothing: it may outlive this object, and with it every object of
        Qt that could pass its word on.
        """
        report = self._live[-1].take() if self._live else None
        if report is None or not report.state.over:
            return
        self._look.stop()
        self._live.clear()
        if report.state is JobState.DONE:
            self.made.emit(report.result)
        elif report.failure is not None:
            self.failed.emit(report.failure.sentence)


def _not_woken() -> None:
    """Do nothing when a thread has news: they are looked for."""


def _stop(live: list[Worker]) -> None:
    """Cancel the sketches under way; their threads end by themselves, within a step."""
    while live:
        worker = live.pop()
        worker.release()
        worker.cancel()
