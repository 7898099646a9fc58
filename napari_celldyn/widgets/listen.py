"""Signals of the workspace and of napari for exactly as long as a Qt widget lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer


class Emitter(Protocol):
    """What psygnal's signals and napari's events have in common."""

    def connect(self, slot: Callable[..., Any], /) -> Any:  # noqa: ANN401
        """Call `slot` from now on."""

    def disconnect(self, slot: Callable[..., Any], /) -> Any:  # noqa: ANN401
        """Call it no more."""


def listen(receiver: QObject, emitter: Emitter, slot: Callable[..., Any]) -> None:
    """Call a bound method of `receiver` at every signal, until Qt destroys `receiver`.

    A plain connection follows the Python object, which can outlive the widget inside it; a call
    after that would end in "wrapped C/C++ object has been deleted".
    """
    method = weakref.WeakMethod(slot)
    widget = weakref.ref(receiver)

    def call(*arguments: Any) -> None:  # noqa: ANN401
        known, alive = method(), widget()
        if known is not None and alive is not None and isalive(alive):
            known(*arguments)
        else:  # not now: the emitter is going through its slots
            QTimer.singleShot(0, forget)

    def forget() -> None:
        with suppress(ValueError):
            emitter.disconnect(call)

    emitter.connect(call)
