"""What must hold between the parameters of shapes and structures; each check raises ValueError."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

_AT_ONCE = 20_000
"""So many cells of structures are placed in some tenths of a second."""

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.specs.shapes import MorphologySpec, PrototypeSpecInstance


def check_shapes(config: SimulationConfig) -> None:
    """Check that morphologies belong to cell types of the tissue and have equal corners.

    Nucleus and cell share their rays, and all cells of a tissue theirs.

    Raises
    ------
    ValueError
        One sentence that names the field and both cell types.
    """
    names = config.celltype_names
    _known("celltype_morphology", config.celltype_morphology, names)
    own = config.celltype_morphology
    used: list[tuple[str, MorphologySpec]] = [
        (f"celltype_morphology of {name!r}", own[name])
        if name in own
        else (f"default_morphology (for {name!r})", config.default_morphology)
        for name in names
    ]
    for placed in config.placed_prototypes:
        spec = placed.spec
        _known(f"morphology of prototype {spec.name!r}", spec.morphology, names)
        used += [
            (f"morphology of {name!r} in prototype {spec.name!r}", morphology)
            for name, morphology in spec.morphology.items()
        ]
    first, reference = used[0]
    for other, morphology in used[1:]:
        if morphology.n_vertices != reference.n_vertices:
            raise ValueError(
                f"n_vertices must be the same for all cells: {first} has {reference.n_vertices}, "
                f"{other} has {morphology.n_vertices}"
            )


def check_prototypes(config: SimulationConfig) -> None:
    """Check that structures lie on their sections and hold the cells asked for.

    Places the structures' cells, which `place_prototypes` then takes as they are. Where they take
    what fits and are so large that this would hold a window up, it is left to the layout.

    Raises
    ------
    ValueError
        One sentence that names the structure and the bound.
    """
    if not config.prototypes:
        return
    for placed in config.placed_prototypes:
        _in_place(config, placed)
    from celldyn.simulate.shapes.structures import structures

    for section, room in enumerate(config.section_sizes):
        if _is_long_work(config, section):
            continue
        total = 0
        for found in structures(config, section):
            spec, n = config.placed_prototypes[found.number].spec, len(found.xy)
            if spec.n_cells is not None and n < spec.n_cells:
                raise ValueError(
                    f"prototypes: {spec.name!r} has room for {n} cells at min_distance_um = "
                    f"{config.min_distance_um:g}, not for {spec.n_cells}"
                )
            total += n
        if total > room:
            raise ValueError(
                f"prototypes have {total} cells in section {section}, which is more than its "
                f"{room} of n_cells = {config.n_cells}"
            )


def _is_long_work(config: SimulationConfig, section: int) -> bool:
    """Say whether a section's structures only take what fits, and that is very much."""
    from celldyn.simulate.shapes.patterns import spec_region

    here = [item.spec for item in config.placed_prototypes if item.section == section]
    if any(spec.n_cells is not None for spec in here):
        return False
    width, height = config.canvas_um
    area = sum(spec_region(spec, config.seed, "check").outline.area for spec in here)
    return bool(area * config.section_sizes[section] / (width * height) > _AT_ONCE)


def _in_place(config: SimulationConfig, placed: PrototypeSpecInstance) -> None:
    spec, (width, height) = placed.spec, config.canvas_um
    if placed.section >= config.n_sections:
        raise ValueError(
            f"prototypes: {spec.name!r} lies in section {placed.section}, and n_sections = "
            f"{config.n_sections} (the first is 0)"
        )
    if not (0 <= placed.x <= width and 0 <= placed.y <= height):
        raise ValueError(
            f"prototypes: {spec.name!r} at ({placed.x:g}, {placed.y:g}) lies outside the canvas "
            f"of {width:g} × {height:g} µm"
        )
    if spec.n_cells is not None and spec.n_cells > config.section_sizes[placed.section]:
        raise ValueError(
            f"prototypes: {spec.name!r} has {spec.n_cells} cells, which is more than the "
            f"{config.section_sizes[placed.section]} of its section (n_cells = {config.n_cells})"
        )
    _known(f"composition of prototype {spec.name!r}", spec.composition, config.celltype_names)


def _known(field: str, given: Iterable[str], names: list[str]) -> None:
    for name in given:
        if name not in names:
            raise ValueError(
                f"{field}: {name!r} is no cell type (there are {', '.join(names[:8])})"
            )
