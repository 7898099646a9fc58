"""Sufficient statistics of least squares, shared by all genes, folds and penalties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.betas.neighbours import Floats
from celldyn.errors import DataError
from celldyn.jobs import Job, Progress, run

_PRODUCTS_PER_BLOCK = 150_000_000
_CONSTANT = 1e-12
_CANCELLED = 1e-11


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """What least squares needs to know of cells, whatever their number.

    Cross products are of centred columns, computed after centring, so that a large mean costs no
    digits. Statistics of disjoint sets of cells add up, and those of a subset can be subtracted:
    the training part of a fold is `whole - fold`.

    Parameters
    ----------
    n
        Number of cells.
    means
        (p,) means of the columns of X.
    y_means
        (q,) means of the targets.
    XtX
        (p, p) centred cross products of the columns.
    Xty
        (p, q) centred cross products of columns and targets.
    yty
        (q,) centred sums of squares of the targets.
    """

    n: int
    means: Floats
    y_means: Floats
    XtX: Floats
    Xty: Floats
    yty: Floats

    @classmethod
    def from_data(cls, X: ArrayLike, y: ArrayLike) -> Gram:
        """Compute the statistics.

        Parameters
        ----------
        X
            (n_cells, p) design.
        y
            (n_cells,) target, or (n_cells, q): many genes at once.

        Raises
        ------
        DataError
            If the shapes differ, there are no cells, or values are not finite.
        """
        return run(gram_job(X, y), bar=False)

    def __add__(self, other: Gram) -> Gram:
        """Return the statistics of the cells of both."""
        n = self.n + other.n
        shift, y_shift = other.means - self.means, other.y_means - self.y_means
        share, weight = other.n / n, self.n * other.n / n
        return Gram(
            n,
            self.means + share * shift,
            self.y_means + share * y_shift,
            self.XtX + other.XtX + weight * np.outer(shift, shift),
            self.Xty + other.Xty + weight * np.outer(shift, y_shift),
            self.yty + other.yty + weight * y_shift**2,
        )

    def __sub__(self, part: Gram) -> Gram:
        """Return the statistics of the cells that are not in `part`, a subset of these."""
        n = self.n - part.n
        if n < 1:
            raise DataError(f"{part.n} of {self.n} cells cannot be set aside", "leave some cells")
        means = self.means + (part.n / n) * (self.means - part.means)
        y_means = self.y_means + (part.n / n) * (self.y_means - part.y_means)
        shift, y_shift = means - part.means, y_means - part.y_means
        weight = n * part.n / self.n
        rest = self.XtX - part.XtX - weight * np.outer(shift, shift)
        cross = self.Xty - part.Xty - weight * np.outer(shift, y_shift)
        yty = self.yty - part.yty - weight * y_shift**2
        # What is constant in the rest leaves rounding noise; a variance of noise is no variance.
        gone = np.diag(rest) <= _CANCELLED * np.diag(self.XtX)
        y_gone = yty <= _CANCELLED * self.yty
        return _silence(Gram(n, means, y_means, rest, cross, yty), gone, y_gone)

    @property
    def n_columns(self) -> int:
        """Number of columns of the design."""
        return len(self.means)

    @property
    def scale(self) -> Floats:
        """(p,) standard deviations of the columns (divided by n); 0 for a constant column."""
        deviation = np.sqrt(np.maximum(np.diag(self.XtX), 0.0) / self.n)
        return np.where(deviation > _CONSTANT * np.abs(self.means), deviation, 0.0)

    def select(self, columns: ArrayLike, target: int | None = None) -> Gram:
        """Return the statistics of some columns, in that order, and of one target or all."""
        kept = np.asarray(columns)
        targets = slice(None) if target is None else slice(target, target + 1)
        if target is not None and not 0 <= target < len(self.yty):
            raise DataError(f"target {target} of {len(self.yty)} was asked for", "count from 0")
        return Gram(
            self.n,
            self.means[kept],
            self.y_means[targets],
            self.XtX[np.ix_(kept, kept)] if kept.dtype != bool else self.XtX[kept][:, kept],
            self.Xty[kept, targets],
            self.yty[targets],
        )

    def standardised(self) -> tuple[Gram, Floats]:
        """Return the statistics of columns scaled to variance 1, and the scales they had.

        Constant columns have scale 0 and stay as columns of zeros.
        """
        scale = self.scale
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
        XtX = self.XtX * inverse[:, None] * inverse
        Xty = self.Xty * inverse[:, None]
        means = self.means * inverse
        return Gram(self.n, means, self.y_means, XtX, Xty, self.yty), scale

    def sse(self, intercept: float, coef: Floats, target: int = 0) -> float:
        """Return the residual sum of squares of a linear model on these cells."""
        offset = self.y_means[target] - intercept - self.means @ coef
        fitted = coef @ (self.XtX @ coef - 2.0 * self.Xty[:, target])
        return float(max(self.yty[target] + fitted, 0.0) + self.n * offset**2)

    def r2(self, intercept: float, coef: Floats, target: int = 0) -> float:
        """Return R² of a linear model on these cells; 0 for a target that is constant here."""
        total = float(self.yty[target])
        return 1.0 - self.sse(intercept, coef, target) / total if total > 0 else 0.0


def gram_job(X: ArrayLike, y: ArrayLike) -> Job[Gram]:
    """Compute `Gram.from_data` by blocks of cells, yielding between blocks."""
    design, targets = _check(X, y)
    n, p = design.shape
    means, y_means = design.mean(axis=0), targets.mean(axis=0)
    XtX, Xty = np.zeros((p, p)), np.zeros((p, targets.shape[1]))
    yty = np.zeros(targets.shape[1])
    n_rows = max(int(_PRODUCTS_PER_BLOCK / max(p * (p + targets.shape[1]), 1)), 16)
    for start in range(0, n, n_rows):
        stop = min(start + n_rows, n)
        block, target = design[start:stop] - means, targets[start:stop] - y_means
        XtX += block.T @ block
        Xty += block.T @ target
        yty += np.einsum("ij,ij->j", target, target)
        yield Progress("cross products", stop, n)
    gram = Gram(n, means, y_means, XtX, Xty, yty)
    return _silence(gram, gram.scale == 0, np.sqrt(yty / n) <= _CONSTANT * np.abs(y_means))


def _silence(gram: Gram, columns: NDArray[np.bool_], targets: NDArray[np.bool_]) -> Gram:
    """Set to 0, in place, what rounding left of columns and targets that are constant."""
    gram.XtX[columns], gram.XtX[:, columns], gram.Xty[columns] = 0.0, 0.0, 0.0
    gram.Xty[:, targets], gram.yty[targets] = 0.0, 0.0
    return gram


def _check(X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    design = np.asarray(X, dtype=np.float64)
    targets = np.asarray(y, dtype=np.float64)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if design.ndim != 2 or targets.ndim != 2 or len(design) != len(targets):
        raise DataError(
            f"the design has shape {design.shape} and the target {np.shape(y)}",
            "give one row per cell in both",
        )
    if not len(design):
        raise DataError("there are no cells to fit", "choose a cluster that has cells")
    if not (np.isfinite(design).all() and np.isfinite(targets).all()):
        raise DataError("the design or the target has values that are not finite", "mend them")
    return design, targets
