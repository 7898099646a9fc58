"""The cells of a tissue: structures and background, domains, types, outlines, size factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.devices import aside_job
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Progress
from celldyn.simulate.layout import domains_job, place_job, types_job
from celldyn.simulate.measure.leakage import leakage_of_cells
from celldyn.simulate.shapes.making import orientations, shapes_job
from celldyn.simulate.shapes.prototypes import place_prototypes
from celldyn.simulate.shapes.scale import size_factors

if TYPE_CHECKING:
    from celldyn.perturbation import Perturbation
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.dynamics import Dynamics
    from celldyn.simulate.shapes.outlines import CellShapes

Floats = NDArray[np.float64]


def layout_job(config: SimulationConfig) -> Job[pd.DataFrame]:
    """Place the cells of every section and give them domains and types.

    Returns
    -------
    One row per cell: `cell_id`, `celltype`, `x` and `y` in µm of its section, `domain`,
    `section`, `prototype` (0 is background). Rows next to each other lie near each other.
    """
    frames = []
    for section, n_cells in enumerate(config.section_sizes):
        frames.append((yield from _section_job(config, section, n_cells)))
    cells = pd.concat(frames, ignore_index=True)
    cells.insert(0, "cell_id", np.arange(len(cells), dtype=np.int32))
    return cells


def outlines_job(
    config: SimulationConfig, cells: pd.DataFrame, *, threads: int | None = None
) -> Job[tuple[pd.DataFrame, CellShapes]]:
    """Give every cell a nucleus and an outline, and what follows from them.

    Returns
    -------
    `cells` with `orientation` (rad), `nucleus_area` and `cell_area` (µm²), `scale` (mean 1 per
    type) and `leakage_percentage` (a probability, STpuppeteer's name), and the outlines.
    """
    shapes = yield from shapes_job(config, cells, threads=threads)
    yield Progress("size factors")
    cells = cells.assign(
        orientation=orientations(config, cells),
        nucleus_area=shapes.areas("nucleus"),
        cell_area=shapes.areas("cell"),
    )
    yield Progress("size factors")
    codes = cells["celltype"].cat.codes.to_numpy().astype(np.intp)
    cells["scale"] = size_factors(config, cells, shapes)
    cells["leakage_percentage"] = leakage_of_cells(config, codes)
    return cells, shapes


def states_job(
    config: SimulationConfig,
    cells: pd.DataFrame,
    *,
    perturbation: Perturbation | None = None,
    threads: int | None = None,
) -> Job[Dynamics]:
    """Let the cells' states follow the config's `dynamics`; see `celldyn.simulate.dynamics`."""
    from celldyn.simulate.dynamics import dynamics_job

    if config.dynamics is None:
        raise ConfigError("this tissue has no dynamics", "give one as the parameter dynamics")
    return (
        yield from dynamics_job(
            config.dynamics,
            len(cells),
            cell_ids=cells["cell_id"].to_numpy(),
            xy=cells[["x", "y"]].to_numpy(),
            canvas=config.canvas_um,
            seed=config.seed,
            perturbation=perturbation,
            obs=cell_names(len(cells)) if perturbation is not None else None,
            threads=threads,
        )
    )


def cell_names(n_cells: int) -> pd.Index:
    """Return the names that the cells have in the AnnData."""
    return pd.Index([f"cell_{i}" for i in range(n_cells)])


def _section_job(config: SimulationConfig, section: int, n_cells: int) -> Job[pd.DataFrame]:
    placed = yield from aside_job(lambda: place_prototypes(config, section), "structures")
    n_background = n_cells - len(placed.xy)
    if n_background < 0:
        raise ConfigError(
            f"prototypes have {len(placed.xy)} cells in section {section}, which is more than its "
            f"{n_cells} of n_cells = {config.n_cells}",
            "make them smaller, or n_cells larger",
        )
    keep_out = placed.keep_out if len(placed.xy) else None
    xy = yield from place_job(config, n_background, section, keep_out=keep_out)
    prototype = np.zeros(n_cells, dtype=np.int32)
    fixed: NDArray[np.intp] | None = None
    if len(placed.xy):
        xy = np.concatenate([placed.xy, xy])
        prototype[: len(placed.xy)] = placed.prototype
        fixed = np.concatenate([placed.celltype, np.full(n_background, -1)]).astype(np.intp)
        order = _by_place(xy)
        xy, prototype, fixed = xy[order], prototype[order], fixed[order]
    domain = yield from domains_job(config, xy, section)
    celltype = yield from types_job(config, xy, domain, section, fixed=fixed)
    return pd.DataFrame(
        {
            "celltype": pd.Categorical.from_codes(celltype, pd.Index(config.celltype_names)),
            "x": xy[:, 0],
            "y": xy[:, 1],
            "domain": pd.Categorical.from_codes(domain, pd.Index(config.domain_names)),
            "section": pd.Categorical.from_codes(
                np.full(n_cells, section), pd.Index(config.section_names)
            ),
            "prototype": prototype,
        }
    )


def _by_place(xy: Floats) -> NDArray[np.intp]:
    """Order positions along bands of about one cell's height, as the background comes."""
    span = np.ptp(xy, axis=0) if len(xy) else np.ones(2)
    band = max(float(np.sqrt(span.prod() / max(len(xy), 1))), 1e-9)
    return np.lexsort((xy[:, 0], np.floor(xy[:, 1] / band)))
