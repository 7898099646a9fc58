"""Ligand signal times what receives it: the pair columns of the model, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celldyn.betas.inputs import THRESHOLDS
from celldyn.data.genes import matrix_of
from celldyn.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def ligands_receptors_interactions(
    received_ligands_df: pd.DataFrame, receptor_gex_df: pd.DataFrame
) -> pd.DataFrame:
    """Return how strongly each cell receives each ligand through each receptor.

    Parameters
    ----------
    received_ligands_df
        (n_cells, n_pairs) received signal; column i is the ligand of pair i.
    receptor_gex_df
        (n_cells, n_pairs) expression; column i is the receptor of pair i.

    Returns
    -------
    (n_cells, n_pairs) element-wise product, columns "Ligand$Receptor".

    Raises
    ------
    DataError
        If the shapes differ.
    """
    return _product(received_ligands_df, receptor_gex_df, "$")


def ligand_regulators_interactions(
    received_ligands_df: pd.DataFrame, regulator_gex_df: pd.DataFrame
) -> pd.DataFrame:
    """Return how strongly each ligand meets each transcription factor in each cell.

    Parameters
    ----------
    received_ligands_df
        (n_cells, n_pairs) received signal; column i is the ligand of pair i.
    regulator_gex_df
        (n_cells, n_pairs) expression; column i is the transcription factor of pair i.

    Returns
    -------
    (n_cells, n_pairs) element-wise product, columns "Ligand#TF".

    Raises
    ------
    DataError
        If the shapes differ.
    """
    return _product(received_ligands_df, regulator_gex_df, "#")


def check_LR_properties(
    adata: AnnData, layer: str | None
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the expression of all genes, and where ligands and receptors are active.

    Parameters
    ----------
    adata
        (n_obs, n_vars).
    layer
        Layer of the expression; None is X.

    Returns
    -------
    (n_obs, n_vars) expression, dense, and `uns["cell_thresholds"]`, or None if it is not there.
    """
    import pandas as pd

    matrix = matrix_of(adata, layer)
    dense = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix[:])
    counts = pd.DataFrame(dense, index=adata.obs_names, columns=adata.var_names)
    return counts, adata.uns.get(THRESHOLDS)


def _product(sent: pd.DataFrame, own: pd.DataFrame, sign: str) -> pd.DataFrame:
    import pandas as pd

    if sent.shape != own.shape:
        raise DataError(
            f"the two tables have shapes {sent.shape} and {own.shape}",
            "give one column per pair in both",
        )
    names = [
        f"{ligand}{sign}{gene}" for ligand, gene in zip(sent.columns, own.columns, strict=True)
    ]
    return pd.DataFrame(sent.to_numpy() * own.to_numpy(), index=sent.index, columns=names)
