"""All that a fit reads, as checked arrays; read once, and without the AnnData."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.modulators import Modulators
from celldyn.betas.names import NameMap
from celldyn.data import coordinates, expression, labels, um_per_unit
from celldyn.errors import ConfigError, DataError

if TYPE_CHECKING:
    from anndata import AnnData

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

THRESHOLDS = "cell_thresholds"
"""uns key of an optional (n_obs, n_genes) table: above 0 where a ligand or receptor is active."""


@dataclass(frozen=True, slots=True, eq=False)
class BetasInputs:
    """What a fit reads, as arrays; it holds no AnnData.

    Parameters
    ----------
    target
        The modelled gene, as the data set spells it.
    species
        "mouse" or "human".
    modulators
        All that may modulate it.
    xy
        (n_obs, 2) coordinates, in µm where the data set gives their unit.
    y
        (n_obs,) expression of the target.
    features, expression
        Genes and complexes that are read, and their (n_obs, n_features) expression.
    active
        (n_obs, n_features), whether a ligand or receptor counts in a cell; None if all do.
    cluster_codes, clusters
        (n_obs,) code of each cell's cluster, and the clusters' names.
    section_codes, sections
        The same for sections; one section named "" if there are none.
    notes
        What a person should know, in sentences.
    allowed
        (n_clusters, n_modulators), whether a cluster may have a modulator; None if all may.
    """

    target: str
    species: str
    modulators: Modulators
    xy: Floats
    y: Floats
    features: tuple[str, ...]
    expression: Floats
    active: NDArray[np.bool_] | None
    cluster_codes: Ints
    clusters: tuple[str, ...]
    section_codes: Ints
    sections: tuple[str, ...]
    notes: tuple[str, ...] = ()
    allowed: NDArray[np.bool_] | None = None

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.y)


def check_skipped(config: ModelConfig, clusters: tuple[str, ...]) -> None:
    """Raise ConfigError if a cluster is to be skipped that is not there."""
    unknown = [name for name in config.skip_clusters if name not in clusters]
    if unknown:
        raise ConfigError(
            f"skip_clusters names {unknown[0]!r}, which is no label of {config.cluster_annot}",
            f"choose among {', '.join(clusters)}",
        )


def read_inputs(
    adata: AnnData,
    config: ModelConfig,
    target: str,
    species: str,
    modulators: Modulators,
    notes: tuple[str, ...] = (),
) -> BetasInputs:
    """Read the arrays of a model whose modulators are known; raises as `prepare` does."""
    names = NameMap(adata.var_names)
    cluster_codes, clusters = codes_of(adata, config.cluster_annot)
    section_codes, sections = codes_of(adata, config.section_key)
    features = modulators.features
    levels = read_levels(adata, names, [target, *features], config.layer)
    return BetasInputs(
        target=target,
        species=species,
        modulators=modulators,
        xy=np.ascontiguousarray(coordinates(adata) * (um_per_unit(adata) or 1.0)),
        y=levels[:, 0].copy(),
        features=tuple(features),
        expression=np.ascontiguousarray(levels[:, 1:]),
        active=active_features(adata, names, features),
        cluster_codes=cluster_codes,
        clusters=clusters,
        section_codes=section_codes,
        sections=sections,
        notes=notes,
    )


def codes_of(adata: AnnData, column: str | None) -> tuple[Ints, tuple[str, ...]]:
    """Return the codes and the names, of those that occur, of a column of labels."""
    if column is None:
        return np.zeros(adata.n_obs, np.intp), ("",)
    values = labels(adata, column)
    return values.codes.astype(np.intp), tuple(str(name) for name in values.categories)


def read_levels(adata: AnnData, names: NameMap, features: list[str], layer: str | None) -> Floats:
    """Return the (n_obs, n_features) expression; that of a complex is its scarcest sub-unit's.

    Raises
    ------
    DataError
        If a value is not finite; it names the gene.
    """
    genes = list(dict.fromkeys(gene for name in features for gene in names.parts(name)))
    levels = np.ascontiguousarray(expression(adata, genes, layer), dtype=np.float64)
    finite = np.isfinite(levels).all(axis=0)
    if not finite.all():
        raise DataError(
            f"the expression of {genes[int(np.argmin(finite))]} has values that are not finite",
            "choose another layer or gene",
        )
    return _per_feature(levels, {gene: i for i, gene in enumerate(genes)}, names, features)


def _per_feature(
    levels: NDArray[Any], at: Mapping[str, int], names: NameMap, features: list[str]
) -> NDArray[Any]:
    """Return one column per feature: of its gene, or the minimum over its sub-units."""
    first = levels[:, [at[names.parts(name)[0]] for name in features]]
    for column, name in enumerate(features):
        for part in names.parts(name)[1:]:
            np.minimum(first[:, column], levels[:, at[part]], out=first[:, column])
    return np.ascontiguousarray(first)


def active_features(
    adata: AnnData, names: NameMap, features: list[str]
) -> NDArray[np.bool_] | None:
    """Return, (n_obs, n_features), where ligands and receptors are active; None if everywhere.

    Raises
    ------
    DataError
        If `uns["cell_thresholds"]` is there but is no table.
    """
    import pandas as pd

    table = adata.uns.get(THRESHOLDS)
    if table is None:
        return None
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"uns[{THRESHOLDS!r}] is a {type(table).__name__}, not a table of cells and genes",
            "make it a DataFrame or remove it",
        )
    genes = sorted({gene for name in features for gene in names.parts(name)})
    # A gene that the table lacks is active nowhere.
    known = table.reindex(index=adata.obs_names, columns=genes).fillna(0.0).to_numpy() > 0
    return _per_feature(known, {gene: i for i, gene in enumerate(genes)}, names, features)
