"""What a pickle may name, and how arrays are put together of plain bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import FileFormatError


class Allowed(Enum):
    """What a name stands for."""

    RECONSTRUCT = "an array to be filled"
    FROM_BUFFER = "an array of a buffer"
    ARRAY = "the class of arrays"
    DTYPE = "a kind of number"
    SCALAR = "a number"
    BAG = "an object that becomes its attributes"


@dataclass(frozen=True, slots=True)
class Name:
    """A name that a pickle may use; it is never looked up.

    Parameters
    ----------
    kind
        What it stands for.
    name
        The last part of it.
    """

    kind: Allowed
    name: str

    def whole(self) -> str:
        """Return the name: a class that is kept as a value is only its name."""
        return self.name


_NUMPY = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Allowed.RECONSTRUCT
       for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Allowed.SCALAR for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Allowed.FROM_BUFFER
       for core in ("core", "_core")},
    ("numpy", "ndarray"): Allowed.ARRAY,
    ("numpy", "dtype"): Allowed.DTYPE,
}  # fmt: skip
_CODES = re.compile(r"\|?(b1|[iu][1248]|f(2|4|8|16)|O8?)")
_BAGS = re.compile(r"(IncrementalPCA|PCA|TruncatedSVD|(Standard|MinMax|MaxAbs|Robust)Scaler)\Z")


def allowed(module: str, name: str) -> Name:
    """Return what a name stands for.

    Raises
    ------
    FileFormatError
        If it is none that a file of settings may use.
    """
    kind = _NUMPY.get((module, name))
    if kind is None and module.split(".", 1)[0] == "sklearn" and _BAGS.match(name):
        kind = Allowed.BAG
    if kind is None:
        raise FileFormatError(
            f"it names {_short(module)}.{_short(name)}, which is neither an array nor a "
            "decomposition; nothing of it was run",
            "trust such a file only with the program that wrote it, and if you know who made it",
        )
    return Name(kind, name)


def _short(text: str) -> str:
    return text if len(text) <= 60 and text.isprintable() else repr(text[:60])


class Making:
    """A dtype or an array that is still being described."""

    def whole(self) -> Any:  # noqa: ANN401
        """Return what it came to be."""
        raise NotImplementedError


class MakingDtype(Making):
    """A dtype; its byte order comes later."""

    def __init__(self, code: str) -> None:
        self._dtype = np.dtype(code)

    def order(self, mark: str) -> None:
        """Take the byte order."""
        if mark == ">":
            self._dtype = self._dtype.newbyteorder(">")
        elif mark not in ("<", "=", "|"):
            raise ValueError("a byte order that is none")

    def whole(self) -> np.dtype[Any]:
        """Return the dtype."""
        return self._dtype


class MakingArray(Making):
    """An array; its shape and bytes come later."""

    def __init__(self) -> None:
        self._array: Any = None

    def fill(self, shape: Any, dtype: np.dtype[Any], fortran: Any, held: Any) -> None:  # noqa: ANN401
        """Take shape, dtype, order and content."""
        self._array = made_array(shape, dtype, "F" if fortran else "C", held)

    def whole(self) -> Any:  # noqa: ANN401
        """Return the array."""
        if self._array is None:
            raise ValueError("an array without content")
        return self._array


def made_array(shape: Any, dtype: np.dtype[Any], order: Literal["C", "F"], held: Any) -> Any:  # noqa: ANN401
    """Return an array of bytes, or of a list of texts and numbers; the content must fit."""
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise TypeError("a shape that is none")
    if len(shape) > 8:
        raise ValueError("more axes than data have")
    n_values = 1
    for n in shape:
        n_values *= n
    if dtype.kind == "O":
        if type(held) is not list or len(held) != n_values or not all(map(_is_plain, held)):
            raise ValueError("names that are none")
        return list(held)
    if not isinstance(held, bytes | bytearray) or len(held) != n_values * dtype.itemsize:
        raise ValueError("content of another size")
    flat: NDArray[Any] = np.frombuffer(held, dtype)
    array = flat.reshape(shape, order=order)
    return array.astype(dtype.newbyteorder("="), copy=True)


def _is_plain(value: Any) -> bool:  # noqa: ANN401
    return value is None or type(value) in (str, int, float, bool)


def called(what: Name, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Return what a named function would make of its arguments, without calling it."""
    if what.kind is Allowed.DTYPE:
        code = arguments[0]
        if type(code) is not str or not _CODES.fullmatch(code):
            raise TypeError("a kind of value that settings have no use for")
        return MakingDtype(code)
    if what.kind is Allowed.RECONSTRUCT:
        kind = arguments[0]
        if not isinstance(kind, Name) or kind.kind is not Allowed.ARRAY:
            raise TypeError("an array of another class")
        return MakingArray()
    if what.kind is Allowed.FROM_BUFFER:
        held, dtype, shape, order, *axes = arguments
        array = made_array(shape, _dtype(dtype), "F" if order == "F" else "C", held)
        return array.transpose(axes[0]) if order == "K" and axes else array
    if what.kind is Allowed.SCALAR:
        dtype, held = arguments
        return made_array((1,), _dtype(dtype), "C", held)[0].item()
    raise TypeError("a call of what is no function")


def _dtype(value: Any) -> np.dtype[Any]:  # noqa: ANN401
    if not isinstance(value, MakingDtype):
        raise TypeError("no dtype")
    return value.whole()


def built(target: Any, state: Any) -> None:  # noqa: ANN401
    """Give a dtype or an array what was said of it."""
    if type(state) is not tuple:
        raise TypeError("no state")
    if isinstance(target, MakingDtype):
        if any(part is not None for part in state[2:5]):
            raise TypeError("a kind of value that settings have no use for")
        target.order(str(state[1]))
    elif isinstance(target, MakingArray):
        _, shape, dtype, fortran, held = state
        target.fill(shape, _dtype(dtype), fortran, held)
    else:
        raise TypeError("a state for what has none")
