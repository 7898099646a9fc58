"""Adam over all parameters at once, as one long vector.

The rule of `torch.optim.Adam` with L2, of which it is a twin (a test holds it to that): networks
this small would else spend more on calls than on numbers, and PyTorch's own loads a compiler.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Adam:
    """Adam on the parameters of a module.

    Parameters
    ----------
    module
        Its parameters become parts of one vector; their values stay, and so does their device.
    lr
        Learning rate; may be changed between steps.
    betas, eps, weight_decay
        As PyTorch's.
    clip_norm
        Longest gradient over all parameters that is followed; None is any.
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        *,
        betas: tuple[float, float] = (0.99, 0.99),
        eps: float = 1e-5,
        weight_decay: float = 1e-5,
        clip_norm: float | None = 0.5,
    ) -> None:
        self.lr, self.betas, self.eps = lr, betas, eps
        self.weight_decay, self.clip_norm = weight_decay, clip_norm
        self._parameters = list(module.parameters())
        with torch.no_grad():
            self._flat = torch.cat([p.data.reshape(-1) for p in self._parameters])
        self._grad = torch.zeros_like(self._flat)
        first = 0
        for parameter in self._parameters:
            part = slice(first, first + parameter.numel())
            parameter.data = self._flat[part].view(parameter.shape)
            parameter.grad = self._grad[part].view(parameter.shape)
            first = part.stop
        self.count = 0
        self._first, self._second = torch.zeros_like(self._flat), torch.zeros_like(self._flat)

    @property
    def gradient(self) -> Tensor:
        """All gradients, one vector; what several learners average."""
        return self._grad

    def zero_grad(self) -> None:
        """Forget gradients; call before each backward pass that begins a step."""
        self._grad.zero_()

    @torch.no_grad()
    def step(self) -> Tensor:
        """Go one step; return how long the gradient was."""
        length: Tensor = self._grad.norm()
        if self.clip_norm is not None:
            self._grad.mul_((self.clip_norm / (length + 1e-6)).clamp_max(1.0))
        if self.weight_decay:
            self._grad.add_(self._flat, alpha=self.weight_decay)
        self.count += 1
        b1, b2 = self.betas
        self._first.lerp_(self._grad, 1 - b1)
        self._second.mul_(b2).addcmul_(self._grad, self._grad, value=1 - b2)
        root = (self._second.sqrt() / (1 - b2**self.count) ** 0.5).add_(self.eps)
        self._flat.addcdiv_(self._first, root, value=-self.lr / (1 - b1**self.count))
        return length

    def state(self) -> dict[str, Tensor]:
        """Return copies of all that it remembers."""
        return {
            "first": self._first.clone(),
            "second": self._second.clone(),
            "count": torch.tensor(self.count),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Remember what another one did."""
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self.count = int(state["count"])
