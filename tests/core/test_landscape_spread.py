"""How far genes vary between states: what was put in comes out, noise of counts stays out."""

from __future__ import annotations

import numpy as np
import torch

from celldyn.jobs import run
from celldyn.landscape.spread import LOWEST, spread_job


def test_the_spread_of_expected_expression_is_found_whatever_the_noise():
    rng = np.random.default_rng(0)
    n, true = 6000, np.array([0.0, 0.3, 0.8, 1.2])
    state = rng.standard_normal((n, len(true)))
    share = 2e-3 * np.exp(true * state)
    library = rng.uniform(500, 2000, 2 * n).astype(np.float32)
    mean = np.repeat(share, 2, axis=0) * library[:, None]
    noisy = rng.poisson(mean * rng.gamma(2.0, 0.5, mean.shape)).astype(np.float32)
    counts = torch.from_numpy(noisy)
    pairs = np.arange(2 * n).reshape(n, 2)
    found = run(spread_job(lambda at: counts[at], library, pairs, len(true)), bar=False)
    np.testing.assert_allclose(found, np.maximum(true, LOWEST), atol=0.15)
    assert found[0] < 0.2


def test_a_gene_without_counts_has_the_lowest_spread():
    counts = torch.zeros(4, 2)
    counts[:, 0] = 1.0
    pairs = np.array([[0, 1], [2, 3]])
    found = run(spread_job(lambda at: counts[at], np.ones(4, np.float32), pairs, 2), bar=False)
    assert found.tolist() == [LOWEST, LOWEST]
