"""Which transcription factors regulate a gene, looked up in a network of links."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.names import NameMap
from celldyn.data.grn import read_grn
from celldyn.errors import ConfigError, PriorError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


_Spellings: TypeAlias = tuple[NDArray[Any], NDArray[Any]]


class Regulatory(Protocol):
    """Anything that knows the regulators of a gene."""

    def get_regulators(self, adata: AnnData, gene: str) -> list[str]:
        """Return the regulators of a gene that are in the data set."""
        ...


class RegulatoryFactory:
    """Looks up the transcription factors of a gene in a gene regulatory network.

    Parameters
    ----------
    colinks_path
        CSV, TSV or Parquet file with the columns source and target, and optionally cluster,
        coef_mean and p.
    links
        The same as a table, or CellOracle's links: one table per cluster.
    annot
        obs column whose labels are the clusters of the links.
    alpha
        A link counts if its p is below this; links without p always count.

    Raises
    ------
    ConfigError
        If not exactly one of `colinks_path` and `links` is given.
    PriorError
        If the links cannot be read.
    """

    def __init__(
        self,
        colinks_path: Path | str | None = None,
        links: pd.DataFrame | Mapping[Any, pd.DataFrame] | None = None,
        annot: str = "cell_type_int",
        *,
        alpha: float = 0.05,
    ) -> None:
        source = colinks_path if links is None else links
        if source is None or (links is not None and colinks_path is not None):
            raise ConfigError(
                "a regulatory network needs exactly one of colinks_path and links", "give one"
            )
        self.annot = annot
        self.alpha = alpha
        self.links = read_grn(source)
        self._rows = self.links.groupby("target", sort=False).indices
        self._known: tuple[Any, NameMap, _Spellings | None] | None = None

    @cached_property
    def _targets(self) -> dict[str, list[str]]:
        """Targets by folded name."""
        targets: dict[str, list[str]] = {}
        for target in self._rows:
            targets.setdefault(str(target).casefold(), []).append(str(target))
        return targets

    def get_regulators(self, adata: AnnData, gene: str, alpha: float | None = None) -> list[str]:
        """Return the regulators of a gene, of all clusters together, in alphabetical order.

        Parameters
        ----------
        adata
            Only genes in its `var_names` are returned, and never the gene itself. Names are
            matched exactly; where that finds none, case-free.
        gene
            The regulated gene.
        alpha
            Largest p (exclusive) of a link; the factory's by default.
        """
        spellings = self._sources_in(adata)
        for targets in ([gene], self._targets.get(gene.casefold(), [])):
            rows = self._significant_rows(targets, alpha)
            for sources in spellings:
                found = set(sources[rows].tolist()) - {None}
                if found:
                    return sorted(found - {gene})
        return []

    def get_cluster_regulators(
        self, adata: AnnData, gene: str, alpha: float | None = None
    ) -> dict[str, list[str]]:
        """Return the regulators of a gene for each cluster of the network.

        Clusters are text. Labels of `adata.obs[annot]` that the network lacks have none.

        Raises
        ------
        PriorError
            If the network has no clusters.
        """
        if "cluster" not in self.links:
            raise PriorError("the GRN has no column cluster", "use get_regulators")
        links = self._links_of(adata, gene, alpha)
        clusters = set(self.links["cluster"])
        if self.annot in adata.obs:
            clusters |= set(adata.obs[self.annot].dropna().astype(str))
        sources = links["source"].groupby(links["cluster"]).agg(set).to_dict()
        return {name: sorted(sources.get(name, set()) - {gene}) for name in sorted(clusters)}

    def _links_of(self, adata: AnnData, gene: str, alpha: float | None) -> pd.DataFrame:
        names = self._names_of(adata)
        exact = self._significant([gene], alpha)
        found = names.rows(exact, ["source"])
        if len(found):
            return found
        return names.rows(
            self._significant(self._targets.get(gene.casefold(), []), alpha), ["source"]
        )

    def _significant(self, targets: list[str], alpha: float | None) -> pd.DataFrame:
        return self.links.iloc[self._significant_rows(targets, alpha)]

    def _significant_rows(self, targets: list[str], alpha: float | None) -> NDArray[np.intp]:
        held = [self._rows[target] for target in targets if target in self._rows]
        rows = np.concatenate([np.empty(0, np.intp), *held]).astype(np.intp)
        if self._p is None:
            return rows
        return rows[~(self._p[rows] >= (self.alpha if alpha is None else alpha))]

    @cached_property
    def _p(self) -> NDArray[np.float64] | None:
        return self.links["p"].to_numpy(np.float64) if "p" in self.links else None

    def _names_of(self, adata: AnnData) -> NameMap:
        """Return the data set's names; kept, since one fit asks for hundreds of genes."""
        index = adata.var_names
        if self._known is None or self._known[0] is not index:
            self._known = (index, NameMap(index), None)
        return self._known[1]

    def _sources_in(self, adata: AnnData) -> _Spellings:
        """Return the source of each link as the data set spells it, exactly and case-free.

        It is None where the data set lacks the gene.
        """
        names = self._names_of(adata)
        assert self._known is not None
        if self._known[2] is None:
            codes, unique = self.links["source"].factorize()
            spelt = [
                np.array([names.find(str(name), case_free=free) for name in unique], dtype=object)
                for free in (False, True)
            ]
            self._known = (*self._known[:2], (spelt[0][codes], spelt[1][codes]))
        spellings = self._known[2]
        assert spellings is not None
        return spellings
