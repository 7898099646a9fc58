"""What moves the parameters: Adam, with gradients clipped tensor by tensor.

The rule of `torch.optim.Adam`, of which it is a twin: that one loads PyTorch's compiler as soon as
it is made, a second and 80 MB for nothing that is used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from celldyn.landscape.config import AdamConfig
from celldyn.landscape.networks import Networks

GENE_LR_RATIO = 10.0
"""Inverse dispersions move so much faster: Adam moves log θ by at most one step at a time."""

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8
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
        self._longest = config.clip_norm
        self._held: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        for name, parameter in self._named.items():
            step, *means = (remembered.get(f"{part}.{name}") for part in _REMEMBERED)
            first, second = means
            if step is None or first is None or second is None:
                continue
            self._held[name] = (
                step.to(parameter.device, torch.float32, copy=True),
                first.to(parameter, copy=True),
                second.to(parameter, copy=True),
            )

    @torch.no_grad()
    def step(self, loss: Tensor, lr: float) -> None:
        """Go one step down the slope of a loss."""
        for parameter in self._named.values():
            parameter.grad = None
        with torch.enable_grad():
            loss.backward()  # type: ignore[no-untyped-call]
        self._clip()
        named = {name: p for name, p in self._named.items() if p.grad is not None}
        genes = [name for name in named if name == "log_theta"]
        self._move([name for name in named if name not in genes], lr)
        self._move(genes, GENE_LR_RATIO * lr)

    def _move(self, names: Sequence[str], lr: float) -> None:
        """Move parameters that have a gradient."""
        if not names:
            return
        parameters: list[Tensor] = [self._named[name] for name in names]
        held = [self._of(name) for name in names]
        steps, first, second = (list(each) for each in zip(*held, strict=True))
        grads = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_add_(steps, 1)
        if parameters[0].device.type in ("cpu", "cuda"):
            torch._fused_adam_(
                parameters, grads, first, second, [], steps, lr=lr, beta1=BETA_1, beta2=BETA_2,
                weight_decay=0.0, eps=EPS, amsgrad=False, maximize=False,
            )  # fmt: skip
        else:
            adam_by_tensors(parameters, grads, first, second, steps, lr)

    def _of(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is remembered of a parameter: how many steps, and both running means."""
        if name not in self._held:
            parameter = self._named[name]
            none = torch.zeros((), device=parameter.device)
            self._held[name] = (none, torch.zeros_like(parameter), torch.zeros_like(parameter))
        return self._held[name]

    def _clip(self) -> None:
        """Shorten the gradient of each tensor that is longer than it may be."""
        grads = [p.grad for p in self._named.values() if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(grads))
        factors = (self._longest / (norms + 1e-6)).clamp(max=1.0)
        if factors.device.type == "cpu" and bool((factors == 1.0).all()):
            return
        torch._foreach_mul_(grads, list(factors.unbind()))

    def state(self) -> dict[str, Tensor]:
        """Return what Adam remembers, on the CPU, by name of the parameter."""
        found: dict[str, Tensor] = {}
        for name in self._named:
            held = zip(_REMEMBERED, self._held.get(name, ()), strict=False)
            found |= {f"{part}.{name}": value.cpu().clone() for part, value in held}
        return found


def adam_by_tensors(
    parameters: list[Tensor],
    grads: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    lr: float,
) -> None:
    """Move parameters by Adam's rule, for devices where it is no one kernel.

    Parameters
    ----------
    first, second
        Running means of gradients and their squares, brought up to date.
    steps
        How many steps there were, this one counted.
    """
    torch._foreach_lerp_(first, grads, 1 - BETA_1)
    torch._foreach_mul_(second, BETA_2)
    torch._foreach_addcmul_(second, grads, grads, 1 - BETA_2)
    for parameter, m, v, step in zip(parameters, first, second, steps, strict=True):
        spread = (v / (1 - BETA_2**step)).sqrt_().add_(EPS)
        parameter.sub_(lr * (m / (1 - BETA_1**step)) / spread)
