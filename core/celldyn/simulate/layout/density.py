"""The wanted density of cells: a picture, an array or a function, as weights on a raster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import DataError, FileFormatError

Floats = NDArray[np.float64]
DensityLike = NDArray[np.number] | Callable[[Floats], Floats]
"""(rows, columns) weights, first row at y = 0, or a function of (m, 2) positions in µm."""

FORMATS = (".png", ".tif", ".tiff", ".npy")
_RASTER = 512
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""ITU-R BT.709."""


@dataclass(frozen=True, slots=True)
class Density:
    """Weights of at least 0, the same over a pixel.

    Parameters
    ----------
    weights
        (rows, columns); row 0 lies at y = 0.
    origin_um, size_um
        Corner at (0, 0) of the array, and width and height.
    """

    weights: Floats
    origin_um: tuple[float, float]
    size_um: tuple[float, float]

    def at(self, xy: Floats) -> Floats:
        """Return the weights at (m, 2) positions, those at the border beyond it."""
        rows, columns = self.weights.shape
        pixel = (xy - self.origin_um) / self.size_um * (columns, rows)
        column, row = np.clip(pixel, 0, (columns - 1, rows - 1)).astype(np.intp).T
        values: Floats = self.weights[row, column]
        return values

    def sample(self, chance: Floats) -> Floats:
        """Return (m, 2) positions distributed by the weights, from (m, 3) uniform numbers."""
        rows, columns = self.weights.shape
        steps = np.cumsum(self.weights)
        pixel = np.searchsorted(steps, chance[:, 0] * steps[-1], side="right")
        row, column = np.divmod(np.minimum(pixel, steps.size - 1), columns)
        within = np.stack([column, row], axis=1) + chance[:, 1:]
        place: Floats = self.origin_um + within * (np.array(self.size_um) / (columns, rows))
        return place

    def padded(self, margin_um: float) -> Density:
        """Return the density continued beyond the canvas, by at most its own size."""
        rows, columns = self.weights.shape
        pixel = np.array(self.size_um) / (columns, rows)
        extra = np.minimum(np.ceil(margin_um / pixel), (columns, rows)).astype(int)
        weights = np.pad(self.weights, ((extra[1],) * 2, (extra[0],) * 2), mode="edge")
        origin, size = self.origin_um - extra * pixel, self.size_um + 2 * extra * pixel
        return Density(weights, (origin[0], origin[1]), (size[0], size[1]))


def even_density(canvas_um: tuple[float, float]) -> Density:
    """Return the same weight everywhere, on a raster that can be padded."""
    return Density(np.ones((64, 64)), (0.0, 0.0), canvas_um)


def make_density(given: DensityLike, canvas_um: tuple[float, float]) -> Density:
    """Put a density on a raster.

    Parameters
    ----------
    given
        (rows, columns) weights, or a function, which is evaluated on a raster of 512 pixels
        along the longer side.
    canvas_um
        Width and height.

    Raises
    ------
    DataError
        If the weights are not finite, negative somewhere, zero everywhere or of a wrong shape.
    """
    if callable(given):
        width, height = canvas_um
        pixel = max(width, height) / _RASTER
        x, y = (
            (np.arange(n := max(round(side / pixel), 1)) + 0.5) * (side / n) for side in canvas_um
        )
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        weights = np.asarray(given(grid), dtype=np.float64)
        if weights.shape != (len(grid),):
            raise DataError(
                f"the density function returns shape {weights.shape} for {len(grid)} positions",
                "return one weight per row of its (m, 2) input",
            )
        weights = weights.reshape(y.size, x.size)
    else:
        weights = np.asarray(given, dtype=np.float64)
    _check(weights)
    return Density(weights, (0.0, 0.0), canvas_um)


def read_density(path: Path | str) -> Floats:
    """Read a picture whose brightness is the density of cells.

    Parameters
    ----------
    path
        .png, .tif or .tiff (colours count by luminance, times opacity), or .npy.

    Returns
    -------
    (rows, columns) weights of at least 0.

    Raises
    ------
    FileFormatError
        If the file is missing or cannot be read as what its name says.
    DataError
        If it holds no density.
    """
    from PIL.Image import DecompressionBombError

    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            from matplotlib.image import imread

            values = imread(path)
        weights = np.asarray(values, dtype=np.float64)
    except (OSError, ValueError, SyntaxError, EOFError, DecompressionBombError) as error:
        raise FileFormatError(
            f"{path.name} cannot be read as a density image",
            f"give a file that is there, in one of {', '.join(FORMATS)}",
        ) from error
    if weights.ndim == 3 and weights.shape[2] in (2, 3, 4):
        opacity = weights[..., -1:] if weights.shape[2] in (2, 4) else 1.0
        colours = weights[..., :3] @ _LUMINANCE if weights.shape[2] > 2 else weights[..., 0]
        weights = (colours[..., None] * opacity)[..., 0]
    _check(weights)
    return weights


def _check(weights: Floats) -> None:
    if weights.ndim != 2 or not weights.size:
        raise DataError(
            f"a density has shape {weights.shape}", "give one picture of rows and columns"
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.sum() > 0:
        raise DataError(
            "a density holds values that are negative or not finite, or nothing above 0",
            "give weights of at least 0, some of them above it",
        )
