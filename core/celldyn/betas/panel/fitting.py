"""A panel from the data set to its store in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from celldyn.betas.grn_factory import Regulatory
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.inputs import PanelInputs
from celldyn.betas.panel.linked import write_panel
from celldyn.betas.panel.preparing import prepare_panel
from celldyn.betas.panel.store import BetaStore
from celldyn.betas.panel.train import PanelResult, panel_job
from celldyn.errors import ConfigError
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def fit_panel(
    adata: AnnData,
    config: PanelConfig,
    store_path: Path | str,
    *,
    bar: bool = True,
    overwrite: bool = False,
    grn: Regulatory | None = None,
    lr: Path | str | pd.DataFrame | None = None,
    ligand_target: Path | str | pd.DataFrame | None = None,
    job: Callable[[PanelInputs, PanelConfig, BetaStore], Job[PanelResult]] | None = None,
) -> BetaStore:
    """Fit a panel of genes into a store, and write its scores on the AnnData.

    A store that is there is gone on with: genes that it has are not fitted again.

    Parameters
    ----------
    adata
        The tissue; `var["betas_r2"]`, `var["betas_heldout_r2"]` and the store's place are written.
    config
        The parameters.
    store_path
        The folder of the store, by convention `<name>.betas.zarr`.
    bar
        Whether to draw a progress bar.
    overwrite
        Whether a store that is there is replaced.
    grn, lr, ligand_target
        Objects or tables that take the place of the config's files.
    job
        What fits: `panel_job`, or `celldyn.cluster.fit_panel_on_ray` for more than one worker.

    Raises
    ------
    ConfigError
        If the store is of other cells or another model, or workers are asked for that the job
        has not.
    """
    if job is None and config.workers > 1:
        raise ConfigError(
            f"workers is {config.workers}, and one process fits here",
            "pass job=celldyn.cluster.fit_panel_on_ray, or set workers to 1",
        )
    inputs = prepare_panel(adata, config, grn=grn, lr=lr, ligand_target=ligand_target)
    store = BetaStore.create(store_path, inputs, config, overwrite=overwrite)
    run((job or panel_job)(inputs, config, store), bar=bar)
    write_panel(adata, store)
    return store
