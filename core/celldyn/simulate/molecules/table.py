"""Tables of molecules in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.simulate.molecules.rays import COMPARTMENTS

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Molecules:
    """Molecules, one per element of each array.

    Parameters
    ----------
    x, y, z
        (m,) µm, within the canvas of the section and its depth.
    cell_id
        (m,) the cell it comes from; -1 for a molecule of no cell.
    gene
        (m,) column of the counts.
    is_leaked
        (m,) whether it left its cell.
    compartment
        (m,) position in `rays.COMPARTMENTS`: where it was put.
    landed_cell_id
        (m,) the cell it lies in, -1 for none. It is its own cell unless it leaked.
    overlaps_nucleus
        (m,) whether it lies in the nucleus of that cell.
    qv
        (m,) quality value.
    section
        (m,) position in `config.section_names`.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    z: NDArray[np.float32]
    cell_id: NDArray[np.int32]
    gene: NDArray[np.int32]
    is_leaked: NDArray[np.bool_]
    compartment: NDArray[np.uint8]
    landed_cell_id: NDArray[np.int32]
    overlaps_nucleus: NDArray[np.bool_]
    qv: NDArray[np.float32]
    section: NDArray[np.int16]

    def __len__(self) -> int:
        return self.x.size

    @classmethod
    def empty(cls, n: int) -> Molecules:
        """Return room for `n` molecules."""

        def room(kind: type[Scalar]) -> NDArray[Scalar]:
            return np.empty(n, dtype=kind)

        return cls(
            room(np.float32),
            room(np.float32),
            room(np.float32),
            room(np.int32),
            room(np.int32),
            room(np.bool_),
            room(np.uint8),
            room(np.int32),
            room(np.bool_),
            room(np.float32),
            room(np.int16),
        )

    def write(self, at: int, part: Molecules) -> None:
        """Copy `part` over the molecules from `at` on."""
        for field in fields(self):
            getattr(self, field.name)[at : at + len(part)] = getattr(part, field.name)

    def to_frame(
        self, gene_names: Sequence[str], section_names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return a table with names in place of codes.

        Parameters
        ----------
        gene_names
            (n_genes,) names of the columns of the counts.
        section_names
            Names of the sections; without them they are called section_0, section_1, ...

        Returns
        -------
        x, y, z, feature_name, cell_id, is_leaked, compartment, landed_cell_id, overlaps_nucleus,
        qv, section; the names are categories.
        """
        names = section_names
        if names is None:
            names = [f"section_{k}" for k in range(int(self.section.max(initial=0)) + 1)]
        return pd.DataFrame(
            {
                "x": self.x,
                "y": self.y,
                "z": self.z,
                "feature_name": pd.Categorical.from_codes(self.gene, pd.Index(list(gene_names))),
                "cell_id": self.cell_id,
                "is_leaked": self.is_leaked,
                "compartment": pd.Categorical.from_codes(self.compartment, pd.Index(COMPARTMENTS)),
                "landed_cell_id": self.landed_cell_id,
                "overlaps_nucleus": self.overlaps_nucleus,
                "qv": self.qv,
                "section": pd.Categorical.from_codes(self.section, pd.Index(list(names))),
            },
            copy=False,
        )
