"""What the model of a gene reads: its modulators by role, and their values in every cell."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import BetasConfig
from celldyn.betas.design import design_job
from celldyn.betas.diffusion import neighbour_counts
from celldyn.betas.inputs import BetasInputs, Floats, Ints
from celldyn.betas.interactions import (
    check_LR_properties,
    ligand_regulators_interactions,
    ligands_receptors_interactions,
)
from celldyn.betas.maps import Images, density_maps
from celldyn.betas.modulators import Modulators
from celldyn.data import coordinates
from celldyn.jobs import run

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_CACHED = ("_design", "spatial_maps", "spatial_features")


class ProgramFeatures:
    """The modulators of a gene and the tables made from them; base of the estimator."""

    ligands_receptors_interactions = staticmethod(ligands_receptors_interactions)
    ligand_regulators_interactions = staticmethod(ligand_regulators_interactions)
    check_LR_properties = staticmethod(check_LR_properties)

    adata: AnnData
    config: BetasConfig

    def _take(self, inputs: BetasInputs) -> None:
        """Start from these inputs."""
        self._inputs = inputs
        self.target_gene = inputs.target
        self.species = inputs.species
        self.xy = coordinates(self.adata)
        for name in _CACHED:
            self.__dict__.pop(name, None)
        self._name(inputs.modulators)

    def _name(self, kept: Modulators) -> None:
        """Publish the modulators that are kept, by role."""
        import pandas as pd

        self.regulators = list(kept.regulators)
        self.ligands, self.receptors = _unzip(kept.lr)
        self.tfl_ligands, self.tfl_regulators = _unzip(kept.tfl)
        self.lr_pairs = pd.Series(kept.lr_names, dtype=object, name="pairs")
        self.tfl_pairs = kept.tfl_names
        self.modulators = kept.names
        parts = {gene for name in kept.features for gene in self._parts(name)}
        self.modulators_genes = sorted(parts)
        left = set(kept.names)
        self.dropped_modulators = [n for n in self._inputs.modulators.names if n not in left]

    def _parts(self, name: str) -> list[str]:
        return [name] if name in self.adata.var_names else name.split("_")

    @property
    def _labels(self) -> list[Hashable]:
        """The clusters as they are in obs: numbers stay numbers."""
        import pandas as pd

        if self.config.cluster_annot is None:
            return list(self._inputs.clusters)
        column = self.adata.obs[self.config.cluster_annot]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.cat.categories.to_series()
        if pd.api.types.is_integer_dtype(column):
            return [int(name) for name in self._inputs.clusters]
        return list(self._inputs.clusters)

    def init_data(self) -> tuple[Images, Floats, Floats, Ints]:
        """Compute the features of every cell; `fit` needs no such call.

        Modulators that do not vary are left out of `modulators` from here on, and named in
        `dropped_modulators`. The images take 4 · n_clusters · spatial_dim² bytes a cell.

        Returns
        -------
        sp_maps
            (n_obs, n_clusters, D, D) float32, see `spatial_maps`.
        X
            (n_obs, n_modulators) design.
        y
            (n_obs,) expression of the target.
        cluster_labels
            (n_obs,) whole numbers: the labels, or their codes where labels are text.
        """
        kept = self._kept()
        self._name(self._inputs.modulators.select(kept))
        design = self._design[0][:, kept]
        codes, labels = self._inputs.cluster_codes, self._labels
        if all(isinstance(label, int) for label in labels):
            codes = np.array(labels, np.intp)[codes]
        return self.spatial_maps, design, self._inputs.y, codes

    def _kept(self) -> NDArray[np.bool_]:
        """Return which modulators have a column: those that vary in some section."""
        return self._design[1]

    @cached_property
    def _design(self) -> tuple[Floats, NDArray[np.bool_]]:
        """The (n_obs, n_modulators) design of all modulators, and which vary in some section."""
        inputs, every = self._inputs, self._inputs.modulators
        whole = np.empty((inputs.n_obs, len(every)))
        varies = np.zeros(len(every), bool)
        for section in range(len(inputs.sections)):
            design = run(design_job(inputs, self.config, section), bar=False)
            gone = set(design.dropped)
            varies |= np.array([name not in gone for name in every.names], bool)
            cells = np.arange(len(design.cells))
            whole[design.cells] = replace(design, modulators=every).rows(cells)
        return whole, varies

    @property
    def train_df(self) -> pd.DataFrame:
        """The target and the design side by side, (n_obs, 1 + n_modulators)."""
        import pandas as pd

        kept = self._kept()
        return pd.DataFrame(
            np.column_stack((self._inputs.y, self._design[0][:, kept])),
            index=self.adata.obs_names,
            columns=[self.target_gene, *self._inputs.modulators.select(kept).names],
        )

    @cached_property
    def spatial_maps(self) -> Images:
        """Cells of each type around each cell, (n_obs, n_clusters, D, D), made when asked for.

        The window is centred on the cell and 2 · radius wide.
        """
        return density_maps(
            self._inputs.xy,
            self._types,
            np.arange(self._inputs.n_obs),
            extent=2 * self.config.radius,
            spatial_dim=self.config.spatial_dim,
            sections=self._sections,
        )

    @cached_property
    def spatial_features(self) -> pd.DataFrame:
        """Number of cells of each type within radius, (n_obs, n_clusters), scaled to 0 .. 1."""
        counts = neighbour_counts(
            self._inputs.xy, self._types, self.config.radius, sections=self._sections
        )
        counts.index = self.adata.obs_names
        low, high = counts.min(), counts.max()
        return (counts - low) / (high - low).replace(0.0, 1.0)

    @property
    def xy_df(self) -> pd.DataFrame:
        """The coordinates as a table with columns x and y."""
        import pandas as pd

        return pd.DataFrame(self.xy, index=self.adata.obs_names, columns=["x", "y"])

    @property
    def _types(self) -> pd.Categorical:
        import pandas as pd

        types: pd.Categorical = pd.Categorical.from_codes(
            self._inputs.cluster_codes, categories=pd.Index(self._labels)
        )
        return types

    @property
    def _sections(self) -> NDArray[np.intp] | None:
        return self._inputs.section_codes if len(self._inputs.sections) > 1 else None


def _unzip(pairs: tuple[tuple[str, str], ...]) -> tuple[list[str], list[str]]:
    return [first for first, _ in pairs], [second for _, second in pairs]
