"""What the parts of a simulation are called where they are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from celldyn.simulate.simulation import Simulation

TRANSCRIPTS, NUCLEI, CELLS = "transcripts", "nucleus_boundaries", "cell_boundaries"
DOMAINS, TABLE = "domains", "table"
SEGMENTED, SEGMENTATION = "segmented_cells", "segmentation"

Feature = tuple[str, str, Any]
"""Section, name of the domain, geometry."""


def plain(name: str) -> str:
    """Return a name that can be a file or an element: letters, digits, '_', '-' and '.'."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def element(simulation: Simulation, section: str, name: str) -> str:
    """Return the name of a section's element: with the section before it if there are several."""
    several = simulation.config.n_sections > 1
    return f"{plain(section)}_{name}" if several else name


def rows_of(simulation: Simulation, section: int) -> slice:
    """Return the rows of a section's cells, which follow each other."""
    codes = simulation.cells["section"].cat.codes.to_numpy()
    first, last = np.searchsorted(codes, [section, section + 1])
    return slice(int(first), int(last))


def domain_features(simulation: Simulation) -> list[Feature]:
    """Return the outlines of all domains; none if every section is one domain."""
    held = simulation.domains
    features = [
        (section, name, geometry)
        for section, outlines in zip(simulation.config.section_names, held, strict=True)
        for name, geometry in outlines.items()
        if not geometry.is_empty
    ]
    return features if len({name for _, name, _ in features}) > 1 else []


def cell_columns(simulation: Simulation) -> pd.DataFrame:
    """Return what is written beside each outline of a cell."""
    cells = simulation.cells
    return cells.rename(columns={"celltype": "cell_type"})
