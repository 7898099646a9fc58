"""Cells of the tissue put into an environment, as a job. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.errors import NotFittedError
from celldyn.jobs import Job
from napari_celldyn.widgets.environment_live import LiveCells
from napari_celldyn.widgets.environment_place import Placing

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment.manager import BasicManager
    from napari_celldyn.widgets.environment_training import Learned


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Cells in an environment.

    Parameters
    ----------
    manager
        The environment over these cells; it is asked for screens and stages.
    cells
        The same cells, that live on while one looks.
    at
        (n,) their positions in the tissue, ascending.
    on_tissue
        Whether it is told where in the tissue they would lie.
    sources
        Of which parts of the tissue the modalities are.
    """

    manager: BasicManager
    cells: LiveCells
    at: NDArray[np.intp]
    on_tissue: bool
    sources: tuple[str, ...]


def open_job(
    learned: Learned,
    tables: list[AnnData],
    at: NDArray[np.intp],
    device: str = "cpu",
    seed: int = 0,
) -> Job[Opened]:
    """Put some cells of the tissue into its environment.

    Parameters
    ----------
    learned
        The environment.
    tables
        One per modality, of all cells.
    at
        (n,) which cells, ascending.
    device
        Where they live.
    seed
        Of the places that they begin at.

    Raises
    ------
    CelldynError
        If their features are not those that it was trained on.
    """
    from celldyn.environment.manager import BasicManager

    parts = [table[at] for table in tables]
    manager = yield from BasicManager.of_job(learned.fitted, parts, device=device, seed=seed)
    placing = _placing(learned, manager, parts)
    cells = LiveCells(manager.simulator, manager.obs_names, placing, seed)
    return Opened(manager, cells, at, placing is not None, learned.sources)


def _placing(learned: Learned, manager: BasicManager, parts: list[AnnData]) -> Placing | None:
    """Return what tells places in the tissue, where a target is the tissue's coordinates."""
    fitted = learned.fitted
    wanted = f"obsm/{keys.SPATIAL.name}"
    k = next((k for k in fitted.targets if learned.sources[k] == wanted), None)
    if k is None:
        return None
    try:
        trained = manager.get_mask()
    except NotFittedError:
        trained = None
    truth, partition = np.asarray(parts[k].X, np.float64), manager.simulator.partition
    return Placing.of(manager.fitted, k, truth, trained, partition)
