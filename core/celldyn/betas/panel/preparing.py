"""Which genes of a tissue can be modelled, and what all of them read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.grn_factory import Regulatory
from celldyn.betas.inputs import active_features, check_skipped, codes_of, read_levels
from celldyn.betas.modulators import Modulators
from celldyn.betas.names import NameMap, infer_species
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.finding import Finder
from celldyn.betas.panel.inputs import PanelInputs, Target, Union
from celldyn.data import coordinates, find_gene, um_per_unit
from celldyn.data.genes import columns_of, matrix_of
from celldyn.errors import PriorError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

DOUBLE_BYTES = 1 << 31
"""Expression and received signal are kept in float64 up to this size, beyond it in float32."""

_GENES_AT_ONCE = 256
_NO_PAIRS = "No ligand-receptor pair of the table has both its genes in the data set."
_PROPOSED = (
    "Regulators are genes that vary with the target in these very cells, and no known ones; "
    "held-out scores flatter them."
)


def prepare_panel(
    adata: AnnData,
    config: PanelConfig,
    *,
    grn: Regulatory | None = None,
    lr: Path | str | pd.DataFrame | None = None,
    ligand_target: Path | str | pd.DataFrame | None = None,
) -> PanelInputs:
    """Find the genes that can be modelled, and read what they need; nothing is computed.

    A gene that is constant, has values that are not finite, or has nothing to be modelled from is
    left out and named in `PanelInputs.skipped`. Tables of prior knowledge are parsed once.

    Parameters
    ----------
    adata
        (n_obs, n_vars) with coordinates in `obsm["spatial"]`.
    config
        The parameters.
    grn, lr, ligand_target
        Objects or tables that take the place of the config's files.

    Raises
    ------
    MissingKeyError
        If a gene, layer or column is not in the data set.
    PriorError
        If a table cannot be used, or no gene is left to be modelled.
    ConfigError
        If nothing says what regulates a gene, or no ligand-receptor table is given.
    DataError
        If values that are read are missing or not finite.
    """
    names = NameMap(adata.var_names)
    matrix = matrix_of(adata, config.layer)
    clusters, sections = (
        codes_of(adata, key) for key in (config.cluster_annot, config.section_key)
    )
    check_skipped(config, clusters[1])
    species = infer_species(adata.var_names) if config.species == "auto" else config.species
    genes, skipped = _usable(adata, config, matrix)
    finder = Finder(adata, config, names, species, genes, grn, lr, ligand_target)
    found = _choose(config, genes, finder, skipped)
    notes: tuple[str, ...] = (_PROPOSED,) if finder.proposes else ()
    if config.use_ligands and not any(modulators.lr for _, modulators in found):
        notes += (_NO_PAIRS,)
    union, columns = Union.of([modulators for _, modulators in found])
    features = sorted({*union.features, *(gene for gene, _ in found)})
    targets = tuple(
        Target(gene, m, at, finder.proposes, finder.allowed(gene, m, clusters[1]))
        for (gene, m), at in zip(found, columns, strict=True)
    )
    return PanelInputs(
        targets=targets,
        skipped=tuple(skipped),
        species=species,
        union=union,
        xy=np.ascontiguousarray(coordinates(adata) * (um_per_unit(adata) or 1.0)),
        features=tuple(features),
        levels=_read(adata, names, features, config.layer, matrix),
        active=active_features(adata, names, features),
        cluster_codes=clusters[0],
        clusters=clusters[1],
        section_codes=sections[0],
        sections=sections[1],
        obs_names=tuple(map(str, adata.obs_names)),
        notes=notes,
    )


def _usable(
    adata: AnnData,
    config: PanelConfig,
    matrix: Any,  # noqa: ANN401
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the genes whose expression can be modelled, in their order, and the others."""
    asked = config.genes if config.genes is not None else list(map(str, adata.var_names))
    genes = (
        list(dict.fromkeys(find_gene(adata, name) for name in asked)) if config.genes else asked
    )
    kept, dispersion, skipped = [], [], []
    for gene, values in _values_of(adata, genes, matrix):
        if not np.isfinite(values).all():
            skipped.append((gene, "its expression has values that are not finite"))
        elif not np.ptp(values):
            skipped.append((gene, "its expression is the same in every cell"))
        else:
            kept.append(gene)
            dispersion.append(values.var() / max(abs(values.mean()), 1e-12))
    if config.order == "variable":
        kept = [kept[i] for i in np.argsort(-np.array(dispersion), kind="stable")]
    return kept, skipped


def _values_of(
    adata: AnnData,
    genes: list[str],
    matrix: Any,  # noqa: ANN401
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    places = adata.var_names.get_indexer(genes)
    for start in range(0, len(genes), _GENES_AT_ONCE):
        block = columns_of(matrix, places[start : start + _GENES_AT_ONCE])
        yield from zip(genes[start : start + _GENES_AT_ONCE], block.T, strict=True)


def _choose(
    config: PanelConfig, genes: list[str], finder: Finder, skipped: list[tuple[str, str]]
) -> list[tuple[str, Modulators]]:
    """Return the targets with their modulators, as many as are wanted.

    Those without any are added to `skipped`; PriorError is raised if no gene is left.
    """
    ranks = config.order in ("quick", "regulated")
    found: list[tuple[str, Modulators]] = []
    for gene in genes:
        if not ranks and len(found) == config.max_genes:
            break
        try:
            found.append((gene, finder.of(gene)))
        except PriorError as error:
            skipped.append((gene, error.problem))
    if not found:
        gene, reason = skipped[0] if skipped else ("none", "the data set has no genes")
        raise PriorError(
            f"no gene can be modelled ({gene}: {reason})",
            "choose other genes, or give other regulators",
        )
    if config.order == "quick":
        found.sort(key=lambda item: len(item[1]))
    elif config.order == "regulated":
        found.sort(key=lambda item: -len(item[1].regulators))
    return found[: config.max_genes]


def _read(
    adata: AnnData,
    names: NameMap,
    features: list[str],
    layer: str | None,
    matrix: Any,  # noqa: ANN401
) -> NDArray[np.floating]:
    levels = read_levels(adata, names, features, layer)
    exact = np.dtype(matrix.dtype) == np.float32 or np.dtype(matrix.dtype).itemsize < 4
    return levels.astype(np.float32) if exact or levels.nbytes > DOUBLE_BYTES else levels
