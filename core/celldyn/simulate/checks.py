"""What must hold between the parameters of a simulation; each check raises one sentence."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from celldyn.simulate.genes import check_gene_labels, gene_names, marker_rows
from celldyn.simulate.specs import PRIOR_NAMES, topological

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

_SUM_TOLERANCE = 1e-6
_LARGEST_CANVAS_UM = 1e6
_LARGEST_TABLE = 200_000_000
"""Means of the gene table: beyond, it alone takes gigabytes."""
_MOST_SPOTS = 20_000_000
_LARGEST_PRIOR = {"mu": 1e5, "cv": 100.0}
"""Beyond, counts leave what integers hold; as `GeneParameters` has it for all types together."""


def _programs(config: SimulationConfig) -> None:
    from celldyn.simulate import programs

    programs.check(config)


def _gene_numbers(config: SimulationConfig) -> None:
    values = config.n_celltype * config.n_genes
    if values > _LARGEST_TABLE:
        raise ValueError(
            f"n_celltype * n_genes = {values} must be at most {_LARGEST_TABLE}: the gene table "
            "has so many means"
        )
    typed = config.n_celltype * config.markers_per_type
    if typed + config.n_silence > config.n_genes:
        silent = f" + n_silence = {config.n_silence}" if config.n_silence else ""
        raise ValueError(
            f"n_celltype * n_markers = {config.n_celltype} * {config.markers_per_type}{silent} "
            f"is more than n_genes = {config.n_genes}"
        )


def _labels(config: SimulationConfig) -> None:
    for field, labels, wanted in (
        ("celltype_labels", config.celltype_names, config.n_celltype),
        ("domain_labels", config.domain_names, config.n_domains),
    ):
        if len(labels) != wanted or len(set(labels)) != wanted:
            raise ValueError(f"{field} must hold {wanted} different names (given: {labels})")


def _proportions(config: SimulationConfig) -> None:
    given = config.celltype_proportion
    if given is None:
        return
    if isinstance(given, dict):
        _known("celltype_proportion", given, config.celltype_names, "cell type")
        given = [given.get(name, 0.0) for name in config.celltype_names]
    if len(given) != config.n_celltype or min(given) < 0:
        raise ValueError(
            f"celltype_proportion must hold n_celltype = {config.n_celltype} numbers of at least "
            f"0 (given: {given})"
        )
    if abs(sum(given) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"celltype_proportion must sum to 1, not to {sum(given):.6g}")


def _canvas(config: SimulationConfig) -> None:
    if config.n_sections > config.n_cells:
        raise ValueError(
            f"n_sections = {config.n_sections} must be at most n_cells = {config.n_cells}"
        )
    if config.canvas_size is not None and config.density_per_mm2 is not None:
        raise ValueError("give canvas_size or density_per_mm2, not both")
    width, height = config.canvas_um
    if min(width, height) <= 0 or max(width, height) > _LARGEST_CANVAS_UM:
        raise ValueError(
            f"canvas_size must be greater than 0 and at most {_LARGEST_CANVAS_UM:g} µm "
            f"(given: {width:g} × {height:g})"
        )


def _theta(config: SimulationConfig) -> None:
    by_mean = config.theta_mu is not None or config.theta_cv is not None
    if by_mean and (config.theta_alpha, config.theta_rate) != (2.0, 1.0):
        raise ValueError("give theta_mu and theta_cv, or theta_alpha and theta_rate, not both")
    alpha = config.theta_mean_cv[1] ** -2
    if alpha <= 1.0:
        warnings.warn(
            f"the prior on theta has shape {alpha:.3g}: at 1 or below the expected Var/Mean is "
            "infinite, so single genes will be extremely noisy",
            UserWarning,
            stacklevel=2,
        )


def _celltype_priors(config: SimulationConfig) -> None:
    _known("celltype_priors", config.celltype_priors, config.celltype_names, "cell type")
    for celltype, own in config.celltype_priors.items():
        _known(f"celltype_priors.{celltype}", own, PRIOR_NAMES, "prior")
        for name, value in own.items():
            most = _LARGEST_PRIOR[name.rpartition("_")[2]]
            if not 0 < value <= most:
                raise ValueError(
                    f"celltype_priors.{celltype}.{name} must be greater than 0 and at most "
                    f"{most:g} (given: {value:g})"
                )


def _shared_markers(config: SimulationConfig) -> None:
    shared = config.shared_markers
    if isinstance(shared, float):
        if not 0 <= shared <= 1:
            raise ValueError(f"shared_markers must be between 0 and 1 (given: {shared})")
        return
    _known("shared_markers", shared, marker_rows(config), "marker gene")
    for gene, celltypes in shared.items():
        _known(f"shared_markers.{gene}", celltypes, config.celltype_names, "cell type")


def _leakage(config: SimulationConfig) -> None:
    given = config.leakage_by_gene
    if given is None:
        return
    if isinstance(given, list) and len(given) != config.n_genes:
        raise ValueError(
            f"leakage_by_gene has {len(given)} numbers; it must have n_genes = {config.n_genes}"
        )
    if isinstance(given, dict):
        rows = {*gene_names(config)[0], *range(config.n_genes)}
        _known("leakage_by_gene", given, rows, "gene")
        given = list(given.values())
    for value in given if isinstance(given, list) else [given]:
        if not 0 <= value <= 1:
            raise ValueError(f"leakage_by_gene must be between 0 and 1 (given: {value})")


def _regulation(config: SimulationConfig) -> None:
    sources = [*gene_names(config)[0], *(gene.name for gene in config.extra_genes)]
    if config.dynamics is not None:
        sources += config.dynamics.gene_names
    everything = [*sources, *(target.gene for target in config.targets)]
    name, times = Counter(everything).most_common(1)[0]
    if times > 1:
        raise ValueError(f"extra_genes and targets: {name!r} is named {times} times")
    known = set(everything)
    factors = [(gene.celltype_factor, gene.domain_factor) for gene in config.extra_genes]
    factors += [(target.celltype_factor, target.domain_factor) for target in config.targets]
    for by_celltype, by_domain in factors:
        _known("celltype_factor", by_celltype, config.celltype_names, "cell type")
        _known("domain_factor", by_domain, config.domain_names, "domain")
    for target in config.targets:
        _known(f"targets: {target.gene}", target.inputs, known, "gene of this simulation")
    topological(config.targets)


def _spots(config: SimulationConfig) -> None:
    area = config.canvas_um[0] * config.canvas_um[1] * config.n_sections
    for platform in config.platforms:
        kind = platform.kind
        name = {"visium": "pitch_um", "slideseq": "bead_um"}.get(kind)
        if name is not None and area / getattr(platform, name) ** 2 > _MOST_SPOTS:
            raise ValueError(
                f"platforms: {name} = {getattr(platform, name):g} of {platform.label!r} gives "
                f"more than {_MOST_SPOTS:,} places on this canvas"
            )


def _known(field: str, given: Iterable[object], known: Iterable[object], what: str) -> None:
    names = set(known)
    for name in given:
        if name not in names:
            some = ", ".join(str(n) for n in sorted(names, key=str)[:8])
            raise ValueError(f"{field}: {name!r} is no {what} (there are {some})")


def _parts(config: SimulationConfig) -> None:
    # Imported here: these rooms need the config's own module.
    from celldyn.simulate.dynamics import check_dynamics
    from celldyn.simulate.layout import check_layout
    from celldyn.simulate.measure.checks import check_measurement
    from celldyn.simulate.shapes.checks import check_prototypes, check_shapes

    check_dynamics(config)
    check_layout(config)
    check_shapes(config)
    check_prototypes(config)
    check_measurement(config)


ALL: tuple[Callable[[SimulationConfig], None], ...] = (
    _programs,
    check_gene_labels,
    _gene_numbers,
    _labels,
    _proportions,
    _canvas,
    _theta,
    _celltype_priors,
    _shared_markers,
    _leakage,
    _regulation,
    _spots,
    _parts,
)
"""In the order in which they are made: later ones rely on earlier ones."""
