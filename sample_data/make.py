"""Make the sample tissues with celldyn's simulator: python sample_data/make.py [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celldyn.persist import atomic_path
from celldyn.simulate import (
    DynamicsSpec,
    GeneSpec,
    SimulationConfig,
    SpotlessSimulator,
    TargetSpec,
)

if TYPE_CHECKING:
    from anndata import AnnData

SECRETED, CONTACT = "Secreted Signaling", "Cell-Cell Contact"


def two_niches() -> AnnData:
    """Return one section with two niches in a stroma, and three targets of known regulation."""
    config = SimulationConfig(
        n_cells=3000,
        size_factor="lognormal",
        n_celltype=4,
        n_genes=60,
        n_markers=8,
        seed=7,
        marker_mu=3.0,
        hk_mu=1.0,
        theta_mu=4.0,
        theta_cv=0.4,
        celltype_labels=["Tumour", "Macrophage", "Fibroblast", "Endothelial"],
        celltype_proportion=[0.35, 0.25, 0.25, 0.15],
        n_domains=3,
        domain_labels=["tumour niche", "immune niche", "stroma"],
        domain_purity=0.75,
        extra_genes=[*_factors(), *_ligands(), *_receptors()],
        targets=_targets(),
    )
    return _ready_for_regression(_simulated(config))


def three_sections() -> AnnData:
    """Return three sections in one table; their coordinates overlap."""
    config = SimulationConfig(
        n_cells=1500,
        size_factor="lognormal",
        n_celltype=3,
        n_genes=60,
        n_markers=10,
        seed=11,
        marker_mu=3.0,
        hk_mu=1.0,
        celltype_labels=["Epithelial", "Fibroblast", "T cell"],
        celltype_proportion=[0.5, 0.3, 0.2],
        n_sections=3,
        n_domains=2,
        domain_labels=["epithelium", "stroma"],
    )
    return _ready_for_regression(_simulated(config))


def layered_tissue() -> AnnData:
    """Return one section in four layers, one gene changing smoothly across all of them."""
    config = SimulationConfig(
        n_cells=2000,
        size_factor="lognormal",
        n_celltype=5,
        n_genes=70,
        n_markers=8,
        seed=13,
        marker_mu=3.0,
        hk_mu=1.0,
        celltype_labels=["Upper", "Middle", "Lower", "Deep", "Glia"],
        celltype_proportion=[0.22, 0.22, 0.22, 0.22, 0.12],
        canvas_size=(700.0, 450.0),
        n_domains=4,
        domain_pattern="layers",
        domain_labels=["layer 1", "layer 2", "layer 3", "layer 4"],
        domain_purity=0.9,
        extra_genes=[
            GeneSpec(name="Wave1", mu=5.0, theta=10.0, field_strength=0.8, field_length_um=120.0)
        ],
    )
    return _ready_for_regression(_simulated(config))


def two_fates() -> AnnData:
    """Return one section whose cells come from a progenitor on the left to one of two fates."""
    config = SimulationConfig(
        n_cells=1200,
        size_factor="lognormal",
        n_celltype=3,
        n_genes=30,
        n_markers=3,
        seed=17,
        hk_mu=2.0,
        celltype_labels=["Progenitor", "Erythroid", "Monocyte"],
        canvas_size=(600.0, 300.0),
        dynamics=DynamicsSpec(
            potential="tree",
            n_fates=2,
            n_dims=3,
            sigma=0.25,
            n_genes=60,
            gene_mu=2.5,
            drivers_per_fate=4,
            driver_tilt=0.4,
            time_from="x",
            defines_celltypes=True,
        ),
    )
    return _simulated(config)


def gene_fields() -> AnnData:
    """Return one section whose genes are smooth waves over space, so that places can be told.

    Expression of gene k at a place x, in mm, is 2.5 + sin(w_k · x + p_k) + N(0, 0.3²), with
    w_k ~ N(0, 8²) per axis and p_k uniform. 200 of the 600 cells are marked to be held out.
    """
    from anndata import AnnData as Tissue

    rng = np.random.default_rng(0)
    n_cells, n_genes, n_held = 600, 40, 200
    place = rng.random((n_cells, 2)) / 2
    waves, phase = rng.normal(0, 8, (2, n_genes)), rng.random(n_genes) * 2 * np.pi
    level = 2.5 + np.sin(place @ waves + phase) + rng.normal(0, 0.3, (n_cells, n_genes))
    x, y = (place - 0.25).T
    wedge = np.where(np.abs(x) > np.abs(y), np.where(x > 0, "East", "West"),
                     np.where(y > 0, "South", "North"))  # fmt: skip
    held = np.zeros(n_cells, bool)
    held[rng.permutation(n_cells)[:n_held]] = True
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(wedge),
            "split": pd.Categorical(np.where(held, "held out", "train")),
        },
        index=[f"cell_{k}" for k in range(n_cells)],
    )
    genes = pd.DataFrame(index=[f"Wave{k}" for k in range(n_genes)])
    adata = Tissue(np.maximum(level, 0.0).astype(np.float32), obs=obs, var=genes)
    adata.obsm["spatial"] = 1000.0 * place
    adata.uns["truth"] = {"waves_per_mm": waves, "phase": phase}
    adata.uns["celldyn"] = {"spatial_unit": "um", "um_per_unit": 1.0}
    return adata


def grn() -> pd.DataFrame:
    """Return the true links of `two_niches`, with links that are false, per cell type."""
    false = [("Tf6", "Target1"), ("Tf4", "Target1"), ("Tf6", "Target2"), ("Tf2", "Target3")]
    rows = []
    for cluster in ("Tumour", "Macrophage", "Fibroblast", "Endothelial"):
        for spec in _targets():
            factor = spec.celltype_factor.get(cluster, 1.0)
            rows += [
                (source, spec.gene, cluster, round(beta * factor, 4), 1e-6)
                for source, beta in spec.regulators.items()
                if factor
            ]
        rows += [(source, target, cluster, 0.05, 0.02) for source, target in false]
    return pd.DataFrame(rows, columns=["source", "target", "cluster", "coef_mean", "p"])


def ligand_receptor() -> pd.DataFrame:
    """Return the true ligand-receptor pairs of `two_niches`, and decoys."""
    rows = [
        ("Lig1", "Rec1", "PATHWAY1", SECRETED),
        ("Lig2", "Rec2", "PATHWAY2", SECRETED),
        ("Lig3", "Rec3", "PATHWAY3", CONTACT),
        ("Lig1", "Rec2", "DECOY1", SECRETED),
        ("Lig2", "Rec3", "DECOY2", SECRETED),
        ("Lig3", "Rec1", "DECOY3", CONTACT),
    ]
    return pd.DataFrame(rows, columns=["ligand", "receptor", "pathway", "signaling"])


def write_all(folder: Path) -> None:
    """Write every sample into a folder."""
    for make in (two_niches, three_sections, layered_tissue, two_fates, gene_fields):
        with atomic_path(folder / f"{make.__name__}.h5ad") as draft:
            make().write_h5ad(draft, compression="gzip", compression_opts=9)
    for table in (grn, ligand_receptor):
        with atomic_path(folder / f"{table.__name__}.csv") as draft:
            table().to_csv(draft, index=False, lineterminator="\n")


def _factors() -> list[GeneSpec]:
    common = {"theta": 3.0, "kind": "transcription factor", "field_strength": 0.3}
    means = (8.0, 6.0, 8.0, 6.0, 8.0, 7.0)
    return [GeneSpec(name=f"Tf{i}", mu=mu, **common) for i, mu in enumerate(means, start=1)]


def _ligands() -> list[GeneSpec]:
    common = {"mu": 4.0, "theta": 5.0, "kind": "ligand", "field_strength": 0.6}
    homes = (
        {"tumour niche": 2.5, "immune niche": 0.5},
        {"immune niche": 2.5, "stroma": 0.5},
        {"stroma": 2.0, "tumour niche": 0.5},
    )
    return [
        GeneSpec(name=f"Lig{i}", domain_factor=home, **common)
        for i, home in enumerate(homes, start=1)
    ]


def _receptors() -> list[GeneSpec]:
    return [GeneSpec(name=f"Rec{i}", mu=5.0, theta=5.0, kind="receptor") for i in (1, 2, 3)]


def _targets() -> list[TargetSpec]:
    return [
        TargetSpec(
            gene="Target1",
            intercept=3.0,
            regulators={"Tf1": 0.9, "Tf2": 0.5},
            ligand_receptor={"Lig1$Rec1": 0.12},
            celltype_factor={"Endothelial": 0.0},
            field_strength=0.25,
        ),
        TargetSpec(
            gene="Target2",
            intercept=8.0,
            regulators={"Tf3": 0.9, "Tf4": -0.4},
            ligand_receptor={"Lig2$Rec2": 0.15},
            celltype_factor={"Macrophage": 0.0},
            domain_factor={"stroma": 0.7},
            field_strength=0.2,
        ),
        TargetSpec(
            gene="Target3",
            intercept=3.0,
            regulators={"Tf5": 0.8},
            ligand_receptor={"Lig3$Rec3": 0.2},
            radius_um=30.0,
            celltype_factor={"Tumour": 0.0},
            field_strength=0.25,
        ),
    ]


def _simulated(config: SimulationConfig) -> AnnData:
    simulator = SpotlessSimulator(config)
    simulator.simulate_counts()
    return simulator.to_anndata()


def _ready_for_regression(adata: AnnData) -> AnnData:
    """Add what `SpatialCellularProgramsEstimator` reads by default."""
    adata.obs["cell_type_int"] = adata.obs["cell_type"].cat.codes.astype(np.int32)
    adata.layers["imputed_count"] = adata.X.copy()
    return adata


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
