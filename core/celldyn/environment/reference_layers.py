"""Which tensor of a CellTRIP checkpoint is which layer.

The names of its tensors are known in part (`self_pos_embed`, `node…`, `pinning.<k>.mlp`); the rest
follows from shapes, from the order of tensors, and from what stands beside what.

Shapes: d dimensions, h = 4 d, F features that cells see. Source: specs/environment.md B.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, permutations

import torch
from torch import Tensor, nn

from celldyn.data.words import listed
from celldyn.environment.scaling import LEAST, MOST
from celldyn.errors import FileFormatError

REMEDY = "give the .weights file of a policy of CellTRIP 2025.11 or later, of its usual network"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A linear layer, a normalisation, or the slope of a PReLU.

    Parameters
    ----------
    name
        What stands before "weight" or "bias".
    weight
        Its weight.
    bias
        Its bias; None where it has none.
    """

    name: str
    weight: Tensor
    bias: Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(self.weight.shape)

    def both(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias, which it must have."""
        if self.bias is None:
            raise FileFormatError(f"the layer {self.name} has no bias", REMEDY)
        return self.weight, self.bias


@dataclass(slots=True)
class Tensors:
    """The tensors of a checkpoint, of which each is taken once.

    Parameters
    ----------
    left
        Those that are not taken yet, by name and in order.
    """

    left: dict[str, Tensor]
    layers: dict[str, Layer] = field(init=False)

    def __post_init__(self) -> None:
        self.layers = {}
        for name, value in self.left.items():
            owner = re.sub(r"(^|[._])weight$", "", name)
            if owner == name:
                continue
            mark = name[len(owner) : -len("weight")]
            self.layers[owner] = Layer(owner, value, self.left.get(f"{owner}{mark}bias"))

    def take(self, layer: Layer) -> Layer:
        """Take a layer out."""
        for name in (f"{layer.name}{mark}{part}" for mark in "._" for part in ("weight", "bias")):
            self.left.pop(name, None)
        self.layers.pop(layer.name, None)
        return layer

    def of_shape(self, shape: tuple[int, ...], *words: str, but: str = "") -> list[Layer]:
        """Return the layers of a shape whose names have one of these words, and not another."""
        return [
            layer
            for layer in self.layers.values()
            if layer.shape == shape
            and (not words or any(word in layer.name for word in words))
            and not (but and re.search(but, layer.name))
        ]

    def one(self, what: str, shape: tuple[int, ...], *words: str, but: str = "") -> Layer:
        """Take the one layer of that shape and name.

        Raises
        ------
        FileFormatError
            If there is none, or several.
        """
        found = self.of_shape(shape, *words, but=but)
        if len(found) != 1:
            names = listed(layer.name for layer in found)
            told = f"several may be it ({names})" if found else f"no tensor of shape {shape} is it"
            raise FileFormatError(f"the checkpoint's {what} was not found: {told}", REMEDY)
        return self.take(found[0])


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return a key that puts "blocks.10" after "blocks.9"."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"[._]", name)]


def nearness(one: str, other: str) -> int:
    """Return how many parts two names share at their beginning."""
    shared = 0
    for mine, its in zip(one.split("."), other.split("."), strict=False):
        if mine != its:
            break
        shared += 1
    return shared


def slopes(tensors: Tensors, wanted: Mapping[str, Layer], notes: list[str]) -> dict[str, Tensor]:
    """Take the slopes of PReLUs: each goes to the layer that its name is nearest to.

    Parameters
    ----------
    tensors
        Of the checkpoint.
    wanted
        The linear layer that every PReLU stands before or after, in the network's order. Where
        several PReLUs are nearest to one layer's, their own order tells.
    notes
        Takes a sentence where names did not tell, and only the order did.

    Raises
    ------
    FileFormatError
        If there are not as many as the network has.
    """
    found = [one for one in tensors.layers.values() if one.shape == (1,) and one.bias is None]
    found = [one for one in found if "log_std" not in one.name]
    if len(found) != len(wanted):
        raise FileFormatError(
            f"the checkpoint has {len(found)} slopes of PReLUs, and the network {len(wanted)}",
            REMEDY,
        )
    chosen = _by_nearness(found, wanted)
    if chosen is None:
        chosen = dict(zip(wanted, found, strict=True))
        notes.append(
            "Names did not tell which slope of a PReLU is which; they were taken in the order of "
            "the file."
        )
    return {use: tensors.take(layer).weight.reshape(1) for use, layer in chosen.items()}


def _by_nearness(found: list[Layer], wanted: Mapping[str, Layer]) -> dict[str, Layer] | None:
    """Return which slope is for what; None where names do not tell.

    Slopes that are nearest to the same layers are told apart by their order.
    """
    groups: dict[tuple[str, ...], list[Layer]] = {}
    for layer in sorted(found, key=lambda one: natural(one.name)):
        near = {use: nearness(layer.name, beside.name) for use, beside in wanted.items()}
        best = max(near.values())
        uses = tuple(use for use, shared in near.items() if shared == best and best)
        groups.setdefault(uses, []).append(layer)
    if any(len(uses) != len(layers) for uses, layers in groups.items()):
        return None
    return {
        use: layer
        for uses, layers in groups.items()
        for use, layer in zip(uses, layers, strict=True)
    }


def take_scale(
    tensors: Tensors, what: str, size: int, *words: str, but: str = ""
) -> tuple[Tensor, Tensor]:
    """Take a running mean and mean square, (size,) each, whatever they are called.

    There may be a mean, a mean square and a standard deviation, or two of these. Which is which
    follows from σ = √(s − μ²), or else from their names.

    Raises
    ------
    FileFormatError
        If there are none.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.left.items():
        if value.numel() != size or value.dim() > 2 or re.search(r"(weight|bias|log_std)$", name):
            continue
        if (words and not any(word in name for word in words)) or (but and re.search(but, name)):
            continue
        owner = name.rpartition(".")[0] if "." in name else name.partition("_")[0]
        groups.setdefault(owner, {})[name] = value.reshape(-1).to(torch.float64)
    for held in groups.values():
        for some in (held, *(dict(three) for three in combinations(held.items(), 3))):
            moments = _moments(some)
            if moments is not None:
                for name in some:
                    tensors.left.pop(name)
                return moments
    raise FileFormatError(f"the checkpoint's running scale of {what} was not found", REMEDY)


def _moments(held: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """Return mean and mean square of two or three tensors; None where they are none."""
    if len(held) == 3:
        named = [_by_name(held)] if _by_name(held) is not None else []
        for mean, square, std in [*filter(None, named), *permutations(held.values())]:
            implied = (square - mean.square()).clamp_min(0).sqrt().clamp(LEAST, MOST)
            if torch.allclose(implied, std, rtol=1e-2, atol=1e-3):
                return mean, mean.square() + std.square()
    if len(held) == 2:
        stds = [value for name, value in held.items() if "std" in name]
        means = [value for name, value in held.items() if "mean" in name and "std" not in name]
        if len(stds) == len(means) == 1:
            return means[0], means[0].square() + stds[0].square()
    return None


def _by_name(held: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return mean, mean square and standard deviation by their names; None if they tell not."""
    std = [name for name in held if "std" in name]
    square = [name for name in held if re.search(r"sq|second|mom2|mean2", name)]
    mean = [name for name in held if name not in (*std, *square)]
    if len(std) == len(square) == len(mean) == 1:
        return held[mean[0]], held[square[0]], held[std[0]]
    return None


def named_scale(tensors: Tensors, what: str, size: int, word: str) -> tuple[Tensor, Tensor]:
    """Take a scale by size and name, or by its size alone."""
    try:
        return take_scale(tensors, what, size, word)
    except FileFormatError:
        return take_scale(tensors, what, size)


def fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network these values, which must be all that it has, and make it ready."""
    network.load_state_dict({name: value.to(torch.float32) for name, value in state.items()})
    network.eval()
