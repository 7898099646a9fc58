"""Genes of a program model: their names, and how strongly each program drives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

from celldyn.simulate.inversion import Floats
from celldyn.simulate.streams import hash_bits, name_ids, stream_key, unit_interval

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig


def program_names(config: SimulationConfig) -> list[str]:
    """Return the names of the programs."""
    if config.programs:
        return [program.name for program in config.programs]
    return [f"program_{p}" for p in range(config.n_programs or 0)]


def resolve_gene_names(config: SimulationConfig) -> list[str]:
    """Return the names of the genes, in the order of the gene table.

    They are those of `gene_labels` where given. Else genes named by the programs come first, in
    the order in which they are first named, then `hk_0`, ...; loadings given as lists are of
    `gene_0`, ...; and where only the number of programs is given, genes are called after them.
    """
    if config.gene_labels:
        return list(config.gene_labels)
    if not config.programs:
        of_programs = [
            f"{name}_gene_{i}"
            for name in program_names(config)
            for i in range(config.n_genes_per_program)
        ]
        free = config.n_genes - len(of_programs)
        return of_programs + [f"hk_{i}" for i in range(free)]
    loadings = [program.loading for program in config.programs]
    if any(isinstance(loading, list) for loading in loadings):
        return [f"gene_{i}" for i in range(config.n_genes)]
    named = list(dict.fromkeys(gene for loading in loadings for gene in loading))
    return [str(gene) for gene in named] + [f"hk_{i}" for i in range(config.n_genes - len(named))]


def resolve_genes(config: SimulationConfig) -> tuple[list[str], list[str]]:
    """Return names and gene types: the program of the largest loading, or "hk" without one."""
    loadings, names = np.abs(program_loadings(config)), program_names(config)
    largest, driven = loadings.argmax(axis=0), loadings.max(axis=0) > 0
    kinds = [names[p] if known else "hk" for p, known in zip(largest, driven, strict=True)]
    return resolve_gene_names(config), kinds


def program_loadings(config: SimulationConfig) -> Floats:
    """Return W, (n_programs, n_genes): counts per unit of activation.

    Where only the number of programs is given, each has its own genes, with loadings from the
    prior of markers: an activation of 1 makes them as high as markers.
    """
    names = resolve_gene_names(config)
    rows = {name: i for i, name in enumerate(names)}
    if not config.programs:
        return _drawn_loadings(config, names)
    loadings = np.zeros((len(config.programs), len(names)))
    for p, program in enumerate(config.programs):
        given = program.loading
        if isinstance(given, list):
            loadings[p] = given
        else:
            loadings[p, [rows[gene] for gene in given]] = list(given.values())
    return loadings


def _drawn_loadings(config: SimulationConfig, names: list[str]) -> Floats:
    n_programs, each = config.n_programs or 0, config.n_genes_per_program
    own = np.arange(n_programs * each)
    key = stream_key(config.seed, "programs/loading")
    level = unit_interval(hash_bits(key, own // each, name_ids(names[: own.size])))
    shape = config.marker_cv**-2
    loadings = np.zeros((n_programs, len(names)))
    loadings[own // each, own] = gammaincinv(shape, level) * config.marker_mu / shape
    return loadings
