"""A CellTRIP policy, from its `.weights` file, as networks of this environment.

Heads of the attention are not in such a file and have to be given; all else is.

Shapes: d dimensions, h = 4 d, F features that cells see, F_k of a target.
Source: specs/environment.md B and D1.19.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from celldyn.data.words import listed, reason
from celldyn.environment.config import PolicyConfig
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.reference_layers import (
    REMEDY,
    Layer,
    Tensors,
    fill,
    named_scale,
    natural,
    slopes,
    take_scale,
)
from celldyn.environment.reference_pinning import read_pinnings
from celldyn.errors import ConfigError, FileFormatError

_ATTENTION = r"attn|attention|mha|in_proj|out_proj"


@dataclass(frozen=True, slots=True, eq=False)
class ReadPolicy:
    """What a checkpoint holds.

    Parameters
    ----------
    policy
        The policy.
    pinning
        One network per target, in the order of the targets.
    notes
        Sentences on what did not fit.
    """

    policy: Policy
    pinning: tuple[Pinning, ...]
    notes: tuple[str, ...]


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of the policy of a `.weights` file, in order; nothing in it is run.

    Raises
    ------
    FileFormatError
        If it is missing, damaged, holds anything but tensors, or no policy.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"{path} is not there", "check the path")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FileFormatError(
            f"{path.name} is no checkpoint of tensors alone ({reason(error)}); nothing of it was "
            "run",
            "give the .weights file as CellTRIP saved it",
        ) from error
    policy = held.get("policy", held) if isinstance(held, Mapping) else None
    if not isinstance(policy, Mapping) or not policy:
        raise FileFormatError(f"{path.name} holds no policy", REMEDY)
    tensors: dict[str, Tensor] = {}
    for name, value in policy.items():
        if not isinstance(value, Tensor):
            continue
        tensors[str(name)] = _checked(str(name), value)
    if not tensors:
        raise FileFormatError(f"{path.name} holds no policy", REMEDY)
    return tensors


def _checked(name: str, value: Tensor) -> Tensor:
    """Return a tensor in single precision; one that is larger than what the file holds is none."""
    whole = value.layout is torch.strided and not value.is_quantized and not value.is_meta
    if whole and value.numel() * value.element_size() > value.untyped_storage().nbytes():
        whole = False
    if not whole or value.is_complex():
        raise FileFormatError(f"the tensor {name[:60]} is of another kind", REMEDY)
    value = value.detach().to(torch.float32)
    if not bool(torch.isfinite(value).all()):
        raise FileFormatError(
            f"the tensor {name[:60]} has values that are not finite", "take another checkpoint"
        )
    return value


def build_policy(
    tensors: Mapping[str, Tensor], *, heads: int = 2, config: PolicyConfig | None = None
) -> ReadPolicy:
    """Return networks of the tensors of a checkpoint.

    Parameters
    ----------
    tensors
        From `read_weights`.
    heads
        Heads of the attention, which the file does not say.
    config
        What else the policy is to have; its heads and blocks are not read.

    Raises
    ------
    FileFormatError
        If a layer is missing; the sentence says which.
    ConfigError
        If heads do not divide the width.
    """
    notes: list[str] = []
    place = [t for name, t in tensors.items() if "self_pos_embed" in name and t.dim() == 2]
    if len(place) != 1 or place[0].shape[1] % 2 or place[0].shape[0] != 2 * place[0].shape[1]:
        raise FileFormatError("the checkpoint has no layer self_pos_embed", REMEDY)
    dim, width = place[0].shape[1] // 2, place[0].shape[0]
    if heads < 1 or width % heads:
        raise ConfigError(
            f"{heads} heads do not divide the width {width}", "give the heads it was trained with"
        )
    pinned = {n: t for n, t in tensors.items() if re.match(r"(.*\.)?pinning\.", n)}
    rest = Tensors({name: t for name, t in tensors.items() if name not in pinned})
    policy = _policy(rest, dim, width, heads, config or PolicyConfig(), notes)
    pinning = read_pinnings(pinned, dim, policy.config, notes)
    if rest.left:
        notes.append(
            f"What the checkpoint has beyond the network was left out: {listed(rest.left, 6)}."
        )
    return ReadPolicy(policy, pinning, tuple(notes))


def _policy(
    tensors: Tensors, dim: int, width: int, heads: int, config: PolicyConfig, notes: list[str]
) -> Policy:
    state: dict[str, Tensor] = {}
    places = [
        tensors.one(f"{who} embedding of places", (width, 2 * dim), f"{who}_pos")
        for who in ("self", "node")
    ]
    features = _features(tensors, width)
    n_features = features[0].shape[1]
    both = {"of_place": places, "of_features": features}
    for name, parts in both.items():
        state[f"{name}.weight"] = torch.cat([part.weight for part in parts])
        state[f"{name}.bias"] = torch.cat([part.both()[1] for part in parts])
    outs = {
        who: tensors.one(f"second layer of the {who} embedding", (width, width), who,
                         but=_ATTENTION)
        for who in ("self", "node")
    }  # fmt: skip
    blocks = _blocks(tensors, width, state)
    actor = [
        tensors.one("actor's first layer", (2 * width, width)),
        tensors.one("actor's last layer", (dim, 2 * width)),
    ]
    critic = tensors.one("critic", (1, width))
    wanted = {"self_act": outs["self"], "node_act": outs["node"]}
    wanted |= {f"blocks.{k}.act": wide for k, wide in enumerate(blocks)}
    wanted |= {"trunk_act": actor[0], "actor_act": actor[1], "critic_act": critic}
    named = {"self_out": outs["self"], "node_out": outs["node"], "actor_in": actor[0],
             "actor_out": actor[1], "critic": critic}  # fmt: skip
    for name, layer in named.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = layer.both()
    for name, slope in slopes(tensors, wanted, notes).items():
        state[f"{name}.weight"] = slope
    state["log_std"] = _log_std(tensors)
    _scales(tensors, dim, n_features, state)
    made = config.replace(attention_heads=heads, attention_blocks=len(blocks))
    policy = Policy(dim, n_features, made)
    fill(policy, state)
    return policy


def _features(tensors: Tensors, width: int) -> list[Layer]:
    """Take the two embeddings of features: the layers of one shape beside those of places."""
    found: dict[str, list[Layer]] = {}
    for who in ("self", "node"):
        found[who] = [
            layer
            for layer in tensors.layers.values()
            if who in layer.name
            and layer.weight.dim() == 2
            and layer.shape[0] == width
            and not re.search(_ATTENTION, layer.name)
        ]
    shapes = [
        (mine, its)
        for mine in found["self"]
        for its in found["node"]
        if mine.shape == its.shape
        and (mine.shape[1] != width or re.search(r"feat|suffix|modal|_embed$", mine.name))
        and mine.name.replace("self", "") == its.name.replace("node", "")
    ]
    if len(shapes) != 1:
        raise FileFormatError("the checkpoint's embeddings of features were not found", REMEDY)
    return [tensors.take(layer) for layer in shapes[0]]


def _blocks(tensors: Tensors, width: int, state: dict[str, Tensor]) -> list[Layer]:
    """Take the blocks of attention; return the first layer after each."""
    inner = sorted(
        (name for name, value in tensors.left.items()
         if name.endswith("in_proj_weight") and tuple(value.shape) == (3 * width, width)),
        key=natural,
    )  # fmt: skip
    wide = _in_order(tensors, (4 * width, width))
    narrow = _in_order(tensors, (width, 4 * width))
    norms = [one for one in _in_order(tensors, (width,)) if one.bias is not None]
    if not inner or not len(inner) == len(wide) == len(narrow) == len(norms) / 3:
        raise FileFormatError(
            f"the checkpoint has {len(inner)} attentions, {len(norms)} normalisations and "
            f"{len(wide)} layers after them, which make no blocks",
            REMEDY,
        )
    for k, name in enumerate(inner):
        stem = f"blocks.{k}."
        weight = tensors.left.pop(name)
        bias = tensors.left.pop(name.removesuffix("weight") + "bias", None)
        owner = name.removesuffix("in_proj_weight")
        out = tensors.layers.get(f"{owner}out_proj")
        if bias is None or out is None or out.shape != (width, width):
            raise FileFormatError(f"the attention {owner} of the checkpoint is not whole", REMEDY)
        state[f"{stem}attention.query.weight"] = weight[:width]
        state[f"{stem}attention.query.bias"] = bias[:width]
        state[f"{stem}attention.key_value.weight"] = weight[width:]
        state[f"{stem}attention.key_value.bias"] = bias[width:]
        parts = {"attention.out": out, "wide": wide[k], "narrow": narrow[k]}
        parts |= dict(zip(("norm_self", "norm_node", "norm_after"), norms[3 * k : 3 * k + 3],
                          strict=True))  # fmt: skip
        for part, layer in parts.items():
            state[f"{stem}{part}.weight"], state[f"{stem}{part}.bias"] = layer.both()
            tensors.take(layer)
    return wide


def _in_order(tensors: Tensors, shape: tuple[int, ...]) -> list[Layer]:
    return sorted(tensors.of_shape(shape), key=lambda layer: natural(layer.name))


def _log_std(tensors: Tensors) -> Tensor:
    names = [name for name, value in tensors.left.items()
             if name.endswith("log_std") and value.numel() == 1]  # fmt: skip
    if len(names) != 1:
        raise FileFormatError("the checkpoint has no log_std", REMEDY)
    return tensors.left.pop(names[0]).reshape(())


def _scales(tensors: Tensors, dim: int, n_features: int, state: dict[str, Tensor]) -> None:
    """Take the scales of inputs, of places and features in one or apart, and that of returns."""
    try:
        mean, square = take_scale(tensors, "inputs", 2 * dim + n_features)
        parts = [(mean[: 2 * dim], square[: 2 * dim]), (mean[2 * dim :], square[2 * dim :])]
    except FileFormatError:
        parts = [
            named_scale(tensors, "places", 2 * dim, "pos"),
            named_scale(tensors, "features", n_features, "feat"),
        ]
    parts.append(take_scale(tensors, "returns", 1))
    for name, (mean, square) in zip(("place", "feature", "return"), parts, strict=True):
        state[f"{name}_scale.mean"], state[f"{name}_scale.square"] = mean, square
