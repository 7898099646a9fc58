"""The sparse group lasso beside proximal gradient steps and scikit-learn's Lasso.

Each runs at its loosest tolerance that brings the objective within 1e-6 (relative) of the optimum,
or for 15 s. CPU seconds of one thread, the Gram included; prints one ratio line per rival.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
from sklearn.linear_model import Lasso
from threadpoolctl import threadpool_limits

from celldyn.betas.lasso import group_lasso

N_CELLS, N_COLUMNS = 3333, 460
LAM, L1 = 1e-6, 1e-9
CLOSE = 1e-6
LIMIT_S = 15.0


def cluster():
    """Return standardised modulators that share common causes, a target, three groups."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(N_CELLS, 20)) @ rng.normal(size=(20, N_COLUMNS))
    X = np.exp(0.3 * (0.5 * causes + rng.normal(size=(N_CELLS, N_COLUMNS))))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    weights = rng.normal(size=N_COLUMNS) * (rng.uniform(size=N_COLUMNS) < 0.1)
    y = X @ weights
    y = y / y.std() + rng.normal(size=N_CELLS)
    return X, y - y.mean(), np.repeat([0, 1, 2], [15, 375, 70])


def group_norms(b, groups):
    """Return the norms of the groups and their sizes."""
    sizes = np.bincount(groups)
    return np.sqrt(np.bincount(groups, b * b)), sizes


def objective(X, y, groups, b, lam, l1):
    """Return the value that every solver here minimises."""
    norms, sizes = group_norms(b, groups)
    penalty = lam * (norms / np.sqrt(sizes)).sum() + l1 * np.abs(b).sum()
    return ((y - X @ b) ** 2).sum() / (2 * len(y)) + penalty


def proximal_gradient(X, y, groups, enough):
    """Take plain proximal gradient steps on the data until `enough`; return b and the seconds."""
    started = time.process_time()
    step = len(y) / np.linalg.norm(X, 2) ** 2
    b, n_steps = np.zeros(X.shape[1]), 0
    while time.process_time() - started < LIMIT_S:
        b = b + step * (X.T @ (y - X @ b)) / len(y)
        b = np.sign(b) * np.maximum(np.abs(b) - step * L1, 0)
        norms, sizes = group_norms(b, groups)
        shrink = 1 - step * LAM / np.sqrt(sizes) / np.where(norms > 0, norms, 1)
        b = b * np.maximum(shrink, 0)[groups]
        n_steps += 1
        if n_steps % 50 == 0 and objective(X, y, groups, b, LAM, L1) <= enough:
            break
    return b, time.process_time() - started


def lasso(X, y, enough, alpha):
    """Run scikit-learn's Lasso at the loosest tolerance that is good enough."""
    single = np.arange(X.shape[1])
    for tol in 10.0 ** -np.arange(2, 12):
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Lasso(
                alpha=alpha, fit_intercept=False, tol=tol, max_iter=100_000, precompute=True
            )
            b = model.fit(X, y).coef_
        seconds = time.process_time() - started
        if objective(X, y, single, b, 0.0, alpha) <= enough or seconds > LIMIT_S:
            return b, seconds
    return b, seconds


def ours(X, y, groups, lam, l1):
    """Return the optimum, and b and the seconds at the loosest tolerance that is good enough."""
    exact = group_lasso(X, y, groups, lam, l1, standardise=False, tol=1e-10)[1]
    best = objective(X, y, groups, exact, lam, l1)
    for tol in 10.0 ** -np.arange(2, 12):
        taken = []
        for _ in range(3):
            started = time.process_time()
            b = group_lasso(X, y, groups, lam, l1, standardise=False, tol=tol)[1]
            taken.append(time.process_time() - started)
        if objective(X, y, groups, b, lam, l1) <= best * (1 + CLOSE):
            break
    return best, b, min(taken)


def report(name, rival_name, rival, slow, mine, fast):
    """Print one ratio line."""
    print(
        f"{name}: {rival_name} {slow:.3f} s (objective {rival:.8f}), "
        f"ours {fast:.3f} s ({mine:.8f}); ratio {slow / fast:.1f}"
    )


def main():
    X, y, groups = cluster()
    single = np.arange(N_COLUMNS)
    units = np.where(groups == 1, 1e-2, 1.0)
    with threadpool_limits(limits=1):
        for name, Z in (("standardised", X), ("group 1 in other units", X * units)):
            best, b, fast = ours(Z, y, groups, LAM, L1)
            other, slow = proximal_gradient(Z, y, groups, best * (1 + CLOSE))
            reached = [objective(Z, y, groups, found, LAM, L1) for found in (other, b)]
            title = f"group_lasso {LAM:g}, {L1:g}, {name}"
            report(title, "proximal gradient", reached[0], slow, reached[1], fast)
        for alpha in (1e-3, 1e-2):
            best, b, fast = ours(X, y, single, 0.0, alpha)
            other, slow = lasso(X, y, best * (1 + CLOSE), alpha)
            reached = [objective(X, y, single, found, 0.0, alpha) for found in (other, b)]
            report(f"lasso {alpha:g}", "scikit-learn", reached[0], slow, reached[1], fast)


if __name__ == "__main__":
    main()
