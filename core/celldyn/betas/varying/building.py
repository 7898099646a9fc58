"""Networks from a config, and as the tensors that are saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import Floats
from celldyn.betas.results import Tensors
from celldyn.betas.varying.anchored import AnchoredNetwork
from celldyn.betas.varying.cnn import CellularNicheNetwork
from celldyn.betas.varying.vit import CellularViT
from celldyn.errors import FileFormatError

_PREFIX = "network."
_LAST = ("anchors", "head.2.weight", "head.2.bias", "head.last.weight", "head.last.bias")
"""Tensors with one row for each beta, which a stack fills up to the largest of its models."""


def new_network(
    config: ModelConfig,
    anchors: Sequence[Floats],
    n_clusters: int,
    in_channels: int,
    generator: torch.Generator | None = None,
) -> AnchoredNetwork:
    """Return an untrained network, a stack if there are several anchors.

    Parameters
    ----------
    config
        `vision_model`, `activation` and `spatial_dim` are read.
    anchors
        (1 + p,) coefficients of the linear model, for each model with its own p.
    n_clusters, in_channels
        Numbers of features and of images of a cell.
    generator
        Where starting values are drawn from.
    """
    n_each = [len(row) - 1 for row in anchors]
    padded = np.zeros((len(anchors), 1 + max(n_each)))
    for model, row in enumerate(anchors):
        padded[model, : len(row)] = row
    if config.vision_model == "transformer":
        return CellularViT(
            max(n_each), padded, config.spatial_dim, n_clusters, in_channels,
            len(anchors), n_each=n_each, generator=generator,
        )  # fmt: skip
    return CellularNicheNetwork(
        max(n_each), padded, config.spatial_dim, n_clusters, config.activation, in_channels,
        len(anchors), n_each=n_each, generator=generator,
    )  # fmt: skip


def state_of(network: AnchoredNetwork, model: int = 0) -> Tensors:
    """Return the tensors of one model as those of a network of its own."""
    n_betas = 1 + network.n_each[model]
    state: dict[str, NDArray[Any]] = {}
    for name, tensor in network.state_dict().items():
        own = tensor[model : model + 1]
        if name in _LAST:
            own = own[:, :n_betas]
        state[_PREFIX + name] = own.detach().cpu().numpy().copy()
    return state


def network_from(state: Mapping[str, NDArray[Any]], config: ModelConfig) -> AnchoredNetwork:
    """Return the trained network of a state, on the processor and in evaluation mode.

    Raises
    ------
    FileFormatError
        If the state is not one of the config's network.
    """
    tensors = {
        name.removeprefix(_PREFIX): torch.from_numpy(np.array(array))
        for name, array in state.items()
        if name.startswith(_PREFIX)
    }
    try:
        n_clusters = tensors["context.0.weight"].shape[-1]
        anchors = tensors["anchors"].double().numpy()
        network = new_network(config, list(anchors), n_clusters, _n_channels(tensors, config))
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise FileFormatError(
            f"the saved network is no {config.vision_model} of {config.spatial_dim} pixels",
            "fit and export the model again",
        ) from error
    return network.eval()


def _n_channels(tensors: Mapping[str, torch.Tensor], config: ModelConfig) -> int:
    if config.vision_model == "transformer":
        pixels = (config.spatial_dim // 4) ** 2
        return tensors["embed.weight"].shape[-1] // pixels
    return tensors["blocks.0.direction"].shape[2]
