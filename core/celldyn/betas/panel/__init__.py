"""Panels: many genes of one tissue modelled alike, in a store that is read gene by gene.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.betas.panel.betadata import import_betadata
    from celldyn.betas.panel.config import PanelConfig
    from celldyn.betas.panel.export import export_betadata, export_betadata_job
    from celldyn.betas.panel.fitting import fit_panel
    from celldyn.betas.panel.inputs import PanelInputs
    from celldyn.betas.panel.linked import find_store, write_panel
    from celldyn.betas.panel.preparing import prepare_panel
    from celldyn.betas.panel.store import BetaStore
    from celldyn.betas.panel.train import PanelResult, panel_job

_HOME = {
    "BetaStore": "store",
    "PanelConfig": "config",
    "PanelInputs": "inputs",
    "PanelResult": "train",
    "export_betadata": "export",
    "export_betadata_job": "export",
    "find_store": "linked",
    "fit_panel": "fitting",
    "import_betadata": "betadata",
    "panel_job": "train",
    "prepare_panel": "preparing",
    "write_panel": "linked",
}

__all__ = [
    "BetaStore",
    "PanelConfig",
    "PanelInputs",
    "PanelResult",
    "export_betadata",
    "export_betadata_job",
    "find_store",
    "fit_panel",
    "import_betadata",
    "panel_job",
    "prepare_panel",
    "write_panel",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.betas.panel.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.betas.panel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
