"""Colours of napari's present theme, where its style sheet has no name for what is meant."""

from __future__ import annotations

from napari.settings import get_settings
from napari.utils.theme import Theme, get_theme
from qtpy.QtGui import QColor

LEGIBLE = 4.5
"""Least contrast of text on its ground, after WCAG 2.1."""


def border() -> QColor:
    """Return the colour of a quiet frame."""
    return QColor(_theme().primary.as_hex())


def ground() -> QColor:
    """Return the colour that a dock is drawn on."""
    return QColor(_theme().background.as_hex())


def text() -> QColor:
    """Return the colour of text."""
    return QColor(_theme().text.as_hex())


def error() -> QColor:
    """Return the colour of errors, for a frame or a bar."""
    return QColor(_theme().error.as_hex())


def error_text() -> QColor:
    """Return the colour of errors, moved towards the theme's text until it can be read."""
    steps = (_mix(error(), text(), tenth / 10) for tenth in range(11))
    legible = (colour for colour in steps if contrast(colour, ground()) >= LEGIBLE)
    return next(legible, text())


def contrast(a: QColor, b: QColor) -> float:
    """Return the contrast of two colours, 1 to 21, after WCAG 2.1."""
    dark, light = sorted((_luminance(a), _luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def _theme() -> Theme:
    return get_theme(get_settings().appearance.theme)


def _mix(a: QColor, b: QColor, share: float) -> QColor:
    channels = zip(a.getRgb()[:3], b.getRgb()[:3], strict=True)
    return QColor(*(round((1 - share) * x + share * y) for x, y in channels))


def _luminance(colour: QColor) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.getRgbF()[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
