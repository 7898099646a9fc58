"""The cells of a manager: tables of their modalities, what cells see of them, where they begin.

Shapes: n cells, K modalities, F_k preprocessed features of each, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.environment.config import SpaceConfig
from celldyn.environment.gathering import modalities_of
from celldyn.environment.preprocessing import Preprocessing
from celldyn.environment.splitting import partitions_of
from celldyn.environment.stepping import start
from celldyn.environment.trajectories import EnvironmentState
from celldyn.errors import DataError
from celldyn.jobs import Job

if TYPE_CHECKING:
    from anndata import AnnData


def tables_of(adatas: Any, K: int, inputs: Sequence[int]) -> list[AnnData | None]:  # noqa: ANN401
    """Return a table per modality, of the same cells; None for those that are not there.

    Parameters
    ----------
    adatas
        A MuData or a table, or one table or None per modality, or one per modality that is seen.
    K
        Modalities that there are.
    inputs
        Those that cells see.

    Raises
    ------
    DataError
        If there are more or fewer, or they are of different cells.
    """
    given = list(adatas) if isinstance(adatas, list | tuple) else None
    present = adatas if given is None else [each for each in given if each is not None]
    tables = modalities_of(present)
    n_given = len(tables) if given is None else len(given)
    if n_given == K:
        places = [k for k in range(K) if given is None or given[k] is not None]
    elif len(tables) == n_given == len(inputs):
        places = list(inputs)
    else:
        few = f", or the {len(inputs)} that cells see" if len(inputs) != K else ""
        raise DataError(
            f"the number of modalities given is {n_given}, and the environment knows {K}",
            f"give one table per modality{few}",
        )
    found: list[AnnData | None] = [None] * K
    for k, table in zip(places, tables, strict=True):
        found[k] = table
    return found


def taken(table: AnnData, rows: Any = None, names: Sequence[str] | None = None) -> AnnData:  # noqa: ANN401
    """Return some cells of a table, and features in some order; None for all.

    Views of what is on disk cannot be viewed again: what is wanted is taken of the table itself.
    """
    wanted = table.obs_names if rows is None else table.obs_names[rows]
    base = getattr(table, "_adata_ref", None)
    if base is not None and table.isbacked and table.is_view:
        columns = list(table.var_names if names is None else names)
        return base[wanted, columns]
    if names is None:
        return table if rows is None else table[rows]
    return table[:, list(names)] if rows is None else table[rows, list(names)]


def partition_of(
    tables: Sequence[AnnData | None], columns: Sequence[str]
) -> NDArray[np.int64] | None:
    """Return numbers of the groups that training kept apart, (n,); None where all meet.

    None, too, where a column is missing, as in pseudocells.
    """
    obs = [table.obs for table in tables if table is not None]
    if not columns or not all(any(column in one for one in obs) for column in columns):
        return None
    return partitions_of(obs, columns, len(obs[0]))[0]


def features_job(
    preprocessing: Preprocessing,
    tables: Sequence[AnnData | None],
    inputs: Sequence[int],
    *,
    preprocess: bool,
) -> Job[list[Tensor | None]]:
    """Return what cells see of each modality, (n, F_k), and None for what they do not see."""
    found: list[Tensor | None] = [None] * len(tables)
    for k in inputs:
        table = tables[k]
        if table is None:
            continue
        if preprocess:
            (values,) = yield from preprocessing.transform_job([table], [k])
        else:
            values = _as_features(table)
        found[k] = torch.from_numpy(values)
    return found


def _as_features(table: AnnData) -> NDArray[np.float32]:
    matrix: Any = table.X
    dense = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    return np.ascontiguousarray(dense, dtype=np.float32)


def drawn(
    n: int, dim: int, space: SpaceConfig, seed: int, device: torch.device
) -> EnvironmentState:
    """Return n cells at random places, as an episode begins."""
    position, velocity = start((1, n, dim), space, torch.Generator().manual_seed(seed))
    return EnvironmentState(position.to(device), velocity.to(device))


def put_known(
    fresh: EnvironmentState,
    state: EnvironmentState,
    names: Sequence[str],
    before: Sequence[str],
) -> int:
    """Put cells that were there before where they were; return how many were not."""
    places = {name: at for at, name in enumerate(before)}
    at = np.array([places.get(name, -1) for name in names])
    device = state.position.device
    known = torch.from_numpy(np.flatnonzero(at >= 0)).to(device)
    source = torch.from_numpy(at[at >= 0]).to(device)
    fresh.position[:, known] = state.position[:, source]
    fresh.velocity[:, known] = state.velocity[:, source]
    return int((at < 0).sum())
