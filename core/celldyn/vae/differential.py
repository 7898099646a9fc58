"""Which genes differ between two groups of cells, by the model's posterior.

Shapes: S draws of pairs of cells, G genes, H hidden units.
Source: the Bayesian tests of scvi-tools (Lopez et al. 2018; Boyeau et al. 2019), by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.devices import few_threads
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress
from celldyn.vae.changing import Change
from celldyn.vae.decoding import hidden, native, telling_of
from celldyn.vae.inputs import Batch, Ints
from celldyn.vae.module import Posterior
from celldyn.vae.predicting import Cells, drawing, evaluating, generator_of, look_job

if TYPE_CHECKING:
    import pandas as pd

Mode: TypeAlias = Literal["vanilla", "change"]

VALUES_AT_ONCE = 1 << 19
"""Scales of pairs and genes that are held at once."""

_SMALLEST = 1e-10


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared, and how.

    Parameters
    ----------
    mode
        "vanilla": is a gene higher in the first group; "change": does it differ by more than
        `delta`.
    delta
        Smallest change of interest, in units of log2.
    fdr_target
        Expected share of false discoveries among those that are called.
    n_samples
        Pairs of cells that are drawn.
    pseudocount
        Added to both scales before logarithms, so that genes that hardly any cell has do not
        change by much; None: what the model gives at most genes that neither group has counts of.
    """

    mode: Mode = "vanilla"
    delta: float = 0.25
    fdr_target: float = 0.05
    n_samples: int = 5000
    pseudocount: float | None = None


def differential_job(
    first: Cells,
    second: Cells,
    m: int = 0,
    test: Comparison | None = None,
    *,
    changes: Sequence[Change | None] | None = None,
    columns: Ints | None = None,
    seed: int = 0,
) -> Job[pd.DataFrame]:
    """Compare native expression of two groups of cells.

    Each of S pairs is a cell of either group, drawn with replacement, with a state drawn from its
    posterior. Scales are shares of all features, so that library size and ambient RNA play no
    part.

    Parameters
    ----------
    first, second
        The groups.
    m
        Which modality.
    test
        What is compared.
    changes
        What both groups are taken to be, in turn: then they differ by no batch.
    columns
        Which features are tested; None is all.
    seed
        Of the draws.

    Returns
    -------
    One row per feature, those most likely to differ first. "change": proba_de, proba_not_de,
    bayes_factor, lfc_mean, lfc_median, lfc_std, lfc_min, lfc_max (log2, first over second),
    is_de_fdr_<fdr_target>. "vanilla": proba_m1, proba_m2, bayes_factor. Both: scale1, scale2,
    raw_mean1, raw_mean2, non_zeros_proportion1, non_zeros_proportion2.

    Raises
    ------
    DataError
        If a group is empty.
    """
    import pandas as pd

    test = test or Comparison()
    for name, cells in (("first", first), ("second", second)):
        if not len(cells):
            raise DataError(f"the {name} group has no cells", "name groups that cells have")
    rng = np.random.default_rng(seed)
    states = []
    for k, cells in enumerate((first, second)):
        states.append((yield from _states_job(cells, m, test, changes, rng, seed + k)))
    raw_first = yield from _raw_job(first, m)
    raw = [raw_first, (yield from _raw_job(second, m))]
    names = np.array(first.inputs.modalities[m].features)
    chosen = np.arange(len(names)) if columns is None else columns
    table = yield from _compare_job(first, m, states, raw, chosen, test)
    for k, (mean, detected) in enumerate(raw, start=1):
        table |= {f"raw_mean{k}": mean[chosen], f"non_zeros_proportion{k}": detected[chosen]}
    frame = pd.DataFrame(table, index=names[chosen])
    if test.mode == "change":
        frame[f"is_de_fdr_{test.fdr_target}"] = called(frame["proba_de"].to_numpy(), test)
        return frame.sort_values("proba_de", ascending=False, kind="stable")
    return frame.sort_values("bayes_factor", ascending=False, kind="stable")


def called(probability: NDArray[np.float64], test: Comparison) -> NDArray[np.bool_]:
    """Return the features called: as many as keep the expected share of false ones in bounds."""
    order = np.argsort(-probability, kind="stable")
    false = np.cumsum(1 - probability[order]) / np.arange(1, len(order) + 1)
    found = np.zeros(len(order), np.bool_)
    found[order[: int(np.count_nonzero(false <= test.fdr_target))]] = True
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _States:
    """Draws of one group: the decoder's last hidden layer (S, H), and what the output sums to."""

    hidden: Tensor
    total: Tensor


def _states_job(
    cells: Cells,
    m: int,
    test: Comparison,
    changes: Sequence[Change | None] | None,
    rng: np.random.Generator,
    seed: int,
) -> Job[_States]:
    module, draws = cells.module, drawing(generator_of(seed))
    part = module.part(m)

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        z = module.latent(posterior, batch, draws)
        h = hidden(part.decoder, z, telling_of(module, m, batch))
        total = native(part, part.decoder.out(h)).sum(dim=1)
        return {"hidden": h, "total": total}

    every = list(changes or [None])
    found = []
    for k, change in enumerate(every):
        n = test.n_samples // len(every) + (k < test.n_samples % len(every))
        if not n:
            continue
        drawn = np.sort(rng.choice(cells.at, n))
        mixed = rng.permutation(n)  # pairs are formed by position
        told = yield from look_job(replace(cells, at=drawn, change=change), look, "states")
        found.append({name: value[mixed] for name, value in told.items()})
    hid, total = (
        torch.from_numpy(np.concatenate([each[name] for each in found]))
        for name in ("hidden", "total")
    )
    return _States(hid, total)


def _raw_job(cells: Cells, m: int) -> Job[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the mean count of each feature and the share of cells that have it."""
    counts = cells.inputs.modalities[m].counts
    n_features, n = counts.shape[1], len(cells)
    total, detected = np.zeros(n_features), np.zeros(n_features)
    pace = Pace()
    for start in range(0, n, cells.batch_size):
        csr = counts.rows(cells.at[start : start + cells.batch_size])
        total += np.bincount(csr.indices, csr.data, minlength=n_features)
        detected += np.bincount(csr.indices, minlength=n_features)
        if pace.due():
            yield Progress("raw means", start, n)
    return total / n, detected / n


def _compare_job(
    cells: Cells,
    m: int,
    states: list[_States],
    raw: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    chosen: Ints,
    test: Comparison,
) -> Job[dict[str, NDArray[Any]]]:
    """Compare all pairs, some genes at a time."""
    pseudocount = test.pseudocount
    if pseudocount is None:
        pseudocount = _pseudocount(cells, m, states, raw)
    step = max(VALUES_AT_ONCE // test.n_samples, 1)
    parts: list[dict[str, NDArray[Any]]] = []
    pace = Pace()
    with few_threads():
        for start in range(0, len(chosen), step):
            with evaluating(cells.module):
                one, two = (
                    _scales(cells, m, each, chosen[start : start + step]) for each in states
                )
            parts.append(_statistics(one, two, test, pseudocount))
            if pace.due():
                yield Progress("genes compared", start, len(chosen))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _scales(cells: Cells, m: int, states: _States, features: Ints) -> Tensor:
    """Return the shares of some features in each draw, (S, G')."""
    part, at = cells.module.part(m), torch.from_numpy(features)
    out = part.decoder.out
    logits = states.hidden @ out.weight[at].T + out.bias[at]
    if part.config.scale_activation == "softmax":
        every = states.hidden @ out.weight.T + out.bias
        return torch.exp(logits - torch.logsumexp(every, dim=1, keepdim=True))
    return torch.nn.functional.softplus(logits) / states.total[:, None]


def _pseudocount(
    cells: Cells,
    m: int,
    states: list[_States],
    raw: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> float:
    """Return the 0.9 quantile of scales of features that a group has no counts of."""
    found = [_SMALLEST]
    for state, (mean, _) in zip(states, raw, strict=True):
        absent = np.flatnonzero(mean == 0)[:1000]
        if len(absent):
            with evaluating(cells.module):
                scales = _scales(cells, m, state, absent).mean(dim=0)
            found.append(float(torch.quantile(scales.double(), 0.9)))
    return max(found)


def _statistics(
    one: Tensor, two: Tensor, test: Comparison, pseudocount: float
) -> dict[str, NDArray[Any]]:
    told: dict[str, Tensor] = {}
    if test.mode == "change":
        change = torch.log2(one + pseudocount) - torch.log2(two + pseudocount)
        de = (change.abs() >= test.delta).double().mean(dim=0)
        told |= {"proba_de": de, "proba_not_de": 1 - de, "bayes_factor": _factor(de, len(one))}
        told |= {
            "lfc_mean": change.mean(dim=0),
            "lfc_median": change.median(dim=0).values,
            "lfc_std": change.std(dim=0, correction=min(1, len(change) - 1)),
            "lfc_min": change.min(dim=0).values,
            "lfc_max": change.max(dim=0).values,
        }
    else:
        higher = (one > two).double().mean(dim=0)
        told |= {"proba_m1": higher, "proba_m2": 1 - higher}
        told["bayes_factor"] = _factor(higher, len(one))
    told |= {"scale1": one.mean(dim=0), "scale2": two.mean(dim=0)}
    return {name: value.double().numpy() for name, value in told.items()}


def _factor(probability: Tensor, n: int) -> Tensor:
    """Return log p / (1 − p); certainty counts as half a pair short of it."""
    held = probability.clamp(0.5 / n, 1 - 0.5 / n)
    return torch.log(held) - torch.log1p(-held)
