"""A knock-out screen of a landscape: time, memory, and whether it finds what drives branches.

`python benchmarks/bench_landscape_screen.py` makes a tree of 2,500 cells x 2,000 genes, trains a
landscape on it, and knocks every gene out in 150 cells of stem and inner branch; then drivers of
each fate are held against housekeeping genes. `--set S --seeds 3` does the latter for three seeds
on the small tree, single knock-outs and over-expressions of known direction beside it.
CPU seconds of one thread: run it with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from tree_data import SIZES, Size, Truth, tree

from celldyn.landscape import LSD, LSDConfig, PerturbConfig, Screen
from celldyn.perturbation import Perturbation

LARGE = Size(2500, 2000, 1.7, 1.0, 1.2, 2.0)
N_CELLS = 150


def trained(adata: AnnData, epochs: int, seed: int) -> LSD:
    """Return a landscape of a tree."""
    cfg = LSDConfig()
    cfg.walks.path_len, cfg.walks.num_walks, cfg.walks.batch_size = 20, 1024, 128
    cfg.walks.random_state = seed
    cfg.optimizer.likelihood_rows = 0.25
    cfg.optimizer.adam.lr, cfg.optimizer.adam.T_0 = 2e-3, epochs
    lsd = LSD(adata, cfg, device="cpu")
    lsd.set_prior_transition(prior_time_key="dpt_pseudotime")
    lsd.prepare_walks()
    lsd.train(num_epochs=epochs)
    return lsd


def peak_mb() -> float:
    """Return the largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed_screen(lsd: LSD, adata: AnnData, seed: int) -> Screen:
    """Knock every gene out in 150 cells, and say what that took."""
    open_ = np.flatnonzero(adata.obs["clusters"].isin(["Stem", "Inter"]))
    cells = np.random.default_rng(seed).choice(open_, min(N_CELLS, len(open_)), replace=False)
    lsd.screen(cells=cells[:5], genes=list(lsd.genes[:5]), config=PerturbConfig(n_null=0))
    before, began = peak_mb(), time.process_time()
    found = lsd.screen(cells=cells, config=PerturbConfig(seed=seed))
    spent = time.process_time() - began
    print(
        f"screen of {len(found.genes)} genes in {len(cells)} cells: {spent:.1f} CPU s, "
        f"peak {peak_mb():.0f} MB ({peak_mb() - before:+.0f} MB)"
    )
    return found


def told(found: Screen, adata: AnnData) -> None:
    """Say where drivers and housekeeping genes stand."""
    genes = found.by_gene().set_index("gene")
    role = adata.var["role"].astype(str).reindex(genes.index)
    for name in ("driver", "branch", "time", "housekeeping"):
        some = genes[role == name]
        print(
            f"  {name:12s} {len(some):5d} genes: moved {some['moved'].mean():.4f}, "
            f"p < 0.05 {(some['p'] < 0.05).mean():.3f}, q < 0.1 {(some['q'] < 0.1).mean():.3f}"
        )
    effects = found.matrix()
    for fate in effects.columns:
        drivers = adata.var_names[adata.var["driver_of"] == fate]
        if len(drivers):
            print(
                f"  drivers of {fate} take from it: {effects.loc[drivers, fate].round(4).tolist()}"
            )


def interventions(lsd: LSD, adata: AnnData, seed: int) -> list[dict[str, Any]]:
    """Return how each change of known direction came out."""
    rows = []
    for one in Truth.read(adata).interventions:
        change = (
            Perturbation.knock_out(one.gene)
            if one.level == 0
            else Perturbation.set_to({one.gene: one.level})
        )
        cells = np.flatnonzero(adata.obs["clusters"].isin(one.among))
        began = time.process_time()
        effect = lsd.perturb_effects(change, cells=cells, config=PerturbConfig(seed=seed))
        at = [effect.names.index(fate) for fate in one.fates if fate in effect.names]
        size = float(effect.effect[at].sum())
        rows.append(
            {
                "seed": seed,
                "change": one.name,
                "effect": size,
                "low": float(effect.low[at].sum()),
                "high": float(effect.high[at].sum()),
                "right sign": np.sign(size) == one.sign,
                "p": float(effect.p[at].min()),
                "null 95 %": float(np.quantile(np.abs(effect.null[:, at].sum(axis=1)), 0.95)),
                "CPU s": time.process_time() - began,
            }
        )
    return rows


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=["large", *SIZES], default="large")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    adata = tree(LARGE if given.set == "large" else given.set, 0)
    rows = []
    for seed in range(given.seeds):
        began = time.process_time()
        lsd = trained(adata, given.epochs, seed)
        time_of = lsd.get_adata().obs["lsd_pseudotime"]
        rank = time_of.corr(adata.obs["true_time"], method="spearman")
        spent = time.process_time() - began
        print(f"seed {seed}: trained in {spent:.0f} CPU s, pseudotime with truth {rank:.3f}")
        told(timed_screen(lsd, adata, seed), adata)
        rows += interventions(lsd, adata, seed)
    print(pd.DataFrame(rows).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
