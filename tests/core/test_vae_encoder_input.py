"""What the encoder reads: logarithms, and what is left out by seed, cell and gene."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vae_count_cases import case, count_rows

from celldyn.vae.encoder_input import encoder_input
from celldyn.vae.inputs import CountRows
from celldyn.vae.reconstruction_plain import dense


def test_input_is_the_logarithm():
    counts = case()["counts"]
    x = dense(counts, torch.empty(0))
    torch.testing.assert_close(encoder_input(counts), torch.log1p(x), rtol=2e-7, atol=0)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        made = encoder_input(counts, dtype=dtype)
        assert made.dtype == dtype
        torch.testing.assert_close(made, encoder_input(x, dtype=dtype), rtol=2e-7, atol=0)
    assert torch.equal(encoder_input(counts, dropout=0.5, seed=None), encoder_input(counts))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_left_out_is_of_the_seed_the_cell_and_the_gene(dtype):
    counts = case()["counts"]
    x = dense(counts, torch.empty(0))
    options = {"dropout": 0.3, "seed": 2**40 + 7, "dtype": dtype}
    made = encoder_input(counts, **options)
    as_tensor = encoder_input(x, rows=torch.from_numpy(counts.at), **options)
    torch.testing.assert_close(made, as_tensor, rtol=3e-7, atol=0)
    turned = CountRows(counts.csr, counts.at[::-1].copy())
    assert torch.equal(encoder_input(turned, **options), made.flip(0))
    assert torch.equal(encoder_input(CountRows(counts.csr, counts.at[4:5]), **options)[0], made[4])
    for seed in (7, 8, 2**41 + 7):
        other = encoder_input(counts, **(options | {"seed": seed}))
        differs = ((other == 0) != (made == 0))[x > 0].float().mean()
        assert differs == pytest.approx(2 * 0.3 * 0.7, abs=0.03)


def test_inputs_are_left_out_at_random():
    """Rates over all, over genes and over cells; neighbours are independent; the mean is kept."""
    n, rate = 400, 0.1
    counts = count_rows(np.ones((n, n)), np.arange(n))
    out = (encoder_input(counts, dropout=rate, seed=3) == 0).double()
    sd = np.sqrt(rate * (1 - rate))
    assert out.mean().item() == pytest.approx(rate, abs=5 * sd / n)
    for axis in (0, 1):
        spread = (out.mean(axis) - rate) / (sd / np.sqrt(n))
        assert spread.std().item() == pytest.approx(1, abs=0.15)
        beside = ((out - rate) * (out - rate).roll(1, axis)).mean() / sd**2
        assert abs(beside.item()) < 5 / n
    again = (encoder_input(counts, dropout=rate, seed=4) == 0).double()
    assert abs(((out - rate) * (again - rate)).mean().item() / sd**2) < 5 / n
    kept = encoder_input(counts, dropout=rate, seed=3)[out == 0]
    torch.testing.assert_close(kept, torch.full_like(kept, np.log(2) / (1 - rate)))
