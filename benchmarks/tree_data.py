"""Data whose time, branches, drivers and housekeeping genes are known, for landscapes.

`python benchmarks/tree_data.py FOLDER` writes every set as .h5ad with its truth. Four of them:

- `S` and `bench`: trees Stem -> {C, Inter}, Inter -> {A, B}; negative binomial counts.
- `krumsiek11`: scanpy's run of the myeloid network, read as counts.
- `sde`: a tissue of the simulator whose states follow a known stochastic differential equation.

All have layers["raw"], X log-normalised and sparse, obs["librarysize"], neighbours, PCA,
obs["dpt_pseudotime"] by scanpy from one root cell, obs["clusters"], obs["true_time"],
obs["true_fate"], var["role"] (`tree_truth.ROLES`), and uns["truth"] (`tree_truth.Truth`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from known_fates import krumsiek11, sde
from numpy.typing import NDArray
from tree_truth import ROLES, Floats, Intervention, Truth, annotated, counts_of, prepared

SEGMENTS = {
    "Stem": (0.0, 0.3),
    "Inter": (0.3, 0.6),
    "C": (0.3, 0.85),
    "A": (0.6, 1.0),
    "B": (0.6, 1.0),
}
"""When a lineage enters and leaves a segment of the tree."""
WAYS = {"A": ("Stem", "Inter", "A"), "B": ("Stem", "Inter", "B"), "C": ("Stem", "C")}
TREE_FATES = tuple(WAYS)
TREE_MAY = {
    "Stem": TREE_FATES,
    "Inter": ("A", "B"),
    "A": ("A",),
    "B": ("B",),
    "C": ("C",),
}
"""Fates that are open to the cells of a cluster."""
DRIVERS_PER_FATE, DRIVER_MEAN, DRIVER_LOG2 = 4, 6.0, 4.0
PRIMING = 0.12
"""How long before a fork a cell begins to express its branch, of a time in [0, 1]."""


@dataclass(frozen=True)
class Size:
    """How large and how noisy a tree is.

    Parameters
    ----------
    mean_count
        Counts per entry.
    log2_sd
        Sd of the log2 effects of genes that are not housekeeping.
    gene_sd
        Log-scale sd of the means of genes.
    theta
        Inverse dispersion.
    shares
        Of genes that are of branches, of time, and of nothing.
    """

    n_cells: int
    n_genes: int
    mean_count: float
    log2_sd: float
    gene_sd: float
    theta: float
    shares: tuple[float, float, float] = (0.4, 0.1, 0.5)


SIZES = {
    "S": Size(600, 300, 2.0, 2.0, 1.3, 6.0, (0.5, 0.25, 0.25)),
    "bench": Size(2500, 1500, 1.7, 1.2, 1.55, 2.0),
}


def tree(size: str | Size = "S", seed: int = 0) -> AnnData:
    """Return a tree with its truth, ready for a landscape.

    Parameters
    ----------
    size
        "S", 600 cells x 300 genes, "bench", 2,500 x 1,500, or a size of one's own.
    seed
        Of everything.
    """
    is_named = isinstance(size, str)
    of = SIZES[size] if isinstance(size, str) else size
    rng = np.random.default_rng(seed)
    lineage = rng.choice(TREE_FATES, of.n_cells, p=(0.36, 0.36, 0.28))
    end = np.array([SEGMENTS[name][1] for name in lineage])
    time = rng.uniform(0.0, end)
    active, names = _activity(lineage, time, rng)
    log2, role, driver = _effects(of, names, rng)
    base = np.exp(of.gene_sd * rng.standard_normal(of.n_genes))
    base[driver >= 0] = np.median(base) * DRIVER_MEAN / of.mean_count / 2**DRIVER_LOG2 * 2
    share = base * 2.0 ** (active @ log2)
    counts = counts_of(share, of.mean_count * of.n_genes, of.theta, rng)
    adata = annotated(counts, [f"gene_{g}" for g in range(of.n_genes)])
    adata.obs["clusters"] = pd.Categorical(_cluster(lineage, time))
    adata.obs["true_time"], adata.obs["true_fate"] = time, pd.Categorical(lineage)
    adata.var["role"] = pd.Categorical(role, ROLES)
    adata.var["driver_of"] = [TREE_FATES[k] if k >= 0 else "" for k in driver]
    prepared(adata, int(np.argmin(time)), seed, n_pcs=50)
    name = str(size) if is_named else "tree"
    Truth(name, TREE_MAY, TREE_FATES, "Inter", "Stem", tuple(_tree_interventions(adata))).write(
        adata
    )
    return adata


def _cluster(lineage: NDArray[np.str_], time: Floats) -> list[str]:
    """Return the segment of the tree that every cell is in."""
    return [
        next(s for s in WAYS[name] if t < SEGMENTS[s][1] or s == name)
        for name, t in zip(lineage, time, strict=True)
    ]


def _activity(
    lineage: NDArray[np.str_], time: Floats, rng: np.random.Generator
) -> tuple[Floats, list[str]]:
    """Return (n_cells, n_programmes) how far every cell is in every segment, and their names.

    A segment's programme rises from shortly before its start to its end, and falls to a half
    within a segment's length after it; the stem's falls from the start on; time's is time.
    """
    columns = [1.0 - np.clip(time / 0.45, 0.0, 1.0), time]
    for name, (start, end) in list(SEGMENTS.items())[1:]:
        begin = start - PRIMING
        rise = np.clip((time - begin) / (end - begin), 0.0, 1.0)
        fall = 1.0 - 0.5 * np.clip((time - end) / 0.4, 0.0, 1.0)
        on = np.array([name in WAYS[way] for way in lineage])
        columns.append(on * rise * fall)
    noise = 1.0 + 0.1 * rng.standard_normal((len(time), len(columns)))
    return np.stack(columns, axis=1) * noise, ["Stem", "time", *list(SEGMENTS)[1:]]


def _effects(
    of: Size, names: list[str], rng: np.random.Generator
) -> tuple[Floats, list[str], NDArray[np.int64]]:
    """Return (n_programmes, n_genes) log2 effects; every gene's role; the fate it drives or -1."""
    branch, timed, _ = (round(share * of.n_genes) for share in of.shares)
    role = np.array(["housekeeping"] * of.n_genes, dtype=object)
    genes = rng.permutation(of.n_genes)
    role[genes[:branch]], role[genes[branch : branch + timed]] = "branch", "time"
    log2 = np.zeros((len(names), of.n_genes))
    segments = [k for k, name in enumerate(names) if name != "time"]
    of_branch = np.flatnonzero(role == "branch")
    size = np.abs(of.log2_sd * rng.standard_normal(len(of_branch))) + 0.5
    # Programmes mostly switch genes on.
    sign = np.where(rng.uniform(size=len(of_branch)) < 0.75, 1.0, -1.0)
    log2[rng.choice(segments, len(of_branch)), of_branch] = sign * size
    of_time = np.flatnonzero(role == "time")
    log2[names.index("time"), of_time] = 1.5 * of.log2_sd * rng.standard_normal(len(of_time))
    driver = np.full(of.n_genes, -1)
    for k, fate in enumerate(TREE_FATES):
        mine = of_branch[k * DRIVERS_PER_FATE : (k + 1) * DRIVERS_PER_FATE]
        driver[mine], role[mine], log2[:, mine] = k, "driver", 0.0
        log2[names.index(fate), mine] = DRIVER_LOG2
    return log2, list(role), driver


def _tree_interventions(adata: AnnData) -> list[Intervention]:
    """Return a knock-out and an over-expression of the first driver of each fate."""
    made = []
    for fate in TREE_FATES:
        gene = str(adata.var_names[adata.var["driver_of"] == fate][0])
        among = ("Stem", "Inter") if fate != "C" else ("Stem",)
        for one, level in (("KO", 0.0), ("OE", high_level(adata, gene))):
            made.append(Intervention(f"{one} {fate}", gene, level, (fate,), among))
    return made


def high_level(adata: AnnData, gene: str) -> float:
    """Return the 99th percentile of a gene's log-normalised expression above 0."""
    values = adata[:, gene].X.data
    return float(np.percentile(values[values > 0], 99))


MAKERS: dict[str, Callable[[int], AnnData]] = {
    "S": lambda seed: tree("S", seed),
    "bench": lambda seed: tree("bench", seed),
    "krumsiek11": krumsiek11,
    "sde": lambda seed: sde(seed=seed),
}


def main() -> None:
    """Write every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, make in MAKERS.items():
        adata = make(given.seed)
        zeros = 1 - adata.layers["raw"].nnz / adata.n_obs / adata.n_vars
        rank = adata.obs[["dpt_pseudotime", "true_time"]].corr("spearman").iloc[0, 1]
        print(
            f"{name}: {adata.n_obs} x {adata.n_vars}, {zeros:.0%} zeros, "
            f"{adata.layers['raw'].mean():.2f} counts an entry, DPT with true time {rank:.3f}"
        )
        adata.write_h5ad(given.folder / f"{name}.h5ad")


if __name__ == "__main__":
    main()
