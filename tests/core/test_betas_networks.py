"""Networks against the same written down in plain torch.nn, and what they are shown."""

from __future__ import annotations

import betas_network_cases as cases
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from celldyn.betas import CellularNicheNetwork, CellularViT, density_maps, distance_maps
from celldyn.betas.varying.cluster import Surroundings
from celldyn.betas.varying.gradients import block_parameters
from celldyn.betas.varying.images import DistanceImages, PointImages
from celldyn.betas.varying.one_block import Memory
from celldyn.betas.varying.one_pass import OnePass
from celldyn.betas.varying.surroundings_maps import source_job
from celldyn.betas.varying.tiled_convolution import TiledConvolution
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are not worth two threads, which wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


def batch(n=7, side=16, n_channels=1, n_clusters=4, p=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (n, n_channels, side, side), (n, n_clusters), (n, p)
    return [torch.rand(shape, generator=generator) for shape in shapes]


def cnn(p=10, side=16, n_clusters=4, activation="sigmoid", n_channels=1, seed=0):
    anchors = np.random.default_rng(p).normal(size=1 + p)
    generator = torch.Generator().manual_seed(seed)
    return CellularNicheNetwork(
        p, anchors, side, n_clusters, activation, n_channels, generator=generator
    )


def drain(work):
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def points(n, n_channels, side, per_cell=30, seed=0):
    rng = np.random.default_rng(seed)
    start = np.concatenate(([0], np.cumsum(rng.integers(0, 2 * per_cell, n))))
    place = rng.integers(0, n_channels * side**2, start[-1])
    return PointImages(start, np.sort(place).astype(np.int32), n_channels, side)


def distances(n, side, seed=0):
    around = Surroundings(
        np.random.default_rng(seed).uniform(0, 9, (n, 2)), np.zeros(n, int), 1, 1
    )
    shown = cases.config(maps="distance", spatial_dim=side)
    return run(source_job(around, np.arange(n), 0, shown), bar=False).batch(np.arange(n))


def test_as_many_parameters_as_the_architectures_have():
    anchors = np.ones(11)
    assert size(CellularNicheNetwork(10, anchors, 64, 4)) == 31_249
    assert size(CellularViT(10, anchors, 32, 4)) == 12_813
    assert "anchors" in dict(cnn().named_buffers())


@pytest.mark.parametrize("activation", cases.GATES)
def test_cnn_is_what_torch_makes_of_its_layers(activation):
    network = cases.shaken(cnn(activation=activation, n_channels=2))
    plain = cases.PlainCnn(10, 4, 2, activation).take(network)
    maps, features, X = batch(n_channels=2)
    for training in (True, False):  # the second with the running statistics of the first
        network.train(training)
        plain.train(training)
        truth = plain.betas(maps, features, network.anchors[0])
        betas = network.get_betas(maps, features)
        assert betas.shape == (7, 11)
        torch.testing.assert_close(betas, truth, rtol=1e-4, atol=1e-5)
    y = truth[:, 0] + (truth[:, 1:] * X).sum(dim=1)
    torch.testing.assert_close(network(maps, features, X), y, rtol=1e-4, atol=1e-4)


def test_transformer_is_what_its_equations_say():
    generator = torch.Generator().manual_seed(0)
    network = CellularViT(10, np.arange(11.0), 16, 4, 3, generator=generator)
    cases.shaken(network).eval()
    maps, features, _ = batch(n_channels=3)
    truth = cases.PlainVit(network).betas(maps, features)
    betas = network.get_betas(maps, features).double()
    torch.testing.assert_close(betas, truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["points", "distances"])
@pytest.mark.parametrize(("side", "falling"), [(16, False), (21, False), (21, True)])
def test_one_pass_is_exact(kind, side, falling):
    """Pooling first, in cache, by hand: the same outputs, statistics and gradients.

    Where two of four outputs are equal but for rounding, the gradient may go to the other one.
    """
    errors = [one_pass_error(kind, side, seed, falling=falling) for seed in range(5)]
    assert np.median(errors) < 1e-4
    assert max(errors) < 0.05


def one_pass_error(kind, side, seed, *, falling):
    """Check the outputs; return the largest relative error of a gradient."""
    n_channels = 3 if kind == "points" else 1
    images = points(30, 3, side, seed=seed) if kind == "points" else distances(30, side, seed)
    network = cases.shaken(cnn(side=side, n_channels=n_channels, seed=seed), falling=falling)
    plain = cases.PlainCnn(10, 4, n_channels, "sigmoid").take(network).double()
    maps = images.dense(CPU).double()
    pull = torch.randn((30, 64), generator=torch.Generator().manual_seed(seed))
    seen = plain.see(maps)
    seen.backward(pull.double())

    parameters = block_parameters(network)
    through = OnePass(parameters, images, Memory())
    assert distance(drain(through.forward()), seen.detach()) < 1e-5
    through.absorb_into(network.blocks)
    found = drain(through.backward(pull))
    for mine, theirs in zip(network.blocks, plain.blocks, strict=True):
        assert distance(mine.running_mean[0], theirs[1].running_mean) < 1e-5
        assert distance(mine.running_var[0], theirs[1].running_var) < 1e-5
    statistics = [(b.running_mean[0], b.running_var[0]) for b in network.blocks]
    settled = OnePass(parameters, images, Memory()).settled(statistics)
    assert distance(settled, plain.eval().see(maps).detach()) < 1e-5

    learnt = [t for p in parameters for t in (p.kernel, p.gamma, p.beta, p.slope)]
    torch.autograd.backward(learnt, [t for gradients in found for t in gradients])
    mine = [(b.direction, b.gamma, b.beta, b.slope) for b in network.blocks]
    return max(
        distance(parameter.grad.flatten(), truth.flatten())
        for parameters, truths in zip(mine, plain.block_gradients(), strict=True)
        for parameter, truth in zip(parameters, truths, strict=True)
    )


def distance(found, truth):
    return float((found.double() - truth).norm() / truth.norm())


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 3),
    side=st.integers(1, 13),
    n_in=st.sampled_from([1, 16]),
    n_out=st.sampled_from([3, 32]),
)
def test_tiles_convolve(seed, n, side, n_in, n_out):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    h, kernel, pull = (
        draw(n, side, side, n_in),
        draw(n_out, n_in, 3, 3),
        draw(n, side, side, n_out),
    )
    inputs, weight = (
        h.double().permute(0, 3, 1, 2).requires_grad_(),
        kernel.double().requires_grad_(),
    )
    truth = torch.nn.functional.conv2d(inputs, weight, padding=1)
    truth.backward(pull.double().permute(0, 3, 1, 2))

    convolution = TiledConvolution(kernel, Memory())
    x = torch.from_numpy(convolution.outputs(h.numpy()))
    assert distance(x.permute(0, 3, 1, 2), truth.detach()) < 1e-5
    dh = torch.from_numpy(convolution.backward(h.numpy(), pull.numpy()))
    assert distance(dh.permute(0, 3, 1, 2), inputs.grad) < 1e-5
    assert distance(convolution.gradient(), weight.grad) < 1e-5


def test_a_stack_gives_each_model_what_it_gives_alone():
    sizes = (3, 10, 6)
    anchors = np.zeros((3, 11))
    alone = [cnn(p=p, seed=5) for p in sizes]
    for row, network in zip(anchors, alone, strict=True):
        row[: network.anchors.shape[1]] = network.anchors[0]
    stack = CellularNicheNetwork(
        10, anchors, 16, 4, n_models=3, n_each=sizes, generator=torch.Generator().manual_seed(5)
    )
    maps, features, X = batch()
    for training in (True, False):  # the second with the running statistics of the first
        betas = stack.train(training).get_betas(maps, features)
        assert betas.shape == (3, 7, 11)
        for model, (p, network) in enumerate(zip(sizes, alone, strict=True)):
            mine = network.train(training).get_betas(maps, features)
            torch.testing.assert_close(betas[model, :, : 1 + p], mine, rtol=1e-5, atol=1e-6)
            assert not betas[model, :, 1 + p :].any()
    y = stack(maps, features, X.expand(3, -1, -1))
    torch.testing.assert_close(y[1], alone[1](maps, features, X))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.integers(1, 9), own=st.booleans())
def test_density_images_are_the_density_maps(seed, side, own):
    rng = np.random.default_rng(seed)
    around = Surroundings(rng.uniform(0, 50, (60, 2)), rng.integers(0, 3, 60), 4, 8.5)
    shown = cases.config(spatial_dim=max(side, 4), channels="own" if own else "auto")
    cells, some = np.flatnonzero(around.types == 1), np.array([0, 2, 1])
    if len(cells) < 3:
        return
    source = run(source_job(around, cells, 1, shown), bar=False)
    labels = np.append(around.types, 3)  # a type that the section lacks has a channel too
    xy = np.vstack((around.xy, [[900.0, 900.0]]))
    truth = density_maps(xy, labels, cells[some], extent=17.0, spatial_dim=max(side, 4))[
        :, [1] if own else slice(None)
    ]
    np.testing.assert_array_equal(source.batch(some).dense(CPU).numpy(), truth)
    turns = np.array([1, 2, 7])
    turned = np.stack([np.rot90(t, k, (1, 2)) for t, k in zip(truth, turns, strict=True)])
    np.testing.assert_array_equal(source.batch(some, turns).dense(CPU).numpy(), turned)


def test_distance_images_are_the_distance_maps():
    rng = np.random.default_rng(0)
    around = Surroundings(rng.uniform(-5, 50, (60, 2)) * (1, 3), rng.integers(0, 3, 60), 3, 8.5)
    cells, some, turns = np.arange(5, 60), np.arange(6), np.array([0, 1, 2, 3, 4, 5])
    for channels, n in (("auto", 1), ("all", 3)):
        shown = cases.config(maps="distance", channels=channels)
        source = run(source_job(around, cells, 0, shown), bar=False)
        truth = distance_maps(around.xy, (16, 16), cells=cells[some])[:, None].repeat(n, axis=1)
        np.testing.assert_allclose(source.batch(some).dense(CPU), truth, atol=2e-6)
        turned = np.stack([np.rot90(t, k, (1, 2)) for t, k in zip(truth, turns, strict=True)])
        np.testing.assert_allclose(source.batch(some, turns).dense(CPU), turned, atol=2e-6)
    assert isinstance(source.batch(some), DistanceImages)


def test_images_too_many_to_keep_are_made_batch_by_batch(monkeypatch):
    rng = np.random.default_rng(0)
    around = Surroundings(rng.uniform(0, 50, (60, 2)), rng.integers(0, 3, 60), 3, 8.5)
    job = lambda: run(source_job(around, np.arange(60), 0, cases.config()), bar=False)  # noqa: E731
    kept = job()
    monkeypatch.setattr("celldyn.betas.varying.surroundings_maps.MAX_BYTES", 100)
    drawn = job()
    assert type(drawn) is not type(kept)
    some = np.array([7, 0, 7, 31])
    assert torch.equal(drawn.batch(some).dense(CPU), kept.batch(some).dense(CPU))
    images = kept.batch(some)
    assert torch.equal(images.part(1, 3).dense(CPU), images.dense(CPU)[1:3])


def test_what_does_not_fit_is_refused():
    anchors = np.ones(4)
    with pytest.raises(ConfigError, match="spatial_dim is 30, which 4 does not divide"):
        CellularViT(3, anchors, 30, 4)
    with pytest.raises(ConfigError, match="spatial_dim is 6, too few pixels"):
        CellularNicheNetwork(3, anchors, 6, 4)
    with pytest.raises(ConfigError, match="activation is 'step'"):
        CellularNicheNetwork(3, anchors, 16, 4, "step")
    with pytest.raises(DataError, match=r"anchors have shape \(1, 4\), not \(1, 6\)"):
        CellularNicheNetwork(5, anchors, 16, 4)
