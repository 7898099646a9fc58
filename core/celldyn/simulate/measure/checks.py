"""What must hold between the parameters of the measurement and those of the tissue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from celldyn.simulate.genes import gene_names

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.specs import SegmentationSpec


def check_measurement(config: SimulationConfig) -> None:
    """Check leakage, compartments, platforms and segmentation.

    Raises
    ------
    ValueError
        One sentence that names the parameter and its bound.
    """
    names, kinds = gene_names(config)
    genes = {*names, *(g.name for g in config.extra_genes), *(t.gene for t in config.targets)}
    types = {*kinds, *(gene.kind for gene in config.extra_genes)}
    if config.targets:
        types.add("target")
    if config.dynamics is not None:
        genes |= {*config.dynamics.gene_names}
        types.add("dynamic")
    _leakage(config)
    _known("compartments", config.compartments, genes | types, "gene or gene type")
    _platforms(config, genes)
    if config.segmentation is not None:
        _segmentation(config.segmentation)
    _ambient_share(config)


def _leakage(config: SimulationConfig) -> None:
    given = config.leakage_by_celltype
    if given is None:
        return
    if isinstance(given, dict):
        _known("leakage_by_celltype", given, config.celltype_names, "cell type")
    for value in given.values() if isinstance(given, dict) else [given]:
        if not 0 <= value <= 1:
            raise ValueError(f"leakage_by_celltype must be between 0 and 1 (given: {value})")


def _platforms(config: SimulationConfig, genes: set[str]) -> None:
    labels = Counter(platform.label for platform in config.platforms)
    for label, times in labels.items():
        if times > 1:
            raise ValueError(f"platforms: {times} are called {label!r}; give each a name")
    for platform in config.platforms:
        panel = platform.genes
        if panel is None:
            continue
        if not panel or len(set(panel)) < len(panel):
            raise ValueError(f"platforms: genes of {platform.label!r} must be some, each once")
        _known(f"platforms: {platform.label}", panel, genes, "gene of this simulation")


def _segmentation(spec: SegmentationSpec) -> None:
    rates = spec.merge_rate, spec.split_rate, spec.miss_rate
    # Sums such as 0.5 + 0.3 + 0.2 may be off by a bit.
    if sum(rates) > 1 + 1e-9:
        raise ValueError(
            f"segmentation: merge_rate + split_rate + miss_rate = {sum(rates):g} must be at most 1"
        )


def _ambient_share(config: SimulationConfig) -> None:
    spec = config.technical
    if spec is None or spec.ambient_share is None or spec.batch_by != "section":
        return
    if len(spec.ambient_share) != config.n_sections:
        raise ValueError(
            f"technical: ambient_share has {len(spec.ambient_share)} numbers; it must have "
            f"n_sections = {config.n_sections}"
        )


def _known(field: str, given: Iterable[str], known: Iterable[str], what: str) -> None:
    names = set(known)
    for name in given:
        if name not in names:
            some = ", ".join(sorted(names)[:8])
            raise ValueError(f"{field}: {name!r} is no {what} (there are {some})")
