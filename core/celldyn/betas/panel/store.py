"""The store of a panel: a zarr folder beside the data set, one group a gene."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.betas.field import BetaField, modulators_of
from celldyn.betas.inputs import Ints
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.fingerprint import fingerprint
from celldyn.betas.panel.inputs import PanelInputs
from celldyn.betas.panel.record import GeneRecord, mean_scores
from celldyn.betas.panel.root import GENES, is_store, read_root, write_root
from celldyn.betas.panel.stored import (
    damage,
    folder_of,
    gene_of,
    read_gene,
    read_info,
    write_gene,
)
from celldyn.betas.results import BetasResult, ClusterFit, spread
from celldyn.betas.stored import fits_of
from celldyn.errors import ConfigError, MissingKeyError

if TYPE_CHECKING:
    import pandas as pd

_ABANDONED_S = 60.0
"""A gene takes no longer to be written."""


class BetaStore(Mapping[str, BetaField]):
    """The betas of many genes on disk, read gene by gene: a mapping from genes to fields.

    `BetaStore.create` begins a store or goes on with one, `BetaStore.open` reads one.

    Parameters
    ----------
    path
        The folder.
    writable
        Whether genes may be added.

    Raises
    ------
    FileFormatError
        If the folder is no such store, or is damaged.
    """

    def __init__(self, path: Path | str, *, writable: bool = False) -> None:
        self.path = Path(path)
        self._writable = writable
        self._root = read_root(self.path)

    @classmethod
    def open(cls, path: Path | str) -> BetaStore:
        """Open a store to read it."""
        return cls(path)

    @classmethod
    def create(
        cls,
        path: Path | str,
        inputs: PanelInputs,
        config: PanelConfig,
        *,
        overwrite: bool = False,
    ) -> BetaStore:
        """Begin a store for a panel, or go on with the one that is there.

        Parameters
        ----------
        path
            The folder; its name should end in ".zarr".
        inputs, config
            What the panel is fitted on, and how.
        overwrite
            Whether a store that is there is replaced, whatever it holds.

        Raises
        ------
        ConfigError
            If the folder holds the store of other cells or another model, or something else.
        """
        path = Path(path)
        if path.exists() and (path.is_file() or any(path.iterdir())):
            if not is_store(path):
                raise ConfigError(
                    f"{path} is there and is no store of betas", "name another folder"
                )
            if not overwrite:
                store = cls(path, writable=True)
                if store._root.fingerprint != fingerprint(inputs, config):
                    raise ConfigError(
                        f"{path.name} holds betas of other cells or of another model",
                        "name another folder, or overwrite it",
                    )
                store._sweep()
                return store
        write_root(path, inputs, config)
        return cls(path, writable=True)

    @property
    def config(self) -> PanelConfig:
        """The parameters that it was begun with."""
        return self._root.config

    @property
    def species(self) -> str:
        """Species of the gene names: "mouse" or "human"."""
        return self._root.species

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters."""
        return self._root.clusters

    @property
    def sections(self) -> tuple[str, ...]:
        """Names of the sections; one named "" where there are none."""
        return self._root.sections

    @property
    def obs_names(self) -> tuple[str, ...]:
        """(n_obs,) names of the cells."""
        return self._root.obs_names

    @property
    def fit_of_cell(self) -> Ints:
        """(n_obs,) row of the coefficients that each cell has."""
        return self._root.fit_of_cell

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """(gene, why) of those that could not be modelled when the store was begun."""
        return self._root.skipped

    @property
    def genes(self) -> list[str]:
        """The genes that are finished, in alphabetical order."""
        home = self.path / GENES
        folders = [item.name for item in home.iterdir()] if home.is_dir() else []
        return sorted(
            gene_of(name)
            for name in folders
            if not name.startswith(".") and (home / name / "zarr.json").is_file()
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.genes)

    def __len__(self) -> int:
        return len(self.genes)

    def __contains__(self, gene: object) -> bool:
        return isinstance(gene, str) and (self._folder(gene) / "zarr.json").is_file()

    def __getitem__(self, gene: str) -> BetaField:
        return self.field(gene)

    def write(self, record: GeneRecord) -> None:
        """Add a gene; it is there whole or not at all."""
        if not self._writable:
            raise ConfigError(f"{self.path.name} was opened to read", "use BetaStore.create")
        folder = self._folder(record.gene)
        if folder.exists() and record.gene not in self.genes:
            raise ConfigError(
                f"this disk does not tell {record.gene} from a gene that differs in case",
                "write the store on another disk, or leave one of them out",
            )
        write_gene(folder, record)

    def digest(self, gene: str) -> str:
        """Return what a gene was fitted on, as a digest."""
        return str(self._info(gene).get("digest", ""))

    def field(self, gene: str) -> BetaField:
        """Return the betas of a gene, compact where they do not vary.

        Raises
        ------
        MissingKeyError
            If the store has not this gene.
        FileFormatError
            If it is damaged.
        """
        record = self._read(gene)
        result = record.result
        modulators = modulators_of(result)
        return BetaField(
            gene, modulators, result.coefficients, self._root.fit_of_cell, record.dense
        )

    def result(self, gene: str) -> BetasResult:
        """Return the result of a gene, the betas of every cell included; raises as `field`."""
        record = self._read(gene)
        if record.dense is not None:
            return replace(record.result, values=record.dense.astype(np.float64))
        values = spread(record.result.coefficients, self._root.fit_of_cell)
        return replace(record.result, values=values)

    def betas(self, gene: str) -> pd.DataFrame:
        """Return the (n_obs, 1 + n_modulators) betas of a gene as a table; raises as `field`."""
        import pandas as pd

        result = self.result(gene)
        return pd.DataFrame(result.values, index=list(self.obs_names), columns=result.columns)

    def fits(self, gene: str) -> tuple[ClusterFit, ...]:
        """Return how the models of a gene fared, by section and cluster; raises as `field`."""
        return self._fits(gene)

    def scores(self) -> pd.DataFrame:
        """Return one row per gene, section and cluster: gene, then the columns of `ClusterFit`."""
        import pandas as pd

        names = [name for name in ClusterFit.__slots__ if name != "status"] + ["status"]
        rows = [
            [gene, *(getattr(fit, name) for name in names)]
            for gene in self.genes
            for fit in self._fits(gene)
        ]
        return pd.DataFrame(rows, columns=["gene", *names])

    def gene_table(self) -> pd.DataFrame:
        """Return one row per gene, the best predicted first.

        Columns: gene, r2, heldout_r2 (means over cells), n_fitted (models that were kept),
        n_models, n_modulators, seconds.
        """
        import pandas as pd

        rows = []
        for gene in self.genes:
            info, fits = self._info(gene), self._fits(gene)
            fitted = sum(fit.status == "fitted" for fit in fits)
            width = len(json.loads(info["modulators"]))
            rows.append(
                [gene, *mean_scores(fits), fitted, len(fits), width, float(info["seconds"])]
            )
        names = ["gene", "r2", "heldout_r2", "n_fitted", "n_models", "n_modulators", "seconds"]
        table = pd.DataFrame(rows, columns=names)
        return table.sort_values(
            ["heldout_r2", "r2"], ascending=False, kind="stable", ignore_index=True
        )

    def _folder(self, gene: str) -> Path:
        return self.path / GENES / folder_of(gene)

    def _info(self, gene: str) -> dict[str, Any]:
        if gene not in self:
            raise MissingKeyError(
                f"{self.path.name} has no betas of {gene}", "fit it, or choose one of its genes"
            )
        return read_info(self._folder(gene))

    def _fits(self, gene: str) -> tuple[ClusterFit, ...]:
        with damage(self.path, gene):
            return fits_of(self._info(gene))

    def _read(self, gene: str) -> GeneRecord:
        if gene not in self:
            self._info(gene)
        return read_gene(self._folder(gene), len(self.obs_names), self._root.n_fits)

    def _sweep(self) -> None:
        """Remove what a killed run left unfinished, but nothing that another may be writing."""
        for folder in (self.path / GENES).glob(".*"):
            if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
