"""Perturbations and screens of an environment on its data set: written, listed, read, deleted.

Shapes: n cells, d dimensions, T frames, q genes, r groups of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn import keys
from celldyn.data import record
from celldyn.environment.effects import ALL
from celldyn.environment.perturbed_cells import PerturbedCells
from celldyn.environment.result_shelf import (
    DAMAGE,
    checked_name,
    damaged,
    delete,
    get,
    names_of,
    put,
    rows_in,
    spread_out,
)
from celldyn.environment.screened import Screen

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_OF_SCREEN = ("effect", "length", "shift", "size", "control", "null", "n_cells")


@dataclass(frozen=True, slots=True, eq=False)
class StoredEffect:
    """What a data set holds of a perturbation.

    Parameters
    ----------
    name
        Its name.
    said
        What was done.
    times, course
        (T,) seconds, and mean distance between cells and their controls.
    shift, move
        (n,) and (n, d) of all cells of the data set; NaN in those that were not simulated.
    table
        Effect, length and shift by group of cells.
    changes
        Keys of what positions tell, with less without, as "slot/name".
    settings, report
        How it was done, and how it ended.
    """

    name: str
    said: tuple[str, ...]
    times: NDArray[np.float64]
    course: NDArray[np.float64]
    shift: NDArray[np.float32]
    move: NDArray[np.float32]
    table: pd.DataFrame
    changes: tuple[str, ...]
    settings: dict[str, Any]
    report: dict[str, Any]


def write_effect(
    adata: AnnData, effect: PerturbedCells, name: str, groups: ArrayLike | None = None
) -> set[str]:
    """Write a perturbation on its data set; one of the same name is replaced.

    Changes of told features of the data set's own names are a layer; those of other modalities,
    such as coordinates, are in obsm.

    Parameters
    ----------
    groups
        (m,) names of groups of the simulated cells, for the table; None: all cells only.

    Returns
    -------
    What was written, or was of the earlier one and taken off, as "slot/name".

    Raises
    ------
    DataError
        If cells of it are not in the data set, or the name is empty.
    """
    rows, name = rows_in(adata, effect.obs_names), checked_name(name)
    table = effect.table(groups)
    gone = delete_effect(adata, name) if name in effect_names(adata) else set()
    adata.obs[keys.ENVIRONMENT_SHIFT(name=name)] = spread_out(effect.shift, rows, adata.n_obs)
    adata.obsm[keys.ENVIRONMENT_MOVE(name=name)] = spread_out(effect.move, rows, adata.n_obs)
    written = {keys.ENVIRONMENT_SHIFT.path(name=name), keys.ENVIRONMENT_MOVE.path(name=name)}
    changes = []
    for k, change in effect.changes.items():
        values = spread_out(change, rows, adata.n_obs)
        if tuple(map(str, adata.var_names)) == tuple(effect.feature_names[k]):
            adata.layers[keys.ENVIRONMENT_DELTA(name=name)] = values
            changes.append(keys.ENVIRONMENT_DELTA.path(name=name))
        else:
            key = keys.ENVIRONMENT_DELTA_TOLD
            adata.obsm[key(name=name, modality=str(k))] = values
            changes.append(key.path(name=name, modality=str(k)))
    info = {
        "said": list(effect.said), "changes": changes, "settings": dict(effect.settings),
        "report": effect.report.to_dict(), "table": table.to_dict(orient="list"),
    }  # fmt: skip
    arrays = {"times": effect.times, "course": effect.course}
    put(adata, keys.ENVIRONMENT_PERTURBED, name, info, arrays)
    record(
        adata, "environment.perturb", config=dict(effect.settings),
        device=str(effect.settings.get("device", "cpu")), inputs={"said": list(effect.said)},
    )  # fmt: skip
    written |= {keys.ENVIRONMENT_PERTURBED.path(name=name), keys.RECORDS.path(), *changes}
    return written | gone


def read_effect(adata: AnnData, name: str) -> StoredEffect:
    """Return a perturbation that `write_effect` wrote.

    Raises
    ------
    MissingKeyError
        If there is none of that name.
    DataError
        If it is damaged, or a later version wrote it.
    """
    import pandas as pd

    info, arrays = get(adata, keys.ENVIRONMENT_PERTURBED, name)
    try:
        found = StoredEffect(
            name=name, said=tuple(map(str, info["said"])),
            times=np.asarray(arrays["times"], np.float64),
            course=np.asarray(arrays["course"], np.float64),
            shift=np.asarray(adata.obs[keys.ENVIRONMENT_SHIFT(name=name)], np.float32),
            move=np.asarray(adata.obsm[keys.ENVIRONMENT_MOVE(name=name)], np.float32),
            table=pd.DataFrame(info["table"]), changes=tuple(map(str, info["changes"])),
            settings=dict(info["settings"]), report=dict(info["report"]),
        )  # fmt: skip
        if found.times.shape != found.course.shape:
            raise ValueError("course")
    except DAMAGE as error:
        raise damaged(name) from error
    return found


def effect_names(adata: AnnData) -> list[str]:
    """List the perturbations that a data set holds."""
    return names_of(adata, keys.ENVIRONMENT_PERTURBED)


def delete_effect(adata: AnnData, name: str) -> set[str]:
    """Take a perturbation off its data set; return the keys that are gone."""
    try:
        info, _ = get(adata, keys.ENVIRONMENT_PERTURBED, name)
        changes = [str(path) for path in info.get("changes", ())]
    except DAMAGE:
        changes = []
    gone = {delete(adata, keys.ENVIRONMENT_PERTURBED, name)}
    own = [key.path(name=name) for key in (keys.ENVIRONMENT_SHIFT, keys.ENVIRONMENT_MOVE)]
    for path in (*own, *changes):
        slot, _, held = path.partition("/")
        # A header can name anything; only what is ours is taken off.
        if slot in ("obs", "obsm", "layers") and held.startswith("environment_"):
            table = getattr(adata, slot)
            if held in table:
                del table[held]
                gone.add(path)
    return gone


def write_screen(adata: AnnData, screen: Screen, name: str = "genes") -> set[str]:
    """Write a screen on its data set; one of the same name is replaced.

    Returns
    -------
    What was written, as "slot/name".
    """
    info = {
        "genes": list(screen.genes), "groups": list(screen.groups), "change": screen.change,
        "settings": dict(screen.settings), "notes": list(screen.notes),
        "seconds": float(screen.seconds),
    }  # fmt: skip
    arrays = {part: getattr(screen, part) for part in _OF_SCREEN}
    put(adata, keys.ENVIRONMENT_SCREEN, checked_name(name), info, arrays)
    record(
        adata, "environment.screen", config=dict(screen.settings), seconds=screen.seconds,
        inputs={"genes": len(screen.genes), "change": screen.change},
    )  # fmt: skip
    return {keys.ENVIRONMENT_SCREEN.path(name=name), keys.RECORDS.path()}


def read_screen(adata: AnnData, name: str = "genes") -> Screen:
    """Return a screen that `write_screen` wrote; raises as `read_effect` does."""
    info, arrays = get(adata, keys.ENVIRONMENT_SCREEN, name)
    try:
        genes, groups = tuple(map(str, info["genes"])), tuple(map(str, info["groups"]))
        q, r = len(genes), len(groups)
        if not groups or groups[0] != ALL:
            raise ValueError("groups")
        parts = {part: np.asarray(arrays[part], np.float64) for part in _OF_SCREEN[:6]}
        for part in ("effect", "length", "shift", "size"):
            if parts[part].shape != (q, r):
                raise ValueError(part)
        for part in ("control", "null"):
            parts[part] = parts[part].reshape(-1, r)
        return Screen(
            genes=genes, groups=groups,
            n_cells=np.asarray(arrays["n_cells"], np.int64).reshape(r),
            change=str(info["change"]), settings=dict(info["settings"]),
            notes=tuple(map(str, info["notes"])), seconds=float(info["seconds"]), **parts,
        )  # fmt: skip
    except DAMAGE as error:
        raise damaged(name) from error


def screen_names(adata: AnnData) -> list[str]:
    """List the screens that a data set holds."""
    return names_of(adata, keys.ENVIRONMENT_SCREEN)


def delete_screen(adata: AnnData, name: str) -> set[str]:
    """Take a screen off its data set; return the keys that are gone."""
    return {delete(adata, keys.ENVIRONMENT_SCREEN, name)}
