"""napari's way in: drag-and-drop, File > Open, `napari tissue.h5ad` and `viewer.open`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.errors import CelldynError
from napari_celldyn.opening import (
    ask_for_coordinates,
    current_viewer,
    land,
    may_replace,
    read_tissue,
    refuse,
    session,
)

if TYPE_CHECKING:
    from napari.types import LayerData

NOTHING: list[Any] = [(None,)]
"""napari's word for: the file was read, and there is no layer to add."""


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return a reader if `path` is a tissue, else None; looks at the head of the file only.

    A file that ends in .h5ad is always taken, so that a damaged one is answered by a sentence.
    Of several paths the first one counts.
    """
    first = _first(path)
    return open_in_viewer if first is not None and _is_ours(first) else None


def _first(path: str | Sequence[str]) -> Path | None:
    if isinstance(path, str):
        return Path(path)
    return Path(path[0]) if path else None


def _is_ours(path: Path) -> bool:
    from celldyn.data import table_of
    from celldyn.data.formats import Format, format_of

    path = table_of(path)
    if path.suffix.lower() == ".h5ad":
        return True
    try:
        found = format_of(path)
    except (CelldynError, OSError):
        return False
    return found is not Format.TABLES or _is_only_tables(path)


def _is_only_tables(path: Path) -> bool:
    """Whether text holds cells: not the points of a napari layer, nor notes beside pictures."""
    from celldyn.data.formats import TABLE_ENDINGS

    if path.is_dir():
        return all(item.name.lower().endswith(TABLE_ENDINGS) for item in path.iterdir())
    if path.name.lower().endswith(".gz"):
        return True
    with path.open(encoding="utf-8", errors="replace") as file:
        return "axis-0" not in file.readline(4096)


def open_in_viewer(path: str | Sequence[str]) -> list[LayerData]:
    """Open a tissue in the viewer in front, whose tissue view draws it.

    Without a window (a bare `ViewerModel`), returns the layer itself for napari to add, and
    raises what is wrong with the file; with one, what is wrong is said in the window.
    """
    from celldyn.data import table_of

    first, viewer = _first(path), current_viewer()
    if first is None:
        return NOTHING
    if viewer is None:
        return read_layers(first)
    if may_replace(session(viewer).workspace):
        first = table_of(first)
        try:
            land(viewer, read_tissue(first, ask_for_coordinates), first)
        except CelldynError as error:
            refuse(error)
    return NOTHING


def read_layers(path: str | Path) -> list[LayerData]:
    """Read a tissue as a plain points layer, without any viewer.

    Parameters
    ----------
    path
        Any file or folder that `celldyn.data.read` takes.

    Returns
    -------
    One layer-data tuple: (n_obs, 2) positions in the order y, x, in µm where the unit is known,
    with the AnnData in `metadata["adata"]`.

    Raises
    ------
    CelldynError
        If it cannot be read, or is not a tissue.
    """
    from napari_celldyn.layers.geometry import geometry

    path = Path(path)
    adata = read_tissue(path)
    where = geometry(adata)
    meta = {
        "name": path.stem,
        "metadata": {"adata": adata},
        "size": where.cell_size,
        "units": (where.unit, where.unit),
        "border_width": 0,
    }
    return [(where.xy[:, ::-1], meta, "points")]
