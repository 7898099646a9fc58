"""A simulated tissue and its ground truth on one AnnData."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from celldyn import keys

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.dynamics import Dynamics
    from celldyn.simulate.simulation import Simulation

SCHEMA_VERSION = 2

_OBS = ("domain", "section", "scale", "prototype", "orientation", "nucleus_area", "cell_area")


def to_anndata(simulation: Simulation) -> AnnData:
    """Return the counts, the labels and every truth of a simulated tissue.

    Parameters
    ----------
    simulation
        A simulated tissue.

    Returns
    -------
    X: (n_cells, n_vars) counts, CSR float32. obs: cell_type, domain, section, scale, prototype,
    orientation (rad), nucleus_area and cell_area (µm²), and batch where there are batches.
    obsm["spatial"]: µm; obsm["nucleus_radii"], obsm["cell_radii"]: outlines. var: the gene table,
    with the mean and theta that named genes have by their specification (NaN for targets, whose
    mean varies from cell to cell). uns["truth"]: `schema_version`; `config` as JSON; `cells`, the
    obs names that the rows below belong to; `edges`, a table of source, target, kind and
    coefficient; `betas`, per target its `columns` and `values`, (n_cells, 1 + n_modulators)
    float32, and its `ligands` with what the cells `received` of them, (n_cells, n_ligands)
    float32; `technical`, every factor of the technical noise; `dynamics`, names of the fates and
    the equation. The truth of each cell's state stands in obs, obsm and layers under the keys
    `truth_...`; see `celldyn.keys`.
    """
    from anndata import AnnData

    from celldyn.data import set_section_key, set_unit
    from celldyn.simulate.measure.naming import known_names, row_names

    cells, shapes = simulation.cells, simulation.shapes
    names = row_names("cell", cells["cell_id"].tolist())
    obs = {"cell_type": cells["celltype"].array} | {name: cells[name].array for name in _OBS}
    with known_names():
        adata = AnnData(
            X=simulation.counts.astype(np.float32),
            obs=pd.DataFrame(obs, index=names),
            var=_gene_table(simulation),
            obsm={
                keys.SPATIAL(): cells[["x", "y"]].to_numpy(),
                keys.NUCLEUS_RADII(): shapes.nucleus,
                keys.CELL_RADII(): shapes.cell,
            },
        )
    set_unit(adata, 1.0)
    set_section_key(adata, "section")
    truth: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "config": json.dumps(simulation.config.model_dump(mode="json")),
        "cells": names.to_numpy(),
        "edges": true_edges(simulation.config),
        "betas": _betas(simulation),
    }
    _add_technical(adata, simulation, truth)
    if simulation.dynamics is not None:
        _add_dynamics(adata, simulation.dynamics, truth)
    for name, layer in simulation.expression.layers.items():
        adata.layers[name] = layer
    adata.uns[keys.TRUTH()] = truth
    return adata


def true_edges(config: SimulationConfig) -> pd.DataFrame:
    """Return what regulates what: source, target, kind and coefficient.

    The kind is "TF", "LR" (a pair ligand$receptor) or "L-TF" (a pair ligand#TF).
    """
    rows: list[tuple[str, str, str, float]] = []
    for target in config.targets:
        for kind, given in (
            ("TF", target.regulators),
            ("LR", target.ligand_receptor),
            ("L-TF", target.tf_ligand),
        ):
            rows += [(source, target.gene, kind, beta) for source, beta in given.items()]
    return pd.DataFrame(rows, columns=["source", "target", "kind", "coefficient"])


def _add_technical(adata: AnnData, simulation: Simulation, truth: dict[str, Any]) -> None:
    expression = simulation.expression
    factors = dict(expression.technical)
    if expression.effects is not None:
        factors |= expression.effects.truth()
        codes, names = factors.pop("batch"), factors.pop("batch_names")
        if len(names) > 1:
            adata.obs["batch"] = pd.Categorical.from_codes(codes, pd.Index(names))
    if expression.ambient is not None:
        adata.layers[keys.TRUTH_AMBIENT()] = expression.ambient
    spill = factors.pop("spill", None)
    if spill is not None:
        adata.obsp[keys.TRUTH_SPILL()] = spill
    if factors:
        truth["technical"] = factors


def _add_dynamics(adata: AnnData, dynamics: Dynamics, truth: dict[str, Any]) -> None:
    adata.obsm[keys.TRUTH_LATENT()] = dynamics.z
    adata.obsm[keys.TRUTH_VELOCITY()] = dynamics.velocity
    adata.obs[keys.TRUTH_POTENTIAL()] = dynamics.potential
    adata.obs[keys.TRUTH_TIME()] = dynamics.time
    adata.obs[keys.TRUTH_FATE()] = pd.Categorical.from_codes(
        dynamics.fate, pd.Index(dynamics.fate_names)
    )
    adata.obsm[keys.TRUTH_FATES()] = dynamics.fates
    adata.obs[keys.TRUTH_FATE_ENTROPY()] = dynamics.entropy
    names = pd.Index(dynamics.state_names)
    adata.obs[keys.TRUTH_STATE()] = pd.Categorical.from_codes(dynamics.state, names)
    drivers = dynamics.spec.drivers
    truth["dynamics"] = {
        "fate_names": np.array(dynamics.fate_names, dtype=str),
        "drivers": pd.DataFrame({"gene": list(drivers), "fate": list(drivers.values())}),
        "terminals": np.asarray(dynamics.landscape.terminals),
    }


def escaped(name: str) -> str:
    """Return a name that can be a key inside a file: "/" would make a folder of it."""
    return name.replace("/", "%2F")


def _betas(simulation: Simulation) -> dict[str, dict[str, Any]]:
    truth: dict[str, dict[str, Any]] = {}
    for gene, betas in simulation.true_betas.items():
        own = {"columns": np.array(betas.columns), "values": betas.values.astype(np.float32)}
        if betas.ligands:
            own["ligands"] = np.array(betas.ligands)
            own["received"] = betas.received.astype(np.float32)
        truth[escaped(gene)] = own
    return truth


def _gene_table(simulation: Simulation) -> pd.DataFrame:
    """Return the gene table with a row for every gene that is not in it, in the counts' order."""
    config, table = simulation.config, simulation.genes
    named = {gene.name: gene for gene in config.extra_genes}
    targets = {target.gene for target in config.targets}
    rows: list[dict[str, Any]] = []
    for name in simulation.gene_names[len(table) :]:
        row: dict[str, Any] = {"feature_name": name, "gene_type": "dynamic"}
        if name in targets:
            row["gene_type"] = "target"
        elif name in named:
            gene = named[name]
            row["gene_type"] = gene.kind
            for celltype in config.celltype_names:
                row[f"{celltype}_theta"] = gene.theta
                row[f"{celltype}_mu"] = gene.mu * gene.celltype_factor.get(celltype, 1.0)
        rows.append(row)
    if rows:
        more = pd.DataFrame(rows, columns=table.columns).astype(table.dtypes)
        more["gene_leakage"] = 0.0
        table = pd.concat([table, more], ignore_index=True)
    named_rows = table.set_index(pd.Index(table["feature_name"].to_numpy(), dtype=object))
    # A "/" in the name of a cell type would make a folder inside the file.
    columns = {name: str(name).replace("/", "_") for name in named_rows.columns}
    return named_rows.drop(columns="feature_name").rename(columns=columns)
