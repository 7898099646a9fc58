"""What was learned of groups and features, as tables: background, dispersions, ambient shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.vae.inputs import Groups, VAEInputs
from celldyn.vae.module import VAEModule

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = 1.959964
"""Standard errors on either side of an estimate, for 95 %."""


def group_labels(keys: tuple[Groups, ...]) -> list[str]:
    """Return the groups of all keys, one after the other; with their key where there are two."""
    if len(keys) == 1:
        return list(keys[0].names)
    return [f"{groups.key}={name}" for groups in keys for name in groups.names]


def background_table(module: VAEModule, inputs: VAEInputs, m: int) -> pd.DataFrame:
    """Return s of each feature in each ambient group, (G, n_groups).

    It is in counts of an average cell: `exp(ℓ) s` with ℓ of the model. Without a background the
    table has no columns.
    """
    import pandas as pd

    beta = module.part(m).features.log_s
    names = list(inputs.modalities[m].features)
    if beta is None:
        return pd.DataFrame(index=names)
    values = torch.exp(beta.detach()).T.cpu().numpy()
    return pd.DataFrame(values, index=names, columns=group_labels(inputs.ambient))


def dispersion_table(module: VAEModule, inputs: VAEInputs, m: int) -> pd.DataFrame:
    """Return the inverse dispersion θ of each feature in each group, (G, n_groups)."""
    import pandas as pd

    mean = module.part(m).features.log_theta_mean.detach()
    values = torch.exp(mean).T.cpu().numpy()
    columns = list(inputs.dispersion.names) if len(mean) == len(inputs.dispersion) else ["all"]
    return pd.DataFrame(values, index=list(inputs.modalities[m].features), columns=columns)


def share_table(
    inputs: VAEInputs,
    m: int,
    share: NDArray[np.float32],
    estimate: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """Return which share of each group's counts is ambient.

    Parameters
    ----------
    share
        (n_obs,) of each cell's expected counts.
    estimate
        (n_groups, 3) share, low and high that the model was started from; None without.

    Returns
    -------
    Columns group, share, low, high: the mean over the group's cells, NaN without cells. Its
    interval is as wide as the estimate's: what is uncertain is which counts are ambient, not the
    mean. Without an estimate it is that of the mean over cells. With one there are the columns
    estimate, estimate_low and estimate_high, too.
    """
    import pandas as pd

    present = inputs.modalities[m].present
    rows = [
        _interval(share[(groups.codes == k) & present].astype(np.float64))
        for groups in inputs.ambient
        for k in range(len(groups))
    ]
    table = pd.DataFrame(rows, columns=["share", "low", "high"], dtype=np.float64)
    table.insert(0, "group", group_labels(inputs.ambient))
    if estimate is None or len(estimate) != len(table):
        return table
    value, low, high = estimate.T
    table["low"] = np.clip(table["share"] - (value - low), 0.0, 1.0)
    table["high"] = np.clip(table["share"] + (high - value), 0.0, 1.0)
    return table.assign(estimate=value, estimate_low=low, estimate_high=high)


def _interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    reach = INTERVAL * error
    return mean, max(mean - reach, 0.0), min(mean + reach, 1.0)
