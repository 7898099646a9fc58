"""Signals of the workspace and of napari for exactly as long as a Qt widget lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from qtpy.QtCore import QObject


class Emitter(Protocol):
    """What psygnal's signals and napari's events have in common."""

    def connect(self, slot: Callable[..., Any], /) -> Any:  # noqa: ANN401
        """Call `slot` from now on."""

    def disconnect(self, slot: Callable[..., Any], /) -> Any:  # noqa: ANN401
        """Call it no more."""


def listen(receiver: QObject, emitter: Emitter, slot: Callable[..., Any]) -> None:
    """Connect a bound method of `receiver` to `emitter` until Qt destroys `receiver`.

    The connection itself follows the Python object, which can outlive the widget inside it; a
    call after that would end in "wrapped C/C++ object has been deleted".
    """
    emitter.connect(slot)
    method = weakref.WeakMethod(slot)

    def stop() -> None:
        if (known := method()) is not None:
            with suppress(ValueError):
                emitter.disconnect(known)

    receiver.destroyed.connect(stop)
