"""The ends and the colours of a continuous colour bar, to be edited."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QDoubleRangeSlider
from superqt.utils import signals_blocked

from napari_celldyn.layers.colours import DIVERGING, Limits, colormap, value_limits

SEQUENTIAL_MAPS = ("viridis", "magma", "inferno", "plasma", "cividis", "turbo", "gray")
DIVERGING_MAPS = (DIVERGING, "PiYG", "PuOr", "coolwarm")

SWATCH = QSize(72, 12)
"""Size of the strip that shows a colormap in the list, in pixels."""


class RangePanel(QWidget):
    """Limits and colormap of a column of numbers.

    Emits `limits_edited(low, high)` and `colormap_edited(name)` when the user changes them, and
    nothing when they are put by `show_values`, `show_limits` or `show_colormap`.
    """

    limits_edited = Signal(float, float)
    colormap_edited = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: NDArray[np.floating] = np.empty(0, np.float32)
        self._extremes: Limits = (0.0, 1.0)
        self._build()

    def _build(self) -> None:
        self.low, self.high = QDoubleSpinBox(), QDoubleSpinBox()
        for box, what in ((self.low, "Lower"), (self.high, "Upper")):
            box.setKeyboardTracking(False)
            box.setToolTip(f"{what} end of the colour bar")
            box.setMinimumWidth(70)
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.slider = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.clip = QPushButton("p1–p99")
        self.clip.setToolTip("From the 1st to the 99th percentile of the cells")
        self.whole = QPushButton("all")
        self.whole.setToolTip("From the least to the greatest value")
        self.symmetric = QCheckBox("symmetric about 0")
        self.maps = QComboBox()
        self.maps.setIconSize(SWATCH)
        self.maps.setToolTip("Colours from low to high")
        ends, buttons = QHBoxLayout(), QHBoxLayout()
        ends.addWidget(self.low, 1)
        ends.addWidget(self.high, 1)
        for item in (self.clip, self.whole, self.symmetric):
            buttons.addWidget(item)
        buttons.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.maps)
        column.addWidget(self.slider)
        column.addLayout(ends)
        column.addLayout(buttons)
        self._connect()

    def _connect(self) -> None:
        self.low.valueChanged.connect(lambda: self._edit_low())
        self.high.valueChanged.connect(lambda: self._edit_high())
        self.slider.valueChanged.connect(self._edit_slider)
        self.clip.clicked.connect(self._clip)
        self.whole.clicked.connect(self._take_all)
        self.symmetric.toggled.connect(self._toggle_symmetric)
        self.maps.activated.connect(
            lambda: self.colormap_edited.emit(str(self.maps.currentData()))
        )

    # --- shown, without an answer ---------------------------------------------------------------

    def show_values(self, values: NDArray[np.floating], *, diverging: bool) -> None:
        """Take the (n_obs,) values of another column; the limits are put separately."""
        self._values, self._extremes = values, _extremes(values)
        low, high = self._extremes
        step = _step(high - low)
        for box in (self.low, self.high):
            with signals_blocked(box):
                box.setDecimals(max(0, -math.floor(math.log10(step))))
                box.setSingleStep(step)
                box.setRange(-1e12, 1e12)
        with signals_blocked(self.slider):
            self.slider.setRange(low, high)
            self.slider.setSingleStep(step)
        with signals_blocked(self.symmetric):
            self.symmetric.setChecked(diverging)
        self.symmetric.setVisible(low < 0 < high or diverging)
        self._fill_maps(DIVERGING_MAPS + SEQUENTIAL_MAPS if diverging else SEQUENTIAL_MAPS)

    def show_limits(self, limits: Limits) -> None:
        """Put the ends where the colour bar has them."""
        low, high = limits
        with signals_blocked(self.low), signals_blocked(self.high):
            self.low.setValue(low)
            self.high.setValue(high)
        with signals_blocked(self.slider):
            bottom, top = self._extremes
            self.slider.setRange(min(bottom, low), max(top, high))
            self.slider.setValue((low, high))

    def show_colormap(self, name: str) -> None:
        """Mark the colormap that is in use."""
        at = self.maps.findData(name)
        if at < 0:
            self._add_map(name)
            at = self.maps.count() - 1
        self.maps.setCurrentIndex(at)

    @property
    def limits(self) -> Limits:
        """The ends as they stand in the boxes."""
        return self.low.value(), self.high.value()

    # --- edited ----------------------------------------------------------------------------------

    def _edit_low(self) -> None:
        low = self.low.value()
        if self.symmetric.isChecked():
            self._put(-abs(low), abs(low))
        else:
            self._put(low, max(self.high.value(), low + self.low.singleStep()))

    def _edit_high(self) -> None:
        high = self.high.value()
        if self.symmetric.isChecked():
            self._put(-abs(high), abs(high))
        else:
            self._put(min(self.low.value(), high - self.high.singleStep()), high)

    def _edit_slider(self, ends: tuple[float, float]) -> None:
        low, high = ends
        if self.symmetric.isChecked():
            before = self.limits
            moved = low if abs(low - before[0]) >= abs(high - before[1]) else high
            low, high = -abs(moved), abs(moved)
        self._put(low, high)

    def _clip(self) -> None:
        self._put(*value_limits(self._values, diverging=self.symmetric.isChecked()))

    def _take_all(self) -> None:
        low, high = self._extremes
        reach = max(abs(low), abs(high))
        self._put(*((-reach, reach) if self.symmetric.isChecked() else (low, high)))

    def _toggle_symmetric(self, on: bool) -> None:  # noqa: FBT001
        reach = max(abs(end) for end in self.limits)
        if on:
            self._put(-reach, reach)

    def _put(self, low: float, high: float) -> None:
        if low >= high:
            high = low + self.low.singleStep()
        self.show_limits((low, high))
        self.limits_edited.emit(low, high)

    # --- the rest --------------------------------------------------------------------------------

    def _fill_maps(self, names: tuple[str, ...]) -> None:
        self.maps.clear()
        for name in names:
            self._add_map(name)

    def _add_map(self, name: str) -> None:
        self.maps.addItem(_swatch(name), name, name)


def _extremes(values: NDArray[np.floating]) -> Limits:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low, low + 1.0)


def _step(span: float) -> float:
    """Return a hundredth of the span, rounded down to a power of ten."""
    return float(10.0 ** math.floor(math.log10(span / 100)))


def _swatch(name: str) -> QIcon:
    colours = colormap(name).map(np.linspace(0, 1, SWATCH.width()))
    strip = np.ascontiguousarray(np.round(255 * np.asarray(colours)[None, :, :4]), np.uint8)
    image = QImage(strip.data, SWATCH.width(), 1, QImage.Format.Format_RGBA8888)
    return QIcon(QPixmap.fromImage(image).scaled(SWATCH))
