"""Chances of fates as colours: each fate's own where it is certain, grey where it is open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.categories import named, obs_column
from celldyn.data.palette import category_colours, default_colours
from celldyn.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

OPEN = 0.55
"""Grey, in [0, 1], of a cell whose fates are all alike."""

UNCERTAIN = 0.7
"""Share of grey at least, where the data do not tell the fate apart."""


def fate_names(adata: AnnData) -> list[str]:
    """Return the fates in the order of the columns of their chances; empty if not known."""
    return _names(_home(adata).get(keys.FATE_INFO.name))


def effect_fates(adata: AnnData, key: str) -> list[str]:
    """Return the fates that a perturbation changes, in the order of the columns of its changes.

    Parameters
    ----------
    adata
        With a perturbation in the landscape.
    key
        Of obsm, as "landscape_effect_<name>".
    """
    prefix = keys.LANDSCAPE_EFFECT(name="")
    held = _home(adata).get(keys.LANDSCAPE_PERTURBED(name=key.removeprefix(prefix)))
    return _names(held.get("info") if isinstance(held, Mapping) else None)


def _home(adata: AnnData) -> Mapping[str, Any]:
    home = adata.uns.get(keys.CELLDYN.name)
    return home if isinstance(home, Mapping) else {}


def _names(held: Any) -> list[str]:  # noqa: ANN401
    """Return the names in what is kept of fates, plain or as JSON."""
    if isinstance(held, str):
        try:
            held = json.loads(held)
        except ValueError:
            return []
    found = held.get("names", ()) if isinstance(held, Mapping) else ()
    return [str(name) for name in found]


def fate_colours(adata: AnnData, names: list[str]) -> list[str]:
    """Return "#rrggbb" of each fate: that of its cells where they are coloured by fate."""
    colours = default_colours(len(names))
    if keys.FATE.name not in adata.obs:
        return colours
    held = named(obs_column(adata, keys.FATE.name)).categories
    stored = category_colours(adata, keys.FATE.name)
    known = dict(zip((str(name) for name in held), stored, strict=True))
    return [known.get(name, colour) for name, colour in zip(names, colours, strict=True)]


def blend(
    chances: NDArray[np.floating], colours: list[str], certain: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return a colour for each cell, mixed of those of its fates.

    Colours are mixed as light is, by their chances. Grey is mixed in by the entropy of the
    chances over its maximum, and more of it where the fate is not certain.

    Parameters
    ----------
    chances
        (n, f), 0 or more; rows are brought to a sum of 1. A row without any is grey.
    colours
        f times "#rrggbb".
    certain
        (n,) whether the data tell the fate apart.

    Returns
    -------
    (n, 4) RGBA in [0, 1].
    """
    p = np.nan_to_num(np.asarray(chances, np.float64), nan=0.0)
    if p.ndim != 2 or p.shape[1] != len(colours):
        raise DataError(
            f"chances of shape {p.shape} and {len(colours)} colours do not fit each other",
            "give a colour for each fate",
        )
    total = p.sum(axis=1, keepdims=True)
    p = np.divide(p, total, out=np.full_like(p, 1.0 / max(len(colours), 1)), where=total > 0)
    own = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]) / 255.0
    mixed = (p @ own**2.2) ** (1 / 2.2)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum(np.where(p > 0, p * np.log(p), 0.0), axis=1)
    grey = entropy / np.log(max(len(colours), 2))
    if certain is not None:
        grey = np.where(np.asarray(certain, bool), grey, np.maximum(grey, UNCERTAIN))
    rgb = mixed + grey[:, None] * (OPEN - mixed)
    return np.column_stack([np.clip(rgb, 0.0, 1.0), np.ones(len(rgb))]).astype(np.float32)
