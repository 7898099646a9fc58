"""Sigma is recovered from paths of a known equation, whose cells are seen with scatter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_cases import Bowl, DoubleWell

from celldyn.errors import ConfigError, DataError
from celldyn.landscape import flow, sigma_of_model


def _walks(potential, sigma, scatter, n_walks=1_500, path_len=20):
    noise = torch.Generator().manual_seed(1)
    spread = torch.tensor([0.8, sigma / 8**0.5])
    z0 = torch.randn(n_walks, 2, generator=noise, dtype=torch.float64) * spread
    times = np.linspace(0, 1, path_len)
    paths = flow(potential, z0, times, sigma=sigma, seed=3, substeps=20)
    cells = paths.permute(1, 0, 2).reshape(-1, 2)
    cells = cells + scatter * torch.randn(cells.shape, generator=noise, dtype=torch.float64)
    return cells, np.arange(n_walks * path_len).reshape(n_walks, path_len)


@pytest.mark.parametrize("potential", [Bowl(2.0), DoubleWell()])
@pytest.mark.parametrize("scatter", [0.0, 0.1])
@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_sigma_is_recovered(potential, sigma, scatter):
    found = sigma_of_model(potential, *_walks(potential, sigma, scatter))
    assert abs(found.sigma / sigma - 1) < 0.05
    assert abs(found.scatter - scatter) < 0.03
    assert found.low < sigma * 1.02
    assert found.high > sigma * 0.98
    assert found.high / found.low < 1.3
    np.testing.assert_allclose(found.fitted, found.residual, rtol=0.1)


def test_scatter_is_not_taken_for_noise():
    cells, walks = _walks(Bowl(2.0), 0.2, 0.3)
    found = sigma_of_model(Bowl(2.0), cells, walks)
    single_steps = (cells[walks[:, 1]] - cells[walks[:, 0]]).square().mean() * 19
    assert single_steps**0.5 > 1.5  # what the square of single steps would say
    assert found.sigma < 0.3
    assert abs(found.scatter - 0.3) < 0.02


class Slope:
    """V = −v x: all that is on it moves by v."""

    def __init__(self, v):
        self.v = v

    def __call__(self, z):
        return -self.v * z[..., 0]

    def gradient(self, z):
        return torch.stack([torch.full_like(z[..., 0], -self.v), 0 * z[..., 1]], dim=-1)


def test_a_flow_that_is_too_slow_is_not_taken_for_noise():
    cells, walks = _walks(Slope(2.0), 0.2, 0.02)
    found = sigma_of_model(Slope(1.0), cells, walks)
    assert abs(found.sigma - 0.2) < 0.03
    assert abs(found.mismatch - 0.5**0.5) < 0.03  # of 1 in one of two dimensions


def test_sigma_goes_with_the_root_of_time():
    cells, walks = _walks(Bowl(2.0), 0.5, 0.05)
    whole = sigma_of_model(Bowl(2.0), cells, walks)
    half_time = sigma_of_model(Bowl(4.0), cells, walks, span=0.5)
    np.testing.assert_allclose(half_time.sigma, whole.sigma * 2**0.5, rtol=1e-2)


@pytest.mark.parametrize(
    ("walks", "error", "says"),
    [
        (np.zeros((3, 3), dtype=int), ConfigError, "walks of 3 cells do not tell"),
        (np.zeros(3, dtype=int), DataError, "walks are int64 of shape"),
        (np.full((2, 5), 9), DataError, "walks name cells beyond 0 to 4"),
        (np.zeros((2, 5)), DataError, "walks are float64"),
    ],
)
def test_walks_that_say_nothing_are_refused(walks, error, says):
    with pytest.raises(error, match=says):
        sigma_of_model(Bowl(), np.zeros((5, 2)), walks)
