"""One perturbation, of any genes in any cells, and whether it does more than nothing.

Shapes: n cells, m followed, R runs, G genes, f fates, d dimensions of z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celldyn.devices import few_threads
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.graph import Floats
from celldyn.landscape.networks import Networks
from celldyn.landscape.perturbing.anchors import Expression
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.edits import Edit
from celldyn.landscape.perturbing.effect import PerturbationEffect
from celldyn.landscape.perturbing.measures import cell_weights, interval, moved
from celldyn.landscape.perturbing.nulls import housekeeping_genes, matched_edits, p_counted
from celldyn.landscape.perturbing.preparing import (
    Prepared,
    Subjects,
    expressed_job,
    prepare_job,
)
from celldyn.landscape.perturbing.reference import Jumps, Snapper
from celldyn.landscape.perturbing.runs import Shares
from celldyn.perturbation import Perturbation

_FEW = 0.05
"""Share of cells that express a gene below which a note says so."""


def perturb_job(
    networks: Networks,
    expression: Expression,
    z_cells: Tensor | ArrayLike,
    labels: ArrayLike,
    perturbation: Perturbation,
    genes: Sequence[str],
    cells: ArrayLike | None = None,
    *,
    config: PerturbConfig | None = None,
    housekeeping: Sequence[str] | None = None,
) -> Job[PerturbationEffect]:
    """Follow cells with a perturbation and without, and hold the change against a null.

    Held genes keep their level: at every `dt` a cell's state is put aside from where its other
    genes have it by what the held genes do to cells there, encode(x changed) − encode(x), so that
    what the encoder gets wrong cancels. With `perturbation.released_at` they are let go then, and
    cells flow on from where they are. Starts and noise are the same with the perturbation and
    without. An encoder follows any gene a little; so matched housekeeping genes are perturbed
    alike, in as many sets as `config.n_null`, and p says how often they do as much.

    Parameters
    ----------
    networks
        Of a trained model.
    expression
        Gives log-normalised expression, (len(cells), G), of cells by number.
    z_cells
        (n, d) states of all cells, as the model encodes them.
    labels
        (n,) their clusters, which are the fates.
    perturbation
        Which genes, to what; its `cells` count where `cells` is not given.
    genes
        (G,) names, as the model has them.
    cells
        (m,) which cells are followed, by number or as a mask.
    config
        How; see `PerturbConfig`.
    housekeeping
        Names of genes that no fate hangs on; None takes those whose expression tells clusters
        apart least.

    Raises
    ------
    MissingKeyError
        If a perturbed gene or a fate is not there.
    DataError
        If numbers of cells and genes do not fit, or there are too few housekeeping genes.
    ConfigError
        If k is more than the cells that vote, or genes are to be let go in the reference's way.
    """
    with few_threads():
        return (
            yield from _perturb_job(
                networks, expression, z_cells, labels, perturbation, genes, cells,
                PerturbConfig() if config is None else config, housekeeping,
            )
        )  # fmt: skip


def _perturb_job(
    networks: Networks,
    expression: Expression,
    z_cells: Tensor | ArrayLike,
    labels: ArrayLike,
    perturbation: Perturbation,
    genes: Sequence[str],
    cells: ArrayLike | None,
    config: PerturbConfig,
    housekeeping: Sequence[str] | None,
) -> Job[PerturbationEffect]:
    n_cells = int(np.asarray(labels, dtype=object).size)
    followed = perturbation.rows(n_cells) if cells is None else cells
    subjects = Subjects.of(networks, expression, z_cells, labels, genes, followed)
    edit = Edit.of(perturbation, subjects.genes)
    if config.mode == "reference" and perturbation.released_at is not None:
        raise ConfigError(
            "sclsd's way lets genes go after its jumps", "leave released_at out, or hold genes"
        )
    n_followed = 2 + config.n_null
    prepared = yield from prepare_job(subjects, config, perturbation.released_at, n_followed)
    nulls: list[Edit] = []
    if config.n_null:
        usable = housekeeping_genes(prepared.anchors, prepared.codes, subjects.genes, housekeeping)
        nulls = matched_edits(prepared.anchors, edit, usable, config.n_null, config.seed)
    yield Progress("flow without a change", 0, 2 + len(nulls))
    follow = _jumped_job if config.mode == "reference" else _held_job
    found = yield from follow(prepared, edit, nulls)
    expressed = yield from expressed_job(subjects, edit.genes)
    notes = _notes(prepared, perturbation, edit, expressed, found)
    return _effect(prepared, perturbation, found, notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Chances of fates, (m, R, f) of both runs, and of all sets of the null the mean change."""

    before: Shares
    after: Shares
    null: Floats
    names: tuple[str, ...]


def _held_job(prepared: Prepared, edit: Edit, nulls: list[Edit]) -> Job[_Found]:
    runs, total = prepared.runs, 2.0 + len(nulls)
    before = yield from runs.control_job(0, total)
    after = (yield from runs.perturbed_job([edit], 1, total))[0]
    names = runs.voters.names
    null = np.zeros((len(nulls), len(names)))
    at_once = max(1, _VALUES // before.size)
    for first in range(0, len(nulls), at_once):
        some = nulls[first : first + at_once]
        shares = yield from runs.perturbed_job(some, 2 + first, total)
        null[first : first + len(some)] = (shares - before).mean(axis=(1, 2), dtype=np.float64)
    return _Found(before, after, null, names)


_VALUES = 1 << 24
"""Shares of the null's cells that are held at once."""


def _jumped_job(prepared: Prepared, edit: Edit, nulls: list[Edit]) -> Job[_Found]:
    subjects, config = prepared.subjects, prepared.config
    jumps = Jumps(config.dt_pert, config.time, config.max_perturbations)
    snapper, total = Snapper(subjects, jumps), 2.0 + len(nulls)
    x = subjects.expression(subjects.cells)
    names, of_cell = np.unique(subjects.labels.astype(str), return_inverse=True)
    shares = []
    for k, one in enumerate([None, edit, *nulls]):
        ends = yield from snapper.job(x, one, k, total)
        shares.append(np.eye(len(names), dtype=np.float32)[of_cell[ends]][:, None])
    before, after = shares[0], shares[1]
    null = [(one - before).mean(axis=(0, 1), dtype=np.float64) for one in shares[2:]]
    return _Found(before, after, np.array(null).reshape(len(nulls), -1), tuple(map(str, names)))


def _effect(
    prepared: Prepared, perturbation: Perturbation, found: _Found, notes: tuple[str, ...]
) -> PerturbationEffect:
    config, subjects = prepared.config, prepared.subjects
    change = found.after - found.before
    m, R, f = change.shape
    per_cell = change.mean(axis=1)
    # Of a single cell its runs are drawn.
    drawn = per_cell if m > 1 else change[0]
    weights = cell_weights(len(drawn), config.n_bootstrap, config.seed)
    low, high = interval(drawn[None], weights)
    effect = per_cell.mean(axis=0, dtype=np.float64)
    null, none = found.null, np.full(f, np.nan)
    se = change.std(axis=1, ddof=1) / np.sqrt(R) if R > 1 else np.full((m, f), np.nan)
    of_moved = p_counted(moved(effect)[None], moved(null)[:, None])
    return PerturbationEffect(
        perturbation=perturbation,
        config=config,
        names=found.names,
        cells=subjects.cells,
        clusters=subjects.clusters(),
        before=found.before.mean(axis=1, dtype=np.float64),
        after=found.after.mean(axis=1, dtype=np.float64),
        effect=effect,
        low=low[0],
        high=high[0],
        se=np.asarray(se, np.float64),
        p=p_counted(effect, null) if len(null) else none,
        p_any=float(of_moved[0]) if len(null) else float("nan"),
        null=null,
        notes=notes,
    )


def _notes(
    prepared: Prepared,
    perturbation: Perturbation,
    edit: Edit,
    expressed: NDArray[np.bool_],
    found: _Found,
) -> tuple[str, ...]:
    said, m = prepared.notes(), len(expressed)
    for k, (gene, change) in enumerate(perturbation.genes.items()):
        n = int(expressed[:, k].sum())
        if change.offset == 0 and n <= _FEW * m:
            said.append(
                f"{gene} is expressed in {n} of the {m} cells: there is little to take away."
            )
    if 0 < len(found.null) < prepared.config.n_null:
        said.append(f"there are housekeeping genes for {len(found.null)} sets only.")
    if np.array_equal(found.before, found.after):
        said.append("no cell's fate changes at all.")
    released = perturbation.released_at
    if released is not None and released >= prepared.config.time:
        said.append("genes are let go after the end: they are held throughout.")
    return tuple(said)


def perturb_effects(
    networks: Networks,
    expression: Expression,
    z_cells: Tensor | ArrayLike,
    labels: ArrayLike,
    perturbation: Perturbation,
    genes: Sequence[str],
    cells: ArrayLike | None = None,
    *,
    config: PerturbConfig | None = None,
    housekeeping: Sequence[str] | None = None,
) -> PerturbationEffect:
    """Do the work of `perturb_job`, here and now."""
    job = perturb_job(
        networks, expression, z_cells, labels, perturbation, genes, cells, config=config,
        housekeeping=housekeeping,
    )  # fmt: skip
    return run(job, bar=False)
