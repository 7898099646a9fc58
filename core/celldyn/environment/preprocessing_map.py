"""The linear map between the raw features of a modality and the features that a policy sees.

Shapes: n cells, G raw features, G' of them kept, F features, g genes that are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.preprocessing_blocks import Floats, Ints
from celldyn.errors import DataError, MissingKeyError


@dataclass(frozen=True, slots=True)
class Values:
    """How raw values become what is standardised.

    Parameters
    ----------
    count
        What the values of a cell are made to sum to; 0 leaves them.
    log
        Whether log(1 + x) is taken then.
    """

    count: float = 0.0
    log: bool = False

    def of(self, block: Floats, sizes: Floats | None = None) -> Floats:
        """Return (m, G) values of raw ones, which are overwritten.

        A cell whose values sum to 0 stays at 0.

        Parameters
        ----------
        block
            (m, G) raw values.
        sizes
            (m,) sums of the cells; None computes them.
        """
        if self.count:
            sizes = block.sum(axis=1) if sizes is None else sizes
            block *= np.divide(self.count, sizes, out=np.zeros_like(sizes), where=sizes > 0)[
                :, None
            ]
        return np.log1p(block, out=block) if self.log else block


@dataclass(frozen=True, eq=False)
class LinearMap:
    """features = (s(x) − centre) Cᵀ, where s keeps some columns, logs and standardises.

    Parameters
    ----------
    components
        C, (F, G'): orthonormal rows of a PCA; None for the identity, F = G'.
    centre
        (G',) mean of s(x); 0 where s standardises.
    mean, std
        (G',) what s subtracts and divides by; 0 and 1 where it does not standardise.
    kept
        (G',) which raw columns are kept, rising.
    log
        Whether s takes log(1 + x).
    names
        Names of all raw features.
    usual
        (G,) what raw features are on average, after counts and log; what is told of features
        that are not kept.
    count
        What the values of a cell are made to sum to before; 0 for nothing.
    size
        Median sum of a cell of those that were fitted on; 0 where that was not asked.
    name
        What an error calls the modality.
    """

    components: Floats | None
    centre: Floats
    mean: Floats
    std: Floats
    kept: Ints
    log: bool
    names: tuple[str, ...]
    usual: Floats
    count: float = 0.0
    size: float = 0.0
    name: str = "modality 0"

    @property
    def n_raw(self) -> int:
        """Raw features, G."""
        return len(self.names)

    @property
    def n_features(self) -> int:
        """Features that a policy sees, F."""
        return len(self.kept) if self.components is None else len(self.components)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """(F,) names of what a policy sees: raw ones, or PC1, PC2, ..."""
        if self.components is None:
            return tuple(self.names[i] for i in self.kept)
        return tuple(f"PC{k + 1}" for k in range(self.n_features))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.names)}

    @cached_property
    def _places(self) -> Ints:
        """(G,) where a raw column stands among those kept; −1 for one that is not."""
        places = np.full(self.n_raw, -1, np.intp)
        places[self.kept] = np.arange(len(self.kept))
        return places

    @cached_property
    def _values(self) -> Values:
        return Values(self.count, self.log)

    def positions(self, genes: Sequence[str] | str) -> Ints:
        """Return the (g,) places of genes among the columns that are kept.

        Raises
        ------
        MissingKeyError
            If there is no such gene, or it was left out as too little variable.
        """
        from celldyn.data.genes import position

        wanted = [genes] if isinstance(genes, str) else list(genes)
        at = np.empty(len(wanted), np.intp)
        for k, gene in enumerate(wanted):
            found = self._positions.get(str(gene))
            if found is None:
                import pandas as pd

                found = position(pd.Index(self.names), str(gene))
            at[k] = self._places[found]
            if at[k] < 0:
                raise MissingKeyError(
                    f"{gene} was left out of {self.name} as too little variable (top_variant)",
                    "choose one of the features that are kept, or keep more and train again",
                )
        return at

    def columns(self, genes: Sequence[str] | str) -> Floats:
        """Return c, (F, g): how far features move with each gene's standardised value.

        Raises
        ------
        MissingKeyError
            If there is no such gene, or it was left out.
        DataError
            If no principal component holds the gene, since it never varied.
        """
        at = self.positions(genes)
        if self.components is None:
            return np.asarray(np.arange(len(self.kept))[:, None] == at[None, :], np.float64)
        chosen = np.asarray(self.components[:, at])
        silent = np.flatnonzero(~(np.abs(chosen) > 1e-12).any(axis=0))
        if silent.size:
            raise DataError(
                f"no principal component of {self.name} holds "
                f"{self.names[self.kept[at[silent[0]]]]}, which never varied",
                "choose another gene",
            )
        return chosen

    def preprocessed(self, genes: Sequence[str] | str, values: ArrayLike) -> Floats:
        """Return t, (..., g): raw values logged, standardised and centred; counts left alone.

        Features z hold these values exactly where z c = t, with c of `columns`.

        Parameters
        ----------
        genes
            Names.
        values
            (..., g) raw values, or one for all.

        Raises
        ------
        DataError
            If a value is not finite, or negative where it is to be logged.
        """
        at = self.positions(genes)
        raw = np.asarray(values, np.float64)
        if not np.isfinite(raw).all():
            raise DataError("a gene is set to a value that is not finite", "give numbers")
        if self.log and (raw < 0).any():
            raise DataError(
                f"a gene is set to {raw.min():g}, which has no logarithm", "give at least 0"
            )
        shape = np.broadcast_shapes(raw.shape, (len(at),))
        raw = np.broadcast_to(np.log1p(raw) if self.log else raw, shape)
        return np.asarray((raw - self.mean[at]) / self.std[at] - self.centre[at])

    def expression(self, features: ArrayLike, genes: Sequence[str] | str) -> Floats:
        """Return (..., g) raw values of genes that features (..., F) tell."""
        at = self.positions(genes)
        features = np.asarray(features, np.float64)
        told = features[..., at] if self.components is None else features @ self.columns(genes)
        return self._raw(told + self.centre[at], at)

    def _raw(self, standardised: Floats, at: Ints | slice) -> Floats:
        values = standardised * self.std[at] + self.mean[at]
        return np.expm1(np.maximum(values, 0.0)) if self.log else values

    def forward(self, raw: Floats) -> NDArray[np.float32]:
        """Return (m, F) features of (m, G) raw values, which are overwritten."""
        values = self._values.of(raw)
        values = values if len(self.kept) == self.n_raw else values[:, self.kept]
        values -= self.mean
        values /= self.std
        values -= self.centre
        told = values if self.components is None else values @ self.components.T
        return told.astype(np.float32)

    def inverse(self, features: ArrayLike, sizes: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return (..., G) raw values that (..., F) features tell.

        Parameters
        ----------
        features
            What a policy sees, or what positions tell.
        sizes
            Sums of cells that counts are restored to, (...) or one; None leaves them normalised.

        Returns
        -------
        Where counts were logged they are never below 0; features that are not kept are at their
        average.
        """
        told = np.asarray(features, np.float64)
        if told.shape[-1:] != (self.n_features,):
            raise DataError(
                f"{self.name} has {self.n_features:,} features, and "
                f"{told.shape[-1] if told.ndim else 0:,} were given",
                "give features that this preprocessing made",
            )
        values = told if self.components is None else told @ self.components
        values = self._raw(values + self.centre, slice(None))
        if len(self.kept) < self.n_raw:
            whole = np.empty((*values.shape[:-1], self.n_raw))
            whole[...] = np.expm1(self.usual) if self.log else self.usual
            whole[..., self.kept] = values
            values = whole
        if sizes is not None and self.count:
            values = values * (np.asarray(sizes, np.float64)[..., None] / self.count)
        return np.asarray(values, np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is kept of it on disk, by name."""
        kept = {
            "centre": self.centre, "mean": self.mean, "std": self.std, "usual": self.usual,
            "kept": self.kept.astype(np.int64),
        }  # fmt: skip
        return kept if self.components is None else {**kept, "components": self.components}
