"""The likelihood of counts: compiled, in torch, and by Pyro's distributions."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import NegativeBinomial

from celldyn.kernels.rising import LARGEST
from celldyn.landscape.count_likelihood import (
    compile_kernels,
    decoded_log_likelihood,
    log_likelihood,
    normalised_log_likelihood,
)

PARAMETERS = ("gates", "logits", "log_library", "log_theta")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def case(m=40, u=17, G=53, seed=0, largest=1e5):
    """Rows of some cells, one without counts and one with counts up to 1e5."""
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(0.6, 0.15, (u, G)).astype(np.float32)
    counts[0] = 0
    counts[1, :5] = [1e5, 3e4, LARGEST, LARGEST + 1, 15]
    counts = counts.clip(max=largest)
    single = {
        "counts": counts,
        "gates": rng.normal(0, 2, (m, G)),
        "logits": rng.normal(0, 1.5, (m, G)),
        "log_library": np.log(rng.uniform(50, 500, m)),
        "log_theta": rng.normal(0.5, 2, G),
        "weight": rng.random(m) + 0.5,
    }
    given = {key: torch.tensor(value, dtype=torch.float32) for key, value in single.items()}
    return given | {"rows": torch.tensor(np.concatenate([[0, 1], rng.integers(0, u, m - 2)]))}


def double(given):
    return {
        key: value.double() if value is not None and value.is_floating_point() else value
        for key, value in given.items()
    }


def pulled(value, given):
    """Return what `value` gives of leaves, and its gradients by name."""
    names = [name for name in PARAMETERS if given[name] is not None]
    free = {name: given[name].detach().clone().requires_grad_() for name in names}
    total = value(given | free)
    slopes = torch.autograd.grad(total, list(free.values()))
    return total.detach(), dict(zip(names, slopes, strict=True))


def ours(given):
    return log_likelihood(
        given["counts"], given["gates"], given["logits"], given["log_library"],
        given["log_theta"], given["weight"], rows=given["rows"],
    )  # fmt: skip


def by_pyro(given):
    from pyro.distributions import ZeroInflatedNegativeBinomial

    theta = given["log_theta"].exp()
    mu = given["log_library"].exp()[:, None] * given["logits"].softmax(1)
    logits = torch.log(mu + 1e-3) - torch.log(theta + 1e-3)
    if given["gates"] is None:
        found = NegativeBinomial(theta, logits=logits, validate_args=False)
    else:
        found = ZeroInflatedNegativeBinomial(
            theta, logits=logits, gate_logits=given["gates"], validate_args=False
        )
    return (found.log_prob(given["counts"][given["rows"]]).sum(1) * given["weight"]).sum()


def assert_same(found, truth, tolerance):
    torch.testing.assert_close(found[0].double(), truth[0].double(), rtol=tolerance, atol=0)
    assert found[1].keys() == truth[1].keys()
    for name, slope in truth[1].items():
        assert found[1][name].shape == slope.shape
        scale = slope.abs().amax(dim=-1, keepdim=True).clamp(min=0.1)
        error = (found[1][name].double() - slope.double()).abs() / scale
        assert error.max() < tolerance, name


@pytest.mark.parametrize("inflated", [True, False])
def test_plain_is_the_definition(inflated):
    given = double(case())
    given["gates"] = given["gates"] if inflated else None
    found = pulled(ours, given)
    assert found[0].dtype == torch.float64
    assert_same(found, pulled(by_pyro, given), 1e-10)


@pytest.mark.parametrize("inflated", [True, False])
@pytest.mark.parametrize("G", [1, 7, 16, 1501])
def test_compiled_is_plain(G, inflated):
    given = case(G=max(G, 5))
    if G < 5:
        given |= {name: given[name][..., :G] for name in ("counts", *PARAMETERS[:2], "log_theta")}
    given["gates"] = given["gates"] if inflated else None
    found, truth = pulled(ours, given), pulled(ours, double(given))
    if G == 1:  # One gene has all the share, and its counts are up to 1e5.
        truth = (truth[0] + (found[0] - truth[0]).clamp(-0.02, 0.02), truth[1])
        assert (found[1].pop("logits").abs() <= 1e-5 * given["counts"].max()).all()
        truth[1].pop("logits")
    assert_same(found, truth, 2e-6)


def test_a_decoders_output_is_read_as_it_is():
    given = case()
    total, slopes = pulled(ours, given)
    decoded = torch.cat([given["gates"], given["logits"]], 1)
    for form, rtol in ((torch.float32, 0), (torch.float64, 2e-6)):
        asked = [given[n].to(form) for n in ("counts", "log_library", "log_theta", "weight")]
        leaf = decoded.to(form, copy=True).requires_grad_()
        same = decoded_log_likelihood(asked[0], leaf, *asked[1:], rows=given["rows"])
        same.backward()
        torch.testing.assert_close(same.detach(), total.to(form), rtol=rtol, atol=0)
        both = torch.cat([slopes["gates"], slopes["logits"]], 1).to(form)
        torch.testing.assert_close(leaf.grad, both, rtol=rtol, atol=1e-3 * bool(rtol))
    plain = decoded_log_likelihood(
        given["counts"], given["logits"], given["log_library"], given["log_theta"],
        given["weight"], rows=given["rows"],
    )  # fmt: skip
    assert plain == ours(given | {"gates": None})


@pytest.mark.parametrize("inflated", [True, False])
@pytest.mark.parametrize("m", [3, 63, 130])
def test_what_is_normalised_as_it_is_read(m, inflated):
    """Compiled, against PyTorch's batch normalisation in double precision; means far from 0."""
    given = case(m=m, largest=50)
    parts = [given["gates"], given["logits"]] if inflated else [given["logits"]]
    raw = 0.1 * torch.cat(parts, 1) + torch.arange(len(parts) * 53) / 20.0
    norm = torch.nn.BatchNorm1d(raw.shape[1])
    torch.nn.init.normal_(norm.weight, 1.0, 0.3)
    torch.nn.init.normal_(norm.bias)
    found = []
    for form in (torch.float32, torch.float64):
        mine = copy.deepcopy(norm).to(form)
        asked = [given[n].to(form) for n in ("counts", "log_library", "log_theta", "weight")]
        leaves = [raw.to(form, copy=True), asked[1], asked[2]]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        total = normalised_log_likelihood(
            asked[0], leaves[0], mine, *leaves[1:], asked[3], rows=given["rows"]
        )
        slopes = torch.autograd.grad(total, [*leaves, mine.weight, mine.bias])
        moments = [mine.running_mean, mine.running_var, mine.num_batches_tracked]
        still = normalised_log_likelihood(
            asked[0], leaves[0], mine.eval(), *leaves[1:], asked[3], rows=given["rows"]
        )
        found.append(([total, still, *moments], slopes))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=3e-5, atol=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert (one - other).abs().max() <= 2e-4 * other.abs().max()


def test_one_row_each_and_weight_one_by_default():
    given = case(m=17)
    given |= {"rows": torch.arange(17), "weight": torch.ones(17)}
    short = log_likelihood(*(given[n] for n in ("counts", *PARAMETERS)))
    assert short == ours(given)


@pytest.mark.parametrize("log_theta", [-12.0, -4.0, 0.0, 4.6, 10.0, 16.0])
def test_tiny_and_huge_dispersions(log_theta):
    """A gene at a time, so that no large one hides it; slopes by log θ to what counts allow."""
    given = case()
    given["log_theta"] = torch.full_like(given["log_theta"], log_theta)
    given["rows"] = given["rows"].clamp(min=2)
    (total, found), (truth, slopes) = pulled(ours, given), pulled(ours, double(given))
    assert total.item() == pytest.approx(truth.item(), rel=2e-6)
    for name in ("gates", "logits", "log_library"):
        torch.testing.assert_close(found[name].double(), slopes[name], rtol=2e-5, atol=2e-5)
    counted = given["counts"][given["rows"]].clamp(min=1).sum(0)
    assert ((found["log_theta"] - slopes["log_theta"]).abs() <= 3e-6 * counted).all()


def test_poisson_where_dispersion_is_none():
    """At the upper bound of θ the distribution is Poisson's, of a mean with the guard on it."""
    given = case(m=17, largest=50)
    given |= {"gates": None, "log_theta": torch.full((53,), 30.0), "rows": torch.arange(17)}
    given["weight"] = torch.ones(17)
    mean = given["log_library"].exp()[:, None] * given["logits"].softmax(1) + 1e-3
    truth = stats.poisson.logpmf(given["counts"].numpy(), mean.double().numpy()).sum()
    assert ours(given).item() == pytest.approx(truth, rel=2e-5)


def test_logits_of_any_size():
    given = case()
    given["logits"][3, :9] = torch.tensor([500.0, 0, -500, 90, 89, -90, 1e4, -1e4, 0])
    given["gates"][5, :6] = torch.tensor([500.0, -500, 90, -90, 1e4, -1e4])
    found, truth = pulled(ours, given), pulled(ours, double(given))
    assert_same(found, truth, 2e-6)


def test_a_row_of_weight_zero_costs_nothing():
    given = case()
    given["weight"][[1, 4]] = 0
    given["logits"][4] = torch.nan
    others = [r for r in range(40) if r not in (1, 4)]
    few = given | {
        key: given[key][others] for key in ("gates", "logits", "log_library", "weight", "rows")
    }
    for form in (lambda g: g, double):
        total, slopes = pulled(ours, form(given))
        alone, expected = pulled(ours, form(few))
        torch.testing.assert_close(total, alone)
        for name in ("gates", "logits", "log_library"):
            assert (slopes[name][[1, 4]] == 0).all()
        torch.testing.assert_close(slopes["log_theta"], expected["log_theta"])


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_nan_is_told(name):
    for form in (lambda g: g, double):
        given = case()
        given[name].view(-1)[7] = torch.nan
        total, slopes = pulled(ours, form(given))
        assert torch.isnan(total)
        assert torch.isnan(slopes["logits"]).any()


def test_backward_scales_what_forward_made():
    given = case()
    for form in (lambda g: g, double):
        total, slopes = pulled(ours, form(given))
        three, scaled = pulled(lambda g: 3 * ours(g), form(given))
        torch.testing.assert_close(three, 3 * total)
        for name, slope in slopes.items():
            torch.testing.assert_close(scaled[name], 3 * slope)
        leaf = form(given)["log_theta"].requires_grad_()
        once = ours(form(given) | {"log_theta": leaf})
        once.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="given away"):
            once.backward()
        with torch.no_grad():
            assert torch.equal(ours(form(given)), total)


def test_repeats_to_the_last_bit_on_any_thread_count():
    given = case(m=150, u=90)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        first, second = pulled(ours, given), pulled(ours, given)
        assert torch.equal(first[0], second[0])
        assert all(torch.equal(first[1][name], second[1][name]) for name in PARAMETERS)
        assert_same(first, pulled(ours, double(given)), 2e-6)


def test_what_is_compiled_beforehand_is_what_training_calls():
    from celldyn.landscape.kernels_counts import rising_rows
    from celldyn.landscape.kernels_likelihood import likelihood_rows
    from celldyn.landscape.kernels_norm import column_moments, normalise_back

    compile_kernels()
    kernels = (rising_rows, likelihood_rows, column_moments, normalise_back)
    before = [len(kernel.signatures) for kernel in kernels]
    pulled(ours, case())
    ours(case() | {"gates": None})
    given = case()
    normalised_log_likelihood(
        given["counts"], given["logits"].requires_grad_(), torch.nn.BatchNorm1d(53),
        given["log_library"], given["log_theta"], rows=given["rows"],
    )  # fmt: skip
    assert [len(kernel.signatures) for kernel in kernels] == before


def test_kernels_wait_until_they_are_called():
    """Numba takes half a second to import: not for whoever only opens a result."""
    code = "import sys, celldyn.landscape.count_likelihood; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
