"""Sizes that gene programs imply, filled in before the parameters are validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MARKS = ("programs", "n_programs", "cell_type_specs")


def with_program_sizes(given: Mapping[str, Any], genes_per_program: int) -> dict[str, Any]:
    """Fill in what programs say and the user did not: genes, cell types and their names.

    What is there stays as it is, and what cannot be read is left for the validation to name.

    Parameters
    ----------
    given
        Parameters by name, as the user gave them.
    genes_per_program
        The default of `n_genes_per_program`.
    """
    values = dict(given)
    if values.get("expression_model") is None and any(values.get(mark) for mark in _MARKS):
        values["expression_model"] = "programs"
    if values.get("expression_model") != "programs":
        return values
    specs = values.get("cell_type_specs")
    if isinstance(specs, Mapping) and specs and values.get("celltype_labels") is None:
        values["celltype_labels"] = list(specs)
    sizes = {"n_celltype": _n_types(values), "n_genes": _n_genes(values, genes_per_program)}
    for name, implied in sizes.items():
        if values.get(name) is None and implied:
            values[name] = implied
    return values


def _n_types(values: Mapping[str, Any]) -> int | None:
    labels, programs = values.get("celltype_labels"), values.get("programs")
    if isinstance(labels, list | tuple):
        return len(labels)
    if isinstance(programs, list | tuple) and programs:
        return len(programs)
    n_programs = values.get("n_programs")
    return n_programs if isinstance(n_programs, int) else None


def _n_genes(values: Mapping[str, Any], genes_per_program: int) -> int | None:
    labels, programs = values.get("gene_labels"), values.get("programs")
    if isinstance(labels, list | tuple):
        return len(labels)
    n_free = values.get("n_hk_genes", 0)
    if not isinstance(n_free, int):
        return None
    if isinstance(programs, list | tuple) and programs:
        loadings = [_loading(program) for program in programs]
        listed = [len(loading) for loading in loadings if isinstance(loading, list | tuple)]
        if listed:
            return max(listed)
        by_gene = [loading for loading in loadings if isinstance(loading, Mapping)]
        return len({str(gene) for loading in by_gene for gene in loading}) + n_free
    n_programs = values.get("n_programs")
    each = values.get("n_genes_per_program", genes_per_program)
    if isinstance(n_programs, int) and isinstance(each, int):
        return n_programs * each + n_free
    return None


def _loading(program: Any) -> Any:  # noqa: ANN401
    if isinstance(program, Mapping):
        return program.get("loading")
    return getattr(program, "loading", None)
