"""A simulated tissue: what was made, every truth of it, and what can be derived from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celldyn.jobs import Job, run

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.perturbation import Perturbation
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.dynamics import Dynamics
    from celldyn.simulate.expression import Expression
    from celldyn.simulate.measure.segmentation import Segmentation
    from celldyn.simulate.regulation import TrueBetas
    from celldyn.simulate.shapes.outlines import CellShapes


@dataclass(eq=False)
class Simulation:
    """A simulated tissue.

    What is large and follows from the rest is made when it is asked for: the random numbers are
    counter-based, so that it is the same whenever that is.

    Parameters
    ----------
    config
        What it is made of.
    cells
        One row per cell; see `SpotlessSimulator.cells`.
    genes
        One row per gene of the table; see `SpotlessSimulator.gpar_df`.
    shapes
        Outlines of nuclei and cells.
    expression
        Counts, and how they came about.
    dynamics
        The known states, where the config has a `dynamics`.
    platforms
        Per platform, its table.
    segmentation
        What a faulty segmentation makes of it; None if the config has none.
    adata
        Counts, labels, positions, outlines and every truth; see `celldyn.simulate.truth`.
    """

    config: SimulationConfig
    cells: pd.DataFrame
    genes: pd.DataFrame
    shapes: CellShapes
    expression: Expression
    dynamics: Dynamics | None = None
    platforms: dict[str, AnnData] = field(default_factory=dict)
    segmentation: Segmentation | None = None
    adata: AnnData = None

    @property
    def counts(self) -> sparse.csr_matrix:
        """(n_cells, n_vars) counts, CSR of integers."""
        return self.expression.counts

    @property
    def gene_names(self) -> list[str]:
        """(n_vars,) names of the columns of `counts`."""
        return self.expression.gene_names

    @property
    def true_betas(self) -> dict[str, TrueBetas]:
        """Per target gene, its coefficients in every cell."""
        return self.expression.true_betas

    @cached_property
    def nuclei(self) -> NDArray[Any]:
        """(n_cells,) shapely polygons, µm within the cell's section."""
        return self.shapes.polygons("nucleus")

    @cached_property
    def cell_polygons(self) -> NDArray[Any]:
        """(n_cells,) shapely polygons, µm within the cell's section; no two overlap."""
        return self.shapes.polygons("cell")

    @cached_property
    def transcripts(self) -> pd.DataFrame:
        """One row per molecule: x, y, z, cell_id, feature_name, is_leaked, ...; may be large."""
        from celldyn.simulate.molecules import molecules_job

        molecules = run(molecules_job(**self.molecule_inputs()), bar=False)
        return molecules.to_frame(self.gene_names, self.config.section_names)

    @cached_property
    def domains(self) -> list[dict[str, Any]]:
        """Per section, the outline of each domain as a shapely geometry."""
        from celldyn.simulate.layout import domain_outlines

        return [domain_outlines(self.config, k) for k in range(self.config.n_sections)]

    def molecule_inputs(self) -> dict[str, Any]:
        """Return what `molecules_job` and `write_transcripts_job` take."""
        from celldyn.simulate.molecules import molecule_inputs

        return molecule_inputs(self)

    def perturbed_job(
        self, perturbation: Perturbation, *, threads: int | None = None
    ) -> Job[Expression]:
        """Express the genes of the same cells under a perturbation; see `perturbed`."""
        from celldyn.simulate.expression import expression_job

        return expression_job(
            self.config,
            self.cells,
            self.genes,
            self.dynamics,
            perturbation=perturbation,
            threads=threads,
        )

    def perturbed(self, perturbation: Perturbation) -> sparse.csr_matrix:
        """Return the counts under a perturbation, sharing all noise with the control.

        Parameters
        ----------
        perturbation
            Which genes, to what, in which cells.

        Returns
        -------
        (n_cells, n_vars) CSR. Genes that are not downstream of the perturbed ones are the same
        bit for bit; a factor of 1 changes nothing.
        """
        return run(self.perturbed_job(perturbation), bar=False).counts

    def to_spatialdata(self) -> Any:  # noqa: ANN401
        """Return a SpatialData: molecules, outlines, domains, platforms and tables."""
        from celldyn.simulate.output import to_spatialdata

        return to_spatialdata(self)

    def write(self, out: Path | str) -> Path:
        """Write all of it: .h5ad (the table alone), .zarr (SpatialData), or a folder."""
        from celldyn.simulate.output import write_simulation_job

        return run(write_simulation_job(self, Path(out)), bar=False)
