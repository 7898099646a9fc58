"""One block of one model while a batch passes through it, and the memory it is worked out in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from celldyn.betas.varying import block_kernels as kernels
from celldyn.betas.varying.block_kernels import Doubles, Singles
from celldyn.betas.varying.convolution import EPS


class BlockParameters(NamedTuple):
    """Parameters of a block of one model.

    Parameters
    ----------
    kernel
        (n_out, n_in, 3, 3).
    bias, gamma, beta
        (n_out,).
    slope
        ().
    """

    kernel: Tensor
    bias: Tensor
    gamma: Tensor
    beta: Tensor
    slope: Tensor


class Memory:
    """Arrays that one batch after another is worked out in."""

    def __init__(self) -> None:
        self._held: dict[str, Singles] = {}
        self._shaped: dict[tuple[str, *tuple[int, ...]], Singles] = {}

    def take(self, name: str, *shape: int) -> Singles:
        """Return a float32 array with anything in it; the same memory for the same name."""
        array = self._shaped.get((name, *shape))
        return self._shape(name, shape) if array is None else array

    def clear(self) -> None:
        """Let go of all of it."""
        self._held.clear()
        self._shaped.clear()

    def _shape(self, name: str, shape: tuple[int, ...]) -> Singles:
        size, held = math.prod(shape), self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size, np.float32)
            self._shaped = {key: a for key, a in self._shaped.items() if key[0] != name}
        array = self._shaped[name, *shape] = held[:size].reshape(shape)
        return array


def _none() -> Singles:
    return np.empty(0, np.float32)


@dataclass(slots=True, eq=False)
class Block:
    """A block; arrays of its outputs are (cells, rows, columns, channels).

    Parameters
    ----------
    kernel, bias, gamma, beta, slope
        Its parameters.
    top
        Outputs of the convolution, pooled: the largest of four where gamma is positive, else the
        smallest.
    mean, var
        (n_out,) of the convolution's outputs, without the bias, which batch norm takes out again.
    scale, shift
        (n_out,): batch norm is scale · x + shift.
    """

    kernel: Tensor
    bias: Tensor
    gamma: Doubles
    beta: Doubles
    slope: float
    top: Singles = field(default_factory=_none)
    mean: Doubles = field(default_factory=lambda: np.empty(0))
    var: Doubles = field(default_factory=lambda: np.empty(0))
    scale: Singles = field(default_factory=_none)
    shift: Singles = field(default_factory=_none)

    @classmethod
    def of(cls, given: BlockParameters) -> Block:
        """Take the values of parameters."""
        given = BlockParameters(*(tensor.detach() for tensor in given))
        gamma, beta = given.gamma.double().numpy(), given.beta.double().numpy()
        return cls(given.kernel, given.bias, gamma, beta, float(given.slope))

    @property
    def n_out(self) -> int:
        """Number of channels."""
        return len(self.gamma)

    def normalise(self, mean: Doubles, var: Doubles) -> None:
        """Fix what batch norm does, given the mean and variance of the convolution's outputs."""
        self.mean, self.var = mean, var
        scale = self.gamma / np.sqrt(var + EPS)
        self.scale = scale.astype(np.float32)
        self.shift = (self.beta - scale * mean).astype(np.float32)

    @property
    def sign(self) -> Singles:
        """(n_out,) 1 where the largest output of four is wanted, −1 where the smallest is."""
        return np.where(self.gamma < 0, -1, 1).astype(np.float32)

    def pool(self, x: Singles, top: Singles, centre: Singles, sums: Doubles | None) -> None:
        """Pool outputs of the convolution; see `block_kernels.pool`. `sums` may be left out."""
        sums = np.zeros((2, self.n_out)) if sums is None else sums
        kernels.pool(x, self.sign, centre, top, sums)

    def reconsider(self, x: Singles, top: Singles) -> None:
        """Where the PReLU falls below 0, the largest output of four may be that of the other end.

        `normalise` and `pool` have been called; `top` is changed.
        """
        sign = -self.sign
        other, nothing = np.empty_like(top), np.zeros((2, self.n_out))
        kernels.pool(x, sign, np.zeros_like(sign), other, nothing)
        z, w = self.scale * top + self.shift, self.scale * other + self.shift
        value, rival = np.where(z > 0, z, self.slope * z), np.where(w > 0, w, self.slope * w)
        np.copyto(top, other, where=rival > value)

    def activated(self, top: Singles) -> Singles:
        """Return the block's outputs, of the same shape."""
        out = np.empty_like(top)
        rows = (-1, self.n_out)
        kernels.activate(top.reshape(rows), self.scale, self.shift, self.slope, out.reshape(rows))
        return out

    def deactivate(self, dz: Singles, cells: slice, sums: Doubles) -> None:
        """Take the gradient of some cells' outputs back, in place, to before the PReLU.

        `dz` is of the same shape as `top`; `sums` (3, n_out) are added to, see `block_kernels`.
        """
        rows = (-1, self.n_out)
        kernels.deactivate(
            dz[cells].reshape(rows),
            self.top[cells].reshape(rows),
            self.scale,
            self.shift,
            self.slope,
            self.mean.astype(np.float32),
            sums,
        )

    def unpool_terms(self, sums: Doubles, n: int) -> tuple[Singles, Singles, Singles]:
        """Return factor, constant, linear of `block_kernels.unpool`, from sums over n outputs."""
        inverse = 1.0 / np.sqrt(self.var + EPS)
        factor = self.gamma * inverse
        linear = -factor * inverse**2 * sums[1] / n
        constant = -factor * sums[0] / n - linear * self.mean
        return (
            factor.astype(np.float32),
            constant.astype(np.float32),
            linear.astype(np.float32),
        )

    def gradients(self, sums: Doubles) -> list[Tensor]:
        """Return the gradients of gamma, beta and the slope."""
        dgamma = sums[1] / np.sqrt(self.var + EPS)
        return [
            torch.from_numpy(dgamma).float(),
            torch.from_numpy(sums[0]).float(),
            torch.tensor(sums[2].sum(), dtype=torch.float32),
        ]
