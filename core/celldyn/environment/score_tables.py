"""Tables of figures with the baselines that belong to them, for imputation, stages, perturbation.

Shapes: n cells, H features of a target, G features of a stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.devices import aside_job
from celldyn.environment.baselines import USUAL, baselines_job
from celldyn.environment.interpolation import displacement_interpolation_job, lerp
from celldyn.environment.score_distances import e_distance, emd, median_distance, mmd
from celldyn.environment.scores import discrimination, imputation_table, pearson_delta
from celldyn.errors import DataError
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    from celldyn.environment.gathering import TrainingData

Floats = NDArray[np.float64]
Cells = Mapping[str, ArrayLike]


def imputation_report(
    data: TrainingData,
    told: Sequence[ArrayLike],
    *,
    name: str = "environment",
    labels: ArrayLike | None = None,
    methods: Sequence[str] = USUAL,
    seed: int = 0,
) -> dict[int, pd.DataFrame]:
    """Return figures of each target beside baselines; `imputation_report_job`, drained."""
    job = imputation_report_job(data, told, name=name, labels=labels, methods=methods, seed=seed)
    return run(job, bar=False)


def imputation_report_job(
    data: TrainingData,
    told: Sequence[ArrayLike],
    *,
    name: str = "environment",
    labels: ArrayLike | None = None,
    methods: Sequence[str] = USUAL,
    seed: int = 0,
    reflection: bool = False,
) -> Job[dict[int, pd.DataFrame]]:
    """Score what an environment told of its targets beside simple methods on the same split.

    Parameters
    ----------
    data
        What it was trained on, all cells.
    told
        (n, H_k) of each target, in the order of `data.targets`, in prepared units.
    name
        What the environment is called in the table.
    labels
        (n,) labels of cells for `label_accuracy`; None leaves it out.
    methods
        Baselines, names in `baselines.IMPUTERS`.
    seed
        Seed of the baselines that draw.
    reflection
        Whether coordinates may be mirrored when they are brought onto the truth.

    Returns
    -------
    By target (number of its modality), a table of methods by the figures of `imputation_scores`.

    Raises
    ------
    DataError
        If there is not one array per target, or shapes do not fit.
    """
    if len(told) != len(data.targets):
        raise DataError(
            f"{len(told)} arrays were told for {len(data.targets)} targets", "give one per target"
        )
    simple = yield from baselines_job(data, methods, seed=seed)
    tables: dict[int, pd.DataFrame] = {}
    for at, k in enumerate(data.targets):
        rows: dict[str, ArrayLike] = {name: told[at]}
        rows |= {method: parts[at] for method, parts in simple.items()}
        work = partial(
            imputation_table, rows, data.modalities[k].numpy(), data.train,
            spatial=k in data.spatial, partition=data.partition, labels=labels,
            reflection=reflection,
        )  # fmt: skip
        tables[k] = yield from aside_job(
            work, "scoring", f"target {k}", done=at, total=len(data.targets)
        )
    return tables


def stage_report_job(
    told: Cells,
    truth: ArrayLike,
    origin: ArrayLike,
    terminal: ArrayLike,
    fraction: float,
    *,
    paired: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> Job[pd.DataFrame]:
    """Compare recovered cells of a stage between two others with those that were measured.

    Beside them stand both stages themselves, straight lines between paired pseudocells, the
    displacement along optimal transport, and, as what chance alone makes, one half of the measured
    cells beside the other.

    Parameters
    ----------
    told
        (p, G) recovered cells by name of the method.
    truth
        (n, G) measured cells of the stage between.
    origin, terminal
        (n, G) and (m, G) cells of the stages on both sides.
    fraction
        Where the stage lies between them, in [0, 1].
    paired
        Paired pseudocells of both stages, for straight lines; None leaves these out.
    seed
        Seed of the draws from large stages.

    Returns
    -------
    A table of methods by "emd", "e_distance" and "mmd", each 0 at best; the bandwidth of MMD is
    the same in all rows.
    """
    real = np.asarray(truth, np.float64)
    ways = yield from displacement_interpolation_job(origin, terminal, [fraction], seed=seed)
    rows: dict[str, tuple[ArrayLike, ArrayLike | None]] = {
        method: (cells, None) for method, cells in told.items()
    }
    if paired is not None:
        rows["straight lines"] = (lerp(*paired, [fraction])[0], None)
    rows["optimal transport"] = (ways.cells[0], ways.weights)
    rows |= {"origin": (origin, None), "terminal": (terminal, None)}
    halves = np.array_split(np.random.default_rng(seed).permutation(len(real)), 2)
    bandwidth = median_distance(real, seed=seed)
    figures: dict[str, dict[str, float]] = {}
    for done, (method, (cells, weights)) in enumerate(rows.items()):
        work = partial(_apart, cells, real, weights, bandwidth, seed)
        figures[method] = yield from aside_job(
            work, "scoring", method, done=done, total=len(rows) + 1
        )
    if len(real) > 1:
        figures["measured, halves"] = yield from aside_job(
            partial(_apart, real[halves[0]], real[halves[1]], None, bandwidth, seed),
            "scoring", "halves", done=len(rows), total=len(rows) + 1,
        )  # fmt: skip
    return _table(figures)


def _apart(
    cells: ArrayLike, real: Floats, weights: ArrayLike | None, bandwidth: float, seed: int
) -> dict[str, float]:
    return {
        "emd": emd(cells, real, weights, seed=seed),
        "e_distance": e_distance(cells, real, weights, seed=seed),
        "mmd": mmd(cells, real, weights, bandwidth=bandwidth, seed=seed),
    }


def perturbation_table(
    told: Mapping[str, Sequence[ArrayLike]],
    truth: Sequence[ArrayLike],
    control: ArrayLike,
    known: Sequence[ArrayLike] = (),
) -> pd.DataFrame:
    """Compare predicted perturbations with those that were measured.

    Parameters
    ----------
    told
        By method, predicted cells (p, G) of each of P perturbations.
    truth
        Measured cells (n, G) of each.
    control
        (c, G) unperturbed cells; "no effect", which tells these, stands in the table as well.
    known
        Measured cells of further perturbations, those that methods learnt from: "mean effect"
        tells every perturbation their mean change.

    Returns
    -------
    A table of methods by "pearson_delta", "mse" (of mean profiles), "e_distance" and, of several
    perturbations, "discrimination"; means over perturbations.

    Raises
    ------
    DataError
        If a method does not tell as many perturbations as were measured, or there is none.
    """
    real = [np.asarray(each, np.float64) for each in truth]
    base = np.asarray(control, np.float64)
    if not real or any(len(each) != len(real) for each in told.values()):
        raise DataError(
            f"there are {len(real)} measured perturbations, and a method tells another number",
            "give as many per method",
        )
    rows = {name: [np.asarray(each, np.float64) for each in p] for name, p in told.items()}
    if known:
        profiles = [np.asarray(each, np.float64).mean(axis=0) for each in known]
        shift = np.mean(profiles, axis=0) - base.mean(axis=0)
        rows["mean effect"] = [base + shift] * len(real)
    rows["no effect"] = [base] * len(real)
    return _table({name: _perturbed(cells, real, base) for name, cells in rows.items()})


def _perturbed(told: list[Floats], real: list[Floats], base: Floats) -> dict[str, float]:
    means = [(p.mean(axis=0), t.mean(axis=0)) for p, t in zip(told, real, strict=True)]
    pairs = list(zip(told, real, strict=True))
    figures = {
        "pearson_delta": float(np.mean([pearson_delta(p, t, base) for p, t in pairs])),
        "mse": float(np.mean([np.square(p - t).mean() for p, t in means])),
        "e_distance": float(np.mean([e_distance(p, t) for p, t in pairs])),
    }
    if len(means) > 1:
        told_means, real_means = zip(*means, strict=True)
        figures["discrimination"] = discrimination(told_means, real_means)
    return figures


def _table(figures: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame.from_dict({k: dict(v) for k, v in figures.items()}, orient="index")
    table.index.name = "method"
    return table
