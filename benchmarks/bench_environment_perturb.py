"""Perturbed virtual cells beside what a simulated tissue truly does.

`OMP_NUM_THREADS=1 python benchmarks/bench_environment_perturb.py` simulates 1,000 cells whose 16
targets are known sums of 12 transcription factors, lets virtual cells see factors, tell targets,
holds each factor at 0 from the steady state on, and lays the change of every target beside that of
`TissueEnvironment`, which is acted upon with shared noise. Lines: the sign of the change where a
factor truly regulates a target; the correlation of changes over targets, per factor; the rank
correlation of how much factors matter. Beside it a ridge regression of targets on factors, whose
prediction is linear, as the truth here is. The reference has no such figures.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy.stats import spearmanr

from celldyn.environment import BasicManager, EnvironmentConfig, fit
from celldyn.environment.baselines import ridge
from celldyn.perturbation import Perturbation
from celldyn.simulate import GeneSpec, SimulationConfig, SpotlessSimulator, TargetSpec
from celldyn.simulate.environment import Action, TissueEnvironment

N_CELLS, N_FACTORS, N_TARGETS, HELD_S = 1000, 12, 16, 64.0
FACTORS = [f"Tf{i}" for i in range(N_FACTORS)]
TARGETS = [f"Target{i}" for i in range(N_TARGETS)]
Floats = NDArray[np.float64]


def config_of(seed: int = 0) -> SimulationConfig:
    """Return a tissue of factors that vary over space, and targets of one to three of them.

    The last two factors regulate nothing.
    """
    rng = np.random.default_rng(seed)
    factors = [
        GeneSpec(name=name, mu=20.0, theta=20.0, field_strength=0.6, field_length_um=80.0)
        for name in FACTORS
    ]
    targets = []
    for name in TARGETS:
        chosen = rng.choice(FACTORS[:-2], int(rng.integers(1, 4)), replace=False)
        weights = rng.uniform(0.3, 1.2, len(chosen)) * rng.choice([-1, 1, 1], len(chosen))
        targets.append(TargetSpec(
            gene=name, intercept=30.0, theta=50.0,
            regulators={str(f): round(float(w), 3) for f, w in zip(chosen, weights, strict=True)},
        ))  # fmt: skip
    return SimulationConfig(
        n_cells=N_CELLS, canvas_size=1000.0, n_celltype=3, n_genes=20, n_markers=2,
        extra_genes=factors, targets=targets, seed=seed,
    )  # fmt: skip


def truth(config: SimulationConfig, targets: list[str]) -> Floats:
    """Return the true mean change of every target by the loss of every factor."""
    tissue = TissueEnvironment(config)
    columns = [tissue.gene_names.index(name) for name in targets]
    rows = []
    for factor in FACTORS:
        tissue.reset()
        _, change = tissue.step(Action(Perturbation.knock_out(factor)))
        rows.append(change["expression"][:, columns].mean(axis=0))
    return np.asarray(rows)


def told(tables: list[AnnData], seed: int, timesteps: int) -> Floats:
    """Return the change of every target in virtual cells, mean over cells."""
    config = EnvironmentConfig.preset(
        "recommended", dim=8, target_modalities=[1], pca_dim=[0], seed=seed,
        num_cells_min=128, num_cells_max=128, max_timesteps=timesteps,
    )  # fmt: skip
    fitted = fit(tables, config, device="cpu", progress_bar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager = BasicManager(fitted=fitted, adatas=[tables[0], None])
        manager.reset_env()
        manager.simulate(impute=False, store_states=None, progress_bar=False)
        manager.save_state("steady")
        before = np.asarray(manager.get_state()[0], dtype=np.float64)
        rows = []
        for factor in FACTORS:
            manager.load_state("steady")
            manager.clear_perturbations()
            manager.add_perturbation(factor, feature_targets=0, clamping="post")
            manager.simulate_perturbation(HELD_S, impute=False, store_states=None,
                                          progress_bar=False)  # fmt: skip
            rows.append((np.asarray(manager.get_state()[0]) - before).mean(axis=0))
    return np.asarray(rows)


def linear(tables: list[AnnData]) -> Floats:
    """Return the same of a ridge regression."""
    x, y = (np.asarray(table.X, dtype=np.float64) for table in tables)
    model = ridge(x, y)
    changes = []
    for k in range(x.shape[1]):
        lost = x.copy()
        lost[:, k] = 0
        changes.append((model.predict(lost) - model.predict(x)).mean(axis=0))
    return np.asarray(changes)


def report(name: str, found: Floats, true: Floats) -> None:
    """Print the lines of one model."""
    acts = np.abs(true) > 1e-9
    signs = (np.sign(found) == np.sign(true))[acts].mean()
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(found, true, strict=True) if np.ptp(b) > 0]
    size = [np.abs(part).mean(axis=1) for part in (found, true)]
    error = np.square(found - true).mean() / np.square(true).mean()
    print(f"  {name:22} signs {signs:.2f}  correlation per factor {np.mean(each):.3f}  "
          f"rank of factors {spearmanr(*size)[0]:.3f}  error over that of no effect {error:.3f}",
          flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--timesteps", type=int, default=2_000_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = config_of()
    simulator = SpotlessSimulator(config)
    simulator.simulate_counts()
    adata: Any = simulator.to_anndata()
    tables = [adata[:, FACTORS].copy(), adata[:, TARGETS].copy()]
    for table in tables:
        table.X = table.X.toarray().astype(np.float32)
    true = truth(config, TARGETS)
    print(f"{adata.n_obs} cells; {int((np.abs(true) > 1e-9).sum())} true effects")
    report("ridge", linear(tables), true)
    for seed in range(given.seeds):
        started = time.process_time()
        found = told(tables, seed, given.timesteps)
        report(f"virtual cells, seed {seed}", found, true)
        print(f"    {time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
