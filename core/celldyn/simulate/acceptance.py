"""Whether a simulated tissue is what was asked for: each promise beside what was met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.jobs import Job, Progress, run
from celldyn.simulate.expected import domain_shares, domains_decide, expected_table
from celldyn.simulate.region import molecules_of_job
from celldyn.simulate.shapes.outlines import NESTING

if TYPE_CHECKING:
    from celldyn.simulate.simulation import Simulation

Floats = NDArray[np.float64]

SIGMAS = 5.0
"""A mean may be off by this many of its standard errors: 1 in 2 million is, by chance."""
PROPORTION_TOLERANCE = 0.02
"""A type's share of the cells may be off by this much."""
TOTAL_TOLERANCE = 0.10
"""Where noise or programs make the means, all molecules together may be off by this share."""
AREA_TOLERANCE = 0.10
"""The mean area of a type's nuclei may be off by this share: crowded nuclei are smaller."""
OVERLAP_TOLERANCE = 1e-4
"""Share of the cells' area that may be covered twice: rounding, as radii are float32."""
_SOME_CELLS = 5000
_FEW_CELLS = 30
"""Types of fewer cells have no mean worth judging."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of a config, and what became of it.

    Parameters
    ----------
    what
        What was promised.
    asked, met
        The numbers.
    tolerance
        How far apart they may be.
    """

    what: str
    asked: float
    met: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it was met."""
        return bool(abs(self.met - self.asked) <= self.tolerance)


def accept(simulation: Simulation) -> list[Check]:
    """Check a simulated tissue against its config; see `accept_job`."""
    return run(accept_job(simulation), bar=False)


def accept_job(simulation: Simulation) -> Job[list[Check]]:
    """Check cells, shares of the types, counts, leakage, nuclei, nesting and overlap.

    Leakage and overlap are looked at in the first 5,000 cells, which lie together.

    Parameters
    ----------
    simulation
        From `simulate_job`.

    Returns
    -------
    Every promise that the config makes, met or not.
    """
    checks: list[Check] = []
    for stage in (_cells, _proportions, _counts, _nuclei, _nesting):
        yield Progress("acceptance", len(checks), message=stage.__name__.strip("_"))
        checks += stage(simulation)
    checks += yield from _leakage_job(simulation)
    checks += yield from _overlap_job(simulation)
    return checks


def acceptance_table(checks: list[Check]) -> pd.DataFrame:
    """Return the checks as a table: what, asked, met, tolerance, "pass" or "FAIL"."""
    rows = [(c.what, c.asked, c.met, c.tolerance, "pass" if c.passed else "FAIL") for c in checks]
    return pd.DataFrame(rows, columns=["what", "asked", "met", "tolerance", ""])


def _cells(simulation: Simulation) -> Iterator[Check]:
    yield Check("cells", simulation.config.n_cells, len(simulation.cells), 0.0)


def _proportions(simulation: Simulation) -> Iterator[Check]:
    config = simulation.config
    if config.dynamics is not None and config.dynamics.defines_celltypes:
        return  # the states make the types: no shares are asked for
    n = len(simulation.cells)
    met = simulation.cells["celltype"].value_counts(sort=False, normalize=True)
    for name, share in zip(config.celltype_names, _asked_shares(simulation), strict=True):
        yield Check(f"share of {name}", float(share), float(met[name]),
                    PROPORTION_TOLERANCE + 1.0 / n)  # fmt: skip


def _asked_shares(simulation: Simulation) -> Floats:
    """Return the shares asked for: the domains' own, outside structures, if all have one."""
    config, cells = simulation.config, simulation.cells
    if not domains_decide(config):
        return config.proportions
    free = (cells["prototype"] == 0).to_numpy()
    in_domain = cells["domain"][free].value_counts(sort=False).to_numpy()
    in_structures = cells["celltype"][~free].value_counts(sort=False).to_numpy()
    asked: Floats = (in_domain @ domain_shares(config) + in_structures) / len(cells)
    return asked


def _counts(simulation: Simulation) -> Iterator[Check]:
    config = simulation.config
    if config.technical is not None or config.expression_model != "classes":
        asked = expected_table(config).per_cell
        met = float(simulation.counts.sum()) / len(simulation.cells)
        yield Check("molecules of a cell", asked, met, TOTAL_TOLERANCE * asked)
        return
    table = simulation.genes
    markers = table["gene_type"].astype(str)
    housekeeping = (markers == "hk").to_numpy()
    codes = simulation.cells["celltype"].cat.codes.to_numpy()
    scale = simulation.cells["scale"].to_numpy()
    n_genes, shared = len(table), config.shared_marker_rows()
    sums: dict[str, Floats] = {}
    for k, name in enumerate(config.celltype_names):
        here = np.flatnonzero(codes == k)
        own = (markers == f"{name}_mkr").to_numpy()
        own[shared.get(name, [])] = True
        mu, theta = (table[f"{name}_{part}"].to_numpy(dtype=float) for part in ("mu", "theta"))
        drawn = np.asarray(simulation.counts[here, :n_genes].sum(axis=0)).ravel()
        size, size2 = scale[here].sum(), (scale[here] ** 2).sum()
        kept = 1.0 - config.zero_inflation
        spread = kept * (size * mu + size2 * mu**2 / theta) + kept * (1.0 - kept) * size2 * mu**2
        for what, genes in (
            ("markers in their own type", own & ~housekeeping),
            ("housekeeping genes", housekeeping),
            ("silent genes", ~own & ~housekeeping),
        ):
            cov = config.gene_correlation * np.sqrt(spread[genes]).sum() ** 2
            variance = (1.0 - config.gene_correlation) * spread[genes].sum() + cov
            values = (
                kept * size * mu[genes].sum(),
                drawn[genes].sum(),
                variance,
                here.size * genes.sum(),
            )
            sums[what] = sums.get(what, np.zeros(4)) + np.array(values, dtype=float)
    for what, (asked, met_sum, variance, number) in sums.items():
        if number:
            sd = float(np.sqrt(variance)) / number
            yield Check(f"mean of {what}", asked / number, met_sum / number, SIGMAS * sd)


def _nuclei(simulation: Simulation) -> Iterator[Check]:
    config, cells = simulation.config, simulation.cells
    plain = cells[cells["prototype"] == 0] if "prototype" in cells else cells
    for name, areas in plain.groupby("celltype", observed=True)["nucleus_area"]:
        spec = config.celltype_morphology.get(str(name), config.default_morphology)
        if len(areas) >= _FEW_CELLS:
            error = SIGMAS * spec.cv_area / np.sqrt(len(areas))
            tolerance = spec.mean_area * (AREA_TOLERANCE + float(error))
            yield Check(f"nucleus area of {name}, µm²", spec.mean_area, float(areas.mean()),
                        tolerance)  # fmt: skip


def _nesting(simulation: Simulation) -> Iterator[Check]:
    shapes = simulation.shapes
    out = (shapes.nucleus > np.float32(NESTING * (1 + 1e-5)) * shapes.cell).any(axis=1).mean()
    yield Check("share of nuclei that leave their cell", 0.0, float(out), 0.0)


def _leakage_job(simulation: Simulation) -> Job[list[Check]]:
    given = simulation.molecule_inputs()
    rows = np.arange(min(_SOME_CELLS, len(simulation.cells)))
    counts = simulation.counts[rows].astype(np.float64)
    kept = (1.0 - given["leak_cell"][rows]) @ counts @ (1.0 - given["leak_gene"])
    total = float(counts.sum())
    if not total:
        return []
    molecules = yield from molecules_of_job(simulation, rows)
    asked = 1.0 - float(kept) / total
    met = float(molecules["is_leaked"].mean())
    error = float(np.sqrt(max(asked * (1.0 - asked), 0.0) / total))
    return [Check("share of leaked molecules", asked, met, SIGMAS * error + 1e-9)]


def _overlap_job(simulation: Simulation) -> Job[list[Check]]:
    import shapely

    cells = simulation.cells
    first = cells["section"].cat.codes.to_numpy() == 0
    rows = np.flatnonzero(first)[:_SOME_CELLS]
    yield Progress("acceptance", message="overlap")
    polygons = simulation.shapes.polygons("cell", rows)
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    twice = one < other
    shared = shapely.area(shapely.intersection(polygons[one[twice]], polygons[other[twice]])).sum()
    share = float(shared / max(shapely.area(polygons).sum(), 1e-12))
    return [Check("share of the cells' area covered twice", 0.0, share, OVERLAP_TOLERANCE)]
