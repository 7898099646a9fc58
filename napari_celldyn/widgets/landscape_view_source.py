"""What the tissue in view has of a landscape, for the layers that draw it. No Qt."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data import embedding_keys
from celldyn.errors import DataError, NotFittedError

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.landscape.networks import Networks
    from napari_celldyn.workspace import Workspace

THIN = 0.15
"""Spread across a line of places over that along it, below which they are no plane."""

TRAIN = "train a landscape, or open a file that has one"


class LandscapeSource:
    """Finds states, potential, flow and model in the AnnData in view.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._networks: Networks | None = None
        self._of: weakref.ref[AnnData] | None = None

    # --- what is there ------------------------------------------------------------------------

    @property
    def has_potential(self) -> bool:
        """Whether each cell has a height."""
        adata = self._workspace.adata
        return adata is not None and keys.POTENTIAL.name in adata.obs

    @property
    def has_model(self) -> bool:
        """Whether there are networks: cells can flow, and places be decoded."""
        return self._at_hand is not None or self._record is not None

    @property
    def has_flow(self) -> bool:
        """Whether it is known which way cells go."""
        adata = self._workspace.adata
        if adata is None:
            return False
        has_states = keys.CELL_STATE.name in adata.obsm
        field = has_states and (keys.VELOCITY.name in adata.obsm or self.has_model)
        return field or keys.TRANSITIONS.name in adata.obsp

    @property
    def planes(self) -> list[str]:
        """The tables of obsm that a landscape can stand on, its own in front.

        Where the differentiation state is hardly more than a line, a landscape over it would be a
        ridge: then another embedding stands in front, if there is one.
        """
        adata = self._workspace.adata
        if adata is None:
            return []
        own = keys.DIFF_STATE.name
        others = [
            key
            for key in embedding_keys(adata)
            if key not in (own, keys.CELL_STATE.name)
            and np.ndim(adata.obsm[key]) == 2
            and np.shape(adata.obsm[key])[1] == 2
        ]
        there = own in adata.obsm and np.shape(adata.obsm[own])[1] >= 2
        if not there:
            return others
        thin = bool(others) and is_thin(np.asarray(adata.obsm[own])[:, :2])
        return [*others[:1], own, *others[1:]] if thin else [own, *others]

    # --- arrays, which nobody else holds ------------------------------------------------------

    def states(self) -> NDArray[np.float32]:
        """Return (n, d) cell states.

        Raises
        ------
        DataError
            If there are none.
        """
        return self._table(keys.CELL_STATE.name, "the tissue has no cell states")

    def potential(self) -> NDArray[np.float32]:
        """Return (n,) V of the cells.

        Raises
        ------
        DataError
            If there is none.
        """
        adata = self._workspace.require()
        if keys.POTENTIAL.name not in adata.obs:
            raise DataError("the tissue has no potential", TRAIN)
        return np.array(adata.obs[keys.POTENTIAL.name].to_numpy(np.float32, na_value=np.nan))

    def velocity(self) -> NDArray[np.float32] | None:
        """Return (n, d) velocities of the states; None where they are not kept."""
        adata = self._workspace.require()
        held = adata.obsm.get(keys.VELOCITY.name)
        return None if held is None else np.array(held, np.float32)

    def graph(self, name: str = "connectivities") -> Any:  # noqa: ANN401  (a sparse matrix)
        """Return a copy of a graph of the cells; None where there is none."""
        held = self._workspace.require().obsp.get(name)
        return None if held is None else held.copy()

    # --- the model ----------------------------------------------------------------------------

    def use(self, networks: Networks) -> None:
        """Take a model of the tissue in view that is at hand, rather than read it."""
        self._networks, self._of = networks, weakref.ref(self._workspace.require())

    def forget(self) -> None:
        """Read the model anew when it is next asked for: another one was written."""
        self._networks = self._of = None

    def networks(self) -> Networks:
        """Return the model.

        Raises
        ------
        NotFittedError
            If the tissue has none.
        CelldynError
            If what it has is no model.
        """
        known = self._at_hand
        if known is not None:
            return known
        if self._record is None:
            raise NotFittedError("the tissue has no model of a landscape", TRAIN)
        from celldyn.landscape.results import read_model

        self.use(read_model(self._workspace.require()).fitted.networks)
        known = self._at_hand
        assert known is not None
        return known

    @property
    def _at_hand(self) -> Networks | None:
        is_of_it = self._of is not None and self._of() is self._workspace.adata
        return self._networks if is_of_it else None

    @property
    def _record(self) -> Any:  # noqa: ANN401
        adata = self._workspace.adata
        home = None if adata is None else adata.uns.get(keys.CELLDYN.name)
        return home.get(keys.LANDSCAPE_INFO.name) if isinstance(home, Mapping) else None

    def _table(self, key: str, missing: str) -> NDArray[np.float32]:
        held = self._workspace.require().obsm.get(key)
        if held is None:
            raise DataError(missing, TRAIN)
        return np.array(held, np.float32)


def is_thin(places: NDArray[np.floating]) -> bool:
    """Return whether (n, 2) places lie almost along a line: a plane is hardly filled by them."""
    there = places[np.isfinite(places).all(axis=1)].astype(float)
    if len(there) < 3:
        return False
    spread = np.linalg.svd(there - there.mean(axis=0), compute_uv=False)
    return bool(spread[1] < THIN * spread[0])
