"""What actions were worth: advantages over time, with what lies beyond an episode's end.

Shapes: T steps; other axes, such as environments and cells, are free. Source:
specs/environment.md B.
"""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantage(
    rewards: Tensor,
    values: Tensor,
    final_values: Tensor,
    truncated: Tensor,
    *,
    gamma: float,
    lam: float,
    bootstrap: bool = True,
) -> Tensor:
    """Return generalised advantages A_t = δ_t + γ λ A_{t+1}, δ_t = r_t + γ V_{t+1} − V_t.

    No episode has an end of its own: where one was cut, V_{t+1} is the value of the state after
    its last step and the sum starts anew. The last step of all is such a cut, too.

    Parameters
    ----------
    rewards, values
        (T, ...) r_t and V_t.
    final_values
        (T, ...) values of the states after the steps; read only where they were cut, and after
        the last step.
    truncated
        (T, ...) bool, whether the episode was cut after this step.
    gamma, lam
        γ and λ.
    bootstrap
        False takes the value beyond a cut to be 0.

    Returns
    -------
    (T, ...).
    """
    following = torch.empty_like(values)
    following[:-1] = values[1:]
    following[-1] = final_values[-1]
    cut = truncated.clone()
    cut[-1] = True
    beyond = final_values if bootstrap else torch.zeros_like(final_values)
    delta = rewards + gamma * torch.where(cut, beyond, following) - values
    carried = (gamma * lam) * (~cut).to(values.dtype)
    advantages = torch.empty_like(values)
    sum_ = torch.zeros_like(values[0])
    for t in range(len(values) - 1, -1, -1):
        sum_ = torch.addcmul(delta[t], carried[t], sum_)
        advantages[t] = sum_
    return advantages
