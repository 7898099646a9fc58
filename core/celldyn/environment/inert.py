"""Read a pickle without running anything in it: no class is imported, no function called.

The opcodes are read by the standard library's disassembler and acted upon here. What a file may
name is NumPy's arrays, dtypes and scalars, and scikit-learn's decompositions and scalers, which
become plain bags of attributes. Everything else is refused before it means anything.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import reason
from celldyn.environment.inert_numpy import Allowed, Making, Name, allowed, built, called
from celldyn.errors import FileFormatError

_MARK = object()
_MOST_DEPTH = 200
"""Deeper nesting than any real file has, and than Python may walk through."""


@dataclass(slots=True, eq=False)
class Bag:
    """The attributes of an object whose class was named and not imported.

    Parameters
    ----------
    kind
        Name of the class, such as "PCA".
    attributes
        By name.
    """

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an attribute, or what is given where there is none."""
        return self.attributes.get(name, default)


def read_pickle(path: Path | str) -> Any:  # noqa: ANN401
    """Return what a pickle holds: plain values, arrays, and bags of attributes.

    Raises
    ------
    FileFormatError
        If it is missing or damaged, or names anything else than arrays and decompositions.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"{path} cannot be read ({reason(error)})", "check the path"
        ) from error
    try:
        return loads(data)
    except FileFormatError as error:
        raise FileFormatError(f"{path.name}: {error.problem}", error.remedy) from error


def loads(data: bytes) -> Any:  # noqa: ANN401
    """Return what the bytes of a pickle hold; see `read_pickle`."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.result()
            machine.do(opcode.name, argument)
        raise ValueError("no end")
    except FileFormatError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError,
            RecursionError, MemoryError, EOFError) as error:  # fmt: skip
        raise FileFormatError(
            "it is damaged, or no file of settings", "give the .pre file as it was saved"
        ) from error


class _Machine:
    """A stack and a memory, as a pickle wants them."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """Do one opcode."""
        if name in _IGNORED:
            return
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            self._stack.append(argument)
        elif name in self._ACTS:
            self._ACTS[name](self, argument)
        else:
            raise FileFormatError(
                f"it asks for something that settings have no use for ({name})",
                "give the .pre file as it was saved",
            )

    def result(self) -> Any:  # noqa: ANN401
        """Return what is left at the end."""
        (value,) = self._stack
        return _finished(value, 0, {})

    def _pop(self) -> Any:  # noqa: ANN401
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value was to be")
        return value

    def _to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    # --- containers -------------------------------------------------------------------------

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._stack.append(tuple(values[::-1]))

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError("no list")
        target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise TypeError("no dict")
        target.update(_pairs(values))

    # --- objects ----------------------------------------------------------------------------

    def _global(self, module: str, name: str) -> None:
        self._stack.append(allowed(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a name that is no text")
        self._global(module, name)

    def _call(self) -> None:
        arguments, what = self._pop(), self._pop()
        if not isinstance(what, Name) or type(arguments) is not tuple:
            raise TypeError("a call of what is no function")
        self._stack.append(called(what, arguments))

    def _new(self) -> None:
        arguments, what = self._pop(), self._pop()
        if not isinstance(what, Name) or what.kind is not Allowed.BAG or arguments != ():
            raise TypeError("an object of an unknown kind")
        self._stack.append(Bag(what.name))

    def _build(self) -> None:
        state, target = self._pop(), self._stack[-1]
        if isinstance(target, Bag):
            if type(state) is not dict or not all(type(key) is str for key in state):
                raise TypeError("attributes without names")
            target.attributes.update(state)
        else:
            built(target, state)

    def _remember(self, place: int) -> None:
        if self._stack[-1] is _MARK:
            raise ValueError("a mark is no value")
        self._memory[place] = self._stack[-1]

    _ACTS: ClassVar[dict[str, Callable[[_Machine, Any], None]]] = {
        "MARK": lambda m, _: m._stack.append(_MARK),
        "DUP": lambda m, _: m._stack.append(m._stack[-1]),
        "EMPTY_LIST": lambda m, _: m._stack.append([]),
        "EMPTY_DICT": lambda m, _: m._stack.append({}),
        "EMPTY_TUPLE": lambda m, _: m._stack.append(()),
        "TUPLE": lambda m, _: m._stack.append(tuple(m._to_mark())),
        "TUPLE1": lambda m, _: m._tuple(1),
        "TUPLE2": lambda m, _: m._tuple(2),
        "TUPLE3": lambda m, _: m._tuple(3),
        "LIST": lambda m, _: m._stack.append(m._to_mark()),
        "DICT": lambda m, _: m._stack.append(_pairs(m._to_mark())),
        "APPEND": lambda m, _: m._append([m._pop()]),
        "APPENDS": lambda m, _: m._append(m._to_mark()),
        "SETITEM": lambda m, _: m._set_items([m._pop(), m._pop()][::-1]),
        "SETITEMS": lambda m, _: m._set_items(m._to_mark()),
        "GLOBAL": lambda m, named: m._global(*named.split(" ", 1)),
        "STACK_GLOBAL": lambda m, _: m._stack_global(),
        "REDUCE": lambda m, _: m._call(),
        "NEWOBJ": lambda m, _: m._new(),
        "BUILD": lambda m, _: m._build(),
        "MEMOIZE": lambda m, _: m._remember(len(m._memory)),
        "PUT": lambda m, place: m._remember(int(place)),
        "BINPUT": lambda m, place: m._remember(place),
        "LONG_BINPUT": lambda m, place: m._remember(place),
        "GET": lambda m, place: m._stack.append(m._memory[int(place)]),
        "BINGET": lambda m, place: m._stack.append(m._memory[place]),
        "LONG_BINGET": lambda m, place: m._stack.append(m._memory[place]),
    }


_IGNORED = frozenset({"PROTO", "FRAME"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    }
)  # fmt: skip


def _pairs(values: list[Any]) -> dict[Any, Any]:
    """Return a dict of keys and values that alternate.

    Keys are plain: a key of nested tuples can take longer to hash than the world has lasted.
    """
    keys = values[::2]
    if len(values) % 2 or not all(type(key) in (str, int, float, bool) for key in keys):
        raise TypeError("a dict with keys that are not plain")
    return dict(zip(keys, values[1::2], strict=True))


def _finished(value: Any, depth: int, seen: dict[int, Any]) -> Any:  # noqa: ANN401
    """Return a value whose arrays are whole; refuse what holds itself or is nested without end."""
    if not isinstance(value, list | tuple | dict | Bag | Making | Name):
        return value
    if depth > _MOST_DEPTH:
        raise RecursionError("nested too deeply")
    if id(value) in seen:
        found = seen[id(value)]
        if found is _MARK:
            raise ValueError("it holds itself")
        return found
    seen[id(value)] = _MARK
    made = _whole(value, depth + 1, seen)
    seen[id(value)] = made
    return made


def _whole(value: Any, depth: int, seen: dict[int, Any]) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _finished(held, depth, seen) for key, held in value.items()}
    if isinstance(value, Bag):
        held = {name: _finished(one, depth, seen) for name, one in value.attributes.items()}
        return Bag(value.kind, held)
    if isinstance(value, list):
        return [_finished(held, depth, seen) for held in value]
    if isinstance(value, tuple):
        return tuple(_finished(held, depth, seen) for held in value)
    return value.whole()


def array_of(value: Any) -> NDArray[Any]:  # noqa: ANN401
    """Return a value as an array of plain numbers, which it must be.

    Raises
    ------
    ValueError
        If it is something else.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError("no numbers")
    return array
