"""Bars with intervals: shares from 0 to 1, or changes on both sides of 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_celldyn.widgets import theme_colours

_ROW, _BAR, _CAP = 22, 12, 3
"""Pixels: of a row, of its bar, and of half the end of a whisker."""
_NAME_SHARE = 0.3
"""Of the width, for names."""
_FAINT = 70


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Parameters
    ----------
    name
        What it is of.
    value
        Its length; NaN for none.
    low, high
        Ends of its interval; NaN for none.
    colour
        "#rrggbb".
    faint
        Whether it is drawn pale, as what is not told from nothing.
    """

    name: str
    value: float
    low: float = np.nan
    high: float = np.nan
    colour: str = "#0072b2"
    faint: bool = False

    def words(self, *, signed: bool) -> str:
        """Say its value and interval in percent; points of percent where it has a sign."""
        if np.isnan(self.value):
            return "–"
        sign = "+" if signed else ""
        said = f"{100 * self.value:{sign}.0f}"
        if np.isfinite([self.low, self.high]).all():
            said += f" ({100 * self.low:.0f} … {100 * self.high:.0f})"
        return f"{said} %"


class ShareBars(QWidget):
    """Draws bars under each other in the colours of the theme.

    Parameters
    ----------
    signed
        Whether they go to both sides of 0, as changes do; then the longest fills its side.
    """

    def __init__(self, parent: QWidget | None = None, *, signed: bool = False) -> None:
        super().__init__(parent)
        self._signed = signed
        self.bars: tuple[Bar, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setVisible(False)

    def show_bars(self, bars: Sequence[Bar]) -> None:
        """Draw these; without any it is hidden."""
        self.bars = tuple(bars)
        said = [f"{bar.name}: {bar.words(signed=self._signed)}" for bar in self.bars]
        self.setToolTip("\n".join(said))
        self.setVisible(bool(self.bars))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Return the height of the bars."""
        return QSize(200, _ROW * len(self.bars))

    def minimumSizeHint(self) -> QSize:
        """Return the same height, and what the narrowest dock has."""
        return QSize(160, _ROW * len(self.bars))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw names, bars, whiskers and numbers."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for k, bar in enumerate(self.bars):
            self._draw(painter, bar, k * _ROW)
        painter.end()

    def _draw(self, painter: QPainter, bar: Bar, top: float) -> None:
        name_width = _NAME_SHARE * self.width()
        text = theme_colours.text()
        painter.setPen(QPen(text))
        metrics = painter.fontMetrics()
        name = metrics.elidedText(bar.name, Qt.TextElideMode.ElideMiddle, round(name_width) - 6)
        middle_left = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(QRectF(0, top, name_width, _ROW), middle_left, name)
        said, wide = bar.words(signed=self._signed), self._words_width()
        words = QRectF(self.width() - wide, top, wide, _ROW)
        middle_right = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        painter.drawText(words, middle_right, said)
        room = QRectF(
            name_width, top + (_ROW - _BAR) / 2, self.width() - name_width - wide - 6, _BAR
        )
        self._draw_bar(painter, bar, room, text)

    def _draw_bar(self, painter: QPainter, bar: Bar, room: QRectF, text: QColor) -> None:
        low, high = self._limits()

        def at(value: float) -> float:
            share = (min(max(value, low), high) - low) / (high - low)
            return float(room.left() + share * room.width())

        border = theme_colours.border()
        painter.fillRect(room, QColor(border.red(), border.green(), border.blue(), _FAINT))
        if np.isnan(bar.value):
            return
        colour = QColor(bar.colour)
        if bar.faint:
            colour.setAlpha(_FAINT + 40)
        left, right = sorted((at(0.0), at(bar.value)))
        painter.fillRect(QRectF(left, room.top(), right - left, room.height()), colour)
        painter.setPen(QPen(text, 1.2))
        if self._signed:
            painter.drawLine(round(at(0)), round(room.top()), round(at(0)), round(room.bottom()))
        if np.isfinite([bar.low, bar.high]).all():
            middle = round(room.center().y())
            ends = round(at(bar.low)), round(at(bar.high))
            painter.drawLine(ends[0], middle, ends[1], middle)
            for end in ends:
                painter.drawLine(end, middle - _CAP, end, middle + _CAP)

    def _words_width(self) -> int:
        """Return the pixels that the longest of what stands behind the bars takes."""
        metrics = self.fontMetrics()
        said = (bar.words(signed=self._signed) for bar in self.bars)
        return max((metrics.horizontalAdvance(words) for words in said), default=0) + 2

    def _limits(self) -> tuple[float, float]:
        if not self._signed:
            return 0.0, 1.0
        ends = [abs(x) for bar in self.bars for x in (bar.value, bar.low, bar.high)]
        widest = max((x for x in ends if np.isfinite(x)), default=0.0) or 1.0
        return -widest, widest
