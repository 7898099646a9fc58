"""The genes of a tissue wired by their betas: made once, then asked for any perturbation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.field import BetaField
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.perturbing.columns import Columns, ColumnTable
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.diffuse import Diffuser, diffuser_job
from celldyn.betas.perturbing.inputs import PerturbTissue
from celldyn.betas.perturbing.weights import Weights, shared_order, weights_job
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Pace, Progress, scaled

SILENT = 1e-9
"""Expression up to this sends and receives nothing."""

_VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Genes and complexes that models read, as functions of the genes that can change.

    Parameters
    ----------
    single
        (n_features,) the gene that a feature is; −1 if it is a complex, or never changes.
    complexes
        Position of each complex that can change, its parts that can, and the (n_cells,) minimum
        of those that cannot.
    plain
        (n_features, n_cells) expression at the start.
    active
        (n_features, n_cells), whether it counts as ligand or receptor; None if all do.
    """

    single: Ints
    complexes: tuple[tuple[int, Ints, Floats], ...]
    plain: Floats
    active: NDArray[np.bool_] | None

    def change(self, before: Floats, delta: Floats) -> Floats:
        """Return the (n_features, n_cells) change that goes with a change of the genes."""
        change = np.zeros(self.plain.shape)
        follows = np.flatnonzero(self.single >= 0)
        change[follows] = delta[self.single[follows]]
        for k, parts, rest in self.complexes:
            least = np.minimum((before[parts] + delta[parts]).min(axis=0), rest)
            moved = delta[parts].any(axis=0)
            change[k] = np.where(moved, least - self.plain[k], 0.0)
        return change

    def heard(self, plain: Floats) -> Floats:
        """Return expression without traces that send nothing."""
        return np.where(plain <= SILENT, 0.0, plain)

    def gated(self, heard: Floats) -> Floats:
        """Return expression as ligand or receptor: 0 where it does not count."""
        return heard if self.active is None else heard * self.active


@dataclass(frozen=True, slots=True, eq=False)
class Circuit:
    """All that perturbations of one tissue have in common.

    Cells are in an order in which those of a fit lie together; arrays are (genes or features or
    signals, cells).

    Parameters
    ----------
    order
        Cells of the data set in that order.
    start
        (n_genes, n_cells) expression before anything is done.
    low, high
        (n_genes,) bounds of each gene.
    features
        What the models read.
    columns
        The modulators of all genes.
    weights
        Coefficients of genes whose betas do not vary inside a fit.
    varying
        The other genes that respond.
    fields
        All betas.
    position
        Place of each gene.
    diffuser
        Kernels.
    received, received_tfl
        (n_signals, n_cells) received signals before anything is done.
    """

    order: Ints
    start: Floats
    low: Floats
    high: Floats
    features: Features
    columns: Columns
    weights: tuple[Weights, ...]
    varying: tuple[str, ...]
    fields: Mapping[str, BetaField]
    position: Mapping[str, int]
    diffuser: Diffuser
    received: Floats
    received_tfl: Floats

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.order)

    @property
    def responding(self) -> list[str]:
        """Genes that follow others."""
        names = {k: name for name, k in self.position.items()}
        constant = [names[int(k)] for weights in self.weights for k in weights.genes]
        return [*constant, *self.varying]


def circuit_job(tissue: PerturbTissue, config: PerturbConfig) -> Job[Circuit]:
    """Wire a tissue: neighbours, kernels, received signals, coefficients.

    Raises
    ------
    ConfigError
        If neighbours are too many, or a version of the reference shall compute what it cannot.
    """
    position = {gene: k for k, gene in enumerate(tissue.genes)}
    constant: dict[str, BetaField] = {}
    varying: list[str] = []
    table = ColumnTable()
    pace = Pace()
    for k, gene in enumerate(tissue.genes):
        if tissue.responds[k]:
            field = tissue.fields[gene]
            table.add(gene, field.modulators)
            if field.dense is None and config.beta_cap is None:
                constant[gene] = field
            else:
                varying.append(gene)
        if pace.due():
            yield Progress("betas", k / len(tissue.genes), 5)
    columns = table.columns(tissue.features)
    if config.version != "corrected":
        _one_reach_each(columns)
    order = shared_order(list(constant.values()), tissue.n_obs)
    gathering = weights_job(constant, position, columns, order, config.beta_scale_factor)
    weights = yield from scaled(gathering, 1, 5)
    radii = [signal.radius for side in (columns.lr, columns.tfl) for signal in side.signals]
    wiring = diffuser_job(tissue.xy[order], tissue.section_codes[order], radii, tissue.model)
    diffuser = yield from scaled(wiring, 2, 5)
    levels = yield from scaled(_ordered_job(tissue.expression, order), 2, 5)
    start, features = levels[: len(tissue.genes)], _features(tissue, levels, order)
    yield Progress("expression", 3, 5)
    heard = features.heard(features.plain)
    lr, tfl = columns.lr, columns.tfl
    sent = features.gated(heard)[lr.ligand]
    received = yield from scaled(diffuser.received_job(sent, lr.radius, "received ligands"), 3, 5)
    job = diffuser.received_job(heard[tfl.ligand], tfl.radius, "received ligands")
    received_tfl = yield from scaled(job, 4, 5)
    low, high = yield from scaled(_bounds_job(start), 4, 5)
    return Circuit(
        order=order,
        start=start,
        low=low if config.bounds == "range" else np.zeros(len(start)),
        high=high,
        features=features,
        columns=columns,
        weights=tuple(weights),
        varying=tuple(varying),
        fields=tissue.fields,
        position=position,
        diffuser=diffuser,
        received=received,
        received_tfl=received_tfl,
    )


def _ordered_job(levels: Floats, order: Ints) -> Job[Floats]:
    """Return (n_cells, n_names) values as (n_names, n_cells), cells in another order."""
    out = np.empty(levels.shape[::-1])
    step = max(_VALUES_AT_ONCE // max(levels.shape[1], 1), 1)
    for first in range(0, len(order), step):
        some = slice(first, first + step)
        out[:, some] = levels[order[some]].T
        yield Progress("expression", min(first + step, len(order)), len(order))
    return out


def _bounds_job(start: Floats) -> Job[tuple[Floats, Floats]]:
    """Return the lowest and the highest expression of each gene."""
    low, high = np.empty((2, len(start)))
    step = max(_VALUES_AT_ONCE // max(start.shape[1], 1), 1)
    for first in range(0, len(start), step):
        some = slice(first, first + step)
        low[some], high[some] = start[some].min(axis=1), start[some].max(axis=1)
        yield Progress("expression", min(first + step, len(start)), len(start))
    return low, high


def _features(tissue: PerturbTissue, levels: Floats, order: Ints) -> Features:
    n_genes = len(tissue.genes)
    single = np.full(len(tissue.features), -1, np.intp)
    plain = np.empty((len(tissue.features), len(order)))
    complexes = []
    for k, parts in enumerate(tissue.parts):
        plain[k] = levels[parts].min(axis=0)
        moving, still = parts[parts < n_genes], parts[parts >= n_genes]
        if len(parts) == 1:
            single[k] = parts[0] if len(moving) else -1
        elif len(moving):
            rest = levels[still].min(axis=0) if len(still) else np.full(len(order), np.inf)
            complexes.append((k, moving, rest))
    active = None if tissue.active is None else np.ascontiguousarray(tissue.active[order].T)
    return Features(single, tuple(complexes), plain, active)


def _one_reach_each(columns: Columns) -> None:
    """Refuse a ligand that reaches differently far for different genes."""
    reach: dict[str, float] = {}
    for signal in (*columns.lr.signals, *columns.tfl.signals):
        if reach.setdefault(signal.ligand, signal.radius) != signal.radius:
            raise ConfigError(
                f"{signal.ligand} reaches {reach[signal.ligand]:g} for some genes and "
                f"{signal.radius:g} for others, which SpaceTravLR does not know",
                "use version corrected",
            )
