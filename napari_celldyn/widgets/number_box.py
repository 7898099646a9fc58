"""A box for one number, of any size: 1e-06 can be typed, shown and stepped."""

from __future__ import annotations

import math
import re

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QValidator, QWheelEvent
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

LARGEST_WHOLE = 2**53
"""Beyond it not every whole number has its own float."""
_BEGUN = re.compile(r"[+-]?\d*\.?\d*([eE][+-]?\d*)?")


class NumberBox(QDoubleSpinBox):
    """A spin box that keeps all digits of a float and writes small ones as 1e-06.

    Parameters
    ----------
    low, high
        Bounds of the arrows and of what is typed; None for none.
    whole
        Whether the number is an integer.
    unit
        Shown behind the number.
    """

    def __init__(
        self,
        low: float | None = None,
        high: float | None = None,
        *,
        whole: bool = False,
        unit: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        widest = LARGEST_WHOLE if whole else 1e300
        self._whole = whole
        self.setDecimals(0 if whole else 323)
        self.setRange(-widest if low is None else low, widest if high is None else high)
        self.setSuffix(f" {unit}" if unit else "")
        self.setKeyboardTracking(False)  # "1e-" on the way to "1e-6" is not a value yet
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def number(self) -> int | float:
        """Return the number as it stands, also while it is being typed."""
        self.interpretText()
        return int(self.value()) if self._whole else self.value()

    def textFromValue(self, value: float) -> str:
        """Write a number in the fewest digits that give it back."""
        return str(int(value)) if self._whole else repr(value).removesuffix(".0")

    def valueFromText(self, text: str) -> float:
        """Read a number, without its unit."""
        try:
            return float(self._bare(text))
        except ValueError:
            return self.value()

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Let pass what is a number or can become one."""
        bare = self._bare(text)
        try:
            inside = self.minimum() <= float(bare) <= self.maximum()
            fits = inside and not (self._whole and float(bare) % 1)
        except ValueError:
            fits = False
        if not _BEGUN.fullmatch(bare):
            return QValidator.State.Invalid, text, position
        state = QValidator.State.Acceptable if fits else QValidator.State.Intermediate
        return state, text, position

    def fixup(self, text: str) -> str:
        """Bring what was typed to the nearest bound."""
        value = min(max(self.valueFromText(text), self.minimum()), self.maximum())
        return self.textFromValue(round(value) if self._whole else value) + self.suffix()

    def stepBy(self, steps: int) -> None:
        """Step by a tenth of the number's own power of ten; whole numbers by one at least."""
        value = self.value()
        power = math.floor(math.log10(abs(value))) if value else -1
        step = 10.0 ** (power - 1)
        step = max(step, 1.0) if self._whole else step
        # The sum of two floats has digits that nobody chose: 1.1e-06, not 1.0999999999e-06.
        self.setValue(float(f"{value + steps * step:.12g}"))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the panel, unless the box was clicked before."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def sizeHint(self) -> QSize:
        """Take room for an ordinary number, not for the longest."""
        return QSize(110, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """As `sizeHint`, a little less."""
        return QSize(80, super().minimumSizeHint().height())

    def _bare(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip() if self.suffix() else text.strip()
