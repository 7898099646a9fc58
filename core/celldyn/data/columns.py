"""What can colour the cells: one column of the data set, whatever part of it holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.categories import is_categorical, named, obs_column
from celldyn.data.fates import blend, effect_fates, fate_colours, fate_names
from celldyn.data.genes import gene_column, position, single_column
from celldyn.data.palette import category_colours, default_colours
from celldyn.data.words import listed
from celldyn.errors import MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData

_BETAS_PREFIX = keys.BETAS.name.partition("{")[0]
_DELTA_PREFIX = keys.BETAS_DELTA.name.partition("{")[0]
_DENOISED_PREFIX = keys.VAE_DENOISED.name.partition("{")[0]
_EFFECT_PREFIX = keys.LANDSCAPE_EFFECT.name.partition("{")[0]
_OF_FATES = (keys.FATES.name, keys.FATES_LOW.name, keys.FATES_HIGH.name)


_DIVERGING = {"obsm": (_BETAS_PREFIX, _EFFECT_PREFIX), "layers": (_DELTA_PREFIX,)}
"""What is a change or a coefficient, by its slot: zero is the middle."""


@dataclass(frozen=True, slots=True)
class Source:
    """Names one column of a data set.

    Parameters
    ----------
    slot
        The part that holds it.
    key
        obs: the column's name; layers: the layer; obsm: the key.
    column
        X, raw, layers: the gene; obsm: the column's name, or its position as text. Chances of
        fates without one are all of them, blended.
    plus
        X, layers: a layer that is added, such as the change that a perturbation makes.
    """

    slot: Literal["obs", "X", "layers", "raw", "obsm"]
    key: str = ""
    column: str = ""
    plus: str = ""

    @property
    def label(self) -> str:
        """What a person calls it."""
        match self.slot:
            case "obs" if self.key.startswith(_DENOISED_PREFIX):
                gene = self.key.removeprefix(_DENOISED_PREFIX).replace("%2F", "/")
                return f"{gene} denoised"
            case "obs":
                return self.key
            case "X" | "layers" if self.plus:
                return f"{self.column} after"
            case "X":
                return self.column
            case "raw":
                return f"{self.column} (raw)"
            case "layers":
                return f"{self.column} ({self.key})"
            case "obsm" if not self.column:
                return "fates"
            case "obsm" if self.key.startswith(_EFFECT_PREFIX):
                what = self.key.removeprefix(_EFFECT_PREFIX).replace("%2F", "/")
                return f"{self.column}: change by {what}"
            case "obsm":
                return f"{self.key}: {self.column}"


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one column: numbers, or categories.

    Parameters
    ----------
    values
        (n_obs,) float32; None for categories.
    codes
        (n_obs,) position in `categories`, -1 where missing; None for numbers.
    categories
        Their names; None for numbers.
    colours
        "#rrggbb" of each category; None for numbers.
    label
        What a person calls it.
    diverging
        Whether zero is the middle, as it is for coefficients.
    rgba
        (n_obs, 4) colour of each cell, where that of its category does not say all; else None.
    """

    values: NDArray[np.float32] | None
    codes: NDArray[np.int32] | None
    categories: list[str] | None
    colours: list[str] | None
    label: str
    diverging: bool = False
    rgba: NDArray[np.float32] | None = None


def column(adata: AnnData, source: Source) -> Column:
    """Return the values of a column, ready to colour cells by.

    Raises
    ------
    MissingKeyError
        If it is not there; it names what is.
    """
    match source.slot:
        case "obs":
            held = obs_column(adata, source.key)
            if is_categorical(held):
                return _categories(named(held), category_colours(adata, source.key), source)
            return _numbers(held, source)
        case "X":
            return _numbers(_gene(adata, source, None), source)
        case "layers":
            return _numbers(_gene(adata, source, source.key), source)
        case "raw":
            return _numbers(_raw_gene(adata, source.column), source)
        case "obsm":
            return _obsm(adata, source)


def _gene(adata: AnnData, source: Source, layer: str | None) -> NDArray[np.float32]:
    values = gene_column(adata, source.column, layer)
    return values + gene_column(adata, source.column, source.plus) if source.plus else values


def _numbers(values: Any, source: Source) -> Column:  # noqa: ANN401
    if isinstance(values, pd.Series):
        values = values.to_numpy(np.float32, na_value=np.nan)
    diverging = source.key.startswith(_DIVERGING.get(source.slot, ()))
    numbers = np.asarray(values, np.float32)
    return Column(numbers, None, None, None, source.label, diverging)


def _categories(held: pd.Categorical, colours: list[str], source: Source) -> Column:
    names = [str(name) for name in held.categories]
    return Column(None, held.codes.astype(np.int32), names, colours, source.label)


def _raw_gene(adata: AnnData, gene: str) -> NDArray[np.float32]:
    if adata.raw is None:
        raise MissingKeyError("the data set has no raw", "colour by X or a layer")
    return single_column(adata.raw.X, position(adata.raw.var_names, gene))


def _obsm(adata: AnnData, source: Source) -> Column:
    if source.key not in adata.obsm:
        raise MissingKeyError(f"obsm has no {source.key!r}", f"its keys are: {listed(adata.obsm)}")
    table = adata.obsm[source.key]
    if source.key == keys.FATES.name and not source.column:
        return _blended(adata, np.asarray(table), source)
    names = obsm_columns(adata, source.key)
    at = _place(names, source)
    if isinstance(table, pd.DataFrame):
        series = table.iloc[:, at]
        if is_categorical(series):
            held = named(series)
            return _categories(held, default_colours(len(held.categories)), source)
        return _numbers(series, source)
    if hasattr(table, "toarray"):
        return _numbers(table[:, [at]].toarray().ravel(), source)
    return _numbers(np.asarray(table)[:, at], source)


def _blended(adata: AnnData, chances: NDArray[np.floating], source: Source) -> Column:
    """Return the likeliest fate of each cell, in a colour that says how likely all of them are."""
    names = obsm_columns(adata, source.key)
    colours = fate_colours(adata, names)
    certain = adata.obs.get(keys.FATE_CERTAIN.name)
    rgba = blend(chances, colours, None if certain is None else np.asarray(certain, bool))
    known = np.isfinite(chances).all(axis=1) & (chances.sum(axis=1) > 0)
    codes = np.where(known, np.nan_to_num(chances).argmax(axis=1), -1).astype(np.int32)
    return Column(None, codes, names, colours, source.label, rgba=rgba)


def _place(names: list[str], source: Source) -> int:
    if source.column in names:
        return names.index(source.column)
    if source.column.isdecimal() and int(source.column) < len(names):
        return int(source.column)
    raise MissingKeyError(
        f"obsm[{source.key!r}] has no column {source.column!r}",
        f"its columns are: {listed(names)}",
    )


def obsm_columns(adata: AnnData, key: str) -> list[str]:
    """Return the names of the columns of one table of obsm; their positions where unnamed.

    The coefficients of a target gene have theirs beside their scores in `uns["celldyn"]`.
    """
    table = adata.obsm[key]
    if isinstance(table, pd.DataFrame):
        return [str(name) for name in table.columns]
    n = table.shape[1] if table.ndim == 2 else 0
    if key in _OF_FATES and len(names := fate_names(adata)) == n:
        return names
    if key.startswith(_EFFECT_PREFIX) and len(names := effect_fates(adata, key)) == n:
        return names
    info = (adata.uns.get(keys.CELLDYN.name) or {}).get(key)
    if isinstance(info, dict) and len(info.get("columns", ())) == n:
        return [str(name) for name in info["columns"]]
    return [str(i) for i in range(n)]


def sources(adata: AnnData) -> list[Source]:
    """Return every column of obs and obsm; genes are searched for instead (see `NameIndex`)."""
    of_obs = [Source("obs", str(name)) for name in adata.obs.columns]
    of_obsm = [
        Source("obsm", str(key), name)
        for key in adata.obsm
        if key != keys.SPATIAL.name
        for name in obsm_columns(adata, key)
    ]
    blended = [Source("obsm", keys.FATES.name)] if keys.FATES.name in adata.obsm else []
    return of_obs + blended + of_obsm
