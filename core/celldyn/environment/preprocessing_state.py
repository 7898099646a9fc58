"""A fitted preprocessing as named arrays and a header, and read back with every shape checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.environment.preprocessing_blocks import Floats
from celldyn.environment.preprocessing_map import LinearMap
from celldyn.errors import CelldynError, FileFormatError

_VECTORS = ("centre", "mean", "std")
_MOST = 4096
"""No file has more modalities."""


def state_of(
    options: Mapping[str, Any], maps: Sequence[LinearMap]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return arrays by "modality/name", and a header."""
    arrays = {
        f"{k}/{name}": np.ascontiguousarray(array)
        for k, each in enumerate(maps)
        for name, array in each.arrays().items()
    }
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in options.items()}
    header = {
        "options": plain,
        "modalities": [
            {
                "names": list(each.names), "log": each.log, "count": each.count,
                "size": each.size, "name": each.name,
            }
            for each in maps
        ],
    }  # fmt: skip
    return arrays, header


def read_state(
    arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]
) -> tuple[dict[str, Any], list[LinearMap]]:
    """Return options and maps of what `state_of` gave.

    Raises
    ------
    FileFormatError
        If a part is missing, of a wrong shape, or not finite.
    """
    try:
        rows = header["modalities"]
        if not isinstance(rows, list) or not 0 < len(rows) <= _MOST:
            raise ValueError("modalities")
        maps = [_map(arrays, k, row) for k, row in enumerate(rows)]
        return dict(header["options"]), maps
    except (CelldynError, KeyError, TypeError, ValueError, AttributeError, IndexError,
            OverflowError) as error:  # fmt: skip
        raise FileFormatError(
            f"the preprocessing in the file is damaged ({error})", "take another copy of the file"
        ) from error


def _map(arrays: Mapping[str, NDArray[Any]], k: int, row: Mapping[str, Any]) -> LinearMap:
    names = tuple(map(str, row["names"]))
    if len(set(names)) != len(names):
        raise ValueError("names")
    kept = np.asarray(arrays[f"{k}/kept"])
    rises = kept.ndim == 1 and kept.size > 0 and bool((np.diff(kept) > 0).all())
    if kept.dtype.kind not in "iu" or not rises or kept[0] < 0 or kept[-1] >= len(names):
        raise ValueError("kept")
    vectors = {name: _floats(arrays, f"{k}/{name}", (len(kept),)) for name in _VECTORS}
    if (vectors["std"] <= 0).any():
        raise ValueError("std")
    components = None
    if f"{k}/components" in arrays:
        n_components = np.shape(arrays[f"{k}/components"])[0]
        components = _floats(arrays, f"{k}/components", (n_components, len(kept)))
        if n_components == 0:
            raise ValueError("components")
    count, size = float(row["count"]), float(row["size"])
    if not (0 <= count < np.inf and 0 <= size < np.inf):
        raise ValueError("count")
    return LinearMap(
        components, **vectors, kept=kept.astype(np.intp), log=bool(row["log"]), names=names,
        usual=_floats(arrays, f"{k}/usual", (len(names),)), count=count, size=size,
        name=str(row["name"]),
    )  # fmt: skip


def _floats(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> Floats:
    array = np.asarray(arrays[name], np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(name)
    return array
