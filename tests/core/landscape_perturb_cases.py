"""A tissue whose encoder is known: two branches, told by one gene each, and genes of nothing.

600 cells lie along a fork in the plane: they go down the stem, V falls along it, and come to the
wells left and right. The encoder is linear as far as a softplus allows: gene 0 ("left") moves a
state to the left, gene 1 ("right") to the right, by exactly as much as they are expressed, and
other genes hardly at all.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from celldyn.landscape.config import LSDConfig
from celldyn.landscape.networks import Networks

N_GENES = 422
GENES = ("left", "right", *(f"house_{g}" for g in range(N_GENES - 2)))
PULL = 0.35
"""How far one unit of expression of a branch's gene moves a state."""


class Fork(nn.Module):
    """V = ¼ (x² − s²)² / s² + ½ y² with s = 1: wells at (±1, 0), a ridge at x = 0.

    The flow from (x, y): y decays, x goes to the well of its sign. z_dim is 2.
    """

    z_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, z):
        x, y = z[..., 0], z[..., 1]
        return (x * x - 1) ** 2 / 4 + y * y / 2

    def gradient(self, z):
        x, y = z[..., 0], z[..., 1]
        return torch.stack([x * (x * x - 1), y], dim=-1)

    def hessian_max_eigenvalue(self, z):
        return (3 * z[..., 0] ** 2 - 1).clamp_min(1.0)


def small_config(z_dim=2):
    """Networks that a test can afford."""
    cfg = LSDConfig()
    cfg.model.z_dim = z_dim
    cfg.model.layer_dims.x_encoder = (16, 8)
    cfg.model.layer_dims.z_decoder = (8,)
    cfg.model.layer_dims.z_encoder = (8,)
    cfg.model.layer_dims.B_decoder = (8,)
    return cfg


def any_networks(n_genes=N_GENES, z_dim=2, seed=0):
    """Networks with random weights and random, not trivial, batch normalisation; as evaluated."""
    torch.manual_seed(seed)
    networks = Networks(n_genes, small_config(z_dim))
    for norm in networks.x_encoder.norm:
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    return networks.eval()


def forked_networks():
    """Networks whose encoder gives (place along x, height y) and whose potential is the fork.

    Softplus is as good as linear far above 0: layers are put 30 up and brought back.
    """
    networks = any_networks()
    by_gene = torch.zeros(N_GENES, 2)
    by_gene[0, 0], by_gene[1, 0] = -PULL, PULL
    random = torch.Generator().manual_seed(1)
    by_gene[2:] = 0.0015 * torch.randn(N_GENES - 2, 2, generator=random)
    up = 30.0
    with torch.no_grad():
        for k, (linear, norm) in enumerate(
            zip(networks.x_encoder.linear, networks.x_encoder.norm, strict=True)
        ):
            linear.weight.zero_()
            norm.weight.fill_(1.0)
            norm.bias.zero_()
            norm.running_mean.zero_()
            norm.running_var.fill_(1.0 - norm.eps)
            if k == 0:
                linear.weight[:2] = by_gene.T
            else:
                linear.weight[0, 0] = linear.weight[1, 1] = 1.0
            linear.bias.fill_(up if k == 0 else 0.0)
        last = networks.x_encoder.linear[-1]
        last.bias[:2] = -up
    networks.potential = Fork()
    return networks


def fork_cells(n=600, seed=0):
    """Return expression (n, G), labels (n,) and networks: Stem near the ridge, then L and R.

    Stem cells express both genes alike, and so are at x ≈ 0; cells of a branch express the gene of
    theirs more. Housekeeping genes differ in level and in nothing else.
    """
    rng = np.random.default_rng(seed)
    labels = np.array(["Stem", "L", "R"], dtype=object)[rng.integers(0, 3, n)]
    x = np.zeros((n, N_GENES), dtype=np.float32)
    way = np.where(labels == "L", -1.0, np.where(labels == "R", 1.0, 0.0))
    x[:, 0] = np.clip(1.5 - 1.4 * way + 0.3 * rng.standard_normal(n), 0.05, None)
    x[:, 1] = np.clip(1.5 + 1.4 * way + 0.3 * rng.standard_normal(n), 0.05, None)
    level = rng.uniform(0.3, 3.0, N_GENES - 2)
    seen = rng.uniform(size=(n, N_GENES - 2)) < 0.8
    x[:, 2:] = np.where(seen, level * rng.uniform(0.5, 1.5, (n, N_GENES - 2)), 0.0)
    return torch.from_numpy(x), labels, forked_networks()


def fork_subjects(n=600, seed=0):
    """Return what `perturb_job` takes first: networks, expression, z_cells, labels; and stem."""
    x, labels, networks = fork_cells(n, seed)
    with torch.no_grad():
        z = networks.encode(x)[0]

    def expression(cells):
        return x[torch.as_tensor(cells)]

    return (networks, expression, z, labels), np.flatnonzero(labels == "Stem")
