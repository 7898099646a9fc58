"""File > Open Sample > CellDyn: small tissues with known ground truth, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.errors import CelldynError
from napari_celldyn.opening import current_viewer, land, may_replace, refuse, session
from napari_celldyn.reader import read_layers

if TYPE_CHECKING:
    from napari.types import LayerData


def two_niches() -> list[LayerData]:
    """Open the sample "two_niches"."""
    return _open("two_niches")


def three_sections() -> list[LayerData]:
    """Open the sample "three_sections"."""
    return _open("three_sections")


def layered_tissue() -> list[LayerData]:
    """Open the sample "layered_tissue"."""
    return _open("layered_tissue")


def two_fates() -> list[LayerData]:
    """Open the sample "two_fates"."""
    return _open("two_fates")


def gene_fields() -> list[LayerData]:
    """Open the sample "gene_fields"."""
    return _open("gene_fields")


def _open(name: str) -> list[LayerData]:
    from celldyn.data import samples

    viewer = current_viewer()
    if viewer is None:
        return read_layers(samples.path(name))
    if may_replace(session(viewer).workspace):
        try:
            land(viewer, samples.load(name), None, origin=samples.path(name))
        except CelldynError as error:
            refuse(error)
    return [_no_layer()]


def _no_layer() -> Any:  # noqa: ANN401
    """Return an image of no channels: napari wants layers of a sample, and makes none of it."""
    return np.empty((0, 2, 2), np.uint8), {"channel_axis": 0}, "image"
