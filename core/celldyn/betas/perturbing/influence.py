"""By which ways one gene may reach another, and what interacts with what in chosen cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from celldyn.betas.field import BetaField
from celldyn.betas.inputs import Floats, Ints
from celldyn.errors import ConfigError, NotFittedError

if TYPE_CHECKING:
    import pandas as pd


class Link(NamedTuple):
    """A gene acts on another, alone or as part of a pair."""

    source: str
    through: str
    target: str
    beta: float


def influence_paths(
    fields: Mapping[str, BetaField],
    source: str,
    target: str,
    *,
    max_hops: int = 3,
    top: int = 10,
    min_beta: float = 1e-3,
    cells: ArrayLike | None = None,
) -> pd.DataFrame:
    """Return the ways from one gene to another through the fitted models.

    Parameters
    ----------
    fields
        The betas of each gene.
    source, target
        Names of genes; the target has betas.
    max_hops
        Most models that a way leads through.
    top
        Of each gene on the way only the links of largest mean |beta| are followed back, and those
        from the source.
    min_beta
        Links of a smaller mean |beta| do not count.
    cells
        Mask or positions of the cells over which betas are averaged; None for all.

    Returns
    -------
    One row per way that meets no gene twice, strongest first: path ("A → B → C"), through (the
    modulators, such as "L$R"), hops, product (of the mean betas), weakest (the smallest of them by
    size). A beta of a pair counts per unit of its partner.

    Raises
    ------
    NotFittedError
        If the target has no betas.
    ConfigError
        If there is nothing to follow.
    """
    import pandas as pd

    if target not in fields:
        raise NotFittedError(f"{target} has no betas", "fit it first")
    if max_hops < 1 or top < 1:
        raise ConfigError(
            f"{max_hops} hops over {top} links lead nowhere", "take at least one of each"
        )
    links = _Links(fields, cells, source, top, min_beta)
    rows = []
    for way in _ways(links, source, target, max_hops):
        betas = np.array([link.beta for link in way])
        rows.append(
            {
                "path": " → ".join([source, *(link.target for link in way)]),
                "through": " → ".join(link.through for link in way),
                "hops": len(way),
                "product": float(np.prod(betas)),
                "weakest": float(betas[np.argmin(np.abs(betas))]),
            }
        )
    table = pd.DataFrame(rows, columns=["path", "through", "hops", "product", "weakest"])
    order = table["product"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


class _Links:
    """The links into each gene, read off its betas when they are first asked for."""

    def __init__(
        self,
        fields: Mapping[str, BetaField],
        cells: ArrayLike | None,
        source: str,
        top: int,
        min_beta: float,
    ) -> None:
        self._fields, self._cells, self._source = fields, cells, source
        self._top, self._min_beta = top, min_beta
        self._known: dict[str, list[Link]] = {}

    def into(self, gene: str) -> list[Link]:
        """Return the links into a gene that are followed."""
        if gene not in self._known:
            self._known[gene] = self._read(gene) if gene in self._fields else []
        return self._known[gene]

    def _read(self, gene: str) -> list[Link]:
        field = self._fields[gene]
        means = summary_of(field, self._cells)["mean"]
        links = []
        for k, (through, acting) in enumerate(_acting(field)):
            if abs(means[k]) >= self._min_beta:
                links += [Link(name, through, gene, float(means[k])) for name in acting]
        links.sort(key=lambda link: -abs(link.beta))
        return [
            link for k, link in enumerate(links) if k < self._top or link.source == self._source
        ]


def _acting(field: BetaField) -> Iterator[tuple[str, list[str]]]:
    """Yield each modulator and the genes that act by it; a complex acts by its parts, too."""
    m = field.modulators
    alone = [(name,) for name in m.regulators]
    for through, names in zip(m.names, [*alone, *m.lr, *m.tfl], strict=True):
        parts = [part for name in names if "_" in name for part in name.split("_")]
        yield through, list(dict.fromkeys([*names, *parts]))


def _ways(links: _Links, source: str, target: str, max_hops: int) -> Iterator[list[Link]]:
    """Yield the chains of links from the source to the target, found from its end."""
    open_ways: list[list[Link]] = [[link] for link in links.into(target)]
    while open_ways:
        way = open_ways.pop()
        if way[0].source == source:
            yield way
        elif len(way) < max_hops:
            met = {target, *(link.source for link in way)}
            open_ways += [
                [link, *way] for link in links.into(way[0].source) if link.source not in met
            ]


def collect_interactions(
    fields: Mapping[str, BetaField], cells: ArrayLike | None = None, *, top: int | None = None
) -> pd.DataFrame:
    """Return what modulates what in chosen cells.

    Parameters
    ----------
    fields
        The betas of each gene.
    cells
        Mask or positions of the cells; None for all.
    top
        How many rows; None for all.

    Returns
    -------
    One row per modulator and gene whose beta is not 0 in all of these cells, those of largest mean
    |beta| first: interaction, kind, gene, mean, min, max, sum (over the cells), positive and
    negative (means of the positive and the negative part).
    """
    import pandas as pd

    tables = []
    for gene, field in fields.items():
        values = summary_of(field, cells)
        there = (values["min"] != 0) | (values["max"] != 0)
        names, kinds = np.array(field.modulators.names, object), field.modulators.kinds
        table = pd.DataFrame(
            {"interaction": names, "kind": np.array(kinds, object), "gene": gene, **values}
        )
        tables.append(table[there])
    columns = ["interaction", "kind", "gene", "mean", "min", "max", "sum", "positive", "negative"]
    filled = [table for table in tables if len(table)]
    whole = pd.concat(filled) if filled else pd.DataFrame(columns=columns)
    order = np.argsort(-np.abs(whole["mean"].to_numpy(np.float64)), kind="stable")
    return whole.iloc[order[: len(order) if top is None else top]].reset_index(drop=True)


def summary_of(field: BetaField, cells: ArrayLike | None) -> dict[str, Floats]:
    """Return mean, min, max, sum, positive and negative of each beta but the intercept.

    Where betas do not vary inside fits, each fit is looked at once, whatever its cells.
    """
    at = _positions(cells, field.n_obs)
    if field.dense is None:
        fits, counts = np.unique(field.fit_of_cell[at], return_counts=True)
        none = np.zeros((1, field.coefficients.shape[1]))
        rows = np.concatenate([field.coefficients, none])[fits]
    else:
        rows, counts = field.values(at), np.ones(len(at), np.intp)
    rows, n_cells = rows[:, 1:], max(int(counts.sum()), 1)
    total = counts @ rows
    empty = not len(rows)
    zero = np.zeros(rows.shape[1])
    return {
        "mean": total / n_cells,
        "min": zero if empty else rows.min(axis=0),
        "max": zero if empty else rows.max(axis=0),
        "sum": total,
        "positive": counts @ np.maximum(rows, 0.0) / n_cells,
        "negative": counts @ np.minimum(rows, 0.0) / n_cells,
    }


def _positions(cells: ArrayLike | None, n_obs: int) -> Ints:
    if cells is None:
        return np.arange(n_obs)
    given = np.asarray(cells)
    return np.flatnonzero(given) if given.dtype == bool else given.astype(np.intp)
