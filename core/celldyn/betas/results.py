"""The fitted betas of one gene, summarised for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import BetasConfig
from celldyn.jobs import Job, Pace, Progress, run

if TYPE_CHECKING:
    import pandas as pd

Status: TypeAlias = Literal[
    "fitted",
    "intercept only: R² below threshold",
    "intercept only: target is constant",
    "intercept only: too few cells",
    "skipped",
]

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

INTERCEPT = "beta0"
_VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class ClusterFit:
    """How the model of one cluster in one section fared.

    Parameters
    ----------
    section, cluster
        Their names; section is "" where there are none.
    n_cells
        Cells of the cluster in the section.
    status
        "fitted", "skipped", or why the cluster kept the intercept only.
    r2
        Training R² of the betas as they are: 0 for an intercept alone, NaN if skipped.
    heldout_r2
        R² of the model, whether it was kept or not, on blocks of cells held out; NaN without
        folds or with too few cells. Of the linear model, unless betas vary inside clusters.
    seed_r2
        Training R² of the linear model before it was kept or not; NaN if none was fitted.
    seed_heldout_r2
        R² of the linear model on blocks of cells held out.
    """

    section: str
    cluster: str
    n_cells: int
    status: Status
    r2: float
    heldout_r2: float
    seed_r2: float
    seed_heldout_r2: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class BetasResult:
    """Coefficients of one target gene in every cell.

    Parameters
    ----------
    gene
        The target.
    modulators, kinds
        Names of the modulators, and what each is: "regulator", "ligand-receptor", "ligand-TF".
    values
        (n_obs, 1 + n_modulators): the intercept, then the beta of each modulator; 0 in cells of
        skipped clusters.
    fits
        One per section and cluster.
    coefficients
        (n_fits, 1 + n_modulators) of each fit; the mean over its cells where betas vary.
    dropped
        For each section the modulators that do not vary in it; they have no beta there.
    config
        The parameters.
    species
        "mouse" or "human".
    seconds
        How long the fit took.
    notes
        What a person should know, in sentences.
    radii
        How far each ligand reaches.
    losses
        One list per fit: the loss of every batch of its training; empty where nothing is trained.
    states
        One mapping per fit: the tensors that give its betas to other cells, where betas vary
        inside a cluster; `columns` among them are the modulators it has.
    """

    gene: str
    modulators: tuple[str, ...]
    kinds: tuple[str, ...]
    values: NDArray[np.float64]
    fits: tuple[ClusterFit, ...]
    coefficients: NDArray[np.float64]
    dropped: dict[str, tuple[str, ...]]
    config: BetasConfig
    species: str
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    radii: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[tuple[float, ...], ...] = ()
    states: tuple[Tensors, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `values`: beta0, then beta_<modulator>."""
        return [INTERCEPT, *(f"beta_{name}" for name in self.modulators)]

    def table(self) -> pd.DataFrame:
        """Return the modulators, those with the largest mean |beta| first.

        Columns: modulator, kind, mean_abs, mean, sd (over all cells), n_nonzero (sections and
        clusters in which the beta is not 0).
        """
        import pandas as pd

        betas = self.values[:, 1:]
        summary = pd.DataFrame(
            {
                "modulator": list(self.modulators),
                "kind": list(self.kinds),
                "mean_abs": np.abs(betas).mean(axis=0),
                "mean": betas.mean(axis=0),
                "sd": betas.std(axis=0),
                "n_nonzero": np.count_nonzero(self.coefficients[:, 1:], axis=0),
            }
        )
        return summary.sort_values("mean_abs", ascending=False, kind="stable", ignore_index=True)

    def score_table(self) -> pd.DataFrame:
        """Return one row per section and cluster.

        Columns: section, cluster, n_cells, r2, heldout_r2, seed_r2, seed_heldout_r2, status; see
        `ClusterFit`.
        """
        import pandas as pd

        columns = [name for name in ClusterFit.__slots__ if name != "status"] + ["status"]
        rows = [[getattr(fit, column) for column in columns] for fit in self.fits]
        return pd.DataFrame(rows, columns=columns)


def spread(
    coefficients: NDArray[np.float64], fit_of_cell: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Give each cell the coefficients of its fit, and 0 where it has none (−1)."""
    return run(spread_job(coefficients, fit_of_cell), bar=False)


def spread_job(
    coefficients: NDArray[np.float64], fit_of_cell: NDArray[np.intp]
) -> Job[NDArray[np.float64]]:
    """Do the work of `spread`, by blocks of cells."""
    none = np.zeros((1, coefficients.shape[1]))
    rows = np.concatenate([none, coefficients])
    values = np.empty((len(fit_of_cell), coefficients.shape[1]))
    step = max(_VALUES_AT_ONCE // max(values.shape[1], 1), 1)
    pace = Pace()
    for start in range(0, len(values), step):
        block = slice(start, start + step)
        np.take(rows, fit_of_cell[block] + 1, axis=0, out=values[block], mode="clip")
        if pace.due():
            yield Progress("betas of each cell", start, len(values))
    return values
