"""The landscape's model and guide in Pyro: what the fused loss of training is held to.

For every row (w, s) of a batch, step s of walk w, with τ_s = s / (L − 1):

    B ~ N(m, 10²),   m the output of an RNN along the walk
    z ~ N(zB_loc(B), (e^τ zB_scale(B))²)
    x ~ ZINB(gate(z), θ, mean l μ(z)),   l the library size

and the guide has

    z ~ N(ẑ_w(τ_s), z_scale(x)²),   dẑ/dτ = −∇V(ẑ),   ẑ_w(0) = z_loc(x_w0)
    B ~ N(B_loc(z), (e^τ B_scale(z))²)

Nothing is put into Pyro's parameter store: gradients go to the networks' own parameters, so that
many models live in one process.
"""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor

from celldyn.landscape.batching import WalkBatch
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.networks import GUARD, PRIOR_SCALE_B, Networks
from celldyn.landscape.penalties import high_ground, penalty_weights, steps_along_walks
from celldyn.landscape.walk_flow import walk_flow


def step_times(batch: WalkBatch) -> Tensor:
    """Return τ of every row, (N, 1)."""
    tau = torch.linspace(0, 1, batch.path_len, dtype=batch.x.dtype, device=batch.x.device)
    return tau.repeat(batch.n_walks).unsqueeze(-1)


def model(networks: Networks, batch: WalkBatch, af: float) -> None:
    """State p; `af` weighs p(B)."""
    W, N, G = batch.n_walks, batch.index.numel(), networks.n_genes
    cells = batch.index.flatten()
    h_0 = networks.h_0.expand(-1, W, -1).contiguous()
    m, _ = networks.prior_rnn(batch.x[batch.index], h_0)
    with pyro.plate("rows", N), poutine.scale(scale=1 / (N * G)):
        with poutine.scale(scale=af):
            B = pyro.sample("B", dist.Normal(m.reshape(N, -1), PRIOR_SCALE_B).to_event(1))
        loc, scale = networks.decode_B(B)
        z = pyro.sample("z", dist.Normal(loc, step_times(batch).exp() * scale).to_event(1))
        library = batch.log_library[cells].exp()
        if networks.xl_encoder is not None:
            prior = dist.LogNormal(networks.library_loc, networks.library_scale)
            library = pyro.sample("library", prior.expand([N]))
    rows = slice(None) if batch.rows is None else batch.rows
    _state_counts(networks, batch, z[rows], library[rows])


def _state_counts(networks: Networks, batch: WalkBatch, z: Tensor, library: Tensor) -> None:
    gate, share = networks.decode(z)
    theta = networks.log_theta.exp()
    mean = library.unsqueeze(-1) * share.exp()
    logits = torch.log(mean + GUARD) - torch.log(theta + GUARD)
    counts: Any = (
        dist.NegativeBinomial(theta, logits=logits)
        if gate is None
        else dist.ZeroInflatedNegativeBinomial(theta, logits=logits, gate_logits=gate)
    )
    n_rows, G = z.shape[0], networks.n_genes
    with pyro.plate("looked_at", n_rows), poutine.scale(scale=1 / (n_rows * G)):
        pyro.sample("x", counts.to_event(1), obs=batch.counts[batch.counted])


def guide(
    networks: Networks,
    batch: WalkBatch,
    cfg: LSDConfig,
    af: float,
    wasserstein: float,
    substeps: int = 1,
) -> None:
    """State q, and the penalties as factors; `wasserstein` weighs steps along walks."""
    W, L, N, G = batch.n_walks, batch.path_len, batch.index.numel(), networks.n_genes
    cells, rows = batch.index.flatten(), torch.arange(N, device=batch.x.device).reshape(W, L)
    x, log_library = batch.x[cells], batch.log_library[cells]
    loc, scale = networks.encode(x)
    z0 = loc[rows[:, 0]]
    path = walk_flow(networks.potential, z0, L, cfg.ode, substeps).transpose(0, 1)
    with pyro.plate("rows", N), poutine.scale(scale=1 / (N * G)):
        q = dist.Normal(path.reshape(N, -1), scale).to_event(1)
        z = pyro.sample("z", q)
        B_loc, B_scale = networks.encode_B(z)
        with poutine.scale(scale=af):
            pyro.sample("B", dist.Normal(B_loc, step_times(batch).exp() * B_scale).to_event(1))
        if networks.xl_encoder is not None:
            pyro.sample("library", dist.LogNormal(*networks.encode_library(x, log_library)))
    of_V, of_steps = penalty_weights(cfg.model.penalty_scale, G, W)
    high = cfg.model.V_coeff * of_V * high_ground(networks.potential(loc))
    steps = wasserstein * of_steps * steps_along_walks(loc, scale, rows).mean()
    pyro.factor("penalties", high + steps, has_rsample=True)


def negative_elbo(
    networks: Networks,
    batch: WalkBatch,
    cfg: LSDConfig,
    *,
    af: float,
    wasserstein: float,
    substeps: int = 1,
) -> Tensor:
    """Return the loss as Pyro computes it: −ELBO in nats per count, and the penalties.

    Pyro draws z, then B, then library sizes, each from the global generator of torch.
    """

    def stated_model() -> None:
        model(networks, batch, af)

    def stated_guide() -> None:
        guide(networks, batch, cfg, af, wasserstein, substeps)

    with poutine.block(hide_all=True):
        loss = Trace_ELBO().differentiable_loss(stated_model, stated_guide)
    assert isinstance(loss, Tensor)
    return loss
