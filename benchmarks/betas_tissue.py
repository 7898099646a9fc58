"""The tissue on which models of betas are compared: every coefficient of its targets is known.

`python benchmarks/betas_tissue.py FOLDER --cells 20000` writes it. The layer imputed_count holds
the counts themselves, neither logarithms nor smoothed: the simulator's targets are sums over the
counts of their regulators, so that the coefficients that a regression should find are exactly the
true ones. Cells lie 15 µm from their nearest neighbour (median), ligands reach 100 or 30 µm.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from celldyn.simulate import GeneSpec, SimulationConfig, SpotlessSimulator, TargetSpec

RADIUS, CONTACT = 100.0, 30.0
SECRETED, TOUCHING = "Secreted Signaling", "Cell-Cell Contact"
UM2_PER_CELL = 1013.0
SHARES = (0.28, 0.2, 0.16, 0.14, 0.12, 0.1)
N_FACTORS, N_LIGANDS, N_TOUCHING, N_RECEPTORS, N_PAIRS = 40, 31, 7, 30, 353
FIRST_SEED = 5

FACTORS = [f"Tf{i}" for i in range(1, N_FACTORS + 1)]
LIGANDS = [f"Lig{i}" for i in range(1, N_LIGANDS + 1)]
RECEPTORS = [f"Rec{i}" for i in range(1, N_RECEPTORS + 1)]
REACH = {ligand: CONTACT if i < N_TOUCHING else RADIUS for i, ligand in enumerate(LIGANDS)}


@dataclass(frozen=True)
class Kind:
    """How the coefficients of one target vary."""

    gene: str
    what: str
    strength: float = 0.0
    length_um: float = 150.0
    reach: float = RADIUS
    n_tf_ligand: int = 0
    by_domain: bool = False
    regulated: bool = True


KINDS = (
    Kind("Target1", "vary over 300 µm", 0.5, 300.0),
    Kind("Target2", "vary over 120 µm", 0.5, 120.0),
    Kind("Target3", "differ between niches, ligand-TF pairs", 0.2, 200.0, n_tf_ligand=2,
         by_domain=True),
    Kind("Target4", "vary over 200 µm, contact only", 0.5, 200.0, reach=CONTACT),
    Kind("Target5", "one value per cell type"),
    Kind("Target6", "regulated by nothing", regulated=False),
)  # fmt: skip
REGULATED = tuple(kind.gene for kind in KINDS if kind.regulated)


@dataclass(frozen=True)
class TissueFiles:
    """Where a tissue and its priors were written."""

    adata: Path
    grn: Path
    lr: Path
    ligand_target: Path


@dataclass(frozen=True)
class Priors:
    """What may regulate what: pairs, factors of each target, scores; and what does."""

    pairs: pd.DataFrame
    candidates: dict[str, list[str]]
    targets: list[TargetSpec]
    scores: pd.DataFrame


def tissue(n_cells: int, *, n_others: int = 60, seed: int = FIRST_SEED) -> AnnData:
    """Return the tissue with its truth; `n_others` genes stand beside those that are named."""
    config = SimulationConfig(
        n_cells=n_cells,
        canvas_size=float(np.sqrt(n_cells * UM2_PER_CELL)),
        point_process="random",
        size_factor="lognormal",
        n_celltype=len(SHARES),
        celltype_proportion=list(SHARES),
        n_genes=n_others,
        n_markers=n_others // 12,
        marker_mu=4.0,
        hk_mu=1.0,
        theta_mu=4.0,
        theta_cv=0.4,
        n_domains=3,
        domain_labels=["core", "rim", "stroma"],
        domain_purity=0.6,
        seed=seed,
        extra_genes=[*_factors(), *_ligands(), *_receptors()],
        targets=priors(seed).targets,
    )
    simulator = SpotlessSimulator(config)
    simulator.simulate_counts()
    adata = simulator.to_anndata()
    adata.obs["cell_type_int"] = adata.obs["cell_type"].cat.codes.astype(np.int64)
    adata.layers["imputed_count"] = adata.X.copy()
    return adata


def priors(seed: int = FIRST_SEED) -> Priors:
    """Return which links there are, true or not, and the targets."""
    rng = np.random.default_rng(seed)
    pairs = _pairs(rng)
    scores = pd.DataFrame(
        rng.lognormal(-3.5, 0.6, (N_FACTORS, N_LIGANDS)), index=FACTORS, columns=LIGANDS
    )
    candidates, targets = {}, []
    for kind in KINDS:
        candidates[kind.gene] = _candidates(rng)
        targets.append(_target(rng, kind, candidates[kind.gene], pairs, scores))
    return Priors(pairs, candidates, targets, scores)


def grn(known: Priors, others: Sequence[str], seed: int = FIRST_SEED) -> pd.DataFrame:
    """Return the links of every cell type: source, target, cluster, coef_mean, p.

    Other genes have candidates too, none of them true, so that any gene can be modelled.
    """
    rng = np.random.default_rng(seed + 1)
    candidates = known.candidates | {gene: _candidates(rng) for gene in others}
    true = {spec.gene: spec.regulators for spec in known.targets}
    rows = [
        (source, target, cluster, true.get(target, {}).get(source, 0.05), 1e-4)
        for cluster in range(len(SHARES))
        for target, sources in candidates.items()
        for source in sources
    ]
    return pd.DataFrame(rows, columns=["source", "target", "cluster", "coef_mean", "p"])


def write_tissue(
    folder: Path, n_cells: int, *, n_others: int = 60, seed: int = FIRST_SEED
) -> TissueFiles:
    """Write tissue.h5ad, grn.csv, lr.csv and ligand_target.csv into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    adata, known = tissue(n_cells, n_others=n_others, seed=seed), priors(seed)
    files = TissueFiles(
        *(folder / name for name in ("tissue.h5ad", "grn.csv", "lr.csv", "ligand_target.csv"))
    )
    named = {*FACTORS, *LIGANDS, *RECEPTORS, *known.candidates}
    adata.write_h5ad(files.adata)
    others = [gene for gene in adata.var_names if gene not in named]
    grn(known, others, seed).to_csv(files.grn, index=False)
    known.pairs.to_csv(files.lr, index=False)
    known.scores.to_csv(files.ligand_target)
    return files


def _pairs(rng: np.random.Generator) -> pd.DataFrame:
    """Return the pairs in CellChat's columns; a ligand is of one class in all of its rows."""
    drawn = rng.choice(N_LIGANDS * N_RECEPTORS, N_PAIRS, replace=False)
    rows = [
        (LIGANDS[i], RECEPTORS[j], f"PATHWAY{i + 1}", TOUCHING if i < N_TOUCHING else SECRETED)
        for i, j in sorted(divmod(int(k), N_RECEPTORS) for k in drawn)
    ]
    return pd.DataFrame(rows, columns=["ligand", "receptor", "pathway", "signaling"])


def _target(
    rng: np.random.Generator,
    kind: Kind,
    candidates: list[str],
    pairs: pd.DataFrame,
    scores: pd.DataFrame,
) -> TargetSpec:
    """Choose what regulates a target; the pairs of ligand and TF get the scores to be found."""
    if not kind.regulated:
        return TargetSpec(gene=kind.gene, intercept=25.0, theta=50.0)
    true = candidates[:5]
    regulators = dict(zip(true, _round(rng.uniform(0.4, 0.9, 5)), strict=True))
    regulators[true[-1]] = -0.35
    within = pairs[pairs["ligand"].map(REACH) == kind.reach]
    picked = within.drop_duplicates("ligand").sample(4, random_state=int(rng.integers(1 << 31)))
    names = [f"{row.ligand}${row.receptor}" for row in picked.itertuples()]
    ligand_receptor = dict(zip(names, _round(rng.uniform(0.08, 0.18, 4)), strict=True))
    tf_ligand = {}
    for factor in true[: kind.n_tf_ligand]:
        ligand = _some(rng, [name for name in LIGANDS if REACH[name] == kind.reach], 1)[0]
        tf_ligand[f"{ligand}#{factor}"] = 0.08
        scores.loc[factor, ligand] = 1.0
    factors = dict(
        zip((f"ct_{k}" for k in rng.permutation(6)), (0.0, 0.5, 0.75, 1.0, 1.25, 1.5), strict=True)
    )
    return TargetSpec(
        gene=kind.gene,
        intercept=6.0,
        regulators=regulators,
        ligand_receptor=ligand_receptor,
        tf_ligand=tf_ligand,
        radius_um=kind.reach,
        theta=50.0,
        celltype_factor=factors,
        domain_factor={"core": 1.5, "stroma": 0.5} if kind.by_domain else {},
        field_strength=kind.strength,
        field_length_um=kind.length_um,
    )


def _factors() -> list[GeneSpec]:
    """Transcription factors that differ between types, and over the tissue within them."""
    return [
        GeneSpec(
            name=name,
            mu=6.0 + i % 4,
            theta=3.0,
            kind="transcription factor",
            celltype_factor={f"ct_{i % 6}": 1.6},
            field_strength=0.3,
        )
        for i, name in enumerate(FACTORS)
    ]


def _ligands() -> list[GeneSpec]:
    """Ligands at home in a domain."""
    homes = ({"core": 2.0, "rim": 0.6}, {"rim": 2.0, "stroma": 0.6}, {"stroma": 2.0, "core": 0.6})
    return [
        GeneSpec(
            name=name,
            mu=4.0,
            theta=5.0,
            kind="ligand",
            domain_factor=homes[i % 3],
            field_strength=0.5,
        )
        for i, name in enumerate(LIGANDS)
    ]


def _receptors() -> list[GeneSpec]:
    return [GeneSpec(name=name, mu=5.0, theta=5.0, kind="receptor") for name in RECEPTORS]


def _candidates(rng: np.random.Generator) -> list[str]:
    return _some(rng, FACTORS, int(rng.integers(11, 20)))


def _some(rng: np.random.Generator, names: list[str], n: int) -> list[str]:
    return [names[i] for i in rng.choice(len(names), n, replace=False)]


def _round(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--others", type=int, default=60, help="genes beside those that are named")
    given = parser.parse_args()
    print(write_tissue(given.folder, given.cells, n_others=given.others))


if __name__ == "__main__":
    main()
