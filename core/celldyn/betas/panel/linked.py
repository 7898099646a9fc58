"""A panel on the AnnData: its scores by gene, and where its store is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celldyn import keys
from celldyn.betas.panel.store import BetaStore
from celldyn.data import record
from celldyn.errors import DataError, FileFormatError

if TYPE_CHECKING:
    from anndata import AnnData


def write_panel(
    adata: AnnData, store: BetaStore, *, file_path: Path | str | None = None
) -> set[str]:
    """Write the scores of a panel and the place of its store on the AnnData.

    Parameters
    ----------
    adata
        The data set whose cells were fitted.
    store
        The panel's store.
    file_path
        Where the data set is, or will be written; the store's place is kept as seen from there,
        so that both can be moved together. By default the file it was read from, if any.

    Returns
    -------
    What was written, as "slot/name".

    Raises
    ------
    DataError
        If the store is of other cells.
    """
    _check_cells(adata, store)
    table = store.gene_table().set_index("gene")
    for key, column in ((keys.BETAS_R2, "r2"), (keys.BETAS_HELDOUT_R2, "heldout_r2")):
        adata.var[key.name] = table[column].reindex(adata.var_names).to_numpy(float)
    name_store(adata, store, file_path)
    seconds = float(table["seconds"].sum())
    record(
        adata,
        "betas.panel",
        config=store.config,
        seed=store.config.seed,
        seconds=seconds,
        inputs={"store": store.path.name, "n_genes": len(table)},
    )
    rows = (keys.BETAS_R2, keys.BETAS_HELDOUT_R2, keys.BETAS_STORE, keys.RECORDS)
    return {key.path() for key in rows}


def name_store(adata: AnnData, store: BetaStore, file_path: Path | str | None = None) -> None:
    """Note on the AnnData where its store is, as seen from where the AnnData will be.

    For a data set that is written to another folder than the one it was read from.
    """
    home = dict(adata.uns.get(keys.CELLDYN.name, {}))
    home[keys.BETAS_STORE.name] = _seen_from(_folder_of(adata, file_path), store.path)
    adata.uns[keys.CELLDYN.name] = home


def find_store(adata: AnnData, file_path: Path | str | None = None) -> BetaStore | None:
    """Return the store that an AnnData names, opened to read; None if it names none.

    Parameters
    ----------
    adata
        The data set.
    file_path
        Where it is; by default the file it was read from, if any. The store is looked for where
        it stood in relation to that, and beside the file.

    Raises
    ------
    FileFormatError
        If the store is not there, or is damaged.
    DataError
        If it is of other cells.
    """
    home = adata.uns.get(keys.CELLDYN.name, {})
    named = home.get(keys.BETAS_STORE.name) if isinstance(home, Mapping) else None
    if not named:
        return None
    folder = _folder_of(adata, file_path) or Path.cwd()
    place = Path(str(named))
    for path in (folder / place, folder / place.name):
        if path.is_dir():
            store = BetaStore.open(path)
            _check_cells(adata, store)
            return store
    raise FileFormatError(
        f"the store of betas {named} that the data set names is not there",
        f"put the folder {place.name} beside the file",
    )


def _check_cells(adata: AnnData, store: BetaStore) -> None:
    names = np.asarray(adata.obs_names, dtype=object)
    if len(names) != len(store.obs_names) or not np.array_equal(names, store.obs_names):
        raise DataError(
            f"{store.path.name} holds betas of {len(store.obs_names)} cells, and the data set has "
            f"{adata.n_obs} or others",
            "open the data set that was fitted",
        )


def _folder_of(adata: AnnData, file_path: Path | str | None) -> Path | None:
    path = file_path if file_path is not None else adata.filename
    return Path(path).resolve().parent if path else None


def _seen_from(folder: Path | None, path: Path) -> str:
    """Return a path as seen from a folder, with forward slashes; whole if there is no way."""
    whole = path.resolve()
    if folder is None:
        return whole.as_posix()
    try:
        return Path(os.path.relpath(whole, folder)).as_posix()
    except ValueError:  # another drive
        return whole.as_posix()
