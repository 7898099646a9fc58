"""What was learned of groups and features, as tables: background, dispersions, ambient shares."""

from __future__ import annotations

from collections.abc import Sequence
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


def group_labels(keys: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Return the groups of all keys, one after the other; with their key where there are two."""
    if len(keys) == 1:
        return list(keys[0][1])
    return [f"{key}={name}" for key, names in keys for name in names]


def labels_of(keys: Sequence[Groups]) -> list[str]:
    """Return `group_labels` of columns."""
    return group_labels([(groups.key, groups.names) for groups in keys])


def background_table(
    module: VAEModule, m: int, features: Sequence[str], labels: Sequence[str]
) -> pd.DataFrame:
    """Return s of each feature in each ambient group, (G, n_groups).

    It is in counts of an average cell: `exp(ℓ) s` with ℓ of the model. Without a background the
    table has no columns.

    Parameters
    ----------
    module
        The model.
    m
        Which modality.
    features, labels
        Names of its features, and of the groups.
    """
    import pandas as pd

    beta = module.part(m).features.log_background
    if beta is None:
        return pd.DataFrame(index=list(features))
    values = torch.exp(beta.detach()).T.cpu().numpy()
    return pd.DataFrame(values, index=list(features), columns=list(labels))


def dispersion_table(
    module: VAEModule, m: int, features: Sequence[str], labels: Sequence[str]
) -> pd.DataFrame:
    """Return the inverse dispersion θ of each feature in each group, (G, n_groups).

    Parameters are those of `background_table`; a θ that groups share has the column "all".
    """
    import pandas as pd

    mean = module.part(m).features.log_theta_mean.detach()
    values = torch.exp(mean).T.cpu().numpy()
    columns = list(labels) if len(mean) == len(labels) else ["all"]
    return pd.DataFrame(values, index=list(features), columns=columns)


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
    table.insert(0, "group", labels_of(inputs.ambient))
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
