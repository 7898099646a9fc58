"""From the coordinates of outlines and molecules to where the cells of a tissue are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data.elements import MoleculeTable, Polygons, Region
from celldyn.data.sections import section_key, side_by_side
from celldyn.data.spatial import coordinates, um_per_unit

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, slots=True, eq=False)
class Placing:
    """From the coordinates of an element to where the cells of its tissue are drawn.

    Parameters
    ----------
    scale
        µm of one unit, 1 where the unit is not known.
    shift
        (n_obs, 2) what moves each cell's section beside the others; None where there is one.
    ids
        (n_obs,) what elements call the cells.
    region
        (n_obs,) the element that each cell is an instance of; None where the table does not say.
    section
        (n_obs,) the section's name; None where there is one.
    places
        (n_sections, 4) least x, least y, greatest x, greatest y of its cells as drawn.
    """

    scale: float
    shift: NDArray[np.float64] | None
    ids: pd.Index
    region: pd.Categorical | None
    section: pd.Categorical | None
    places: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, adata: AnnData, drawn_xy: NDArray[np.float64] | None = None) -> Placing:
        """Take from a tissue what placing needs, so that a job need not touch it.

        Parameters
        ----------
        adata
            The tissue.
        drawn_xy
            (n_obs, 2) where its cells are drawn, if that is known already.
        """
        scale = um_per_unit(adata) or 1.0
        said = adata.uns.get("spatialdata_attrs")
        said = said if isinstance(said, Mapping) else {}
        names = [str(said.get("instance_key")), "cell_id"]
        known = next((name for name in names if name in adata.obs), None)
        ids = pd.Index(adata.obs_names if known is None else adata.obs[known])
        of = said.get("region_key")
        region = pd.Categorical(adata.obs[of]) if of in adata.obs else None
        if (key := section_key(adata)) is None:
            return cls(scale, None, ids, region, None)
        xy = coordinates(adata) * scale
        section = pd.Categorical(adata.obs[key])
        drawn = side_by_side(xy, section) if drawn_xy is None else drawn_xy
        return cls(scale, drawn - xy, ids, region, section, _places(drawn, section))

    def rows(self, ids: NDArray[Any], element: str) -> NDArray[np.intp]:
        """Return the cell of each of (n,) names of an element; -1 where it names none.

        Names that occur in several regions count in the element's own region only.
        """
        n_obs, here = len(self.ids), None
        if self.region is not None and element in self.region.categories:
            here = np.flatnonzero(self.region == element)
        table = self.ids if here is None else self.ids[here]
        if not table.is_unique:
            return np.full(len(ids), -1, np.intp)
        at = table.get_indexer(pd.Index(ids))
        if len(ids) and (at < 0).all():
            at = table.astype(str).get_indexer(pd.Index(ids).astype(str))
        if len(ids) == n_obs and (at < 0).all() and np.array_equal(ids, np.arange(n_obs)):
            at = np.arange(n_obs)
        at = np.asarray(at, np.intp)
        return at if here is None else np.where(at >= 0, here[at], -1)

    def polygons(self, held: Polygons, element: str) -> tuple[Polygons, NDArray[np.intp]]:
        """Return outlines where the tissue is drawn, and the cell of each (-1: none)."""
        rows = self.rows(held.ids, element)
        return held.moved(self.scale, self._shifts(rows, element)), rows

    def molecules(self, held: MoleculeTable, element: str) -> MoleculeTable:
        """Return molecules where the tissue is drawn: by their section, else by their cell."""
        if self.shift is None or self.section is None or len(self.shift) == 0:
            return held.moved(self.scale)
        rows = np.full(len(held), -1)
        if held.section is not None:
            codes = self._codes(held.section)
            first = pd.Series(np.arange(len(self.shift))).groupby(self.section.codes).first()
            rows = first.reindex(codes, fill_value=-1).to_numpy()
        elif held.cell_id is not None:
            rows = self.rows(held.cell_id, element)
        return held.moved(self.scale, self._shifts(rows, element))

    def _shifts(self, rows: NDArray[np.intp], element: str) -> NDArray[np.float64]:
        """Return (n, 2) shifts by cell; what has none goes where its element's section goes."""
        if self.shift is None or len(self.shift) == 0:
            return np.zeros(2)
        shifts = np.where(rows[:, None] >= 0, self.shift[rows], 0.0)
        if (rows < 0).any():
            shifts[rows < 0] = self._shift_of(element, rows)
        return shifts

    def _shift_of(self, element: str, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the shift of the one section of an element, told by its cells or its name."""
        if self.section is None:
            return np.zeros(2)
        codes = np.unique(self.section.codes[rows[rows >= 0]])
        names = [str(name) for name in self.section.categories]
        if len(codes) == 1 and codes[0] >= 0:
            return self.of_section(names[codes[0]])
        return self.of_section(next((n for n in names if element.startswith(f"{n}_")), None))

    def origin_of(self, drawn: tuple[float, float, float, float]) -> Region:
        """Return the rectangle of an element's coordinates that is drawn in a rectangle.

        Where this holds parts of several sections, it is the one that holds them all.
        """
        if self.shift is None or self.places is None or self.section is None:
            x0, y0, x1, y1 = (side / self.scale for side in drawn)
            return x0, y0, x1, y1
        seen = [
            name
            for name, (x0, y0, x1, y1) in zip(self.section.categories, self.places, strict=True)
            if x0 <= drawn[2] and y0 <= drawn[3] and x1 >= drawn[0] and y1 >= drawn[1]
        ]
        shifts = [self.of_section(name) for name in seen] or [np.zeros(2)]
        low = np.min([np.array(drawn[:2]) - by for by in shifts], axis=0) / self.scale
        high = np.max([np.array(drawn[2:]) - by for by in shifts], axis=0) / self.scale
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def of_section(self, section: object) -> NDArray[np.float64]:
        """Return the (2,) shift of a section, given by name or number; 0 for one not known."""
        if self.shift is None or self.section is None:
            return np.zeros(2)
        rows = np.flatnonzero(self.section.codes == self._codes(np.array([section]))[0])
        return self.shift[rows[0]] if len(rows) else np.zeros(2)

    def _codes(self, sections: NDArray[Any]) -> NDArray[np.intp]:
        """Return the code of each section, by name; numbers that are no names count from 0."""
        if self.section is None:
            return np.full(len(sections), -1, np.intp)
        names = self.section.categories.astype(str)
        values, inverse = np.unique(np.asarray(sections), return_inverse=True)
        codes = names.get_indexer(pd.Index(values.astype(str)))
        if values.dtype.kind in "iu" and (codes < 0).all():
            codes = np.where((values >= 0) & (values < len(names)), values, -1)
        return np.asarray(codes, np.intp)[inverse]


def _places(drawn: NDArray[np.float64], section: pd.Categorical) -> NDArray[np.float64]:
    table = pd.DataFrame(drawn).groupby(section.codes)
    every = range(len(section.categories))
    low, high = table.min().reindex(every), table.max().reindex(every)
    return np.column_stack([low.to_numpy(float), high.to_numpy(float)])
