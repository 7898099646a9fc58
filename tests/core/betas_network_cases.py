"""The architectures written down in plain torch.nn, and clusters whose betas are known to vary."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from celldyn.betas import BetasConfig
from celldyn.betas.folds import spatial_folds
from celldyn.betas.seed_model import SeedFit, r_squared
from celldyn.betas.varying.cluster import Cluster, Surroundings

GATES = {
    "identity": lambda x: x,
    "tanh": nn.functional.tanh,
    "sigmoid": nn.functional.sigmoid,
    "sigmoidx2": lambda x: 2 * nn.functional.sigmoid(x),
    "gelu": nn.functional.gelu,
    "softplus": nn.functional.softplus,
}


class PlainCnn(nn.Module):
    """conv - batch norm - PReLU - pool, three times; mean; plus MLP(features); MLP; gate."""

    def __init__(self, p, n_clusters, n_channels, gate):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                weight_norm(nn.Conv2d(n_in, n_out, 3, padding="same")),
                nn.BatchNorm2d(n_out),
                nn.PReLU(init=0.1),
                nn.MaxPool2d(2),
            )
            for n_in, n_out in ((n_channels, 16), (16, 32), (32, 64))
        )
        self.context = mlp(n_clusters, 16, 32, 64)
        self.head = mlp(64, 64, 1 + p)
        self.gate = GATES[gate]

    def see(self, maps):
        for block in self.blocks:
            maps = block(maps)
        return maps.mean(dim=(2, 3))

    def betas(self, maps, features, anchors):
        return self.gate(self.head(self.see(maps) + self.context(features))) * anchors

    def take(self, network, model=0):
        """Copy the values of one model of a stack."""
        for mine, theirs in zip(self.blocks, network.blocks, strict=True):
            weight = mine[0].parametrizations.weight
            fill(weight.original0, theirs.length[model].reshape(-1, 1, 1, 1))
            fill(weight.original1, theirs.direction[model])
            fill(mine[0].bias, theirs.bias[model])
            fill(mine[1].weight, theirs.gamma[model])
            fill(mine[1].bias, theirs.beta[model])
            fill(mine[1].running_mean, theirs.running_mean[model])
            fill(mine[1].running_var, theirs.running_var[model])
            fill(mine[2].weight, theirs.slope[model].reshape(1))
        take_mlp(self.context, network.context, model)
        take_mlp(self.head, network.head, model)
        return self

    def block_gradients(self):
        """Gradients of each block's kernel parameters, gamma, beta and slope."""
        return [
            [
                block[0].parametrizations.weight.original1.grad,
                block[1].weight.grad,
                block[1].bias.grad,
                block[2].weight.grad,
            ]
            for block in self.blocks
        ]


class PlainVit:
    """The transformer of one model, head by head and patch by patch, in evaluation mode."""

    def __init__(self, network, model=0):
        self.w = {name: value[model].double() for name, value in network.state_dict().items()}
        self.side = network.embed.weight.shape[-1]

    def betas(self, maps, features):
        x = self.tokens(maps.double())
        for block in range(4):
            x = x + self.attention(self.norm(x, f"blocks.{block}.norm1"), f"blocks.{block}")
            grown = self.linear(self.norm(x, f"blocks.{block}.norm2"), f"blocks.{block}.grow")
            x = x + self.linear(nn.functional.gelu(grown), f"blocks.{block}.shrink")
        s = features.double()
        for k in (0, 2, 4):
            s = self.linear(s, f"context.{k}")
            if k < 4:
                slope = self.w[f"context.{k + 1}.weight"]
                s = torch.where(s > 0, s, slope * s)
        o = x[:, 0] + s
        for k in range(2):
            o = nn.functional.gelu(self.linear(o, f"head.layers.{k}"))
        return 1.5 * torch.sigmoid(self.linear(o, "head.last")) * self.w["anchors"]

    def tokens(self, maps):
        batch, _, side, _ = maps.shape
        step = side // 4
        patches = [
            maps[:, :, r * step : (r + 1) * step, q * step : (q + 1) * step].reshape(batch, -1)
            for r in range(4)
            for q in range(4)
        ]
        tokens = [self.linear(patch, "embed") for patch in patches]
        x = torch.stack([self.w["start.token"].expand(batch, -1), *tokens], dim=1)
        table = torch.zeros(17, 16, dtype=torch.float64)
        for i in range(17):
            for j in range(16):
                angle = i / 10000 ** ((j if j % 2 == 0 else j - 1) / 16)
                table[i, j] = np.sin(angle) if j % 2 == 0 else np.cos(angle)
        return x + table

    def attention(self, x, name):
        weight, bias = self.w[f"{name}.attention.weight"], self.w[f"{name}.attention.bias"]
        heads = []
        for h in range(8):
            part = x[:, :, 2 * h : 2 * h + 2]
            q, k, v = (part @ weight[i, h].T + bias[i, h] for i in range(3))
            heads.append(torch.softmax(q @ k.mT / np.sqrt(2), dim=-1) @ v)
        return torch.cat(heads, dim=-1)

    def norm(self, x, name):
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return nn.functional.layer_norm(x, (16,), weight, bias)

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]


def mlp(*sizes):
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.PReLU(init=0.1)]
    return nn.Sequential(*layers[:-1])


def take_mlp(mine, theirs, model):
    for to, layer in zip(mine, theirs, strict=True):
        if isinstance(to, nn.PReLU):
            fill(to.weight, layer.weight[model].reshape(1))
            continue
        fill(to.weight, layer.weight[model][: len(to.weight)])
        fill(to.bias, layer.bias[model][: len(to.weight)])


def fill(to, value):
    with torch.no_grad():
        to.copy_(value)


def shaken(network, seed=0, *, falling=False):
    """Move every parameter off its start: some gammas negative, slopes negative if asked for."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += (1.0 if name.endswith("gamma") else 0.1) * noise
            if falling and name.endswith("slope"):
                parameter.copy_(-parameter.abs() - 0.1)
    return network


def config(**more):
    options = {"num_epochs": 30, "spatial_dim": 16, "vision_model": "cnn", "device": "cpu"}
    return BetasConfig(target_gene="g", **(options | more))


def cluster(n=300, p=4, seed=0, gate="place", noise=0.3, code=0, n_types=3):
    """y = 2 + gate(s) · Xb + noise, the gate a wave along x or the share of type 1 around."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 400, (3 * n, 2))
    types = rng.permutation(np.arange(3 * n) % n_types)
    left = (types != code) & (xy[:, 0] < 200) & (rng.random(3 * n) < 0.7)
    types[left] = (code + 1) % n_types
    around = Surroundings(xy, types, n_types, 60.0)
    cells = np.flatnonzero(types == code)[:n]
    X, coef = rng.gamma(2.0, 1.0, (len(cells), p)), rng.uniform(0.5, 1.5, p)
    if gate == "place":
        factor = 1 + 0.5 * np.sin(xy[cells, 0] / 60)
    else:
        factor = 0.4 + 1.2 * around.features[cells, (code + 1) % n_types]
    y = 2 + factor * (X @ coef) + noise * rng.normal(size=len(cells))
    return fitted(X, y, xy[cells], cells, code, around), factor


def fitted(X, y, xy, cells, code, around):
    """The cluster with its least-squares model."""
    folds = spatial_folds(xy, 5, 0)
    intercept, coef = least_squares(X, y)
    without = []
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(y)), fold)
        without.append(least_squares(X[kept], y[kept]))
    seed = SeedFit(intercept, coef, r_squared(y, intercept + X @ coef), np.nan, tuple(without))
    groups = np.ones(X.shape[1], np.intp)
    return Cluster(X, y, groups, xy, cells, code, folds, seed, around, "one")


def least_squares(X, y):
    b = np.linalg.lstsq(np.column_stack((np.ones(len(y)), X)), y, rcond=None)[0]
    return float(b[0]), b[1:]
