"""What was done to a data set, kept with it: one line of JSON for each step."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from celldyn import keys

if TYPE_CHECKING:
    from anndata import AnnData

_PACKAGES = ("anndata", "numpy", "pandas", "scipy", "torch")


def record(
    adata: AnnData,
    action: str,
    *,
    config: BaseModel | Mapping[str, Any],
    seed: int | None = None,
    device: str = "cpu",
    seconds: float | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> None:
    """Note on the data set that something was done to it.

    Parameters
    ----------
    adata
        The data set; `uns["celldyn"]["records"]` grows by one line.
    action
        What was done: "betas.fit", "simulate", ...
    config
        All parameters.
    seed, device, seconds
        The seed of its random numbers, where it ran, and for how long.
    inputs
        What else went in: files of prior knowledge, columns, layers.
    """
    line = {
        "action": action,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json") if isinstance(config, BaseModel) else config,
        "seed": seed,
        "device": str(device),
        "seconds": seconds,
        "inputs": dict(inputs or {}),
        "versions": _versions(),
    }
    held = adata.uns.get(keys.CELLDYN.name)
    root = dict(held) if isinstance(held, Mapping) else {}
    lines = [*_lines(root), json.dumps(line, default=_plain, ensure_ascii=False)]
    root[keys.RECORDS.name] = np.array(lines, dtype=object)
    adata.uns[keys.CELLDYN.name] = root


def records(adata: AnnData) -> list[dict[str, Any]]:
    """Return what was done to a data set, the first step first, without lines that are no JSON."""
    held = adata.uns.get(keys.CELLDYN.name)
    found = []
    for line in _lines(held if isinstance(held, Mapping) else {}):
        try:
            step = json.loads(line)
        except ValueError:
            continue
        if isinstance(step, dict):
            found.append(step)
    return found


def _lines(root: Mapping[str, Any]) -> list[str]:
    held = root.get(keys.RECORDS.name)
    return [] if held is None else [str(line) for line in np.atleast_1d(held)]


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Turn what JSON does not know into what it does."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def _versions() -> dict[str, str]:
    from celldyn import __version__

    return {"celldyn": __version__, "python": platform.python_version(), **_installed()}


@cache
def _installed() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
