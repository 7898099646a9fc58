"""A panel of genes, run from the window: prepared, submitted, and kept as far as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.worker import JobState

if TYPE_CHECKING:
    from pathlib import Path

    from celldyn.betas import BetasConfig, RegulatoryFactory
    from celldyn.betas.panel import BetaStore, PanelConfig
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.jobs import JobRunner
    from napari_celldyn.workspace import Workspace

WRITES = frozenset(key.path() for key in (keys.BETAS_R2, keys.BETAS_HELDOUT_R2, keys.BETAS_STORE))


def panel_config(model: BetasConfig, **of_panel: Any) -> PanelConfig:  # noqa: ANN401
    """Return the config of a panel whose genes are modelled as `model` says of one.

    Raises
    ------
    ConfigError
        If a parameter is out of its bounds.
    """
    from celldyn.betas.config import ModelConfig
    from celldyn.betas.panel import PanelConfig

    shared = {name: getattr(model, name) for name in ModelConfig.model_fields}
    return PanelConfig(**shared, **of_panel)


def submit_panel(
    workspace: Workspace,
    runner: JobRunner,
    config: PanelConfig,
    folder: Path,
    grn: RegulatoryFactory | None,
) -> JobHandle:
    """Start a panel in the background, or go on with the one that the folder holds.

    Genes are written as they are finished, so that a run that is cancelled or fails keeps them.

    Raises
    ------
    CelldynError
        If it cannot be started.
    """
    from celldyn.betas.panel import BetaStore, panel_job, prepare_panel

    inputs = prepare_panel(workspace.require(), config, grn=grn)
    store = BetaStore.create(folder, inputs, config)
    tissue = workspace.adata
    handle = runner.submit(
        f"Betas of {len(inputs.targets)} genes",
        lambda: panel_job(inputs, config, store),
        system="betas",
        writes=WRITES,
        on_result=lambda _result: keep(workspace, store),
    )

    def on_finished(state: object) -> None:
        stopped = state in (JobState.CANCELLED, JobState.FAILED)
        if stopped and workspace.adata is tissue and len(store):
            keep(workspace, store)

    handle.finished.connect(on_finished)
    return handle


def keep(workspace: Workspace, store: BetaStore) -> None:
    """Write on the tissue in view what a store has come to."""
    from celldyn.betas.panel import write_panel

    workspace.announce(write_panel(workspace.require(), store, file_path=home_of(workspace)))


def home_of(workspace: Workspace) -> Path | None:
    """Return the file that the place of a store is told from; None if there is none."""
    return workspace.path or workspace.origin


def store_follows(workspace: Workspace, path: Path) -> None:
    """Let the tissue that is about to be written to `path` name its store as seen from there."""
    from celldyn.betas.panel import find_store
    from celldyn.betas.panel.linked import name_store

    adata = workspace.require()
    try:
        store = find_store(adata, home_of(workspace))
    except CelldynError:  # it is gone: its name stays as it was
        return
    if store is not None:
        name_store(adata, store, path)
