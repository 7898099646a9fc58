"""What was seen of virtual cells, written on the tissue or as a table of its own. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.environment.steady import SteadyReport, SteadyTest
from celldyn.errors import DataError
from celldyn.jobs import Job

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment.fitted import FittedEnvironment
    from celldyn.environment.perturbed_cells import PerturbedCells
    from celldyn.environment.results import EnvironmentResult
    from napari_celldyn.widgets.environment_live import Shot, View
    from napari_celldyn.widgets.environment_opening import Opened

MAX_FRAMES = 200
"""Of a table of frames; of more every k-th is taken."""


def write_model(adata: AnnData, fitted: FittedEnvironment) -> set[str]:
    """Write an environment on its tissue; what was asked of an earlier one goes.

    Returns
    -------
    What was written or taken off, as "slot/name".
    """
    from celldyn.environment.quality_results import delete_quality
    from celldyn.environment.result_shelf import put_home
    from celldyn.environment.results import (
        delete_effect,
        delete_screen,
        describe,
        effect_names,
        screen_names,
    )

    gone: set[str] = delete_quality(adata)
    for name in effect_names(adata):
        gone |= delete_effect(adata, name)
    for name in screen_names(adata):
        gone |= delete_screen(adata, name)
    put_home(adata, keys.ENVIRONMENT_INFO.name, describe(fitted))
    return gone | {keys.ENVIRONMENT_INFO.path()}


def sources_of(adata: AnnData, n: int) -> tuple[str, ...]:
    """Return of which parts of a tissue its environment's n modalities are, as was recorded.

    Where that is not known they are taken to be the usual ones: X, then places.
    """
    from celldyn.data.provenance import records

    for entry in reversed(records(adata)):
        held = entry.get("inputs", {}).get("modalities", ())
        if entry.get("action") == "environment.train" and len(held) == n:
            return tuple(map(str, held))
    usual = ("X", f"obsm/{keys.SPATIAL.name}")
    return usual[:n] if n <= len(usual) else ("X",) * n


def result_job(opened: Opened, shot: Shot, *, steady: bool) -> Job[EnvironmentResult]:
    """Return where the cells are that were left alone, and what that tells.

    Parameters
    ----------
    opened
        The cells.
    shot
        When.
    steady
        Whether they had come to rest.
    """
    from celldyn.environment.results import EnvironmentResult
    from celldyn.errors import NotFittedError

    manager, view = opened.manager, shot.plain
    try:
        train: NDArray[np.bool_] | None = manager.get_mask()
    except NotFittedError:
        train = None
    told = yield from _told_job(opened, view)
    return EnvironmentResult(
        manager.fitted.to("cpu"), manager.obs_names, view.position, view.velocity, told,
        _report(view, shot.time, reached=steady), train=train, seed=opened.cells.seed,
    )  # fmt: skip


def effect_job(
    opened: Opened, shots: Sequence[Shot], said: tuple[str, ...]
) -> Job[PerturbedCells]:
    """Return what was seen of a perturbation, beside the cells that were left alone.

    Parameters
    ----------
    opened
        The cells.
    shots
        In order of time; those before anything was perturbed are left out.
    said
        What was done.

    Raises
    ------
    DataError
        If nothing was perturbed, or no time has passed since.
    """
    from celldyn.environment.perturbed_cells import PerturbedCells

    both = [(shot.time, shot.plain, shot.changed) for shot in shots if shot.changed is not None]
    if len(both) < 2:
        raise DataError(
            "nothing was seen of a perturbation", "perturb something and let the cells go on"
        )
    began, end = both[0][0], both[-1]
    before = yield from _told_job(opened, end[1])
    after = yield from _told_job(opened, end[2])
    maps = opened.manager.fitted.preprocessing.maps
    return PerturbedCells(
        said=said or ("let go",),
        obs_names=opened.manager.obs_names,
        times=np.array([time - began for time, _, _ in both]),
        positions=np.stack([changed.position for _, _, changed in both]),
        control=np.stack([plain.position for _, plain, _ in both]),
        changes={k: after[k] - before[k] for k in after},
        feature_names={k: tuple(maps[k].names) for k in after},
        report=_report(end[2], end[0] - began), control_report=_report(end[1], end[0] - began),
        settings={"time": float(end[0] - began), "seed": opened.cells.seed},
    )  # fmt: skip


def frames_table(opened: Opened, shots: Sequence[Shot]) -> AnnData:
    """Return shots as a table: a row for each cell at each time, with what positions tell.

    obs has cell, time (s) and "world" (left alone, or perturbed); obsm has the positions and
    velocities in the environment, and the places in the tissue where these are told.

    Raises
    ------
    DataError
        If there are no shots.
    """
    import pandas as pd
    from anndata import AnnData

    if not shots:
        raise DataError("there are no frames", "let the cells live for a while")
    some = list(shots)[:: -(-len(shots) // MAX_FRAMES)]
    views: list[tuple[float, str, View]] = []
    for shot in some:
        views.append((shot.time, "left alone", shot.plain))
        if shot.changed is not None:
            views.append((shot.time, "perturbed", shot.changed))
    names = np.array(opened.manager.obs_names, object)
    n, m = len(names), len(views)
    obs = pd.DataFrame(
        {
            "cell": np.tile(names, m),
            "time": np.repeat([time for time, _, _ in views], n),
            "world": pd.Categorical(np.repeat([world for _, world, _ in views], n)),
        },
        index=[f"{name}@{k}" for k in range(m) for name in names],
    )
    made = AnnData(obs=obs)
    made.obsm[keys.ENVIRONMENT.name] = np.concatenate([view.position for _, _, view in views])
    made.obsm[keys.ENVIRONMENT_VELOCITY.name] = np.concatenate([v.velocity for _, _, v in views])
    places = [view.place for _, _, view in views]
    if all(place is not None for place in places):
        made.obsm[keys.SPATIAL.name] = np.concatenate(places)  # type: ignore[arg-type]
    return made


def _told_job(opened: Opened, view: View) -> Job[dict[int, NDArray[np.float32]]]:
    """Return what positions tell of every target; places are laid onto the tissue as seen."""
    from celldyn.environment.telling import tell_job

    manager = opened.manager
    found: dict[int, Any] = {}
    placing = opened.cells.placing
    for k in manager.fitted.targets:
        if placing is not None and k == placing.modality and view.place is not None:
            found[k] = view.place
        else:
            found[k] = yield from tell_job(manager.fitted, view.position, k, device=manager.device)
    return found


def _report(view: View, time: float, *, reached: bool | None = None) -> SteadyReport:
    test = SteadyTest()
    speed = float(np.linalg.norm(view.velocity, axis=1).mean())
    at_rest = speed < test.tolerance if reached is None else reached
    return test.report(reached=at_rest, time=round(time, 9), speed=speed, steps=0)
