"""One box that finds whatever can colour the cells: a gene, an obs column, a result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import EmitLoopError
from qtpy.QtCore import QModelIndex, QStringListModel
from qtpy.QtWidgets import (
    QComboBox,
    QCompleter,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError, MissingKeyError
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.popup import CompletionPopup
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.data import NameIndex, Source
    from napari_celldyn.workspace import Workspace

LIMIT = 50
"""Hits offered at once: a popup longer than this is not read, and costs time to fill."""

GENE_SLOTS = frozenset({"X", "layers", "raw"})
"""The parts of an AnnData that have one column per gene."""

TABLE_WIDTH, POPUP_WIDTH = 90, 280
"""In pixels: the names that are typed need the room more than the name of their table."""


@dataclass(frozen=True, slots=True)
class GeneTable:
    """Where the values of the genes come from: X, one of the layers, or raw."""

    slot: str
    key: str = ""

    @property
    def label(self) -> str:
        """The table's name in the "from" list."""
        return self.key or self.slot

    def source(self, gene: str) -> Source:
        """Return the column of one gene."""
        from celldyn.data import Source

        return Source(self.slot, key=self.key, column=gene)


def gene_tables(adata: AnnData) -> list[GeneTable]:
    """List the tables of an AnnData that have one column per gene."""
    tables = [GeneTable("X")] if adata.X is not None else []
    tables += [GeneTable("layers", str(name)) for name in adata.layers]
    if adata.raw is not None:
        tables.append(GeneTable("raw"))
    return tables


class ColourSearch:
    """Finds columns of one AnnData by a part of their name; no Qt.

    Parameters
    ----------
    adata
        The tissue in view.
    """

    def __init__(self, adata: AnnData) -> None:
        self._adata = adata
        self._genes: dict[str, NameIndex] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again which obs columns and results there are; genes stay as they were."""
        from celldyn.data import NameIndex, sources

        self._columns: dict[str, Source] = {}
        for source in sources(self._adata):
            self._columns.setdefault(source.label, source)
        self._names = NameIndex(list(self._columns))

    def hits(self, text: str, table: GeneTable, limit: int = LIMIT) -> list[tuple[str, Source]]:
        """Return what contains `text`, as (label, source): names that start with it first."""
        found = [(name, self._columns[name]) for name in self._names.search(text, limit)]
        if text:
            found += [(g, table.source(g)) for g in self._index(table).search(text, limit)]
        wanted = text.casefold()
        found.sort(key=lambda hit: _rank(hit[0].casefold(), wanted))
        return found[:limit]

    def resolve(self, text: str, table: GeneTable) -> Source:
        """Return the column that `text` means: its exact name, else the best hit.

        Raises
        ------
        MissingKeyError
            If nothing contains `text`; names what comes close.
        """
        found = self.hits(text, table)
        for label, source in found:
            if label == text:
                return source
        if found:
            return found[0][1]
        near = self._near(text, table)
        remedy = f"close to it: {', '.join(near)}" if near else "type a part of its name"
        raise MissingKeyError(f'no gene or column contains "{text}"', remedy)

    def _index(self, table: GeneTable) -> NameIndex:
        from celldyn.data import NameIndex

        slot = "raw" if table.slot == "raw" else "var"
        if slot not in self._genes:
            names = self._adata.raw.var_names if slot == "raw" else self._adata.var_names
            self._genes[slot] = NameIndex([str(name) for name in names])
        return self._genes[slot]

    def _near(self, text: str, table: GeneTable, limit: int = 4) -> list[str]:
        """Names that begin as `text` does: the longest beginning that anything has."""
        for length in range(len(text) - 1, 0, -1):
            if found := self.hits(text[:length], table, limit):
                return [label for label, _ in found]
        return []


def _rank(name: str, wanted: str) -> int:
    if name == wanted:
        return 0
    return 1 if name.startswith(wanted) else 2


class ColourBox(QWidget):
    """Type a part of a gene's or column's name, press Enter, and the tissue is recoloured.

    Parameters
    ----------
    workspace
        What the viewer shows; its `colour` is set by the box and shown in it.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._search: ColourSearch | None = None
        self._sources: list[Source] = []
        self._tables: list[GeneTable] = []
        self._build()
        listen(self, workspace.data_changed, self._on_data)
        listen(self, workspace.keys_changed, self._on_keys)
        listen(self, workspace.colour_changed, self._show_colour)
        self._on_data()

    def _build(self) -> None:
        self.edit = QLineEdit()
        self.edit.setPlaceholderText("gene, column or result")
        self.edit.setClearButtonEnabled(True)
        self.edit.setToolTip("Any part of a name; Enter takes the first hit")
        self.table = QComboBox()
        self.table.setToolTip("Where gene values come from")
        self.table.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.table.setMinimumContentsLength(3)
        self.table.setMaximumWidth(TABLE_WIDTH)
        self.message = ErrorSentence()
        self._model = QStringListModel(self)
        self.completer = QCompleter(self._model, self)
        # The model holds the hits already; a filtering completer would walk all genes again.
        self.completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        self.completer.setMaxVisibleItems(12)
        popup = CompletionPopup()
        popup.setMinimumWidth(POPUP_WIDTH)
        self.completer.setPopup(popup)
        self.edit.setCompleter(self.completer)
        line = QHBoxLayout()
        line.addWidget(self.edit, 1)
        line.addWidget(self.table)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(line)
        column.addWidget(self.message)
        self.edit.textEdited.connect(self._offer)
        self.edit.returnPressed.connect(self._enter)
        self.completer.activated[QModelIndex].connect(self._take)
        self.table.currentIndexChanged.connect(self._move_table)

    # --- what the workspace says ---------------------------------------------------------------

    def _on_data(self) -> None:
        adata = self._workspace.adata
        self.setEnabled(adata is not None)
        self._search = None if adata is None else ColourSearch(adata)
        self._fill_tables([] if adata is None else gene_tables(adata))
        self._show_colour()

    def _on_keys(self, written: Iterable[str]) -> None:
        if self._search is None:
            return
        slots = {key.partition("/")[0] for key in written}
        if slots & {"obs", "obsm"}:
            self._search.refresh()
        if "layers" in slots:
            self._fill_tables(gene_tables(self._workspace.require()))

    def _show_colour(self) -> None:
        colour = self._workspace.colour
        self.edit.setText("" if colour is None else _short(colour))
        if colour is not None and colour.slot in GENE_SLOTS:
            self._put_table(GeneTable(colour.slot, colour.key))
        self.message.say("")

    def _fill_tables(self, tables: list[GeneTable]) -> None:
        chosen, self._tables = self._table(), tables
        with signals_blocked(self.table):
            self.table.clear()
            self.table.addItems([table.label for table in tables])
        self._put_table(chosen)
        self.table.setVisible(len(tables) > 1)

    def _put_table(self, table: GeneTable) -> None:
        if table in self._tables:
            with signals_blocked(self.table):
                self.table.setCurrentIndex(self._tables.index(table))

    def _table(self) -> GeneTable:
        at = self.table.currentIndex()
        return self._tables[at] if 0 <= at < len(self._tables) else GeneTable("X")

    # --- what the user does --------------------------------------------------------------------

    def _offer(self, text: str) -> None:
        self.message.say("")
        hits = [] if self._search is None else self._search.hits(text.strip(), self._table())
        self._sources = [source for _, source in hits]
        self._model.setStringList([label for label, _ in hits])

    def _take(self, index: QModelIndex) -> None:
        self._colour_by(self._sources[index.row()])

    def _enter(self) -> None:
        text = self.edit.text().strip()
        if self._search is None or not text:
            return
        popup = self.completer.popup()
        if popup.isVisible() and popup.currentIndex().isValid():
            self._take(popup.currentIndex())
            popup.hide()
            return
        try:
            source = self._search.resolve(text, self._table())
        except CelldynError as error:
            self.message.say(str(error))
            return
        popup.hide()
        self._colour_by(source)

    def _move_table(self) -> None:
        colour = self._workspace.colour
        if colour is None or colour.slot not in GENE_SLOTS:
            return
        self._colour_by(self._table().source(colour.column))

    def _colour_by(self, source: Source) -> None:
        before = self._workspace.colour
        try:
            self._workspace.colour = source
        except EmitLoopError as error:  # a view met something in the column that it cannot draw
            if not isinstance(error.__cause__, CelldynError):
                raise
            self._workspace.colour = before
            self.message.say(str(error.__cause__))
        else:
            self._show_colour()


def _short(source: Source) -> str:
    """Return the name as it is typed: a gene without its table, which stands beside the box."""
    return source.column if source.slot in GENE_SLOTS else source.label
