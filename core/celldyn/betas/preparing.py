"""Which modulators a gene may have, from the config and its tables of prior knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import BetasConfig, ModelConfig
from celldyn.betas.grn_factory import Regulatory, RegulatoryFactory
from celldyn.betas.inputs import BetasInputs, check_skipped, codes_of, read_inputs
from celldyn.betas.modulators import Modulators, choose_lr_pairs, choose_tfl_pairs
from celldyn.betas.names import NameMap, infer_species
from celldyn.data import find_gene
from celldyn.data.genes import matrix_of
from celldyn.data.ligand_receptor import explode_complexes, read_ligand_receptors
from celldyn.data.ligand_target import read_ligand_target
from celldyn.errors import ConfigError, DataError, PriorError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


@dataclass(frozen=True, slots=True)
class Found:
    """What a config comes to on a data set, before any expression is read.

    Parameters
    ----------
    target
        The modelled gene, as the data set spells it.
    species
        "mouse" or "human".
    modulators
        All that may modulate it.
    clusters, sections
        Names of the cell types and sections; one named "" where no column is given.
    notes
        What a person should know, in sentences.
    """

    target: str
    species: str
    modulators: Modulators
    clusters: tuple[str, ...]
    sections: tuple[str, ...]
    notes: tuple[str, ...] = ()


def prepare(
    adata: AnnData,
    config: BetasConfig,
    *,
    grn: Regulatory | None = None,
    lr: Path | str | pd.DataFrame | None = None,
    ligand_target: Path | str | pd.DataFrame | None = None,
) -> BetasInputs:
    """Check everything a fit needs, and read it; nothing is computed and nothing is written.

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
        If the GRN has no regulator of the gene, or a table cannot be used.
    ConfigError
        If no regulators and no GRN, or no ligand-receptor table, are given.
    DataError
        If values are missing or not finite.
    """
    grn = network_of(config, grn)
    found = find_modulators(adata, config, grn=grn, lr=lr, ligand_target=ligand_target)
    inputs = read_inputs(adata, config, found.target, found.species, found.modulators, found.notes)
    if not config.cluster_regulators:
        return inputs
    allowed = allowed_modulators(
        adata, config, found.target, found.modulators, found.clusters, grn
    )
    return replace(inputs, allowed=allowed)


def find_modulators(
    adata: AnnData,
    config: BetasConfig,
    *,
    grn: Regulatory | None = None,
    lr: Path | str | pd.DataFrame | None = None,
    ligand_target: Path | str | pd.DataFrame | None = None,
) -> Found:
    """Check everything but the values, and say what may modulate the gene.

    Takes and raises what `prepare` does; it reads no expression, so that it can be asked as
    often as a form changes.
    """
    if not adata.n_obs:
        raise DataError("the data set has no cells", "open one that has")
    names = NameMap(adata.var_names)
    target = find_gene(adata, config.target_gene)
    matrix_of(adata, config.layer)
    clusters = codes_of(adata, config.cluster_annot)[1]
    sections = codes_of(adata, config.section_key)[1]
    check_skipped(config, clusters)
    species = infer_species(adata.var_names) if config.species == "auto" else config.species
    grn = network_of(config, grn)
    modulators = Modulators(regulators_of(adata, config, target, grn))
    notes: tuple[str, ...] = ()
    if config.use_ligands:
        table = lr_table_of(config, lr, species)
        modulators = _with_lr(modulators, config, target, names, table)
        scores = config.ligand_target if ligand_target is None else ligand_target
        if scores is not None:
            matrix = read_ligand_target(scores)
            modulators = _with_tfl(modulators, config, target, names, matrix, adata, grn)
        if not modulators.lr:
            notes = ("No ligand-receptor pair of the table has both its genes in the data set.",)
    if not len(modulators):
        raise PriorError(
            f"nothing that could modulate {target} is in the data set",
            "give regulators, or a ligand-receptor table whose genes were measured",
        )
    return Found(target, species, modulators, clusters, sections, notes)


def allowed_modulators(
    adata: AnnData,
    config: ModelConfig,
    target: str,
    modulators: Modulators,
    clusters: Sequence[str],
    grn: Regulatory | None,
) -> NDArray[np.bool_]:
    """Return, (n_clusters, n_modulators), which modulators the network gives each cell type.

    Regulators and ligand-TF pairs follow the network of the cell type; ligand-receptor pairs and
    extra regulators are everybody's.

    Raises
    ------
    ConfigError
        If no network is given.
    PriorError
        If it says nothing of cell types.
    """
    if not isinstance(grn, RegulatoryFactory):
        raise ConfigError(
            "cluster_regulators needs a GRN that names the cell type of each link",
            "give colinks_path with a column cluster, or leave it off",
        )
    own = grn.get_cluster_regulators(adata, target)
    always = {find_gene(adata, gene) for gene in config.extra_regulators or ()}
    sources = [*modulators.regulators, *(None for _ in modulators.lr)]
    sources += [tf for _, tf in modulators.tfl]
    return np.array(
        [
            [tf is None or tf in always or tf in own.get(name, ()) for tf in sources]
            for name in clusters
        ],
        bool,
    )


def network_of(config: ModelConfig, grn: Regulatory | None) -> Regulatory | None:
    """Return the GRN that counts: none beside explicit regulators, else the object or the file."""
    if config.regulators is not None:
        return None
    if grn is None and config.colinks_path is not None:
        return RegulatoryFactory(
            config.colinks_path, annot=config.cluster_annot or "", alpha=config.alpha
        )
    return grn


def regulators_of(
    adata: AnnData, config: ModelConfig, target: str, grn: Regulatory | None
) -> tuple[str, ...]:
    """Return the regulators that a gene may have; raises as `prepare` does."""
    extra = [find_gene(adata, gene) for gene in config.extra_regulators or ()]
    if config.regulators is not None:
        found = [find_gene(adata, gene) for gene in config.regulators]
    elif grn is not None:
        found = list(grn.get_regulators(adata, target))
        if not found and not extra:
            raise PriorError(
                f"the GRN has no regulator of {target} that is in the data set",
                "give regulators or extra_regulators yourself, or choose another gene",
            )
    elif extra:
        found = []
    else:
        raise ConfigError(
            f"nothing says which genes regulate {target}",
            "give regulators, grn or colinks_path",
        )
    return tuple(dict.fromkeys(gene for gene in (*found, *extra) if gene != target))


def lr_table_of(
    config: ModelConfig, lr: Path | str | pd.DataFrame | None, species: str
) -> pd.DataFrame:
    """Return the ligand-receptor table that counts, complexes resolved; raises as `prepare`."""
    source = config.lr if lr is None else lr
    if source is None or (isinstance(source, str) and not source.strip()):
        raise ConfigError(
            "no ligand-receptor table is given",
            'give a table or "liana" as lr, or set use_ligands to False',
        )
    return explode_complexes(read_ligand_receptors(source, species), config.complexes)


def _with_lr(
    modulators: Modulators,
    config: ModelConfig,
    target: str,
    names: NameMap,
    table: pd.DataFrame,
) -> Modulators:
    pairs, radii = choose_lr_pairs(
        table,
        names,
        target,
        radius=config.radius,
        contact_distance=config.contact_distance,
        secreted=config.secreted_classes,
    )
    return replace(modulators, lr=pairs, radii=radii)


def _with_tfl(
    modulators: Modulators,
    config: ModelConfig,
    target: str,
    names: NameMap,
    matrix: pd.DataFrame,
    adata: AnnData,
    grn: Regulatory | None,
) -> Modulators:
    pairs = choose_tfl_pairs(
        matrix,
        names,
        target,
        modulators.regulators,
        modulators.radii,
        cutoff=config.tf_ligand_cutoff,
        adata=adata,
        grn=grn,
    )
    return replace(modulators, tfl=pairs)
