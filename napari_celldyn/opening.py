"""How a tissue comes into a viewer and goes to disk, whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.errors import CelldynError
from napari_celldyn.session import Session, session

if TYPE_CHECKING:
    from anndata import AnnData
    from napari import Viewer
    from qtpy.QtWidgets import QWidget

    from celldyn.data import Source
    from napari_celldyn.workspace import Workspace

__all__ = [
    "Session",
    "ask_for_coordinates",
    "current_viewer",
    "first_colour",
    "land",
    "may_replace",
    "open_path",
    "read_tissue",
    "refuse",
    "save",
    "saves_in_place",
    "session",
    "show_dock",
]

PLUGIN = "napari-celldyn"
DOCK = "Tissue"
BACKED_ABOVE = 4 << 30
"""An .h5ad of more bytes stays on disk, and a gene is read when it is looked at."""


def read_tissue(
    path: Path, choose: Callable[[str, list[str]], str | None] | None = None
) -> AnnData:
    """Read a file or folder and make sure that it is a tissue.

    Parameters
    ----------
    path
        The file or folder.
    choose
        Asked, with the file's name and the keys of obsm to choose from, which of them to take
        where there are no coordinates; None, or None as its answer, takes none.

    Raises
    ------
    CelldynError
        One sentence: what is wrong with it, and what to do.
    """
    from celldyn.data import coordinate_candidates, coordinates, read, use_coordinates

    adata = read(path, backed=_is_large(path))
    if choose is not None and (found := coordinate_candidates(adata)):
        key = choose(path.name, found)
        if key is not None:
            use_coordinates(adata, key)
    coordinates(adata)  # raises where there are none
    return adata


def _is_large(path: Path) -> bool:
    return path.suffix == ".h5ad" and path.is_file() and path.stat().st_size > BACKED_ABOVE


def open_path(workspace: Workspace, path: Path) -> None:
    """Put the tissue at `path` in view; if it cannot be read, nothing changes.

    Of a folder as the simulator writes it, that is its table, with what lies beside it.
    """
    from celldyn.data import table_of

    path = table_of(path)
    _show(workspace, read_tissue(path, ask_for_coordinates), path)


def _show(
    workspace: Workspace, adata: AnnData, path: Path | None, origin: Path | None = None
) -> None:
    workspace.open(adata, path, origin=origin)
    workspace.colour = first_colour(adata)


def first_colour(adata: AnnData) -> Source | None:
    """Choose what colours a tissue that was just opened: its cell types, or what comes nearest."""
    from celldyn.data import Source, section_key, type_columns

    of_sections = section_key(adata)
    columns = sorted(type_columns(adata), key=lambda name: name == of_sections)
    return Source("obs", columns[0]) if columns else None


def save(workspace: Workspace, path: Path) -> None:
    """Write the whole AnnData in view to `path`, as .h5ad or .zarr.

    Raises
    ------
    CelldynError
        If there is nothing open, or it cannot be written there.
    """
    from celldyn.data import write
    from napari_celldyn.widgets.panel_run import store_follows

    adata = workspace.require()
    store_follows(workspace, path)
    write(adata, path)
    workspace.saved(path)


def saves_in_place(path: Path) -> bool:
    """Whether writing an AnnData over what was opened at `path` would lose nothing else of it.

    A SpatialData store also holds images, and a table of text holds no AnnData.
    """
    from celldyn.data.formats import Format, format_of

    try:
        return format_of(path) in (Format.H5AD, Format.ZARR) and path.suffix in {".h5ad", ".zarr"}
    except CelldynError:  # moved away meanwhile: written afresh
        return path.suffix == ".h5ad"


def current_viewer() -> Viewer | None:
    """Return the viewer whose window is in front; None without any window."""
    import napari

    return napari.current_viewer()


def land(
    viewer: Any,  # noqa: ANN401
    adata: AnnData,
    path: Path | None,
    origin: Path | None = None,
) -> None:
    """Put a tissue in view in a viewer: workspace filled, layer drawn, dock shown."""
    place = session(viewer)
    _ = place.tissue  # listens before the data come
    _show(place.workspace, adata, path, origin)
    show_dock(viewer)


def show_dock(viewer: Any) -> None:  # noqa: ANN401
    """Show the tissue dock, where the viewer has a window."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    window = getattr(viewer, "window", None)
    if window is not None:
        from napari_celldyn.settle import keep_in_view

        dock, _ = window.add_plugin_dock_widget(PLUGIN, DOCK)
        dock.show()
        keep_in_view(viewer)


def may_replace(workspace: Workspace, parent: QWidget | None = None) -> bool:
    """Ask before another tissue takes the place of one with unsaved work."""
    if workspace.adata is None or not workspace.unsaved:
        return True
    from qtpy.QtWidgets import QMessageBox

    name = "The tissue" if workspace.path is None else workspace.path.name
    answer = QMessageBox.question(
        parent,
        "Unsaved work",
        f"{name} has changes that are not saved. Open another tissue anyway?",
        QMessageBox.StandardButton.Discard | QMessageBox.StandardButton.Cancel,
        QMessageBox.StandardButton.Cancel,
    )
    return bool(answer == QMessageBox.StandardButton.Discard)


def ask_for_coordinates(name: str, found: list[str]) -> str | None:
    """Ask which key of obsm to take for a tissue that has no coordinates; None is cancel."""
    from qtpy.QtWidgets import QApplication, QInputDialog

    text = f"{name} has no coordinates. Which part of obsm says where the cells are?"
    parent = QApplication.activeWindow()
    chosen, accepted = QInputDialog.getItem(
        parent, "Where are the cells?", text, found, editable=False
    )
    return chosen if accepted else None


def refuse(error: CelldynError) -> None:
    """Say in napari's window what was wrong with a file."""
    from napari.utils.notifications import show_error

    show_error(str(error))
