"""The potential V(z) of a cell state: a small network with its gradient in closed form.

Shapes: n cells, d dimensions of the cell state, h units of a hidden layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from celldyn.errors import ConfigError

Activation: TypeAlias = Literal["logcosh", "relu", "softplus", "identity"]
Curve: TypeAlias = Callable[[Tensor], Tensor]

_LOG_2 = math.log(2.0)
_FIRST_GAIN, _BOTTOMS = 4.0, 2.0
_HESSIAN_VALUES = 1 << 22
"""Numbers that are held at once while curvatures are computed."""


@runtime_checkable
class Landscape(Protocol):
    """Anything that cells can flow down: V(z), (n, d) to (n,), and its gradient, to (n, d)."""

    def __call__(self, z: Tensor) -> Tensor:
        """Return V, (n,)."""
        ...

    def gradient(self, z: Tensor) -> Tensor:
        """Return ∇V, (n, d)."""
        ...


class _LogCosh(torch.autograd.Function):
    """log cosh a whose derivative is tanh a, of which derivatives may be taken in turn."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        size = a.abs()
        return size + torch.log1p(torch.exp(-2.0 * size)) - _LOG_2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ANN401
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        (a,) = ctx.saved_tensors
        return grad * torch.tanh(a)


def log_cosh(a: Tensor) -> Tensor:
    """Return log cosh a as |a| + log1p(e^{−2|a|}) − log 2: it never overflows."""
    return cast("Tensor", _LogCosh.apply(a))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Curves:
    """An activation with its first and second derivative."""

    value: Curve
    slope: Curve
    bend: Curve


def _bend_of_tanh(a: Tensor) -> Tensor:
    return 1.0 - torch.tanh(a).square()


def _bend_of_sigmoid(a: Tensor) -> Tensor:
    share = torch.sigmoid(a)
    return share * (1.0 - share)


CURVES: dict[str, Curves] = {
    "logcosh": Curves(log_cosh, torch.tanh, _bend_of_tanh),
    "softplus": Curves(F.softplus, torch.sigmoid, _bend_of_sigmoid),
    "relu": Curves(torch.relu, lambda a: (a > 0).to(a), torch.zeros_like),
    "identity": Curves(lambda a: a, torch.ones_like, torch.zeros_like),
}
"""Activations of a potential, by name."""


def _largest_eigenvalue(matrices: Tensor) -> Tensor:
    """Return the largest eigenvalue of symmetric matrices, (n, d, d) to (n,)."""
    # Apple's devices have no eigenvalues.
    at = matrices.cpu() if matrices.device.type == "mps" else matrices
    return cast("Tensor", torch.linalg.eigvalsh(at)[..., -1].to(matrices.device))


class Potential(nn.Module):
    """V(z) = sig(γ) f(w_K f(... f(W_1 z + b_1) ...) + b_K) + c/2 |z|².

    The activation f stands after every layer, the last one too, so that with `logcosh`, `relu` and
    `softplus` V is never below 0. γ is a parameter that starts at 0.

    Parameters
    ----------
    z_dim
        d.
    hidden
        Units of the hidden layers.
    activation
        "logcosh", "relu", "softplus" or "identity".
    confinement
        c of the confining term, which is no parameter and is not gated; 0 for none. The network
        alone grows at most linearly, and nothing makes it grow away from the data; with c above 0
        every cell comes to rest.

    Raises
    ------
    ConfigError
        If there are no dimensions or layers, the activation is not known, or c is below 0.

    Notes
    -----
    sclsd 0.3.0's `WPotential` without its unused layer, and with a log cosh that does not
    overflow at |a| > 89.
    """

    def __init__(
        self,
        z_dim: int,
        hidden: Sequence[int] = (32, 32),
        activation: Activation = "logcosh",
        *,
        confinement: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [z_dim, *(hidden if isinstance(hidden, Sequence) else [])]
        if len(widths) < 2 or not all(isinstance(w, int) and w > 0 for w in widths):
            raise ConfigError(
                f"a potential of {z_dim} dimensions with hidden layers {hidden}",
                "give 1 or more dimensions, and layers of 1 or more units",
            )
        if activation not in get_args(Activation):
            raise ConfigError(
                f"activation {activation!r} is not known",
                f"use {', '.join(get_args(Activation))}",
            )
        if not isinstance(confinement, int | float) or not 0 <= confinement < math.inf:
            raise ConfigError(f"confinement is {confinement}", "give 0 or more")
        self.activation, self.confinement = activation, float(confinement)
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out) for n_in, n_out in zip(widths, [*hidden, 1], strict=True)
        )
        self.gamma = nn.Parameter(torch.zeros(()))

    @property
    def z_dim(self) -> int:
        """Dimensions of the cell state."""
        return self._linear[0].in_features

    @property
    def _linear(self) -> list[nn.Linear]:
        return cast("list[nn.Linear]", list(self.layers))

    @torch.no_grad()
    def spread_units(self) -> None:
        """Draw units of the first layer that differ from each other where cells are.

        PyTorch's own start has every unit at its bottom, where log cosh is a parabola: V is then
        one bowl, and becomes one basin. With weights four times as large and bottoms apart
        several basins can form from the first step on.
        """
        first = self._linear[0]
        first.weight.mul_(_FIRST_GAIN)
        first.bias.uniform_(-_BOTTOMS, _BOTTOMS)

    def forward(self, z: Tensor) -> Tensor:
        """Return V, (n,), of states (n, d); other leading dimensions may take the place of n."""
        value = CURVES[self.activation].value
        h = z
        for layer in self._linear:
            h = value(layer(h))
        V = torch.sigmoid(self.gamma) * h.squeeze(-1)
        return V + 0.5 * self.confinement * z.square().sum(-1) if self.confinement else V

    def gradient(self, z: Tensor) -> Tensor:
        """Return ∇V, (n, d), of states (n, d).

        Plain operations on the parameters: derivatives by them and by z may be taken of it.
        """
        pre = self._pre_activations(z)
        slope = CURVES[self.activation].slope
        up = torch.sigmoid(self.gamma) * slope(pre[-1])
        for layer, below in zip(self._linear[:0:-1], pre[-2::-1], strict=True):
            up = (up @ layer.weight) * slope(below)
        grad = up @ self._linear[0].weight
        return grad + self.confinement * z if self.confinement else grad

    def hessian(self, z: Tensor) -> Tensor:
        """Return ∇∇V, (n, d, d), of states (n, d).

        Σ_k A_kᵀ diag(f''(a_k) u_k) A_k over layers k, with a_k what comes into the activation,
        A_k = ∂a_k/∂z, and u_k the derivative of V by what comes out of it.
        """
        pre, curves = self._pre_activations(z), CURVES[self.activation]
        ups = [torch.sigmoid(self.gamma).expand_as(pre[-1])]
        for layer, above in zip(self._linear[:0:-1], pre[:0:-1], strict=True):
            ups.append((ups[-1] * curves.slope(above)) @ layer.weight)
        H = z.new_zeros(*z.shape, z.shape[-1])
        A = self._linear[0].weight.expand(*z.shape[:-1], -1, -1)
        for k, (a, u) in enumerate(zip(pre, ups[::-1], strict=True)):
            H = H + A.mT @ ((curves.bend(a) * u).unsqueeze(-1) * A)
            if k + 1 < len(pre):
                A = self._linear[k + 1].weight @ (curves.slope(a).unsqueeze(-1) * A)
        if self.confinement:
            H = H + self.confinement * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        return H

    @torch.no_grad()
    def hessian_max_eigenvalue(self, z: Tensor) -> Tensor:
        """Return the largest eigenvalue of ∇∇V at every state, (n,).

        An explicit step h of the flow is stable where it is below 2 / that.
        """
        widest = max(layer.in_features for layer in self._linear)
        block = max(1, _HESSIAN_VALUES // (widest * z.shape[-1]))
        parts = [_largest_eigenvalue(self.hessian(part)) for part in torch.split(z, block)]
        return torch.cat(parts) if parts else z.new_zeros(0)

    def _pre_activations(self, z: Tensor) -> list[Tensor]:
        """Return what comes into every activation, first layer to last."""
        value, h = CURVES[self.activation].value, z
        pre: list[Tensor] = []
        for layer in self._linear:
            if pre:
                h = value(pre[-1])
            pre.append(layer(h))
        return pre
