"""One editor for each kind of parameter: what a form is made of."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from magicgui.widgets import CheckBox, LineEdit, Select
from magicgui.widgets.bases import ValueWidget
from pydantic.fields import FieldInfo
from pydantic_core import to_json
from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QComboBox, QWidget
from superqt import QSearchableComboBox

from celldyn.config import Config
from celldyn.errors import ConfigError
from napari_celldyn.widgets.number_box import NumberBox

MANY = 30
"""A list of more choices than this can be searched."""
LONGEST = 2**31 - 1
"""Characters of a line: Qt would cut a long table at 32767 and so make it unreadable."""
EMPTY = object()
"""What an editor gives while nothing was entered and nothing may be left out."""


@dataclass(frozen=True)
class Editor:
    """A widget, and how a value gets into and out of it.

    Parameters
    ----------
    native
        The Qt widget.
    get
        Gives what pydantic is to check, or `EMPTY`.
    set
        Takes a valid value.
    connect
        Takes a function without arguments, to be called when the user changed something.
    choose
        Takes other choices; None where the kind has none.
    """

    native: QWidget
    get: Callable[[], Any]
    set: Callable[[Any], None]
    connect: Callable[[Callable[[], None]], None]
    choose: Callable[[Sequence[Any]], None] | None = None


def editor_for(field: FieldInfo, choices: Sequence[Any] | None = None) -> Editor:
    """Make the editor of one parameter; `choices` replace what its type would ask for."""
    kind, optional = _without_none(field.annotation)
    many = get_origin(kind) in (list, tuple, set, frozenset)
    if choices is not None:
        return _several_of(choices) if many else _one_of(choices, optional=optional)
    if get_origin(kind) is Literal:
        return _one_of(get_args(kind), optional=optional)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of(list(kind), optional=optional)
    if kind is bool and not optional:
        return _simple(CheckBox())
    empty = None if optional else EMPTY
    if kind in (int, float):
        plain = optional or field.is_required()  # a box always holds a number, a line may be empty
        return _text(_plain, str, empty) if plain else _number(field, whole=kind is int)
    if kind in (str, Path):
        return _text(str, str, empty if optional or field.is_required() else "")
    if many and {_bare(arg) for arg in get_args(kind)} <= {str, int, float, ...}:
        return _text(_row, _cells, empty if optional or field.is_required() else [])
    return _text(_as_json, _from_json, empty)


def config_of(field: FieldInfo) -> tuple[type[Config] | None, bool]:
    """Return the config that a parameter is, if it is one, and whether it may be None."""
    kind, optional = _without_none(field.annotation)
    is_config = isinstance(kind, type) and issubclass(kind, Config)
    return (kind if is_config else None), optional


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the least and greatest value of a number, None where there is no bound.

    For an integer an excluded bound is moved by one; for a float it is left to pydantic.
    """
    step = 1 if field.annotation is int else 0
    low, high = None, None
    for item in field.metadata:
        low = getattr(item, "ge", low)
        high = getattr(item, "le", high)
        if (above := getattr(item, "gt", None)) is not None:
            low = above + step
        if (below := getattr(item, "lt", None)) is not None:
            high = below - step
    return low, high


def unit(field: FieldInfo) -> str:
    """Return the unit that was declared; empty for none."""
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, Mapping) else ""


def has_suffix(editor: Editor) -> bool:
    """Whether the editor itself shows the unit."""
    return isinstance(editor.native, NumberBox)


# --- kinds of editor --------------------------------------------------------------------------


def _number(field: FieldInfo, *, whole: bool) -> Editor:
    low, high = bounds(field)
    box = NumberBox(low, high, whole=whole, unit=unit(field))

    def put(value: float) -> None:
        box.setValue(value)
        if box.number() != value:
            raise ConfigError(f"{value} is more than this form can hold", "use Python for it")

    return Editor(box, box.number, put, lambda call: _on(box.valueChanged, call))


def _simple(widget: ValueWidget[Any]) -> Editor:
    def put(value: object) -> None:
        widget.value = value

    return Editor(widget.native, lambda: widget.value, put, lambda call: _on(widget.changed, call))


def _text(write: Callable[[Any], str], read: Callable[[str], Any], empty: object) -> Editor:
    """Make a line of text; `empty` is what an empty line stands for."""
    line = LineEdit()
    line.native.setMaxLength(LONGEST)
    if empty is None or empty is EMPTY:
        line.native.setPlaceholderText("none" if empty is None else "required")

    def get() -> Any:  # noqa: ANN401
        text = line.value.strip()
        return read(text) if text else empty

    def put(value: object) -> None:
        line.value = "" if value is None else write(value)
        line.native.setCursorPosition(0)  # the beginning of what is too long says what it is

    return Editor(line.native, get, put, lambda call: _on(line.changed, call))


def _several_of(choices: Sequence[Any]) -> Editor:
    widget = Select(choices=list(choices))

    def put(values: Iterable[Any] | None) -> None:
        widget.value = [value for value in values or () if value in widget.choices]

    def choose(fresh: Sequence[Any]) -> None:
        kept = list(widget.value)
        widget.choices = list(fresh)
        put(kept)

    return Editor(
        widget.native,
        lambda: list(widget.value),
        put,
        lambda call: _on(widget.changed, call),
        choose,
    )


def _one_of(choices: Sequence[Any], *, optional: bool) -> Editor:
    box = _SearchableBox() if len(choices) > MANY else _Box()

    def choose(fresh: Sequence[Any]) -> None:
        kept = box.currentData()
        box.clear()
        for value in [*([None] if optional else []), *fresh]:
            box.addItem(_label(value), value)
        box.setCurrentIndex(max(_find(box, kept), 0 if box.count() else -1))

    def put(value: object) -> None:
        if _find(box, value) < 0:  # a saved choice that the data does not offer stays to be seen
            box.addItem(_label(value), value)
        box.setCurrentIndex(_find(box, value))

    def get() -> Any:  # noqa: ANN401
        if not box.isEditable():
            return box.currentData() if box.count() else EMPTY
        typed = box.currentText()  # it counts as soon as it stands there, picked or not
        place = box.findText(
            typed, Qt.MatchFlag.MatchFixedString | Qt.MatchFlag.MatchCaseSensitive
        )
        return box.itemData(place) if place >= 0 else typed or EMPTY

    def connect(call: Callable[[], None]) -> None:
        _on(box.editTextChanged if box.isEditable() else box.currentIndexChanged, call)

    choose(choices)
    return Editor(box, get, put, connect, choose)


class _Calm:
    """A box that the wheel does not change while the panel is scrolled."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class _Box(_Calm, QComboBox):
    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)


class _SearchableBox(_Calm, QSearchableComboBox):
    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)


# --- values as text ---------------------------------------------------------------------------


def _row(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([_plain(value) for value in values])
    return line.getvalue().replace(",", ", ") if '"' not in line.getvalue() else line.getvalue()


def _cells(text: str) -> list[str]:
    cells = next(csv.reader([text], skipinitialspace=True))
    return [cell.strip() for cell in cells if cell.strip()]


def _plain(value: object) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _as_json(value: Any) -> str:  # noqa: ANN401
    return to_json(value).decode()


def _from_json(text: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # pydantic says what it should have been


def _label(value: object) -> str:
    if value is None:
        return "none"
    return str(value.value if isinstance(value, Enum) else value)


# --- small tools ------------------------------------------------------------------------------


def _find(box: QComboBox, value: object) -> int:
    matches = (i for i in range(box.count()) if box.itemData(i) == value)
    return next(matches, -1)


def _without_none(annotation: Any) -> tuple[Any, bool]:  # noqa: ANN401
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        if len(kinds) < len(get_args(annotation)):
            return Union[tuple(kinds)], True  # noqa: UP007  (of one kind it is that kind)
    return annotation, False


def _bare(kind: Any) -> Any:  # noqa: ANN401
    """Return a type without the bounds that are annotated on it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _on(signal: Any, call: Callable[[], None]) -> None:  # noqa: ANN401
    signal.connect(lambda *_: call())
