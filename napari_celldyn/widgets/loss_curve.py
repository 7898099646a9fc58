"""The losses of a job that trains networks, drawn as they come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.data.palette import default_colours
from napari_celldyn.handle import MAX_HISTORY
from napari_celldyn.widgets import theme_colours

if TYPE_CHECKING:
    import pyqtgraph

    from celldyn.jobs import Progress
    from napari_celldyn.handle import JobHandle

EVERY_S = 0.2
"""At most so often is it drawn: ten times a second is more than an eye reads."""

N_CURVES = 4
"""Networks that are drawn at a time: the latest."""

BEST_EPOCH = "best epoch"
"""The metric that says which epoch early stopping would take the model from."""

_TRAINING, _HELD_OUT = "loss/", "held-out loss/"
_HEIGHT = 170


class LossCurve(QWidget):
    """Draws "loss/<name>" and, dashed, "held-out loss/<name>" of a job; hidden without any.

    The plot is made when the first loss comes, so that a dock without networks loads no plotter.
    A job that tells its "best epoch" has a line where it was reached.

    Parameters
    ----------
    one_at_a_time
        Whether the names are terms of one loss, whose scales differ: one is chosen and drawn.
        Otherwise they are networks, and the latest are drawn together.
    together
        Further metrics that are chosen like a term, and drawn as one: "rewards" of "reward" are
        "reward" itself and all "reward/<name>". They come first.
    """

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        one_at_a_time: bool = False,
        together: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(parent)
        self._together = dict(together or {})
        self.plot: pyqtgraph.PlotWidget | None = None
        self.logarithmic = QCheckBox("logarithmic")
        self.term = QComboBox()
        self.term.setToolTip("Which term of the loss is drawn")
        self.term.setVisible(one_at_a_time)
        self._one_at_a_time = one_at_a_time
        foot = QHBoxLayout()
        foot.addWidget(self.term)
        foot.addWidget(self.logarithmic)
        foot.addStretch()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addLayout(foot)
        self._handle: JobHandle | None = None
        self._drawn_at = 0.0
        self.logarithmic.toggled.connect(self._on_scale)
        self.term.currentTextChanged.connect(self._draw)
        self.setVisible(False)

    def follow(self, handle: JobHandle) -> None:
        """Draw the losses of this job from now on; they stay when it is over."""
        self.clear()
        self._handle = handle
        handle.progressed.connect(self._on_progress)
        handle.finished.connect(self._on_finished)

    def clear(self) -> None:
        """Forget the job."""
        if self._handle is not None:
            self._handle.progressed.disconnect(self._on_progress)
            self._handle.finished.disconnect(self._on_finished)
        self._handle, self._drawn_at = None, 0.0
        if self.plot is not None:
            self.plot.clear()
        self._offer([])
        self.setVisible(False)

    def _on_progress(self, _progress: Progress) -> None:
        now = time.monotonic()
        if now - self._drawn_at >= EVERY_S:
            self._drawn_at = now
            self._draw()

    def _on_finished(self, _state: object) -> None:
        self._draw()

    def _draw(self, *_: object) -> None:
        if self._handle is None:
            return
        metrics = self._handle.metrics
        names = [name.removeprefix(_TRAINING) for name in metrics if name.startswith(_TRAINING)]
        groups = [name for name, prefix in self._together.items() if _of(metrics, prefix)]
        if not names and not groups:
            return
        plot = self._plot()
        plot.clear()
        if self._one_at_a_time:
            self._offer([*groups, *names])
            if self.term.currentText() in groups:
                self._draw_together(plot, self._together[self.term.currentText()])
                return
            plot.setLabel("left", "loss")
            latest = [self.term.currentText()]
        else:
            latest = sorted(names, key=lambda name: metrics[_TRAINING + name][-1][0])[-N_CURVES:]
        for name, colour in zip(latest, default_colours(len(latest)), strict=True):
            self._curve(plot, metrics[_TRAINING + name], colour, name)
            if held_out := metrics.get(_HELD_OUT + name):
                self._curve(plot, held_out, colour, f"{name}, held out", dashed=True)
        if best := metrics.get(BEST_EPOCH):
            self._mark(plot, int(best[-1][1]), metrics[_TRAINING + latest[0]])
        self.setVisible(True)

    def _draw_together(self, plot: pyqtgraph.PlotWidget, prefix: str) -> None:
        """Draw one metric and its parts."""
        metrics = {} if self._handle is None else self._handle.metrics
        names = _of(metrics, prefix)
        plot.setLabel("left", prefix)
        for name, colour in zip(names, default_colours(len(names)), strict=True):
            words = "in all" if name == prefix else name.removeprefix(f"{prefix}/")
            self._curve(plot, metrics[name], colour, words)
        self.setVisible(True)

    def _offer(self, names: list[str]) -> None:
        """List the terms there are; the one that was chosen stays."""
        if names == [self.term.itemText(k) for k in range(self.term.count())]:
            return
        held = self.term.currentText()
        with signals_blocked(self.term):
            self.term.clear()
            self.term.addItems(names)
            if held in names:
                self.term.setCurrentText(held)

    @staticmethod
    def _mark(plot: pyqtgraph.PlotWidget, epoch: int, losses: list[tuple[float, float]]) -> None:
        """Draw a line at an epoch, counted from 0: losses are told once in each."""
        import pyqtgraph as pg

        if epoch >= len(losses) or len(losses) >= MAX_HISTORY:  # some were dropped
            return
        line = pg.InfiniteLine(
            losses[epoch][0],
            pen=pg.mkPen(theme_colours.text(), width=1),
            label=f"best epoch {epoch + 1}",
            labelOpts={"position": 0.4, "color": theme_colours.text()},
        )
        plot.addItem(line)

    @staticmethod
    def _curve(
        plot: pyqtgraph.PlotWidget,
        history: list[tuple[float, float]],
        colour: str,
        name: str,
        *,
        dashed: bool = False,
    ) -> None:
        import pyqtgraph as pg
        from qtpy.QtCore import Qt

        at, loss = np.array(history, float).T
        style = Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine
        plot.plot(at, loss, pen=pg.mkPen(colour, width=2, style=style), name=name)

    def _plot(self) -> pyqtgraph.PlotWidget:
        """Return the plot, made at the first loss, in the colours of the theme."""
        if self.plot is None:
            import pyqtgraph as pg

            self.plot = pg.PlotWidget()
            self.plot.setFixedHeight(_HEIGHT)
            self.plot.addLegend(offset=(-5, 5), labelTextSize="8pt")
            self.plot.setLabel("bottom", "seconds")
            self.plot.setLabel("left", "loss")
            self.plot.setMouseEnabled(x=False, y=False)
            self._layout.insertWidget(0, self.plot)
            self._on_scale()
        self.plot.setBackground(theme_colours.ground().name())
        for side in ("bottom", "left"):
            self.plot.getAxis(side).setTextPen(theme_colours.text().name())
        return self.plot

    def _on_scale(self) -> None:
        if self.plot is not None:
            self.plot.setLogMode(y=self.logarithmic.isChecked())


def _of(metrics: Iterable[str], prefix: str) -> list[str]:
    """Return a metric, where it is told, and its parts."""
    return [name for name in metrics if name == prefix or name.startswith(f"{prefix}/")]
