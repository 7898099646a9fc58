"""What moves the parameters: Adam, with gradients clipped tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from celldyn.landscape.config import AdamConfig
from celldyn.landscape.networks import Networks

GENE_LR_RATIO = 10.0
"""Inverse dispersions move so much faster: Adam moves log θ by at most one step at a time."""

_REMEMBERED = ("step", "exp_avg", "exp_avg_sq")


class Optimiser:
    """Adam over all of the networks.

    Parameters
    ----------
    networks
        What is trained.
    config
        Longest gradient of one tensor; the learning rate comes with every step.
    remembered
        What an earlier Adam remembered; see `state`.
    """

    def __init__(
        self, networks: Networks, config: AdamConfig, remembered: Mapping[str, Tensor]
    ) -> None:
        self._named = dict(networks.named_parameters())
        rest = [p for name, p in self._named.items() if name != "log_theta"]
        kind = networks.log_theta.device.type
        self._adam = torch.optim.Adam(
            [{"params": rest}, {"params": [networks.log_theta]}],
            lr=config.lr,
            fused=kind in ("cpu", "cuda"),
        )
        self._longest = config.clip_norm
        self._remember(remembered)

    def step(self, loss: Tensor, lr: float) -> None:
        """Go one step down the slope of a loss."""
        self._adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._clip()
        for group, ratio in zip(self._adam.param_groups, (1.0, GENE_LR_RATIO), strict=True):
            group["lr"] = ratio * lr
        self._adam.step()

    @torch.no_grad()
    def _clip(self) -> None:
        """Shorten the gradient of each tensor that is longer than it may be."""
        grads = [p.grad for p in self._named.values() if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(grads))
        factors = (self._longest / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(grads, list(factors.unbind()))

    def state(self) -> dict[str, Tensor]:
        """Return what Adam remembers, on the CPU, by name of the parameter."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._named.items():
            held: Mapping[str, Any] = self._adam.state.get(parameter, {})
            found |= {f"{part}.{name}": held[part].detach().cpu().clone() for part in held}
        return found

    def _remember(self, remembered: Mapping[str, Tensor]) -> None:
        for name, parameter in self._named.items():
            held = {part: remembered.get(f"{part}.{name}") for part in _REMEMBERED}
            if any(value is None for value in held.values()):
                continue
            step, *means = (value for value in held.values() if value is not None)
            shaped = [mean.to(parameter.device, parameter.dtype).clone() for mean in means]
            self._adam.state[parameter] = {
                "step": step.to(parameter.device, torch.float32).clone(),
                "exp_avg": shaped[0],
                "exp_avg_sq": shaped[1],
            }
