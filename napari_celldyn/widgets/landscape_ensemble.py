"""Several models of different seeds, asked as one: their fates and effects pooled. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from celldyn.jobs import Job

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.landscape import LSD, LSDEnsemble
    from celldyn.landscape.ensemble import Consensus, PooledFates
    from celldyn.landscape.ensemble_effects import PooledEffect
    from celldyn.landscape.fate_table import CellFates
    from celldyn.landscape.perturbing.effect import PerturbationEffect
    from celldyn.perturbation import Perturbation

Models: TypeAlias = "tuple[LSD, ...]"
"""One model or several; the first is the one whose states are shown."""


def together(models: Models) -> LSDEnsemble:
    """Return several models as one that can be asked."""
    from celldyn.landscape import LSDEnsemble

    ensemble = LSDEnsemble.__new__(LSDEnsemble)
    ensemble.models, ensemble.adata = models, models[0].adata
    ensemble.seeds = tuple(model.cfg.walks.random_state for model in models)
    return ensemble


def consensus_job(models: Models) -> Job[Consensus | None]:
    """Return the pseudotime that several models agree on; None of one."""
    from celldyn.landscape import consensus_pseudotime

    if len(models) == 1:
        return None
    times = []
    for model in models:
        states = yield from model.states_job()
        times.append(states.pseudotime)
    return consensus_pseudotime(times)


def fates_job(
    models: Models,
    *,
    labels: AnnData,
    clusters: str,
    **how: Any,  # noqa: ANN401
) -> Job[CellFates | PooledFates]:
    """Find the fates of all cells, pooled where there are several models."""
    known = models[0].labels_of(labels, clusters)
    if len(models) == 1:
        return (yield from models[0].cell_fates_job(known, **how))
    return (yield from together(models).cell_fates_job(known, **how))


def effect_job(
    models: Models,
    *,
    perturbation: Perturbation,
    clusters: str,
    **how: Any,  # noqa: ANN401
) -> Job[PerturbationEffect]:
    """Follow cells with a perturbation and without, in every model; effects are pooled."""
    if len(models) == 1:
        job = models[0].perturb_effects_job(perturbation, clusters, **how)
        return (yield from job)
    pooled = yield from together(models).perturb_effects_job(perturbation, clusters, **how)
    return as_one(pooled)


def as_one(pooled: PooledEffect) -> PerturbationEffect:
    """Return a pooled effect as one that can be kept: means over models, their signs as notes."""
    first, n = pooled.by_seed[0], len(pooled.by_seed)
    each = [_over(one, pooled.names) for one in pooled.by_seed]
    before, after = (np.mean([pair[k] for pair in each], axis=0) for k in range(2))
    p_any = min(2 * float(np.mean([one.p_any for one in pooled.by_seed])), 1.0)
    signs = ", ".join(
        f"{name} {round(share * n)} of {n}"
        for name, share in zip(pooled.names, pooled.sign_agreement, strict=True)
    )
    notes = tuple(dict.fromkeys(note for one in pooled.by_seed for note in one.notes))
    return replace(
        first, names=pooled.names, before=before, after=after, effect=pooled.effect,
        low=pooled.low, high=pooled.high, p=pooled.p, p_any=p_any,
        se=np.full(before.shape, np.nan), null=np.empty((0, len(pooled.names))),
        notes=(*notes, f"mean of {n} models; of one sign in: {signs}"),
    )  # fmt: skip


def _over(one: PerturbationEffect, names: tuple[str, ...]) -> tuple[Any, Any]:
    """Return chances before and after, (m, f), in the order of names."""
    at = {name: k for k, name in enumerate(one.names)}
    columns = [at.get(name) for name in names]
    m = len(one.cells)
    return tuple(
        np.stack([np.zeros(m) if k is None else table[:, k] for k in columns], axis=1)
        for table in (one.before, one.after)
    )  # type: ignore[return-value]
