"""The networks: a policy that looks at other cells, and what tells data from positions.

Shapes: B environments, n cells, d dimensions, F features that cells see, h = 4 d, F_k features of
a target. Source: specs/environment.md B ("Lite").
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from celldyn.environment.activation import PReLU
from celldyn.environment.attention import Attention, landmarks
from celldyn.environment.config import PolicyConfig
from celldyn.environment.scaling import RunningScale, rescale_input, rescale_output
from celldyn.errors import ConfigError


class Embedded(NamedTuple):
    """What the features of cells add to both embeddings: (..., n, h) each; linear in them."""

    self_part: Tensor
    node_part: Tensor

    def plus(self, other: Embedded) -> Embedded:
        """Return the sum: the embedding of features that were changed."""
        return Embedded(self.self_part + other.self_part, self.node_part + other.node_part)

    def repeat(self, n_environments: int) -> Embedded:
        """Return the same for several environments, (B, n, h), without a copy."""
        return Embedded(*(part.expand(n_environments, *part.shape) for part in self))

    def of(self, cells: Tensor) -> Embedded:
        """Return that of some cells, by their numbers of any shape."""
        return Embedded(self.self_part[cells], self.node_part[cells])


class Block(nn.Module):
    """One block of attention over other cells, and two layers on what it brings."""

    def __init__(self, width: int, heads: int, slope: float) -> None:
        super().__init__()
        self.norm_self, self.norm_node, self.norm_after = (nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, heads)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.act = PReLU(init=slope)

    def forward(self, s: Tensor, o: Tensor, seen: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return the embeddings of cells after it, (B, n, h)."""
        s = s + self.attention(self.norm_self(s), self.norm_node(o), seen, mask)
        after: Tensor = s + self.narrow(self.act(self.wide(self.norm_after(s))))
        return after


class Policy(nn.Module):
    """Moves cells by what they are, where they are, and which others there are.

    Parameters
    ----------
    dim
        d.
    n_features
        F, of all modalities that cells see, one after the other.
    config
        Heads, blocks, scales, what is seen.
    discrete
        Whether an action is one of three pushes per dimension.

    Raises
    ------
    ConfigError
        If the heads do not divide the width.
    """

    def __init__(
        self, dim: int, n_features: int, config: PolicyConfig | None = None, *,
        discrete: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        config = config or PolicyConfig()
        self.dim, self.n_features, self.config, self.discrete = dim, n_features, config, discrete
        width = 4 * dim
        if width % config.attention_heads:
            raise ConfigError(
                f"{config.attention_heads} attention_heads do not divide the width {width}",
                "choose another dim or number of heads",
            )
        slope = config.initial_slope
        # Rows of both embeddings stand one after the other: the cell itself, then as a node.
        self.of_place = nn.Linear(2 * dim, 2 * width)
        self.of_features = nn.Linear(n_features, 2 * width)
        self.self_act, self.node_act = PReLU(init=slope), PReLU(init=slope)
        self.self_out, self.node_out = nn.Linear(width, width), nn.Linear(width, width)
        self.blocks = nn.ModuleList(
            Block(width, config.attention_heads, slope) for _ in range(config.attention_blocks)
        )
        n_actions = 3 * dim if discrete else dim
        self.actor_in, self.actor_out = (
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, n_actions),
        )
        self.trunk_act, self.actor_act = PReLU(init=slope), PReLU(init=slope)
        self.critic_act, self.critic = PReLU(init=slope), nn.Linear(width, 1)
        self.log_std = nn.Parameter(torch.tensor(math.log(config.initial_std)))
        beta = config.standardization_beta
        self.place_scale = RunningScale(beta, 2 * dim)
        self.feature_scale = RunningScale(beta, n_features)
        self.return_scale = RunningScale(beta, 1)
        self.reset_parameters()

    @property
    def width(self) -> int:
        """Width of the embeddings, h."""
        return 4 * self.dim

    def reset_parameters(self) -> None:
        """Start anew: orthogonal weights, no biases, a quiet actor."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                gain = self.config.actor_gain if name == "actor_out" else 1.0
                # Layers that stand in one weight start each by itself.
                shared = name.startswith("of_") or name.endswith("key_value")
                for part in module.weight.data.chunk(2 if shared else 1):
                    nn.init.orthogonal_(part, gain)
                nn.init.zeros_(module.bias)

    # --- what cells are ------------------------------------------------------------------------

    def embed(self, features: Tensor) -> Embedded:
        """Return what features add to both embeddings.

        Parameters
        ----------
        features
            (..., n, F) of all modalities that cells see.
        """
        scale = self.feature_scale
        weight = self.of_features.weight / scale.std
        bias = self.of_features.bias - weight @ scale.mean
        return Embedded(*torch.chunk(linear(features, weight, bias), 2, dim=-1))

    def embed_change(self, change: Tensor) -> Embedded:
        """Return what a change of features adds to an embedding; (..., n, F)."""
        weight = self.of_features.weight / self.feature_scale.std
        return Embedded(*torch.chunk(linear(change, weight), 2, dim=-1))

    # --- what cells do -------------------------------------------------------------------------

    def forward(
        self, position: Tensor, velocity: Tensor, embedded: Embedded, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return mean actions and values of states.

        Parameters
        ----------
        position, velocity
            (B, n, d).
        embedded
            From `embed`, (B, n, h) each.
        mask
            (B, n) bool, which cells are there, the first ones of each row; None is all.

        Returns
        -------
        (B, n, d) means, or (B, n, d, 3) logits of pushes where actions are discrete; and (B, n)
        critic's values in units of the running scale of returns.
        """
        s = self._trunk(position, velocity, embedded, mask)
        value: Tensor = self.critic(self.critic_act(s))[..., 0]
        return self._actor(s), value

    @torch.no_grad()
    def mean_action(
        self, position: Tensor, velocity: Tensor, embedded: Embedded, mask: Tensor | None = None
    ) -> Tensor:
        """Return what cells do without chance, (..., n, d): forces, or pushes 0, 1, 2."""
        flat = position.dim() == 2
        if flat:
            position, velocity = position[None], velocity[None]
            embedded = embedded.repeat(1)
        found = self._actor(self._trunk(position, velocity, embedded, mask))
        if self.discrete:
            found = found.argmax(-1).to(position.dtype)
        return found[0] if flat else found

    def values(self, critic: Tensor) -> Tensor:
        """Return values in the unit of rewards."""
        found: Tensor = critic * self.return_scale.std + self.return_scale.mean
        return found

    def _trunk(
        self, position: Tensor, velocity: Tensor, embedded: Embedded, mask: Tensor | None
    ) -> Tensor:
        scale = self.place_scale
        weight = self.of_place.weight / scale.std
        bias = self.of_place.bias - weight @ scale.mean
        at = linear(torch.cat([position, velocity], dim=-1), weight, bias)
        s, o = torch.chunk(at, 2, dim=-1)
        s = self.self_out(self.self_act(s + embedded.self_part))
        o = self.node_out(self.node_act(o + embedded.node_part))
        seen = self._seen(position.shape[-2], position.device)
        for block in self.blocks:
            s = block(s, o, seen, mask)
        found: Tensor = s
        return found

    def _actor(self, s: Tensor) -> Tensor:
        hidden = self.actor_act(self.actor_in(self.trunk_act(s)))
        found: Tensor = self.actor_out(hidden)
        if self.discrete:
            return found.view(*found.shape[:-1], self.dim, 3)
        return torch.tanh(found)

    def _seen(self, n: int, device: torch.device) -> Tensor | None:
        config = self.config
        few = config.full_up_to if config.vision == "auto" else config.vision_size
        if config.vision == "full" or n <= few:
            return None
        return landmarks(n, config.vision_size, device)

    # --- scales --------------------------------------------------------------------------------

    def follow_inputs(self, mean: Tensor, square: Tensor) -> None:
        """Let the scales of inputs follow; what the network says stays the same.

        Parameters
        ----------
        mean, square
            (2 d + F,) means and mean squares of positions, velocities and features.
        """
        at = [2 * self.dim, self.n_features]
        (m, m_f), (s, s_f) = torch.split(mean, at), torch.split(square, at)
        rescale_input(self.of_place, *self.place_scale.follow(m, s))
        rescale_input(self.of_features, *self.feature_scale.follow(m_f, s_f))

    def follow_returns(self, mean: Tensor, square: Tensor) -> None:
        """Let the scale of returns follow, (1,) each; values stay the same."""
        rescale_output(self.critic, *self.return_scale.follow(mean, square))


class Pinning(nn.Module):
    """Tells a modality from positions: d, 2 d, F_k.

    Parameters
    ----------
    dim
        d.
    n_features
        F_k.
    config
        Scales and start.
    """

    def __init__(self, dim: int, n_features: int, config: PolicyConfig | None = None) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.dim, self.n_features = dim, n_features
        self.first, self.last = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, n_features)
        self.act = PReLU(init=config.initial_slope)
        self.input_scale = RunningScale(config.standardization_beta, dim)
        self.output_scale = RunningScale(config.standardization_beta, n_features)
        for layer in (self.first, self.last):
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, position: Tensor) -> Tensor:
        """Return preprocessed features, (..., n, F_k), of positions, (..., n, d)."""
        scale, out = self.input_scale, self.output_scale
        weight = self.first.weight / scale.std
        hidden = self.act(linear(position, weight, self.first.bias - weight @ scale.mean))
        # Scaled back within the layer: one product, and nothing of (n, F_k) twice.
        weight = self.last.weight * out.std[:, None]
        return linear(hidden, weight, self.last.bias * out.std + out.mean)

    def follow(self, mean: Tensor, square: Tensor) -> None:
        """Let the scales follow, (d + F_k,) each; what the network says stays the same."""
        at = [self.dim, self.n_features]
        (m, m_f), (s, s_f) = torch.split(mean, at), torch.split(square, at)
        rescale_input(self.first, *self.input_scale.follow(m, s))
        rescale_output(self.last, *self.output_scale.follow(m_f, s_f))
