"""Positions and cell types without a config of a whole tissue: the steps by their own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError
from celldyn.jobs import run
from celldyn.simulate.layout.celltypes import types_job
from celldyn.simulate.layout.density import DensityLike
from celldyn.simulate.layout.place import place

if TYPE_CHECKING:
    from celldyn.simulate.parameters.layout import PointProcess

Floats = NDArray[np.float64]


def get_background_point_pattern(
    n_cells: int,
    canvas_size: float | tuple[float, float],
    *,
    point_process: PointProcess = "hardcore",
    density: DensityLike | None = None,
    seed: int = 0,
    **more: Any,  # noqa: ANN401
) -> Floats:
    """Return positions of background cells.

    Parameters
    ----------
    n_cells
        How many.
    canvas_size
        Side, or width and height, in µm.
    point_process
        "hardcore", "hexagonal", "random" or "clustered".
    density
        Wanted density up to a factor: a function of (m, 2) positions in µm, or an array of
        (rows, columns) whose first row lies at y = 0. None is everywhere alike.
    seed
        Fixes the positions.
    **more
        Other parameters of the layout, such as `min_distance_um`.

    Returns
    -------
    (n_cells, 2) x and y in µm; rows next to each other lie near each other.

    Raises
    ------
    ConfigError
        If a parameter is out of its bounds or there is no room for that many.
    DataError
        If the density cannot be used.
    """
    from celldyn.simulate.config import SimulationConfig

    config = SimulationConfig(
        n_cells=n_cells,
        n_celltype=1,
        n_genes=1,
        canvas_size=canvas_size,
        point_process=point_process,
        seed=seed,
        **more,
    )
    return place(config, n_cells, 0, density=density)


def generate_celltypes(
    xy: ArrayLike,
    n_celltype: int,
    *,
    celltype_proportion: list[float] | dict[str, float] | None = None,
    continuity: float = 0.0,
    fuzziness: float = 0.0,
    seed: int = 0,
    **more: Any,  # noqa: ANN401
) -> NDArray[np.object_]:
    """Give cells at known places their types.

    Parameters
    ----------
    xy
        (n_cells, 2) positions in µm.
    n_celltype
        How many types.
    celltype_proportion
        Share of each; None is equal.
    continuity, fuzziness
        How strongly one type lies together, and the share of border cells that is mixed up.
    seed
        Fixes the types.
    **more
        Other parameters of the types, such as `celltype_labels` and `interaction`.

    Returns
    -------
    (n_cells,) names of the types; their shares are as asked, up to rounding.

    Raises
    ------
    ConfigError
        If a parameter is out of its bounds.
    DataError
        If the positions are not (n_cells, 2) finite numbers.
    """
    from celldyn.simulate.config import SimulationConfig

    points = np.asarray(xy, dtype=np.float64)
    fits = points.ndim == 2 and points.shape[1] == 2 and len(points) > 0
    if not fits or not np.isfinite(points).all():
        raise DataError(
            f"positions of shape {points.shape} are no places of cells",
            "give (n_cells, 2) finite numbers",
        )
    config = SimulationConfig(
        n_cells=len(points),
        n_celltype=n_celltype,
        n_genes=n_celltype,
        celltype_proportion=celltype_proportion,
        continuity=continuity,
        fuzziness=fuzziness,
        seed=seed,
        **more,
    )
    domain = np.zeros(len(points), dtype=np.intp)
    codes = run(types_job(config, points, domain, 0), bar=False)
    return np.array(config.celltype_names, dtype=object)[codes]
