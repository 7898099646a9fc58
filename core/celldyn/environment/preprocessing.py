"""What is done to modalities before a policy sees them, fitted on training cells, and its inverse.

Shapes: n cells, K modalities, G_k raw features, F_k features that a policy sees. Source:
specs/environment.md C, with the corrections of D1 (7, 8, 9): only training cells are fitted on,
sparse and dense matrices give the same features, coordinates keep their shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.preprocessing_blocks import Modality, as_modalities, by_name
from celldyn.environment.preprocessing_checks import (
    check_indices,
    checked_cells,
    names_of,
    number_of,
)  # fmt: skip
from celldyn.environment.preprocessing_fit import Plan, fit_map_job, transform_job
from celldyn.environment.preprocessing_map import LinearMap
from celldyn.environment.preprocessing_state import read_state, state_of
from celldyn.errors import ConfigError, DataError, NotFittedError
from celldyn.jobs import Job, run

_OPTIONS = ("sample_counts", "log_modalities", "pca_dim", "standardize", "top_variant", "spatial",
            "seed", "max_cells")  # fmt: skip


class Preprocessing:
    """Counts, logarithm, standardisation and principal components of every modality.

    Lists of one number per modality may have a single one, which then is for all. Coordinates
    (`spatial`) are centred per axis and divided by one number, so that their shape survives; they
    have neither counts, logarithm nor components.

    Parameters
    ----------
    sample_counts
        What the values of a cell are scaled to sum to, per modality; 0 leaves them, as does none.
    log_modalities
        Modalities of which log(1 + x) is taken.
    pca_dim
        Principal components per modality; 0 takes all features, and so does a modality that has
        no more features than that.
    standardize
        Whether features are brought to mean 0 and standard deviation 1 of the fitted cells.
    top_variant
        How many features of largest standard deviation are kept; None for all.
    spatial
        Modalities that are coordinates.
    seed
        Seed of what is drawn.
    max_cells
        Components are found on at most so many of the fitted cells, drawn at random; means and
        standard deviations are of all of them.

    Raises
    ------
    ConfigError
        If a number is out of its bounds, or a modality is both coordinates and logged.
    """

    def __init__(
        self,
        sample_counts: Sequence[float] = (),
        log_modalities: Sequence[int] = (),
        pca_dim: Sequence[int] = (512,),
        standardize: bool = True,  # noqa: FBT001, FBT002
        top_variant: int | None = None,
        spatial: Sequence[int] = (),
        seed: int = 42,
        *,
        max_cells: int = 10_000,
    ) -> None:
        self.sample_counts = tuple(map(float, sample_counts))
        self.log_modalities = tuple(map(int, log_modalities))
        self.pca_dim = tuple(map(int, pca_dim))
        self.standardize, self.top_variant = bool(standardize), top_variant
        self.spatial, self.seed, self.max_cells = tuple(map(int, spatial)), int(seed), max_cells
        self._maps: tuple[LinearMap, ...] = ()
        if any(not (0 <= count < np.inf) for count in self.sample_counts):
            raise ConfigError("sample_counts has a number below 0", "give counts, or 0 for none")
        if any(dim < 0 for dim in self.pca_dim):
            raise ConfigError("pca_dim has a number below 0", "give 0 for no components")
        if top_variant is not None and top_variant < 1:
            raise ConfigError(f"top_variant is {top_variant}", "keep at least one feature")
        if max_cells < 2:
            raise ConfigError(f"max_cells is {max_cells}", "give at least 2")
        if both := set(self.spatial) & set(self.log_modalities):
            raise ConfigError(
                f"modality {min(both)} is both in spatial and in log_modalities",
                "coordinates have no logarithm; leave it out of log_modalities",
            )

    @classmethod
    def of(cls, maps: Sequence[LinearMap], **options: Any) -> Self:  # noqa: ANN401
        """Return a fitted preprocessing with these maps, such as those of another program."""
        made = cls(**options)
        made._maps = tuple(maps)
        return made

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with, by name."""
        return {name: getattr(self, name) for name in _OPTIONS}

    @property
    def maps(self) -> tuple[LinearMap, ...]:
        """The map of each modality.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        if not self._maps:
            raise NotFittedError("the preprocessing was not fitted", "call fit first")
        return self._maps

    @property
    def n_features(self) -> tuple[int, ...]:
        """F_k of each modality."""
        return tuple(each.n_features for each in self.maps)

    def fit(
        self,
        data: Any,  # noqa: ANN401
        cells: ArrayLike | None = None,
        feature_names: Sequence[Sequence[str]] | None = None,
    ) -> Self:
        """Fit on some cells; `fit_job`, drained."""
        return run(self.fit_job(data, cells, feature_names), bar=False)

    def fit_job(
        self,
        data: Any,  # noqa: ANN401
        cells: ArrayLike | None = None,
        feature_names: Sequence[Sequence[str]] | None = None,
    ) -> Job[Self]:
        """Fit on some cells, and return itself; what is on disk is read once.

        Parameters
        ----------
        data
            K modalities, (n, G_k) each: AnnData in memory or backed, arrays, sparse matrices; or
            a MuData.
        cells
            Which cells are fitted on: a mask (n,) or positions; None for all.
        feature_names
            Names of the features of each modality, where data have none.

        Raises
        ------
        DataError
            If modalities have different numbers of cells, no cell or no feature; if a value is
            not finite, or negative where counts or logarithms are asked for; or if nothing varies.
        ConfigError
            If a list has neither one number nor one per modality, or names a modality that is not
            there.
        """
        modalities = as_modalities(data)
        chosen = checked_cells(cells, modalities)
        names = names_of(modalities, feature_names)
        for what in ("log_modalities", "spatial"):
            check_indices(getattr(self, what), len(modalities), what)
        maps = []
        for k, modality in enumerate(modalities):
            plan = self._plan(k, len(modalities), names[k])
            maps.append((yield from fit_map_job(modality, chosen, plan)))
        self._maps = tuple(maps)
        return self

    def _plan(self, k: int, n_modalities: int, names: tuple[str, ...]) -> Plan:
        spatial = k in self.spatial
        count = number_of(self.sample_counts, k, n_modalities, "sample_counts") or 0.0
        dim = number_of(self.pca_dim, k, n_modalities, "pca_dim") or 0
        return Plan(
            count=0.0 if spatial else count,
            log=k in self.log_modalities,
            dim=0 if spatial else int(dim),
            standardize=self.standardize,
            top_variant=None if spatial else self.top_variant,
            spatial=spatial,
            names=names,
            seed=self.seed + k,
            max_cells=self.max_cells,
        )

    def transform(
        self,
        data: Any,  # noqa: ANN401
        modalities: Sequence[int] | int | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return what a policy sees; `transform_job`, drained."""
        return run(self.transform_job(data, modalities), bar=False)

    def transform_job(
        self,
        data: Any,  # noqa: ANN401
        modalities: Sequence[int] | int | None = None,
    ) -> Job[list[NDArray[np.float32]]]:
        """Return what a policy sees of modalities, read in blocks.

        Parameters
        ----------
        data
            Modalities as `fit_job` takes them. An AnnData may have its features in another order,
            and further ones.
        modalities
            Which ones these are; None for all, in order.

        Returns
        -------
        (n, F_k) float32 each.

        Raises
        ------
        DataError
            If there are more or fewer modalities, or other features where they have no names.
        MissingKeyError
            If a feature that was fitted is missing.
        NotFittedError
            Before `fit`.
        """
        given = as_modalities(data)
        chosen = self._chosen(modalities, len(given))
        sources = [
            by_name(Modality(source.data, each.name), each.names)
            for source, each in zip(given, chosen, strict=True)
        ]
        result = []
        for source, each in zip(sources, chosen, strict=True):
            result.append((yield from transform_job(source, each)))
        return result

    def inverse_transform(
        self,
        features: Sequence[ArrayLike],
        modalities: Sequence[int] | int | None = None,
        counts: bool | ArrayLike = False,  # noqa: FBT001, FBT002
    ) -> list[NDArray[np.float32]]:
        """Return raw values that features tell.

        Parameters
        ----------
        features
            (..., F_k) each.
        modalities
            Which ones these are; None for all, in order.
        counts
            Whether scaling to `sample_counts` is undone, too: True restores the median sum of the
            cells that were fitted on; numbers (...) are sums of the cells.

        Returns
        -------
        (..., G_k) float32 each. Where logarithms were taken nothing is below 0; features left
        out by `top_variant` are at their average.
        """
        chosen = self._chosen(modalities, len(features))
        result = []
        for values, each in zip(features, chosen, strict=True):
            sizes = each.size if counts is True else counts
            result.append(each.inverse(values, None if counts is False else sizes))
        return result

    def _chosen(self, modalities: Sequence[int] | int | None, n_given: int) -> list[LinearMap]:
        maps = self.maps
        which = [modalities] if isinstance(modalities, int) else modalities
        indices = list(range(len(maps)) if which is None else which)
        if wrong := [i for i in indices if not 0 <= i < len(maps)]:
            raise DataError(
                f"modality {wrong[0]} was asked for, and {len(maps)} were prepared",
                "count them from 0",
            )
        if len(indices) != n_given:
            raise DataError(
                f"{n_given} modalities were given where {len(indices)} are expected",
                "give as many, or say which ones they are",
            )
        return [maps[i] for i in indices]

    def to_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return named arrays, and a header of plain values, that `from_state` reads."""
        return state_of(self.options, self.maps)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]
    ) -> Preprocessing:
        """Return what `to_state` gave.

        Raises
        ------
        FileFormatError
            If arrays and header do not fit each other.
        """
        options, maps = read_state(arrays, header)
        return cls.of(maps, **options)
