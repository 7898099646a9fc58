"""What must hold between the parameters of a program model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from celldyn.simulate.programs.genes import program_names, resolve_gene_names

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

_SUM_TOLERANCE = 1e-6


def check(config: SimulationConfig) -> None:
    """Refuse programs that do not fit each other, the genes or the cell types.

    Raises
    ------
    ValueError
        One sentence that names the parameter and its bound.
    """
    if config.expression_model != "programs":
        if config.programs or config.n_programs or config.cell_type_specs:
            raise ValueError(
                "programs, n_programs and cell_type_specs need expression_model = 'programs'"
            )
        return
    if bool(config.programs) == (config.n_programs is not None):
        raise ValueError("expression_model = 'programs' needs either programs or n_programs")
    _require_unique("programs", program_names(config))
    _sizes(config)
    _loadings(config)
    _types(config)


def _sizes(config: SimulationConfig) -> None:
    given = config.n_genes
    if config.n_programs is not None:
        wanted = config.n_programs * config.n_genes_per_program + config.n_hk_genes
        if given != wanted:
            raise ValueError(
                f"n_genes = {given} must be n_programs * n_genes_per_program + n_hk_genes = "
                f"{wanted}; leave it out"
            )
        return
    loadings = [program.loading for program in config.programs]
    if any(isinstance(loading, list) for loading in loadings):
        return
    n_named = len({gene for loading in loadings for gene in loading})
    free = config.n_hk_genes
    if given < n_named or (free and given != n_named + free):
        raise ValueError(
            f"n_genes = {given} must be the {n_named} genes that programs name + n_hk_genes = "
            f"{free}; leave it out"
        )


def _loadings(config: SimulationConfig) -> None:
    names = resolve_gene_names(config)
    _require_unique("genes of the programs", names)
    for program in config.programs:
        if isinstance(program.loading, list):
            if len(program.loading) != config.n_genes:
                raise ValueError(
                    f"programs: the loading of {program.name!r} has {len(program.loading)} "
                    f"numbers; it must have n_genes = {config.n_genes}"
                )
        else:
            _require_known(f"programs: {program.name}", program.loading, names, "gene")


def _types(config: SimulationConfig) -> None:
    specs, programs = config.cell_type_specs, program_names(config)
    if not specs:
        return
    if set(specs) != set(config.celltype_names):
        raise ValueError(
            f"cell_type_specs must hold the types {', '.join(config.celltype_names)} "
            f"(given: {', '.join(specs)})"
        )
    for name, spec in specs.items():
        given = spec.program_activations
        if isinstance(given, dict):
            _require_known(f"cell_type_specs: {name}", given, programs, "program")
        elif len(given) != len(programs):
            raise ValueError(
                f"cell_type_specs: {name!r} has {len(given)} activations; it must have one for "
                f"each of {len(programs)} programs"
            )
    _proportions(config)


def _proportions(config: SimulationConfig) -> None:
    shares = [spec.proportion for spec in config.cell_type_specs.values()]
    given = [share for share in shares if share is not None]
    if not given:
        return
    if config.celltype_proportion is not None:
        raise ValueError("give celltype_proportion, or a proportion in cell_type_specs, not both")
    if len(given) < len(shares):
        raise ValueError("cell_type_specs must give a proportion to all types or to none")
    if abs(sum(given) - 1) > _SUM_TOLERANCE:
        raise ValueError(
            f"the proportions of cell_type_specs must sum to 1, not to {sum(given):.6g}"
        )


def _require_unique(field: str, names: list[str]) -> None:
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{field}: {name!r} is named {times} times")


def _require_known(field: str, given: Iterable[str], known: list[str], what: str) -> None:
    for name in given:
        if name not in known:
            some = ", ".join(known[:8])
            raise ValueError(f"{field}: {name!r} is no {what} (there are {some})")
