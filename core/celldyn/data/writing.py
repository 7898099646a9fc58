"""Writing a data set whole or not at all, with all that was computed on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from celldyn.data.words import reason
from celldyn.errors import CelldynError, DataError, FileFormatError
from celldyn.persist import atomic_path

if TYPE_CHECKING:
    from anndata import AnnData

_MAPPINGS = ("obsm", "varm", "obsp", "varp", "layers", "uns")
_ROOT = {"encoding-type": "anndata", "encoding-version": "0.1.0"}


def write(adata: AnnData, path: Path | str) -> Path:
    """Write a data set to a `.h5ad` file or a `.zarr` folder.

    The file appears when all of it is written; until then, and if anything fails, what was there
    before stays as it was. The file that a backed data set was read from may be overwritten.

    Returns
    -------
    The path that was written.

    Raises
    ------
    FileFormatError
        If the ending is neither `.h5ad` nor `.zarr`, or the place is taken by something else.
    DataError
        If a column or key cannot be stored; the sentence names it.
    """
    path = Path(path)
    is_zarr = check_target(path)
    parts = _parts(adata, is_zarr=is_zarr)
    try:
        with atomic_path(path) as draft:
            (_write_zarr if is_zarr else _write_h5ad)(draft, parts)
            if not is_zarr and _is_backed_by(adata, path):
                adata.file.close()  # opens anew, from the new file, when it is next needed
        if is_zarr:
            _reopen_zarr(adata, path)
    except CelldynError:
        raise
    except OSError as error:
        raise FileFormatError(
            f"{path} could not be written ({reason(error)})",
            "check that its folder can be written to and that the disk is not full",
        ) from error
    return path


def check_target(path: Path) -> bool:
    """Return whether a path to write to is a .zarr folder, and refuse what is neither kind.

    Raises
    ------
    FileFormatError
        If the ending is neither `.h5ad` nor `.zarr`, or the place is taken by something else.
    """
    ending = path.suffix.lower()
    if ending not in (".h5ad", ".zarr"):
        raise FileFormatError(
            f"{path.name} ends in {ending or 'nothing'}, and only .h5ad and .zarr can be written",
            "give a name that ends in one of them",
        )
    is_zarr = ending == ".zarr"
    if path.exists() and path.is_dir() != is_zarr:
        what = "folder" if path.is_dir() else "file"
        raise FileFormatError(f"{path} is a {what}", "give another name")
    if is_zarr and path.is_dir():
        _refuse_foreign_folder(path)
    return is_zarr


def _refuse_foreign_folder(path: Path) -> None:
    """Refuse a folder that is no AnnData: it is replaced whole, whatever images it holds."""
    from celldyn.data.formats import Format, format_of

    try:
        is_ours = not any(path.iterdir()) or format_of(path) is Format.ZARR
    except FileFormatError:
        is_ours = False
    if not is_ours:
        raise FileFormatError(
            f"{path} is a folder that holds something else than an AnnData", "give another name"
        )


def _parts(adata: AnnData, *, is_zarr: bool) -> dict[str, Any]:
    """Return what is written under each name, with nothing of `adata` changed."""
    parts: dict[str, Any] = {
        "X": adata.X,
        "obs": _frame(adata.obs, "obs", is_zarr=is_zarr),
        "var": _frame(adata.var, "var", is_zarr=is_zarr),
    }
    for slot in _MAPPINGS:
        held = {key: getattr(adata, slot)[key] for key in getattr(adata, slot)}
        _check_keys(held, slot)
        parts[slot] = {
            key: _frame(value, f"{slot}[{key!r}]", is_zarr=is_zarr)
            if isinstance(value, pd.DataFrame)
            else value
            for key, value in held.items()
        }
    if adata.raw is not None:
        var = _frame(adata.raw.var, "raw.var", is_zarr=is_zarr)
        parts["raw"] = {"X": adata.raw.X, "var": var, "varm": dict(adata.raw.varm)}
    return {name: part for name, part in parts.items() if part is not None}


def _check_keys(held: Mapping[Any, Any], where: str) -> None:
    for key, value in held.items():
        if not isinstance(key, str) or "/" in key:
            raise DataError(
                f"the key {key!r} of {where} cannot be stored", "use text without a slash"
            )
        if isinstance(value, Mapping):
            _check_keys(value, f"{where}[{key!r}]")


def _frame(table: pd.DataFrame, name: str, *, is_zarr: bool) -> pd.DataFrame:
    """Return a table whose every column can be stored without a change of its values."""
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise DataError(f"{name} has two columns {twice!r}", "rename one of them")
    changed: dict[Any, Any] = {}
    for column in table.columns:
        if not isinstance(column, str) or (is_zarr and "/" in column):
            raise DataError(
                f"the column {column!r} of {name} cannot be stored", "use text without a slash"
            )
        kind = table[column].dtype
        if isinstance(kind, pd.StringDtype) or pd.api.types.is_object_dtype(kind):
            changed[column] = _text(table[column], name)
        elif kind.kind in "mM" or isinstance(kind, pd.PeriodDtype | pd.IntervalDtype):
            raise DataError(
                f"the column {column!r} of {name} holds {kind}, which cannot be stored",
                "turn it into text or numbers",
            )
    return table.assign(**changed) if changed else table


def _text(values: pd.Series, name: str) -> pd.Series:
    missing = values.isna()
    if all(isinstance(value, str) for value in values[~missing]):
        if missing.any():  # only categories can be missing in every version of the format
            return values.astype(object).astype("category")
        return values.astype(object)
    if all(isinstance(value, bool) for value in values[~missing]):
        return values.astype("boolean")
    raise DataError(
        f"the column {values.name!r} of {name} mixes text with other values",
        "turn it all into text or all into numbers",
    )


def _write_h5ad(draft: Path, parts: Mapping[str, Any]) -> None:
    import h5py

    with h5py.File(draft, "w") as file:
        _write_parts(file, parts)


def _write_zarr(draft: Path, parts: Mapping[str, Any]) -> None:
    import zarr

    group = zarr.open_group(draft, mode="w", zarr_format=2)  # every reader knows version 2
    _write_parts(group, parts)
    zarr.consolidate_metadata(group.store)


def _write_parts(root: Any, parts: Mapping[str, Any]) -> None:  # noqa: ANN401
    from anndata.io import write_elem

    root.attrs.update(_ROOT)
    for name, part in parts.items():
        try:
            if name == "raw":
                _write_raw(root.create_group("raw"), part)
            else:
                write_elem(root, name, part)
        except OSError:
            raise
        except Exception as error:
            if "No space" in str(error):
                raise OSError(reason(error)) from error
            raise DataError(
                f"{name} holds something that cannot be stored ({reason(error)})",
                "remove it or turn it into arrays, tables, text or numbers",
            ) from error


def _write_raw(group: Any, part: Mapping[str, Any]) -> None:  # noqa: ANN401
    from anndata.io import write_elem

    group.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
    for name, value in part.items():
        write_elem(group, name, value)


def _is_backed_by(adata: AnnData, path: Path) -> bool:
    held = adata.filename
    return held is not None and Path(held).resolve() == path.resolve()


def _reopen_zarr(adata: AnnData, path: Path) -> None:
    """Let X read from the new folder where it read from the old one in its place."""
    from celldyn.data.anndata_files import open_matrix, store_of

    if store_of(adata.X) == path.resolve():
        adata.X = open_matrix(path / "X")
