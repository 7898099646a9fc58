"""Which transcription factors regulate a gene, looked up in a network of links."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from celldyn.betas.names import NameMap
from celldyn.data.grn import read_grn
from celldyn.errors import ConfigError, PriorError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


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
        self._known: tuple[Any, NameMap] | None = None

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
        links = self._links_of(adata, gene, alpha)
        return sorted(set(links["source"]) - {gene})

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
        rows = [row for target in targets for row in self._rows.get(target, ())]
        links = self.links.iloc[rows]
        if "p" not in links:
            return links
        return links[~(links["p"] >= (self.alpha if alpha is None else alpha))]

    def _names_of(self, adata: AnnData) -> NameMap:
        """Return the data set's names; kept, since one fit asks for hundreds of genes."""
        index = adata.var_names
        if self._known is None or self._known[0] is not index:
            self._known = (index, NameMap(index))
        return self._known[1]
