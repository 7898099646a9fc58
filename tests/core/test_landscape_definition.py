"""The loss of training is what the model and guide in Pyro say it is, and so are its gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pyro
import pytest
import torch
from landscape_model_cases import double_batch, double_networks, small_config

from celldyn.landscape.definition import negative_elbo
from celldyn.landscape.networks import NormalisedMLP
from celldyn.landscape.objective import Noise, Weights, loss_terms
from celldyn.landscape.penalties import penalty_weights, steps_along_walks

KINDS = list(
    itertools.product(
        ("zinb", "nb"), ("observed", "inferred", "reference"), ("mean", "reference"), (False, True)
    )
)


@pytest.mark.parametrize(("likelihood", "library", "penalty_scale", "some"), KINDS)
def test_loss_and_gradients_are_those_of_pyro(likelihood, library, penalty_scale, some) -> None:
    cfg = small_config(
        likelihood=likelihood, library=library, penalty_scale=penalty_scale, V_coeff=0.5
    )
    networks = double_networks(cfg)
    batch = double_batch(np.array([0, 3, 5, 6, 40, 41, 83]) if some else None)
    parameters = dict(networks.named_parameters())

    torch.manual_seed(7)
    stated = negative_elbo(networks, batch, cfg, af=0.7, wasserstein=0.3, substeps=2)
    slopes = torch.autograd.grad(stated, list(parameters.values()), allow_unused=True)
    torch.manual_seed(7)
    noise = Noise.draw(networks, batch)
    found = loss_terms(networks, batch, cfg, Weights(0.7, 0.3, 2), noise)["loss"]
    ours = torch.autograd.grad(found, list(parameters.values()), allow_unused=True)

    torch.testing.assert_close(found, stated, rtol=1e-9, atol=1e-9)
    for name, slope, own in zip(parameters, slopes, ours, strict=True):
        assert slope is not None, name
        torch.testing.assert_close(own, slope, rtol=1e-7, atol=1e-9, msg=name)


def test_nothing_is_left_in_the_parameter_store() -> None:
    cfg = small_config()
    pyro.clear_param_store()
    negative_elbo(double_networks(cfg), double_batch(), cfg, af=1.0, wasserstein=0.1)
    assert not list(pyro.get_param_store().keys())


def test_terms_sum_to_the_loss() -> None:
    cfg = small_config(library="inferred")
    networks, batch = double_networks(cfg), double_batch()
    terms = loss_terms(networks, batch, cfg, Weights(1.0, 0.2), Noise.draw(networks, batch))
    parts = sum(value for name, value in terms.items() if name != "loss")
    torch.testing.assert_close(terms["loss"], parts)
    assert set(terms) == {"loss", "reconstruction", "kl_z", "kl_B", "kl_library", "V", "W2"}


def test_rows_that_are_left_out_change_the_loss_by_no_bias() -> None:
    """The mean over all choices of half of the rows is the loss of all rows (no batch norm)."""
    cfg = small_config()
    networks = double_networks(cfg).eval()
    whole = double_batch(n_walks=2, path_len=3)
    noise = Noise.draw(networks, whole)
    wanted = loss_terms(networks, whole, cfg, Weights(), noise)["reconstruction"]
    found = [
        loss_terms(
            networks,
            double_batch(np.array(rows), n_walks=2, path_len=3),
            cfg,
            Weights(),
            noise,
        )["reconstruction"]
        for rows in itertools.combinations(range(6), 3)
    ]
    torch.testing.assert_close(torch.stack(found).mean(), wanted)


def test_a_cell_met_often_is_normalised_as_its_rows_would_be() -> None:
    torch.manual_seed(0)
    once, often = NormalisedMLP([5, 7, 4]).double(), NormalisedMLP([5, 7, 4]).double()
    often.load_state_dict(once.state_dict())
    x, times = torch.randn(9, 5).double(), torch.tensor([1, 4, 2, 1, 1, 3, 1, 6, 2])
    rows = x.repeat_interleave(times, 0)
    torch.testing.assert_close(once(x, times.double()).repeat_interleave(times, 0), often(rows))
    for mine, its in zip(once.buffers(), often.buffers(), strict=True):
        torch.testing.assert_close(mine, its)


def test_penalties_keep_their_meaning_whatever_genes_and_walks() -> None:
    assert penalty_weights("mean", 300, 64) == penalty_weights("mean", 5000, 1024)
    assert penalty_weights("mean", 2000, 256) == penalty_weights("reference", 2000, 256)


def test_steps_along_a_walk_are_squared_distances_of_neighbours() -> None:
    loc, scale = torch.tensor([[0.0, 0], [3, 4], [3, 4]]), torch.tensor([[1.0], [1], [3]])
    steps = steps_along_walks(loc, scale, torch.tensor([[0, 1, 2], [1, 2, 2]]))
    assert steps.tolist() == [25 + 4, 4]
