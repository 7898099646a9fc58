"""Which cells may meet, and which are trained on. Shapes: n cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data.words import counted, listed
from celldyn.environment.config import DataConfig
from celldyn.errors import DataError, MissingKeyError

Bools = NDArray[np.bool_]

_NO = ("false", "no")
_YES = ("true", "yes")


def obs_of(table: Any) -> pd.DataFrame:  # noqa: ANN401
    """Return the obs of a table; that of a view of a collection is put together."""
    obs = table.obs
    if isinstance(obs, pd.DataFrame):
        return obs
    return pd.DataFrame({name: np.asarray(obs[name]) for name in obs.keys()},  # noqa: SIM118
                        index=table.obs_names)  # fmt: skip


def partitions_of(
    obs: Sequence[pd.DataFrame], columns: Sequence[str], n: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the partition of every cell, and what partitions are called.

    Parameters
    ----------
    obs
        Tables of the cells, one per modality; a column is taken from the first that has it.
    columns
        Columns whose combinations keep cells apart; none lets all meet.
    n
        Cells.

    Returns
    -------
    (n,) int64, and names such as "BZ0, drug" in the order of the numbers: all that occur.

    Raises
    ------
    MissingKeyError
        If no table has such a column.
    DataError
        If a cell has no value, or tables say different things of it.
    """
    if not columns:
        return np.zeros(n, np.int64), ()
    parts = [column_of(obs, column).astype(str).to_numpy() for column in columns]
    whole = pd.MultiIndex.from_arrays(parts)
    codes, found = pd.factorize(whole, sort=True)
    return codes.astype(np.int64), tuple(", ".join(map(str, each)) for each in found)


def column_of(obs: Sequence[pd.DataFrame], column: str) -> pd.Series[Any]:
    """Return a column of the first table that has it; see `partitions_of`."""
    having = [table[column] for table in obs if column in table.columns]
    if not having:
        known = dict.fromkeys(str(name) for table in obs for name in table.columns)
        raise MissingKeyError(f"obs has no column {column!r}", f"there are {listed(known)}")
    first = having[0]
    if first.isna().any():
        cell = first.index[first.isna().to_numpy()][0]
        raise DataError(f"cell {cell} has no value in obs[{column!r}]", "fill it in")
    for other in having[1:]:
        differs = other.astype(str).to_numpy() != first.astype(str).to_numpy()
        if differs.any():
            raise DataError(
                f"modalities disagree on obs[{column!r}] of cell {first.index[differs][0]}",
                "give it the same values in all, or leave it in one",
            )
    return first


def training_cells(
    obs: Sequence[pd.DataFrame],
    config: DataConfig,
    partition: NDArray[np.int64],
    partition_names: Sequence[str],
    seed: int,
) -> tuple[Bools, list[str]]:
    """Return which cells are trained on, (n,), and what a person should know of it.

    A column (`train_mask`, or a text file of one number per cell) says it, or else a share of
    cells, or of whole partitions, is drawn; at least one is trained on and one held out.

    Raises
    ------
    MissingKeyError
        If there is neither such a column nor such a file.
    DataError
        If a column says neither yes nor no, no cell is trained on, or partitions are to be drawn
        of which there are less than two.
    """
    n = len(partition)
    rng = np.random.default_rng(seed)
    if config.train_mask is not None:
        train = _mask(obs, config.train_mask, n)
    elif config.train_split >= 1:
        return np.ones(n, np.bool_), []
    elif config.train_partitions:
        if len(partition_names) < 2:
            raise DataError(
                "a share of the partitions is to be trained on, and there is "
                f"{'one' if partition_names else 'none'}",
                "name partition_cols with several values, or leave train_partitions out",
            )
        chosen = _drawn(len(partition_names), config.train_split, rng)
        train = np.isin(partition, chosen)
    else:
        train = np.zeros(n, np.bool_)
        train[_drawn(n, config.train_split, rng)] = True
    notes = [f"{counted(int(train.sum()), 'cell')} of {n:,} are trained on"]
    if config.train_partitions and config.train_mask is None:
        held = [name for k, name in enumerate(partition_names) if k not in chosen]
        notes.append(f"held out: {listed(held)}")
    return train, notes


def _drawn(n: int, share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    if n < 2:
        return np.arange(n)
    return rng.permutation(n)[: int(np.clip(round(share * n), 1, n - 1))]


def _mask(obs: Sequence[pd.DataFrame], name: str, n: int) -> Bools:
    if Path(name).is_file() and not any(name in table.columns for table in obs):
        words = pd.Series(Path(name).read_text(encoding="utf-8", errors="replace").split())
        train = as_mask(words, name)
        if len(train) != n:
            raise DataError(
                f"{name} says of {counted(len(train), 'cell')} whether they train, and there are "
                f"{n:,}",
                "give one number per cell",
            )
    else:
        train = as_mask(column_of(obs, name), f"obs[{name!r}]")
    if not train.any():
        raise DataError(f"{name} says that no cell is trained on", "mark training cells with 1")
    return train


def as_mask(column: pd.Series[Any], name: str) -> Bools:
    """Return a column of yes and no (True, 1, "yes", ...) as (n,) bool.

    Raises
    ------
    DataError
        If a value is neither.
    """
    words = column.astype(str).str.strip().str.lower()
    numbers = pd.to_numeric(words, errors="coerce").to_numpy()
    yes = words.isin(_YES).to_numpy() | (numbers == 1)
    neither = ~(yes | words.isin(_NO).to_numpy() | (numbers == 0))
    if neither.any():
        raise DataError(
            f"{name} holds {str(column.to_numpy()[neither][0])!r}, which says neither yes nor no",
            "write True or False, or 1 or 0",
        )
    return np.asarray(yes, np.bool_)
