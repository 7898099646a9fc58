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
    from celldyn.simulate.simulator import SpotlessSimulator

SCHEMA_VERSION = 1


def to_anndata(simulator: SpotlessSimulator) -> AnnData:
    """Return the counts, the labels and every truth of a simulated tissue.

    Parameters
    ----------
    simulator
        After `simulate_counts`.

    Returns
    -------
    X: (n_cells, n_genes) counts, CSR float32. obs: cell_type, domain, section, scale.
    obsm["spatial"]: µm. var: the gene table, with the mean and theta that named genes have by
    their specification (NaN for targets, whose mean varies from cell to cell). uns["truth"]:
    `schema_version`; `config` as JSON; `cells`, the obs names that the rows below belong to;
    `edges`, a table of source, target, kind and coefficient; `betas`, per target its `columns`
    and `values`, (n_cells, 1 + n_modulators) float32.

    Raises
    ------
    NotFittedError
        Before `simulate_counts`.
    """
    from anndata import AnnData

    from celldyn.data import set_section_key, set_unit

    counts, cells = simulator.counts, simulator.cell_gdf
    names = pd.Index([f"cell_{i}" for i in cells["cell_id"]])
    obs = cells.rename(columns={"celltype": "cell_type"}).set_index(names)
    adata = AnnData(
        X=counts.astype(np.float32),
        obs=obs[["cell_type", "domain", "section", "scale"]],
        var=_gene_table(simulator),
        obsm={keys.SPATIAL(): cells[["x", "y"]].to_numpy()},
    )
    set_unit(adata, 1.0)
    set_section_key(adata, "section")
    adata.uns[keys.TRUTH()] = {
        "schema_version": SCHEMA_VERSION,
        "config": json.dumps(simulator.config.model_dump(mode="json")),
        "cells": names.to_numpy(dtype=str),
        "edges": true_edges(simulator.config),
        "betas": _betas(simulator),
    }
    return adata


def true_edges(config: SimulationConfig) -> pd.DataFrame:
    """Return what regulates what: source, target, kind ("TF" or "LR") and coefficient."""
    rows: list[tuple[str, str, str, float]] = []
    for target in config.targets:
        for kind, given in (("TF", target.regulators), ("LR", target.ligand_receptor)):
            rows += [(source, target.gene, kind, beta) for source, beta in given.items()]
    return pd.DataFrame(rows, columns=["source", "target", "kind", "coefficient"])


def _betas(simulator: SpotlessSimulator) -> dict[str, dict[str, Any]]:
    return {
        gene: {"columns": np.array(betas.columns), "values": betas.values.astype(np.float32)}
        for gene, betas in simulator.true_betas.items()
    }


def _gene_table(simulator: SpotlessSimulator) -> pd.DataFrame:
    config = simulator.config
    rows: list[dict[str, Any]] = []
    for gene in config.extra_genes:
        row: dict[str, Any] = {"feature_name": gene.name, "gene_type": gene.kind}
        for celltype in config.celltype_names:
            row[f"{celltype}_theta"] = gene.theta
            row[f"{celltype}_mu"] = gene.mu * gene.celltype_factor.get(celltype, 1.0)
        rows.append(row)
    rows += [{"feature_name": target.gene, "gene_type": "target"} for target in config.targets]
    table = simulator.gpar_df
    if rows:
        named = pd.DataFrame(rows, columns=table.columns).astype(table.dtypes)
        named["gene_leakage"] = 0.0
        table = pd.concat([table, named], ignore_index=True)
    return table.set_index(pd.Index(table["feature_name"].to_numpy(), dtype=object)).drop(
        columns="feature_name"
    )
