"""Positions in many dimensions, seen in two or three: axes that stay the same over frames.

Shapes: n cells, d dimensions, m axes of the view; leading axes, such as times, are free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class LatentView:
    """A projection that is fitted once, so that cells do not jump as frames go by.

    Parameters
    ----------
    centre
        (d,).
    axes
        (m, d) orthonormal rows.
    share
        (m,) share of the variance that lies along each.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, positions: ArrayLike, n_axes: int = 3) -> LatentView:
        """Fit the main axes of some positions, such as those of the last frame.

        An axis points to where its largest entry is positive, so that the same cells always give
        the same view. Where there are no more dimensions than axes, positions are shown as they
        are.

        Parameters
        ----------
        positions
            (..., n, d).
        n_axes
            How many axes, m.

        Raises
        ------
        DataError
            If positions are no table, or not finite.
        """
        x = np.asarray(positions, np.float64)
        if x.ndim < 2 or not x.size:
            raise DataError(f"positions are of shape {x.shape}", "give (cells, dimensions)")
        if not np.isfinite(x).all():
            raise DataError("positions are not finite", "look at the run that they are of")
        if n_axes < 1:
            raise DataError(f"the number of axes is {n_axes}", "give 2 or 3")
        x = x.reshape(-1, x.shape[-1])
        d = x.shape[1]
        if d <= n_axes:
            variance = x.var(axis=0)
            whole = variance.sum()
            share = variance / whole if whole > 0 else np.zeros(d)
            return cls(np.zeros(d), np.eye(d), share)
        centre = x.mean(axis=0)
        covariance = (x - centre).T @ (x - centre) / len(x)
        values, vectors = np.linalg.eigh(covariance)
        axes = vectors[:, ::-1][:, :n_axes].T
        largest = np.abs(axes).argmax(axis=1)
        axes = axes * np.sign(axes[np.arange(n_axes), largest])[:, None]
        whole = values.sum()
        share = values[::-1][:n_axes] / whole if whole > 0 else np.zeros(n_axes)
        return cls(centre, np.ascontiguousarray(axes), share)

    def places(self, positions: ArrayLike) -> NDArray[np.float32]:
        """Return where positions (..., d) are in the view, (..., m)."""
        x = np.asarray(positions)
        found: NDArray[np.float32] = ((x - self.centre) @ self.axes.T).astype(np.float32)
        return found

    def arrows(self, velocities: ArrayLike) -> NDArray[np.float32]:
        """Return directions (..., d) in the view, (..., m)."""
        found: NDArray[np.float32] = (np.asarray(velocities) @ self.axes.T).astype(np.float32)
        return found
