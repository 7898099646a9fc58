"""The reconstruction: compiled, in torch, and by its definition."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from vae_count_cases import N_ROWS, case

from celldyn.vae.inputs import CountRows
from celldyn.vae.kernels_counts import MOST
from celldyn.vae.kernels_input import fill_rows
from celldyn.vae.kernels_likelihood import join_slopes, reconstruct
from celldyn.vae.likelihood import gamma_poisson_log_prob
from celldyn.vae.reconstruction import (
    compile_kernels,
    encoder_input,
    reconstruction,
    reconstruction_and_native,
)
from celldyn.vae.reconstruction_plain import dense

PARAMETERS = ("logits", "log_library", "background", "scaling", "theta")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def without_tables(given):
    return given | dict.fromkeys(("background", "background_rows", "scaling", "scaling_rows"))


def double(given):
    return {
        key: value.double()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for key, value in given.items()
    }


def evaluate(given, **options):
    """Return total, (B,) nll and the gradients by name."""
    names = [name for name in PARAMETERS if given[name] is not None]
    free = {name: given[name].detach().requires_grad_() for name in names}
    total, per_cell = reconstruction(**(given | free), **options)
    slopes = torch.autograd.grad(total, list(free.values()))
    return total.detach(), per_cell, dict(zip(names, slopes, strict=True))


def define(given, activation="softplus"):
    """Do the same by autograd of the equations."""
    names = [name for name in PARAMETERS if given[name] is not None]
    free = {name: given[name].detach().requires_grad_() for name in names}
    now = given | free
    logits = now["logits"]
    rho = torch.nn.functional.softplus(logits) if activation == "softplus" else logits.softmax(1)
    s = 0 if now["background"] is None else now["background"][now["background_rows"]]
    y = 1 if now["scaling"] is None else now["scaling"][now["scaling_rows"]]
    mu = now["log_library"].exp()[:, None] * (rho + s) * y
    theta, x = now["theta"][now["theta_rows"]], dense(now["counts"], logits)
    per_cell = -gamma_poisson_log_prob(x, mu, theta).sum(1)
    total = (per_cell * now["weights"]).sum()
    return (
        total.detach(),
        per_cell,
        dict(zip(names, torch.autograd.grad(total, list(free.values())), strict=True)),
    )


def assert_same(found, truth, tolerance=1e-6):
    """Hold totals to a relative, and gradients to an error relative to the row's largest."""
    for one, other in zip(found[:2], truth[:2], strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=tolerance, atol=1e-6)
    assert found[2].keys() == truth[2].keys()
    for name, slope in truth[2].items():
        scale = slope.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30)
        error = (found[2][name].double() - slope.double()).abs() / scale
        assert error.max() < tolerance, name
        assert found[2][name].shape == slope.shape


@pytest.mark.parametrize("activation", ["softplus", "softmax"])
def test_plain_is_the_definition(activation):
    given = double(case())
    found = evaluate(given, activation=activation)
    assert_same(found, define(given, activation), 1e-11)
    assert_same(
        evaluate(without_tables(given), activation=activation),
        define(without_tables(given), activation),
        1e-11,
    )
    assert found[0].dtype == torch.float64


@pytest.mark.parametrize("G", [5, 15, MOST - 1, MOST, MOST + 1, MOST + 37])
def test_compiled_is_plain(G):
    given = case(G=G)
    assert_same(evaluate(given), evaluate(double(given)))
    assert_same(evaluate(without_tables(given)), evaluate(double(without_tables(given))))


def test_dense_counts_give_the_same():
    given = case()
    x = dense(given["counts"], given["logits"])
    assert_same(evaluate(given | {"counts": x}), evaluate(given), 3e-6)


def test_theta_of_each_cell():
    given = case(B=23, tables=(3, 2, 23))
    given["theta_rows"] = torch.arange(23)
    assert_same(evaluate(given), evaluate(double(given)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("theta", [1e-8, 1e-4, 1e-2, 30.0, 1e3, 1e5, 1e8]),
        ("logits", [-60.0, -20.0, -1e-6, 0.0, 1e-6, 20.0, 1e5]),
        ("background", [0.0, 1e-12, 1e-6, 1.0, 1e4, 1e6, 10.0]),
    ],
)
def test_tiny_and_huge_parameters(name, values):
    """Each gene's numbers on their own scale, a cell at a time so that no large one hides it."""
    given = case(G=7, B=20)
    given[name] = torch.tensor(values).expand(given[name].shape).clone()
    for b in range(20):
        one = given | {"weights": torch.zeros(20).index_fill(0, torch.tensor([b]), 1.0)}
        (total, _, found), (truth, _, slopes) = evaluate(one), evaluate(double(one))
        assert total.item() == pytest.approx(truth.item(), rel=1e-6, abs=1e-6)
        for key in ("logits", "log_library", "background", "scaling"):
            torch.testing.assert_close(found[key].double(), slopes[key], rtol=1e-5, atol=1e-7)
        # On the scale of log θ: that is how it is learned.
        by_log = (slopes["theta"] * one["theta"]).abs()
        error = (found["theta"] - slopes["theta"]).abs() * one["theta"]
        assert (error <= 1e-5 * by_log + 3e-6 * dense(one["counts"], total)[b].clamp(min=1)).all()


def test_logits_out_of_range_still_learn():
    """e^x underflows; a gene with counts must find back from there all the same."""
    given = without_tables(case(G=5))
    given["logits"] = torch.full_like(given["logits"], -500.0)
    _, per_cell, slopes = evaluate(given)
    assert torch.isfinite(per_cell).all()
    x = dense(given["counts"], given["logits"])
    torch.testing.assert_close(slopes["logits"], -x * given["weights"][:, None])
    given["logits"][2, 3] = torch.nan
    total, per_cell, _ = evaluate(given)
    assert torch.isnan(total)
    assert torch.isnan(per_cell).sum() == 1


def test_a_cell_of_weight_zero_costs_nothing():
    given = case()
    given["weights"][[1, 4]] = 0
    given["logits"][4] = torch.nan
    for form in (given, double(given)):
        total, per_cell, slopes = evaluate(form)
        assert torch.isfinite(total)
        assert (per_cell[[1, 4]] == 0).all()
        assert (slopes["logits"][[1, 4]] == 0).all()
        assert (slopes["log_library"][[1, 4]] == 0).all()
    others = [b for b in range(23) if b not in (1, 4)]
    few = given | {
        key: given[key][others]
        for key in ("logits", "log_library", "weights", *(f"{n}_rows" for n in PARAMETERS[2:]))
    }
    few["counts"] = CountRows(given["counts"].csr, given["counts"].at[others])
    alone = evaluate(few)
    torch.testing.assert_close(alone[0], evaluate(given)[0])
    for name in PARAMETERS[2:]:
        assert torch.equal(alone[2][name], evaluate(given)[2][name])


def test_backward_scales_what_forward_made():
    given = case(B=4, G=40)
    theta = given["theta"].clone().requires_grad_()
    total, per_cell = reconstruction(**(given | {"theta": theta}))
    assert not per_cell.requires_grad
    (three,) = torch.autograd.grad(3 * total, theta)
    torch.testing.assert_close(three, 3 * evaluate(given)[2]["theta"])
    with torch.no_grad():
        assert torch.equal(reconstruction(**given)[0], total.detach())


@pytest.mark.parametrize("activation", ["softplus", "softmax"])
@pytest.mark.parametrize("share", [0.0, 2.0])
def test_native_expression_comes_with_it(activation, share):
    """What depends on Σ ρ of some cells sends its slopes back beside the likelihood's."""
    given = case()
    given["weights"][3] = 0

    def pulled(form):
        logits = form["logits"].detach().requires_grad_()
        total, _, native = reconstruction_and_native(
            **(form | {"logits": logits}), activation=activation
        )
        some = native[:9].log1p().square().sum()
        (slope,) = torch.autograd.grad(share * total + some, logits)
        return native.detach(), slope

    truth = double(given)
    logits = truth["logits"].clone().requires_grad_()
    rho = torch.nn.functional.softplus(logits) if activation == "softplus" else logits.softmax(1)
    native = rho.sum(1) * (truth["weights"] > 0)
    (by_native,) = torch.autograd.grad(native[:9].log1p().square().sum(), logits)
    expected = by_native + share * evaluate(truth, activation=activation)[2]["logits"]
    for form, tolerance in ((truth, 1e-11), (given, 1e-6)):
        found, slope = pulled(form)
        torch.testing.assert_close(found.double(), native.detach(), rtol=tolerance, atol=0)
        scale = expected.abs().max().clamp(min=1e-3)
        assert (slope - expected).abs().max() < tolerance * scale
    low = given | {"logits": given["logits"].bfloat16()}
    same = low | {"logits": low["logits"].float()}
    torch.testing.assert_close(pulled(low)[1].float(), pulled(same)[1], rtol=2**-7, atol=1e-3)


def test_low_precision_logits():
    """What autocast's decoder gives: read as they are, the slopes rounded to the nearest."""
    given = case()
    low = given | {"logits": given["logits"].bfloat16()}
    same = given | {"logits": low["logits"].float()}
    found, truth = evaluate(low), evaluate(same)
    assert torch.equal(found[0], truth[0])
    assert found[2]["logits"].dtype == torch.bfloat16
    assert torch.equal(found[2]["logits"], truth[2]["logits"].bfloat16())
    assert torch.equal(found[2]["theta"], truth[2]["theta"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(evaluate(low)[0], truth[0])
        assert_same(evaluate(double(same)), evaluate(double(same)), 1e-12)


def test_repeats_to_the_last_bit_on_any_thread_count():
    given = case(B=N_ROWS, G=700)
    given |= {"counts": CountRows(given["counts"].csr, np.arange(N_ROWS).repeat(2)[:N_ROWS])}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        first, second = evaluate(given), evaluate(given)
        assert torch.equal(first[0], second[0])
        assert all(torch.equal(first[2][name], second[2][name]) for name in PARAMETERS)
        assert_same(first, evaluate(double(given)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_compiled_beforehand_is_what_training_calls(dtype):
    kernels = (reconstruct, join_slopes, fill_rows)
    compile_kernels(dtype)
    before = [len(kernel.signatures) for kernel in kernels]
    given = case(B=4, G=40)
    given["logits"] = given["logits"].to(dtype).requires_grad_()
    encoder_input(given["counts"], dropout=0.1, seed=1, dtype=dtype)
    total, _, native = reconstruction_and_native(**given)
    (total + native[:2].sum()).backward()
    assert [len(kernel.signatures) for kernel in kernels] == before


def test_kernels_wait_until_they_are_called():
    """Numba takes half a second to import: not for whoever only opens a result."""
    code = "import sys, celldyn.vae.reconstruction; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
