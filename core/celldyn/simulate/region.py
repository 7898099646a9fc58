"""Molecules of some cells of a simulated tissue, without making those of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.jobs import Job, run

if TYPE_CHECKING:
    from celldyn.simulate.simulation import Simulation

_PER_GENE = frozenset({"leak_gene", "compartment", "gene_names"})


def molecules_of(simulation: Simulation, rows: NDArray[np.intp]) -> pd.DataFrame:
    """Return the molecules of some cells; see `molecules_of_job`."""
    return run(molecules_of_job(simulation, rows), bar=False)


def molecules_of_job(
    simulation: Simulation, rows: NDArray[np.intp], *, threads: int | None = None
) -> Job[pd.DataFrame]:
    """Make the molecules of some cells: places and leaks are those of the whole tissue.

    Parameters
    ----------
    simulation
        From `simulate_job`.
    rows
        (m,) rows of the cells.
    threads
        How many; None is every core.

    Returns
    -------
    x, y in µm, cell_id, feature_name, is_leaked, ...; without ambient molecules. Where a leaked
    one landed is known only among the cells that were asked for.
    """
    from celldyn.simulate.molecules import molecules_job

    given = simulation.molecule_inputs()
    chosen = {
        name: value if name in _PER_GENE else _take(value, rows, len(simulation.cells))
        for name, value in given.items()
    }
    # What no cell sends out is not of these cells, and there may be a great deal of it.
    chosen["config"] = simulation.config.replace(ambient_rate_per_um2=0.0)
    molecules = yield from molecules_job(**chosen, threads=threads)
    return molecules.to_frame(simulation.gene_names)


def _take(value: Any, rows: NDArray[np.intp], n_cells: int) -> Any:  # noqa: ANN401
    if hasattr(value, "take") and hasattr(value, "n_cells"):  # outlines
        return value.take(rows)
    shape: tuple[int, ...] = getattr(value, "shape", ())
    return value[rows] if shape[:1] == (n_cells,) else value
