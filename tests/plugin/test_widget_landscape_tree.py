"""A phylogeny typed as lines, dragged as a tree, and what is wrong with one said."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt
from qtpy.QtGui import QDropEvent

from celldyn.errors import DataError
from napari_celldyn.widgets.landscape_tree import TreeEditor, in_lines, read_lines

NAMES = ("A", "B", "C", "Stem")


@pytest.fixture
def editor(qtbot) -> TreeEditor:
    widget = TreeEditor()
    qtbot.addWidget(widget)
    widget.set_names(NAMES)
    widget.resize(300, 300)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def shown(tree) -> dict[str, list[str]]:
    """Return what stands under what; under "" what stands outermost."""
    found: dict[str, list[str]] = {}

    def look(item, name):
        found[name] = [item.child(k).text(0) for k in range(item.childCount())]
        for k in range(item.childCount()):
            look(item.child(k), item.child(k).text(0))

    look(tree.invisibleRootItem(), "")
    return found


def drop(tree, name, at: QPointF) -> None:
    """Let go of a cluster somewhere over the tree, as the mouse does."""
    [item] = tree.findItems(name, Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)
    tree.setCurrentItem(item)
    event = QDropEvent(
        at, Qt.DropAction.MoveAction, QMimeData(), Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    tree.dropEvent(event)


def over(tree, name) -> QPointF:
    [item] = tree.findItems(name, Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)
    return QPointF(tree.visualItemRect(item).center())


def test_typed_lines_are_the_phylogeny_and_shown_as_a_tree(editor, qtbot):
    assert editor.children_of() == {}
    assert shown(editor.tree)[""] == list(NAMES)
    qtbot.keyClicks(editor.text, "Stem: A, B")
    qtbot.keyClick(editor.text, Qt.Key.Key_Return)
    qtbot.keyClicks(editor.text, "B:C")
    assert editor.children_of() == {"Stem": ("A", "B"), "B": ("C",)}
    assert shown(editor.tree) == {"": ["Stem"], "Stem": ["A", "B"], "A": [], "B": ["C"], "C": []}


def test_a_cluster_that_is_dropped_on_another_comes_from_it(editor):
    editor.put({"Stem": ["A", "B"]})
    drop(editor.tree, "C", over(editor.tree, "B"))
    assert editor.children_of() == {"Stem": ("A", "B"), "B": ("C",)}
    assert editor.text.toPlainText() == "Stem: A, B\nB: C"
    drop(editor.tree, "B", over(editor.tree, "A"))  # with what comes from it
    assert editor.children_of() == {"Stem": ("A",), "A": ("B",), "B": ("C",)}
    beside_all = QPointF(20, editor.tree.viewport().height() + 50)
    drop(editor.tree, "B", beside_all)
    assert editor.children_of() == {"Stem": ("A",), "B": ("C",)}


def test_nothing_comes_from_what_comes_from_it(editor):
    editor.put({"Stem": ["A"], "A": ["B"]})
    before = editor.text.toPlainText()
    for name, target in (("Stem", "B"), ("A", "A"), ("B", "A")):
        drop(editor.tree, name, over(editor.tree, target))
        assert editor.text.toPlainText() == before


def test_a_cluster_may_come_from_two_and_what_follows_is_shown_once(editor):
    editor.put({"Stem": ["A", "B"], "A": ["C"], "B": ["C"]})
    assert editor.children_of() == {"Stem": ("A", "B"), "A": ("C",), "B": ("C",)}
    assert shown(editor.tree)["A"] == shown(editor.tree)["B"] == ["C"]
    assert editor.tree.children_of() == editor.children_of()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Stem A", "line 1 of the phylogeny has no colon"),
        ("Stem: A\n\nB: D", "line 3 names 'D'; clusters are A, B, C, Stem."),
        ("Stem: A\nA: B\nB: Stem", "Stem comes from itself"),
        ("A: A", "A comes from itself"),
    ],
)
def test_a_wrong_line_is_one_sentence_and_the_tree_stays(editor, text, says):
    editor.put({"Stem": ["C"]})
    tree = shown(editor.tree)
    editor.text.setPlainText(text)
    assert editor.sentence.isVisible()
    assert says in editor.sentence.text()
    with pytest.raises(DataError):
        editor.children_of()
    assert shown(editor.tree) == tree
    editor.put({"Stem": ["C"]})
    assert not editor.sentence.isVisible()


def test_names_may_hold_commas_and_colons():
    names = ["T, helper", "CD4: naive", "B"]
    children = {"CD4: naive": ("T, helper", "B")}
    assert read_lines(in_lines(children), names) == children
    assert read_lines("CD4: naive: B\nCD4: naive: T, helper", names) == {
        "CD4: naive": ("B", "T, helper")
    }
