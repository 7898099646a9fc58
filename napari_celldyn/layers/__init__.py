"""From the AnnData in view to napari layers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_celldyn.layers.picking import CellIndex
    from napari_celldyn.layers.selection import SelectionMarks
    from napari_celldyn.layers.tissue import TissueView

__all__ = ["CellIndex", "SelectionMarks", "TissueView"]

_HOME = {"CellIndex": "picking", "SelectionMarks": "selection", "TissueView": "tissue"}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"napari_celldyn.layers.{_HOME[name]}"), name)
    raise AttributeError(f"module 'napari_celldyn.layers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
