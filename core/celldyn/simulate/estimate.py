"""What a tissue will come to, before any of it is made: cells, molecules, bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celldyn.simulate.expected import expected_table

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

# What one of each takes, as measured on written and finished simulations of 20,000 cells.
_CELL_BYTES = 170
"""A cell's rows in the simulation and in obs: identity, place, labels, areas, scale, name."""
_COUNT_BYTES = 8 + 8
"""A count that is not 0, as integers in the simulation and as float32 on the AnnData."""
_RADIUS_BYTES = 4
_MOLECULE_DISK_BYTES = 10
"""A molecule in Parquet, compressed."""
_EXPECTED_BYTES = 4
_COUNT_DISK_BYTES = 8
"""A count that is not 0 in the table, which is not compressed."""
_CORNER_DISK_BYTES = 18
"""A corner of an outline: two float64 as WKB, of which little can be compressed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a config comes to, in expectation.

    Parameters
    ----------
    n_cells
        Cells; exact.
    n_genes
        Columns of the counts: table, named genes, targets, genes of the dynamics; exact.
    n_molecules
        Molecules: counts of all cells, and the ambient ones of no cell.
    n_stored
        Counts that are not 0.
    bytes_memory
        What the finished simulation holds: counts, AnnData, outlines and the cells' rows. The
        table of molecules, which is made on request only, comes on top with about 34 bytes each.
    bytes_disk
        A folder or SpatialData with molecules and outlines.
    """

    n_cells: int
    n_genes: int
    n_molecules: float
    n_stored: float
    bytes_memory: float
    bytes_disk: float

    def summary(self) -> str:
        """Say it in one line."""
        return (
            f"{self.n_cells:,} cells × {self.n_genes:,} genes, "
            f"about {in_short(self.n_molecules)} molecules; "
            f"{in_bytes(self.bytes_memory)} in memory, {in_bytes(self.bytes_disk)} on disk"
        )


def estimate(config: SimulationConfig) -> Estimate:
    """Say what a tissue will come to, from expectations alone; nothing is sampled but its genes.

    The mean of every gene in every cell type is that of the gene table (of its priors, where the
    table is large), and the types have the shares that are asked for. Domains count alike.
    Where structures, domains or a potential make other shares of the types, the numbers differ.

    Parameters
    ----------
    config
        What the tissue is made of.
    """
    table = expected_table(config)
    n, n_genes = config.n_cells, table.n_genes
    counts = n * table.per_cell
    width, height = config.canvas_um
    ambient = config.ambient_rate_per_um2 * width * height * config.n_sections
    stored = n * table.stored_per_cell
    corners = 2 * n * config.default_morphology.n_vertices
    layers = 2 if config.technical is not None and config.technical.keep_steps else 1
    memory = _COUNT_BYTES * layers * stored + _CELL_BYTES * n
    memory += 2 * _RADIUS_BYTES * corners  # held by the simulation and by the AnnData
    disk = _COUNT_DISK_BYTES * layers * stored + _CELL_BYTES * n
    disk += (_CORNER_DISK_BYTES + _RADIUS_BYTES) * corners
    disk += _MOLECULE_DISK_BYTES * (counts + ambient)
    if config.keep_expected:
        memory += _EXPECTED_BYTES * n * n_genes
        disk += _EXPECTED_BYTES * n * n_genes
    return Estimate(n, n_genes, counts + ambient, stored, float(memory), float(disk))


def in_short(number: float) -> str:
    """Write a number as 950, 72.5k, 1.2M or 3.4G."""
    return _scaled(number, 1000.0, ("", "k", "M", "G", "T"))


def in_bytes(number: float) -> str:
    """Write bytes as 950 B, 72.5 kB, 1.2 MB or 3.4 GB."""
    return _scaled(number, 1000.0, (" B", " kB", " MB", " GB", " TB"))


def _scaled(number: float, step: float, units: tuple[str, ...]) -> str:
    power = 0
    while number >= 0.9995 * step and power < len(units) - 1:
        number, power = number / step, power + 1
    return f"{number:.3g}{units[power]}" if power else f"{number:.0f}{units[0]}"
