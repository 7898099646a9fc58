"""Groups of cells to compare: by a column of obs, each against another or the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from celldyn.data.words import listed
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import Job, scaled
from celldyn.vae.changing import Change
from celldyn.vae.differential import Comparison, differential_job
from celldyn.vae.inputs import Ints
from celldyn.vae.predicting import Cells

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Two groups, by name and by their rows."""

    first: str
    second: str
    one: Ints
    two: Ints


def sides_of(
    obs: pd.DataFrame,
    groupby: str | None,
    group1: str | Sequence[str] | None,
    group2: str | None,
) -> list[Sides]:
    """Return the comparisons that a column and its categories stand for.

    Raises
    ------
    ConfigError
        If no column is named.
    MissingKeyError
        If it is not there.
    DataError
        If no cell has a category.
    """
    if groupby is None:
        raise ConfigError("there is nothing to compare", "give groupby, or idx1")
    if groupby not in obs.columns:
        raise MissingKeyError(
            f"groupby names {groupby!r}, which is no column of obs",
            f"there are {listed(obs.columns)}",
        )
    label = obs[groupby].astype(str).to_numpy()
    known = sorted(set(label[obs[groupby].notna().to_numpy()]))
    if group1 is None:
        chosen = known
    else:
        several = isinstance(group1, Iterable) and not isinstance(group1, str)
        chosen = [str(name) for name in (group1 if several else [group1])]
    for name in (*chosen, *(() if group2 is None else (group2,))):
        if str(name) not in known:
            raise DataError(
                f"obs[{groupby!r}] has no cell of {str(name)!r}", f"it has {listed(known)}"
            )
    sides = []
    for name in chosen:
        other = label != name if group2 is None else label == str(group2)
        sides.append(
            Sides(
                name,
                "rest" if group2 is None else str(group2),
                np.flatnonzero(label == name),
                np.flatnonzero(other & (label != name)),
            )
        )
    return sides


def compare_job(
    cells: Cells,
    m: int,
    sides: Sequence[Sides],
    test: Comparison,
    *,
    columns: Ints | None = None,
    batch_correction: bool = False,
    seed: int = 0,
) -> Job[pd.DataFrame]:
    """Compare groups one after the other.

    Parameters
    ----------
    cells
        All cells of the data set, which the sides' rows are of.
    m
        Which modality.
    sides
        The groups.
    test
        What is compared.
    columns
        Which features; None is all.
    batch_correction
        Whether both sides are taken to be of every batch in turn.
    seed
        Of the draws.

    Returns
    -------
    The tables of `differential_job` on top of each other, with the columns comparison, group1 and
    group2.
    """
    import pandas as pd

    changes = _every_batch(cells) if batch_correction else None
    tables = []
    for k, side in enumerate(sides):
        one, two = replace(cells, at=side.one), replace(cells, at=side.two)
        job = differential_job(one, two, m, test, changes=changes, columns=columns, seed=seed)
        table = yield from scaled(job, k, len(sides), f"{side.first} vs {side.second}")
        table.insert(len(table.columns), "comparison", f"{side.first} vs {side.second}")
        tables.append(table.assign(group1=side.first, group2=side.second))
    return pd.concat(tables)


def _every_batch(cells: Cells) -> list[Change | None]:
    """Return a change to every batch: of the batch key, else of all that the decoder is told."""
    inputs = cells.inputs
    if inputs.batch is not None:
        return [{inputs.batch.key: name} for name in inputs.batch.names]
    if len(inputs.conditioning) == 1:
        only = inputs.conditioning[0]
        return [{only.key: name} for name in only.names]
    if not inputs.conditioning:
        return [None]
    raise ConfigError(
        "batch_correction needs one batch, and the decoder is told several keys",
        "set the model up with batch_key, or with one nn_conditioning_covariate_keys",
    )
