"""Files as CellTRIP writes them, made from the page's equations: `.weights`, `.pre`, `.mask`."""

from __future__ import annotations

import pickle

import numpy as np
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from torch import nn


class RunningMoments(nn.Module):
    """Running mean, mean square and standard deviation, as buffers."""

    def __init__(self, size, generator, names=("mean", "mean_sq", "std")):
        super().__init__()
        mean = torch.randn(size, generator=generator)
        std = torch.rand(size, generator=generator) + 0.5
        values = (mean, mean.square() + std.square(), std)
        for name, value in zip(names, values, strict=True):
            self.register_buffer(name, value)
        self.moments = (mean, std)


class PinningLike(nn.Module):
    def __init__(self, d, n_features, generator):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.PReLU(), nn.Linear(2 * d, n_features))
        self.input_standardization = RunningMoments(d, generator)
        self.output_standardization = RunningMoments(n_features, generator)

    def forward(self, x):
        (m, s), (mean, std) = (
            self.input_standardization.moments,
            self.output_standardization.moments,
        )
        return self.mlp((x - m) / s) * std + mean


class BlockLike(nn.Module):
    def __init__(self, h, heads):
        super().__init__()
        self.layer_norms = nn.ModuleList(nn.LayerNorm(h) for _ in range(3))
        self.attention = nn.MultiheadAttention(h, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(h, 4 * h), nn.PReLU(), nn.Linear(4 * h, h))

    def forward(self, s, o):
        key = self.layer_norms[1](o)
        itself = torch.eye(len(s), dtype=torch.bool)
        s = s + self.attention(self.layer_norms[0](s), key, key, attn_mask=itself)[0]
        return s + self.mlp(self.layer_norms[2](s))


class PolicyLike(nn.Module):
    """The network of the page's section B, "Lite"."""

    def __init__(self, d, n_features, targets, heads=2, blocks=1, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        h, P = 4 * d, 2 * d
        self.d = d
        self.self_pos_embed, self.self_feat_embed = nn.Linear(P, h), nn.Linear(n_features, h)
        self.self_embed = nn.Sequential(nn.PReLU(), nn.Linear(h, h))
        self.node_pos_embed, self.node_feat_embed = nn.Linear(P, h), nn.Linear(n_features, h)
        self.node_embed = nn.Sequential(nn.PReLU(), nn.Linear(h, h))
        self.blocks = nn.ModuleList(BlockLike(h, heads) for _ in range(blocks))
        self.actor = nn.Sequential(
            nn.PReLU(), nn.Linear(h, 2 * h), nn.PReLU(), nn.Linear(2 * h, d)
        )
        self.critic = nn.Sequential(nn.PReLU(), nn.Linear(h, 1))
        self.log_std = nn.Parameter(torch.tensor(-0.25))
        self.input_standardization = RunningMoments(P + n_features, generator)
        self.return_standardization = RunningMoments(1, generator)
        self.pinning = nn.ModuleList(PinningLike(d, size, generator) for size in targets)
        with torch.no_grad():
            for name, value in self.named_parameters():
                if name != "log_std":
                    noise = torch.randn(value.shape, generator=generator)
                    value.copy_(noise / max(value.shape[-1], 4) ** 0.5)

    @torch.no_grad()
    def forward(self, x, v, features):
        mean, std = self.input_standardization.moments
        seen = (torch.cat([x, v, features], 1) - mean) / std
        place, features = seen[:, : 2 * self.d], seen[:, 2 * self.d :]
        s = self.self_embed(self.self_pos_embed(place) + self.self_feat_embed(features))
        o = self.node_embed(self.node_pos_embed(place) + self.node_feat_embed(features))
        for block in self.blocks:
            s = block(s, o)
        mean, std = self.return_standardization.moments
        return self.actor(s).tanh(), self.critic(s)[:, 0] * std + mean


def write_weights(path, network, state=None):
    """Write a `.weights` file, of the network's state or one that was changed."""
    optimizer = torch.optim.Adam(network.parameters())
    torch.save(
        {
            "policy": network.state_dict() if state is None else state,
            "optimizer": optimizer.state_dict(),
            "scheduler": {"last_epoch": 0, "_step_count": 1},
        },
        path,
    )


class SettingsLike:
    """Fits what a `.pre` file holds, on two modalities: counts and coordinates."""

    def __init__(self, counts, places, *, dim=4, sparse=False, keep=None, per_axis=False):
        x = np.log1p(counts * (100 / counts.sum(1, keepdims=True)))
        mask = np.ones(x.shape[1], bool)
        if keep is not None:
            mask[np.argsort(x.std(0))[: x.shape[1] - keep]] = False
        self.mean, self.std = x.mean(0, keepdims=True), x.std(0, keepdims=True)
        z = (x - (0 if sparse else self.mean)) / self.std
        z = z[:, mask]
        kind = TruncatedSVD if sparse else PCA
        self.pca = kind(dim, random_state=42).fit(z)
        axis = 0 if per_axis else None
        self.place_mean = places.mean(axis if per_axis else 0, keepdims=True)
        self.place_std = places.std(axis=axis, keepdims=True).reshape(1, -1)
        self.features = [self.pca.transform(z), (places - self.place_mean) / self.place_std]
        self.held = {
            "sample_count": [100.0, None],
            "pre_log": [True, False],
            "standardize": True,
            "total_statistics": [False, not per_axis],
            "top_variant": keep,
            "pca_dim": [dim, 0],
            "num_nodes": 10_000,
            "is_sparse_transform": [sparse, False],
            "standardize_mean": [None if sparse else self.mean, self.place_mean],
            "standardize_std": [self.std, self.place_std],
            "filter_mask": [mask, None],
            "pca_class": [self.pca, None],
            "modal_dims": [dim, 0],
        }

    def write(self, path, protocol=4, **changes):
        path.write_bytes(pickle.dumps({**self.held, **changes}, protocol))
