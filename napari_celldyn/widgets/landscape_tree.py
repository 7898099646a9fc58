"""A phylogeny of clusters: which come from which, dragged as a tree or typed as lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QPlainTextEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn.errors import DataError
from napari_celldyn.widgets.sentence import ErrorSentence

Children: TypeAlias = dict[str, tuple[str, ...]]
"""Cluster to the clusters that come directly from it."""

_ROWS_IN_SIGHT = (4, 10)
_LINES_IN_SIGHT = 4
_ROW = 18
"""Pixels of one row."""


class TreeEditor(QWidget):
    """Asks which cluster comes from which: a line "Stem: A, B", or a cluster dragged onto another.

    The lines are what holds; the tree shows them, and a drop rewrites them.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names: tuple[str, ...] = ()
        self.tree = ClusterTree()
        self.text = QPlainTextEdit()
        self.text.setPlaceholderText("Stem: A, B\nB: C")
        self.text.setToolTip("A line for each cluster that others come from")
        self.text.setFixedHeight(_LINES_IN_SIGHT * _ROW + 10)
        self.sentence = ErrorSentence()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.tree, self.text, self.sentence):
            column.addWidget(part)
        self.text.textChanged.connect(self._on_text)
        self.tree.moved.connect(self._on_moved)
        self._on_text()

    def set_names(self, names: Iterable[str]) -> None:
        """Say which clusters there are; lines that name others are said to be wrong."""
        self._names = tuple(names)
        self._on_text()

    def put(self, children: Mapping[str, Iterable[str]]) -> None:
        """Show a phylogeny."""
        self.text.setPlainText(in_lines(children))

    def clear(self) -> None:
        """Forget it."""
        self.text.clear()

    def children_of(self) -> Children:
        """Return the phylogeny.

        Raises
        ------
        DataError
            If a line is none, names a cluster that is not there, or a cluster comes from itself.
        """
        return read_lines(self.text.toPlainText(), self._names)

    def _on_text(self) -> None:
        try:
            children = self.children_of()
        except DataError as error:
            self.sentence.say(str(error))
        else:
            self.sentence.say("")
            self.tree.show_children(self._names, children)
        self.changed.emit()

    def _on_moved(self) -> None:
        with signals_blocked(self.text):
            self.put(self.tree.children_of())
        self._on_text()


class ClusterTree(QTreeWidget):
    """Clusters as a tree; one that is dropped onto another becomes its child."""

    moved = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setHeaderHidden(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setToolTip("Drag a cluster onto the one that it comes from, or beside all to begin")

    def show_children(self, names: Sequence[str], children: Mapping[str, Sequence[str]]) -> None:
        """Show a phylogeny without circles; clusters that come from no other stand outermost.

        What comes from a cluster of several parents is shown once.
        """
        heirs = {name for each in children.values() for name in each}
        self.clear()
        waiting = [(self.invisibleRootItem(), name) for name in names if name not in heirs]
        n_rows, shown = 0, set[str]()
        while waiting:
            above, name = waiting.pop(0)
            item = QTreeWidgetItem(above, [name])
            n_rows += 1
            if name not in shown:
                shown.add(name)
                waiting += [(item, child) for child in children.get(name, ())]
        self.expandAll()
        low, high = _ROWS_IN_SIGHT
        self.setFixedHeight(min(max(n_rows, low), high) * _ROW + 2 * self.frameWidth() + 4)

    def children_of(self) -> Children:
        """Return what the tree shows."""
        found: dict[str, dict[str, None]] = {}
        for item in self._items():
            if (above := item.parent()) is not None:
                found.setdefault(above.text(0), {})[item.text(0)] = None
        return {name: tuple(heirs) for name, heirs in found.items()}

    def move(self, name: str, parent: str | None) -> bool:
        """Let a cluster come from another, or from none; say whether that is possible."""
        item = self._item(name)
        above = self.invisibleRootItem() if parent is None else self._item(parent)
        if item is None or above is None or above is item.parent() or _is_in(above, item):
            return False
        held = item.parent() or self.invisibleRootItem()
        held.removeChild(item)
        above.addChild(item)
        self.expandAll()
        self.moved.emit()
        return True

    def dropEvent(self, event: QDropEvent) -> None:
        """Hang the dragged cluster on the one under the mouse; between two, on neither."""
        dragged = self.selectedItems()
        under = self.itemAt(event.position().toPoint())
        event.setDropAction(Qt.DropAction.IgnoreAction)  # Qt would take the dragged row away
        event.accept()
        if dragged:
            self.move(dragged[0].text(0), None if under is None else under.text(0))

    def _item(self, name: str) -> QTreeWidgetItem | None:
        return next((item for item in self._items() if item.text(0) == name), None)

    def _items(self) -> Iterator[QTreeWidgetItem]:
        top = self.invisibleRootItem()
        waiting = [top.child(k) for k in range(top.childCount())]
        while waiting:
            item = waiting.pop(0)
            waiting += [item.child(k) for k in range(item.childCount())]
            yield item


def _is_in(item: QTreeWidgetItem, branch: QTreeWidgetItem) -> bool:
    """Whether an item is the top of a branch, or somewhere on it."""
    above: QTreeWidgetItem | None = item
    while above is not None:
        if above is branch:
            return True
        above = above.parent()
    return False


def in_lines(children: Mapping[str, Iterable[str]]) -> str:
    """Return a phylogeny as lines "Stem: A, B"."""
    pairs = ((name, list(heirs)) for name, heirs in children.items())
    return "\n".join(f"{name}: {', '.join(heirs)}" for name, heirs in pairs if heirs)


def read_lines(text: str, names: Iterable[str]) -> Children:
    """Return the phylogeny that lines "Stem: A, B" say.

    Parameters
    ----------
    text
        Lines; empty ones are passed over. A cluster may have several.
    names
        The clusters that there are. A name may hold a comma or a colon.

    Raises
    ------
    DataError
        It names the first line that is wrong, or the cluster that comes from itself.
    """
    known = set(names)
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parent, heirs = _read_line(line, known, number)
        found.setdefault(parent, {}).update(dict.fromkeys(heirs))
    children = {name: tuple(heirs) for name, heirs in found.items()}
    if (circle := _first_in_circle(children)) is not None:
        raise DataError(f"{circle} comes from itself", "take one line of that circle away")
    return children


def _read_line(line: str, known: set[str], number: int) -> tuple[str, list[str]]:
    cuts = [k for k, letter in enumerate(line) if letter == ":"]
    if not cuts:
        raise DataError(
            f"line {number} of the phylogeny has no colon",
            'write a cluster, a colon and what comes from it, as in "Stem: A, B"',
        )
    cut = next((k for k in cuts if line[:k].strip() in known), cuts[0])
    parent, rest = line[:cut].strip(), line[cut + 1 :]
    heirs = _names_in(rest, known)
    wrong = next((name for name in (parent, *heirs) if name not in known), None)
    if wrong is not None:
        there = ", ".join(sorted(known)) or "none, as no column is chosen"
        raise DataError(f"line {number} names {wrong!r}", f"clusters are {there}")
    return parent, heirs


def _names_in(text: str, known: set[str]) -> list[str]:
    """Split at commas, but not inside of a name that has some."""
    parts, found = text.split(","), []
    while parts:
        longest = next(
            (k for k in range(len(parts), 1, -1) if ",".join(parts[:k]).strip() in known), 1
        )
        found.append(",".join(parts[:longest]).strip())
        parts = parts[longest:]
    return [name for name in found if name]


def _first_in_circle(children: Children) -> str | None:
    """Return a cluster that comes from itself, over however many others."""
    for start in children:
        reached, waiting = set[str](), list(children[start])
        while waiting:
            name = waiting.pop()
            if name == start:
                return start
            if name not in reached:
                reached.add(name)
                waiting += children.get(name, ())
    return None
