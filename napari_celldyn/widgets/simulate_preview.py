"""A quick sketch of the tissue that a config describes: at most 2,000 cells, in the background."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from celldyn.jobs import Job, Progress
from celldyn.simulate.config import SimulationConfig
from napari_celldyn.worker import JobState, Worker

if TYPE_CHECKING:
    from celldyn.simulate.shapes.outlines import CellShapes

MOST_CELLS = 2000
"""Cells of a sketch; a larger tissue is sketched by larger cells on the same canvas."""
STILL_MS = 250
"""A sketch is begun when nothing was changed for this long."""


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
    simulator = SpotlessSimulator(small)
    yield Progress("sketch")
    cells = yield from simulator.cells_job()
    return Sketch(small, cells, simulator.shapes)


class _Bell(QObject):
    """Rung in the sketch's thread, heard on the main thread."""

    rung = Signal(int)

    def ring(self, number: int) -> None:
        self.rung.emit(number)


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
        self._live: dict[int, Worker] = {}
        self._count = 0
        self._bell = _Bell()
        self._bell.rung.connect(self._heard, Qt.ConnectionType.QueuedConnection)
        self._still = QTimer(self)
        self._still.setSingleShot(True)
        self._still.setInterval(STILL_MS)
        self._still.timeout.connect(self._start)
        self.destroyed.connect(partial(_stop, self._live))

    def request(self, config: SimulationConfig) -> None:
        """Sketch this config as soon as the user is still."""
        self._wanted = config
        self._still.start()

    def stop(self) -> None:
        """Forget what was asked for and what is under way."""
        self._still.stop()
        self._wanted = None
        _stop(self._live)

    def _start(self) -> None:
        _stop(self._live)
        config, self._wanted = self._wanted, None
        if config is None:
            return
        self._count += 1
        worker = Worker(partial(sketch_job, config), partial(self._bell.ring, self._count))
        self._live[self._count] = worker
        worker.start()

    def _heard(self, number: int) -> None:
        worker = self._live.get(number)
        if worker is None:
            return
        report = worker.take()
        if not report.state.over:
            return
        del self._live[number]
        if report.state is JobState.DONE:
            self.made.emit(report.result)
        elif report.failure is not None:
            self.failed.emit(report.failure.sentence)


def _stop(live: dict[int, Worker], *_: object) -> None:
    """Cancel the sketches under way; their threads end by themselves, within a step."""
    for number in list(live):
        worker = live.pop(number)
        worker.release()
        worker.cancel()
