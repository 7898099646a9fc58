"""Tables that say which outlines they annotate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from celldyn.simulate.measure.naming import known_names
from celldyn.simulate.output.names import plain

if TYPE_CHECKING:
    from anndata import AnnData

Labels: TypeAlias = "pd.Categorical[str]"

REGION = "region"


def annotating(
    adata: AnnData, region: pd.Categorical[str], instance: ArrayLike, key: str
) -> AnnData:
    """Return a table that annotates outlines, sharing the arrays of the one given.

    Parameters
    ----------
    adata
        (n_obs, n_vars); it stays as it is.
    region
        (n_obs,) name of the shapes element of each row.
    instance
        (n_obs,) integer index of each row within it.
    key
        Column of obs that holds it.
    """
    from anndata import AnnData
    from spatialdata.models import TableModel

    obs = adata.obs.assign(**{REGION: region, key: np.asarray(instance).astype(np.int64)})
    with known_names():
        made = AnnData(
            X=adata.X,
            obs=_plainly_named(obs),
            var=_plainly_named(adata.var),
            obsm=dict(adata.obsm),
            varm=dict(adata.varm),
            obsp=dict(adata.obsp),
            layers=dict(adata.layers),
            uns=_storable(dict(adata.uns)),
        )
    return TableModel.parse(
        made, region=list(region.categories), region_key=REGION, instance_key=key
    )


def _plainly_named(frame: pd.DataFrame) -> pd.DataFrame:
    """Rename the columns that SpatialData would refuse, as those of a type called "T cell"."""
    names: list[str] = []
    for column in frame.columns:
        name = wanted = plain(str(column))
        number = 1
        while name in names:
            name, number = f"{wanted}_{number}", number + 1
        names.append(name)
    return frame.set_axis(names, axis=1)


def _storable(uns: dict[str, Any]) -> dict[str, Any]:
    """Leave out None, which not every version of the format can hold."""
    return {
        name: _storable(value) if isinstance(value, dict) else value
        for name, value in uns.items()
        if value is not None
    }
