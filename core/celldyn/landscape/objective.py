"""The loss of training: what `definition.py` states, computed without anything twice.

Every cell that walks meet is encoded once; the RNN of p(B) sees each cell's expression once; the
counts of a share of the rows are looked at. Shapes: W walks of L cells, N = W L rows, m cells,
r rows whose counts are looked at, d dimensions of z, b of B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from celldyn.landscape.batching import WalkBatch
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.count_likelihood import normalised_log_likelihood
from celldyn.landscape.networks import PRIOR_SCALE_B, Networks
from celldyn.landscape.penalties import high_ground, penalty_weights, steps_along_walks
from celldyn.landscape.walk_flow import walk_flow

Terms: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Weights:
    """What a step of training weighs, and how fine its flow is.

    Parameters
    ----------
    af
        Of the terms of B.
    wasserstein
        Of steps along walks.
    substeps
        Steps of the flow between two cells of a walk.
    """

    af: float = 1.0
    wasserstein: float = 0.0
    substeps: int = 1


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard normal numbers of a step.

    Parameters
    ----------
    z
        (N, d).
    B
        (N, b).
    library
        (N,), or None where library sizes are observed.
    """

    z: Tensor
    B: Tensor
    library: Tensor | None = None

    @classmethod
    def draw(
        cls, networks: Networks, batch: WalkBatch, generator: torch.Generator | None = None
    ) -> Noise:
        """Draw the numbers of a step, z first."""
        d, b = networks.potential.z_dim, networks.h_0.shape[-1]
        N, like = batch.index.numel(), batch.x

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

        infers = networks.xl_encoder is not None
        return cls(normal(N, d), normal(N, b), normal(N) if infers else None)


def loss_terms(
    networks: Networks, batch: WalkBatch, cfg: LSDConfig, weights: Weights, noise: Noise
) -> Terms:
    """Return the loss and its parts.

    Returns
    -------
    Scalars in nats per count, of which "loss" is the sum that is minimised: "reconstruction"
    −log p(x); "kl_z" log q(z) − log p(z|B); "kl_B" af (log q(B) − log p(B)); "kl_library", 0
    where library sizes are observed; "W2" and "V" the penalties with their weights.
    """
    loc, scale = networks.encode(batch.x, batch.times)
    cells = batch.index.flatten()
    path = walk_flow(
        networks.potential, loc[batch.index[:, 0]], batch.path_len, cfg.ode, weights.substeps
    )
    z_mean = path.transpose(0, 1).reshape(cells.shape[0], -1)
    z_scale = scale[cells]
    z = torch.addcmul(z_mean, z_scale, noise.z)
    per = 1.0 / (cells.shape[0] * networks.n_genes)
    terms = _of_B(networks, batch, z, z_scale, noise, weights.af, per)
    log_library, terms["kl_library"] = _library(networks, batch, cells, noise, per)
    terms["reconstruction"] = _reconstruction(networks, batch, z, log_library)
    of_V, of_steps = penalty_weights(cfg.model.penalty_scale, networks.n_genes, batch.n_walks)
    V = networks.potential(loc)
    terms["V"] = cfg.model.V_coeff * of_V * high_ground(V)
    steps = steps_along_walks(loc, scale, batch.index).mean()
    terms["W2"] = weights.wasserstein * of_steps * steps
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def _of_B(
    networks: Networks,
    batch: WalkBatch,
    z: Tensor,
    z_scale: Tensor,
    noise: Noise,
    af: float,
    per: float,
) -> Terms:
    """Return the terms of B and of z given B."""
    W, L = batch.index.shape
    tau = torch.linspace(0, 1, L, dtype=z.dtype, device=z.device).repeat(W).unsqueeze(-1)
    B_loc, B_raw = networks.encode_B(z)
    B_scale = tau.exp() * B_raw
    B = torch.addcmul(B_loc, B_scale, noise.B)
    log_q = -B_scale.log().sum() - 0.5 * noise.B.square().sum()
    m = prior_means(networks, batch).reshape(W * L, -1)
    log_p = -0.5 * ((B - m) / PRIOR_SCALE_B).square().sum() - m.numel() * math.log(PRIOR_SCALE_B)
    kl_B = (log_q - log_p) * (af * per)
    loc, raw = networks.decode_B(B)
    p_scale = tau.exp() * raw
    apart = ((z - loc) / p_scale).square() - noise.z.square()
    kl_z = (0.5 * apart.sum() + p_scale.log().sum() - z_scale.log().sum()) * per
    return {"kl_z": kl_z, "kl_B": kl_B}


def prior_means(networks: Networks, batch: WalkBatch) -> Tensor:
    """Return the RNN's output along every walk, (W, L, b).

    Its first product, with expression, is taken once per cell; the RNN then runs on that, with
    the identity where its weights were.
    """
    of = dict(networks.prior_rnn.named_parameters())
    seen = torch.nn.functional.linear(batch.x, of["weight_ih_l0"], of["bias_ih_l0"])
    identity = torch.eye(seen.shape[1], dtype=seen.dtype, device=seen.device)
    weights = [
        identity, of["weight_hh_l0"], torch.zeros_like(of["bias_ih_l0"]), of["bias_hh_l0"],
        of["weight_ih_l1"], of["weight_hh_l1"], of["bias_ih_l1"], of["bias_hh_l1"],
    ]  # fmt: skip
    h_0 = networks.h_0.expand(-1, batch.n_walks, -1).contiguous()
    how = (True, 2, 0.0, False, False, False)  # biases, 2 layers, no dropout, time comes first
    out, _ = torch._VF.rnn_relu(seen[batch.index.T], h_0, weights, *how)
    return out.transpose(0, 1)


def _library(
    networks: Networks, batch: WalkBatch, cells: Tensor, noise: Noise, per: float
) -> tuple[Tensor, Tensor]:
    """Return log library size of every row, (N,), and what it costs."""
    if networks.xl_encoder is None:
        return batch.log_library[cells], batch.x.new_zeros(())
    loc, scale = networks.encode_library(batch.x, batch.log_library, batch.times)
    assert noise.library is not None
    log_library = torch.addcmul(loc[cells], scale[cells], noise.library)
    prior = networks.library_scale
    apart = ((log_library - networks.library_loc) / prior).square() - noise.library.square()
    cost = 0.5 * apart.sum() + (prior.log() - scale[cells].log()).sum()
    return log_library, cost * per


def _reconstruction(
    networks: Networks, batch: WalkBatch, z: Tensor, log_library: Tensor
) -> Tensor:
    if batch.rows is not None:
        z, log_library = z[batch.rows], log_library[batch.rows]
    decoder, each = networks.z_decoder, -1.0 / (len(z) * networks.n_genes)
    return normalised_log_likelihood(
        batch.counts, decoder.raw(z), decoder.last_norm, log_library, networks.log_theta,
        z.new_full((len(z),), each), rows=batch.counted,
    )  # fmt: skip
