"""Which cells a model is asked about: a data set read as the model has it, and some rows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from celldyn.data.words import listed
from celldyn.errors import DataError
from celldyn.vae.changing import keys_of
from celldyn.vae.inputs import Ints, VAEInputs
from celldyn.vae.setup_record import Setup

Indices: TypeAlias = Sequence[int] | np.ndarray[Any, Any]
"""Rows of a data set, or a mask over them."""


def read(data: Any, setup: Setup) -> VAEInputs:  # noqa: ANN401
    """Read an AnnData or a MuData as a setup has it."""
    from celldyn.vae.preparing import prepare, prepare_mudata

    return prepare_mudata(data, setup) if hasattr(data, "mod") else prepare(data, setup=setup)


def rows_of(indices: Indices | None, n_obs: int) -> Ints:
    """Return rows as numbers, of numbers or of a mask.

    Raises
    ------
    DataError
        If one is outside, or there is none.
    """
    if indices is None:
        return np.arange(n_obs, dtype=np.int64)
    at = np.asarray(indices)
    if at.dtype == np.bool_:
        if len(at) != n_obs:
            raise DataError(f"the mask has {len(at)} values for {n_obs} cells", "give one each")
        at = np.flatnonzero(at)
    at = at.astype(np.int64)
    if not len(at):
        raise DataError("there are no cells to ask about", "give some rows")
    if at.min() < -n_obs or at.max() >= n_obs:
        raise DataError(f"indices go beyond {n_obs} cells", "give rows of the data set")
    return np.where(at < 0, at + n_obs, at)


def refuse_new(setup: Setup, inputs: VAEInputs) -> None:
    """Refuse categories that the model does not know."""
    for key, groups in keys_of(inputs).items():
        if new := setup.new_categories(groups):
            raise DataError(
                f"obs[{key!r}] has {listed(map(repr, new))}, which the model does not know",
                "use load_query_data to add them to it, or leave these cells out",
            )
