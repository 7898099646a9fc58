"""Pinning networks of a CellTRIP checkpoint: one for each target, told by shapes.

Shapes: d dimensions, F_k features of a target. Source: specs/environment.md B.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from celldyn.data.words import listed
from celldyn.environment.config import PolicyConfig
from celldyn.environment.networks import Pinning
from celldyn.environment.reference_layers import (
    REMEDY,
    Tensors,
    fill,
    named_scale,
    natural,
    slopes,
)
from celldyn.errors import FileFormatError


def read_pinnings(
    tensors: Mapping[str, Tensor], dim: int, config: PolicyConfig, notes: list[str]
) -> tuple[Pinning, ...]:
    """Return the networks of all targets, in order.

    Parameters
    ----------
    tensors
        Those of a checkpoint that belong to pinning networks, by their whole names.
    dim
        d.
    config
        What else they are to have.
    notes
        Takes sentences on what did not fit.

    Raises
    ------
    FileFormatError
        If there are none, or one is not whole.
    """
    groups: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        found = re.match(r"(?:.*\.)?pinning\.(\d+)\.(.+)", name)
        if found is None:
            notes.append(f"The tensor {name[:60]} belongs to no target and was left out.")
            continue
        groups.setdefault(int(found[1]), {})[found[2]] = value
    if not groups:
        raise FileFormatError("the checkpoint has no pinning networks", REMEDY)
    return tuple(
        _pinning(Tensors(groups[k]), dim, config, notes, f"pinning network {k}")
        for k in sorted(groups)
    )


def _pinning(
    tensors: Tensors, dim: int, config: PolicyConfig, notes: list[str], what: str
) -> Pinning:
    layers = [one for one in tensors.layers.values() if one.weight.dim() == 2]
    layers.sort(key=lambda layer: natural(layer.name))
    if len(layers) != 2 or layers[0].shape != (2 * dim, dim) or layers[1].shape[1] != 2 * dim:
        raise FileFormatError(f"the checkpoint's {what} has other layers", REMEDY)
    n_features = layers[1].shape[0]
    state: dict[str, Tensor] = {}
    for name, layer in zip(("first", "last"), layers, strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = tensors.take(layer).both()
    state["act.weight"] = next(iter(slopes(tensors, {"act": layers[0]}, []).values()))
    for name, size in (("input", dim), ("output", n_features)):
        mean, square = named_scale(tensors, f"{what}'s {name}s", size, name[:-3])
        state[f"{name}_scale.mean"], state[f"{name}_scale.square"] = mean, square
    if tensors.left:
        notes.append(f"Of the {what}, {listed(tensors.left, 6)} was left out.")
    network = Pinning(dim, n_features, config)
    fill(network, state)
    return network
