"""The tissue in view, one object per viewer: what colours it, which cells are chosen. No Qt."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psygnal import Signal

from celldyn import keys
from celldyn.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.data import Source

_OF_VIEWER: dict[int, Workspace] = {}


class Workspace:
    """What every view of one viewer shares.

    Views connect to the signals and draw what they find here; they never talk to each other.
    Keys are announced as "slot/name" ("obs/niche", "obsm/betas_Myc"; see `celldyn.keys`).
    """

    data_changed = Signal()
    keys_changed = Signal(frozenset)
    colour_changed = Signal()
    selection_changed = Signal()
    isolated_changed = Signal()
    hovered_changed = Signal()
    unsaved_changed = Signal()

    def __init__(self) -> None:
        self._adata: AnnData | None = None
        self.path: Path | None = None
        self.origin: Path | None = None
        self._colour: Source | None = None
        self._isolated: frozenset[str] | None = None
        self._selection: NDArray[np.intp] = np.empty(0, np.intp)
        self._hovered: int | None = None
        self._unsaved = False
        self._undo: list[tuple[str, Callable[[], None]]] = []

    @classmethod
    def of(cls, viewer: Any) -> Workspace:  # noqa: ANN401
        """Return the workspace of a viewer, made on first use and gone with the viewer."""
        viewer = getattr(viewer, "__wrapped__", viewer)  # napari hands plugins a proxy
        if (known := _OF_VIEWER.get(id(viewer))) is not None:
            return known
        workspace = _OF_VIEWER[id(viewer)] = cls()
        weakref.finalize(viewer, _OF_VIEWER.pop, id(viewer), None)
        return workspace

    # --- the data -----------------------------------------------------------------------------

    @property
    def adata(self) -> AnnData | None:
        """The AnnData in view; None before one was opened."""
        return self._adata

    def require(self) -> AnnData:
        """Return the AnnData in view, or say that there is none.

        Raises
        ------
        DataError
            If nothing was opened yet.
        """
        if self._adata is None:
            raise DataError("no tissue is open", "open an .h5ad or .zarr file, or a sample")
        return self._adata

    def open(
        self, adata: AnnData, path: Path | None = None, *, origin: Path | None = None
    ) -> None:
        """Put another AnnData in view; colour, selection and undo start afresh.

        Parameters
        ----------
        adata
            The tissue.
        path
            Where Save writes it; None until the user says where.
        origin
            Where it was read from, if that is not to be written over (a sample); else `path`.
        """
        self._adata, self.path, self.origin = adata, path, origin or path
        self._colour, self._isolated, self._hovered = None, None, None
        self._selection = np.empty(0, np.intp)
        self._undo.clear()
        self._set_unsaved(unsaved=False)
        self.data_changed.emit()

    def announce(self, written: Iterable[str]) -> None:
        """Tell every view which keys of the AnnData have just been written."""
        self._set_unsaved(unsaved=True)
        self.keys_changed.emit(frozenset(written))

    # --- saving -------------------------------------------------------------------------------

    @property
    def unsaved(self) -> bool:
        """Whether something was written since the last save."""
        return self._unsaved

    def saved(self, path: Path) -> None:
        """Record that all of the AnnData is now in the file at `path`."""
        self.path = path
        self._set_unsaved(unsaved=False)

    def _set_unsaved(self, *, unsaved: bool) -> None:
        self._unsaved = unsaved
        self.unsaved_changed.emit()

    # --- what is shown ------------------------------------------------------------------------

    @property
    def colour(self) -> Source | None:
        """The column that colours the cells."""
        return self._colour

    @colour.setter
    def colour(self, source: Source | None) -> None:
        if source == self._colour:
            return
        self._colour, self._isolated = source, None
        self.colour_changed.emit()

    @property
    def isolated(self) -> frozenset[str] | None:
        """The categories shown alone; None shows all."""
        return self._isolated

    @isolated.setter
    def isolated(self, categories: Iterable[str] | None) -> None:
        chosen = None if categories is None else frozenset(categories)
        if chosen != self._isolated:
            self._isolated = chosen
            self.isolated_changed.emit()

    @property
    def selection(self) -> NDArray[np.intp]:
        """Positions of the chosen cells, ascending."""
        return self._selection

    @selection.setter
    def selection(self, cells: NDArray[np.intp]) -> None:
        cells = np.unique(np.asarray(cells, np.intp))
        if not np.array_equal(cells, self._selection):
            self._selection = cells
            self.selection_changed.emit()

    @property
    def hovered(self) -> int | None:
        """Position of the cell under the mouse."""
        return self._hovered

    @hovered.setter
    def hovered(self, cell: int | None) -> None:
        if cell != self._hovered:
            self._hovered = cell
            self.hovered_changed.emit()

    # --- annotating, with undo ----------------------------------------------------------------

    def annotate(self, cells: NDArray[np.intp], category: str, column: str) -> None:
        """Write `category` into `obs[column]` for these cells; a new column starts empty."""
        adata = self.require()
        before = adata.obs[column].copy() if column in adata.obs else None
        after = _with_category(before, adata.n_obs, cells, category)
        # First what takes it back: views look at `undoable` when the column is announced.
        self._undo.append((f"{category} in {column}", lambda: self._write_obs(column, before)))
        self._write_obs(column, pd.Series(after, index=adata.obs_names))

    @property
    def undoable(self) -> str | None:
        """What the next undo takes back, in words; None when there is nothing."""
        return self._undo[-1][0] if self._undo else None

    def undo(self) -> None:
        """Take back the last annotation."""
        if self._undo:
            _, revert = self._undo.pop()
            revert()

    def set_category_colour(self, column: str, category: str, colour: str) -> None:
        """Recolour one category, under scanpy's key so that its plots agree."""
        adata = self.require()
        names = [str(name) for name in adata.obs[column].astype("category").cat.categories]
        name = keys.COLOURS(column=column)
        from celldyn.data import category_colours

        colours = list(category_colours(adata, column))
        colours[names.index(category)] = colour
        adata.uns[name] = np.array(colours, dtype=object)
        self.announce({keys.COLOURS.path(column=column)})

    def _write_obs(self, column: str, values: pd.Series | None) -> None:
        adata = self.require()
        if values is None:
            with suppress(KeyError):
                del adata.obs[column]
        else:
            adata.obs[column] = values
        self.announce({f"obs/{column}"})


def _with_category(
    before: pd.Series | None, n_obs: int, cells: NDArray[np.intp], category: str
) -> pd.Categorical:
    if before is None:
        codes, names = np.full(n_obs, -1), pd.Index([], dtype=object)
    else:
        held = pd.Categorical(before)
        codes, names = held.codes.astype(int), held.categories.astype(str)
    if category not in names:
        names = names.append(pd.Index([category]))
    codes[cells] = names.get_loc(category)
    return pd.Categorical.from_codes(codes, categories=names)
