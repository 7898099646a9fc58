"""What a landscape found, on an AnnData: cell states, potential, fates.

Shapes: n cells, f fates.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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


def write_fates(adata: AnnData, fates: CellFates, cluster_key: str | None = None) -> None:
    """Write fates of all cells; what an earlier call wrote is replaced.

    Colours of the fates are those of the clusters of the same names.
    """
    adata.obs[keys.FATE()] = pd.Categorical(fates.fate.astype(str), categories=list(fates.names))
    adata.obs[keys.FATE_CERTAIN()] = fates.certain
    for key, values in (
        (keys.FATE_ENTROPY, fates.entropy),
        (keys.PLASTICITY, fates.plasticity),
        (keys.PLASTICITY_LOW, fates.plasticity_low),
        (keys.PLASTICITY_HIGH, fates.plasticity_high),
    ):
        adata.obs[key()] = values.astype(np.float32)
    for key, table in (
        (keys.FATES, fates.probabilities),
        (keys.FATES_LOW, fates.low),
        (keys.FATES_HIGH, fates.high),
    ):
        adata.obsm[key()] = table.astype(np.float32)
    adata.obsm.pop(keys.FATE_PATHS(), None)
    if fates.paths is not None:
        adata.obsm[keys.FATE_PATHS()] = np.ascontiguousarray(fates.paths.T)
    held = adata.uns.setdefault(keys.CELLDYN(), {})
    held[keys.FATE_INFO()] = json.dumps({
        "names": list(fates.names), "cluster_key": cluster_key, "n_votes": fates.n_votes,
        "converged": fates.converged, "notes": list(fates.notes),
        "times": None if fates.times is None else fates.times.tolist(),
    })  # fmt: skip
    _take_colours(adata, fates.names, cluster_key)


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
