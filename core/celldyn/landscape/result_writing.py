"""What a landscape found, on an AnnData: cell states, potential, fates.

Shapes: n cells, f fates.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from celldyn import keys
from celldyn.landscape.fate_table import CellFates
from celldyn.landscape.graph import Csr
from celldyn.landscape.states import CellStates

if TYPE_CHECKING:
    from anndata import AnnData


def write_states(adata: AnnData, states: CellStates, transitions: Csr | None) -> None:
    """Write where cells stand, and their chances to go to each other."""
    adata.obsm[keys.CELL_STATE()], adata.obsm[keys.DIFF_STATE()] = states.z, states.B
    adata.obs[keys.POTENTIAL()] = states.V
    adata.obs[keys.ENTROPY()] = states.entropy
    adata.obs[keys.PSEUDOTIME()] = states.pseudotime
    if transitions is not None:
        adata.obsp[keys.TRANSITIONS()] = transitions


def write_fates(adata: AnnData, fates: CellFates, cluster_key: str | None = None) -> set[str]:
    """Write fates of all cells; what an earlier call wrote is replaced.

    Colours of the fates are those of the clusters of the same names.

    Returns
    -------
    What was written, or was of earlier fates and taken off, as "slot/name".
    """
    fate = pd.Categorical(fates.fate.astype(str), categories=list(fates.names))
    columns: dict[keys.Key, Any] = {keys.FATE: fate, keys.FATE_CERTAIN: fates.certain}
    for key, values in (
        (keys.FATE_ENTROPY, fates.entropy),
        (keys.PLASTICITY, fates.plasticity),
        (keys.PLASTICITY_LOW, fates.plasticity_low),
        (keys.PLASTICITY_HIGH, fates.plasticity_high),
    ):
        columns[key] = values.astype(np.float32)
    tables = {
        keys.FATES: fates.probabilities.astype(np.float32),
        keys.FATES_LOW: fates.low.astype(np.float32),
        keys.FATES_HIGH: fates.high.astype(np.float32),
    }
    gone = [key for key in (keys.FATE_AGREEMENT, keys.FATE_PATHS) if _drop(adata, key)]
    if fates.paths is not None:
        tables[keys.FATE_PATHS] = np.ascontiguousarray(fates.paths.T)
    for key, column in columns.items():
        adata.obs[key()] = column
    for key, table in tables.items():
        adata.obsm[key()] = table
    home = dict(adata.uns.get(keys.CELLDYN(), {}))
    home[keys.FATE_INFO()] = _info(fates, cluster_key)
    adata.uns[keys.CELLDYN()] = home
    _take_colours(adata, fates.names, cluster_key)
    return {key.path() for key in (*columns, *tables, *gone, keys.FATE_INFO)}


def _drop(adata: AnnData, key: keys.Key) -> bool:
    """Take a key off, and return whether it was there."""
    slot = getattr(adata, key.slot)
    if key() not in slot:
        return False
    del slot[key()]
    return True


def _info(fates: CellFates, cluster_key: str | None) -> str:
    return json.dumps({
        "names": list(fates.names), "cluster_key": cluster_key, "n_votes": fates.n_votes,
        "converged": fates.converged, "notes": list(fates.notes),
        "times": None if fates.times is None else fates.times.tolist(),
    })  # fmt: skip


def _take_colours(adata: AnnData, names: tuple[str, ...], cluster_key: str | None) -> None:
    adata.uns.pop(keys.COLOURS(column=keys.FATE()), None)
    if cluster_key is None or cluster_key not in adata.obs:
        return
    colours = adata.uns.get(keys.COLOURS(column=cluster_key))
    column = adata.obs[cluster_key]
    if colours is None or not hasattr(column, "cat"):
        return
    known = dict(zip(map(str, column.cat.categories), colours, strict=False))
    found = [known.get(name, "#808080") for name in names]
    adata.uns[keys.COLOURS(column=keys.FATE())] = np.array(found, dtype=object)
