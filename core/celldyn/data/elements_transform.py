"""The map from an element's own coordinates to the coordinate system of its SpatialData."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import FileFormatError, UnavailableError

SYSTEM = "global"
"""The coordinate system that tables are read in as well."""

_AXES = ("x", "y")

Affine = NDArray[np.float64]


def global_affine(attributes: Mapping[str, Any], name: str) -> Affine:
    """Return the map of an element to "global", or to its first system where that is missing.

    Parameters
    ----------
    attributes
        The attributes of the element's Zarr group, in SpatialData's version of OME-NGFF.
    name
        What to call the element where it is at fault.

    Returns
    -------
    (3, 3) float64 map of (x, y, 1); a z axis is left out.

    Raises
    ------
    UnavailableError
        If the transformation is not affine.
    FileFormatError
        If it is damaged.
    """
    held = attributes.get("coordinateTransformations")
    if not isinstance(held, list) or not held:
        return np.eye(3)
    try:
        outputs: dict[str, Any] = {str(item["output"]["name"]): item for item in held}
        affine = _affine(outputs[SYSTEM] if SYSTEM in outputs else held[0], name)
    except (TypeError, KeyError, ValueError, IndexError, RecursionError) as error:
        raise FileFormatError(
            f"the coordinate transformation of {name} is damaged", "copy or export it again"
        ) from error
    if not np.isfinite(affine).all():
        raise FileFormatError(
            f"the coordinate transformation of {name} is not finite", "set it again"
        )
    return affine


def _affine(item: Mapping[str, Any], name: str) -> Affine:
    axes = _names(item, "input") or list(_AXES)
    made: Affine = np.eye(3)
    match item["type"]:
        case "identity":
            pass
        case "scale":
            made[0, 0], made[1, 1] = _picked(item["scale"], axes)
        case "translation":
            made[:2, 2] = _picked(item["translation"], axes)
        case "affine":
            made = _from_matrix(item, axes)
        case "mapAxis":
            for row, out in enumerate(_AXES):
                made[row, :2] = [float(item["mapAxis"][out] == axis) for axis in _AXES]
        case "sequence":
            for part in item["transformations"]:
                made = _affine({"input": item.get("input"), **part}, name) @ made
        case other:
            raise UnavailableError(
                f"the coordinate transformation of {name} is {other!r}, which cannot be drawn",
                "replace it by an affine one",
            )
    return made


def _names(item: Mapping[str, Any], end: str) -> list[str]:
    held = item.get(end)
    return [str(axis["name"]) for axis in held.get("axes", ())] if isinstance(held, dict) else []


def _picked(values: Sequence[float], axes: list[str]) -> list[float]:
    return [float(values[axes.index(axis)]) for axis in _AXES]


def _from_matrix(item: Mapping[str, Any], axes: list[str]) -> Affine:
    matrix = np.asarray(item["affine"], float)
    to = _names(item, "output") or axes
    made = np.eye(3)
    for row, out in enumerate(_AXES):
        line = matrix[to.index(out)]
        made[row] = *_picked(line, axes), line[len(axes)]
    return made
