"""Ready-made tissues: a name and a size give a whole config that can be changed further."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from celldyn.errors import ConfigError, MissingKeyError
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.presets import crypt, layers, simple, tree, tumour

__all__ = ["preset", "preset_descriptions", "preset_names"]

DEFAULT_CELLS = 2000
"""Cells of a preset when none are asked for: enough to see it, quick to make."""


class _Preset(NamedTuple):
    what: str
    values: Callable[[int], dict[str, Any]]


_PRESETS: dict[str, _Preset] = {
    "blank": _Preset("Three cell types all mixed: a start of one's own", simple.blank),
    "layers": _Preset("A cortex: six layers of neurons and glia", layers.values),
    "tumour-immune": _Preset(
        "A tumour with its immune ring, nests, a lymphoid follicle and vessels in a stroma",
        tumour.values,
    ),
    "crypt": _Preset(
        "Intestinal crypts whose cells mature from the base upwards along a known path",
        crypt.values,
    ),
    "gradient": _Preset(
        "Three cell types that replace each other across the tissue", simple.gradient
    ),
    "developmental tree": _Preset(
        "Cells that run down a tree of forks, whose branches are the cell types", tree.values
    ),
}


def preset_names() -> list[str]:
    """Return the names of the presets, the plainest first."""
    return list(_PRESETS)


def preset_descriptions() -> dict[str, str]:
    """Return what each preset is, in one line, by name."""
    return {name: each.what for name, each in _PRESETS.items()}


def preset(name: str, **changes: Any) -> SimulationConfig:  # noqa: ANN401
    """Return the config of a ready-made tissue.

    Parameters
    ----------
    name
        One of `preset_names()`.
    **changes
        Parameters of `SimulationConfig` that replace the preset's. With `n_cells` the canvas and
        the structures on it grow along, at the same density of cells.

    Returns
    -------
    A config of 2,000 cells unless `n_cells` says otherwise.

    Raises
    ------
    MissingKeyError
        If there is no preset of that name; it lists those there are.
    ConfigError
        If a change is unknown, out of its bounds, or does not fit the rest of the preset.
    """
    if name not in _PRESETS:
        raise MissingKeyError(
            f"there is no preset {name!r}", f"the presets are: {', '.join(_PRESETS)}"
        )
    n_cells = changes.get("n_cells", DEFAULT_CELLS)
    if isinstance(n_cells, str) and n_cells.strip().isdecimal():  # as a command line gives it
        n_cells = int(n_cells)
    if not isinstance(n_cells, int) or n_cells < 1:
        raise ConfigError(f"n_cells must be a whole number of at least 1 (given: {n_cells!r})")
    return SimulationConfig(**{**_PRESETS[name].values(n_cells), "n_cells": n_cells, **changes})
