"""Reading, checking and writing a tissue; what colours it; prior knowledge; samples.

Every name is imported when it is first used, so that `import celldyn.data` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.data import samples
    from celldyn.data.categories import labels, type_columns
    from celldyn.data.check import check_tissue, require_counts
    from celldyn.data.columns import Column, Source, column, sources
    from celldyn.data.elements import MoleculeTable, Polygons, RadialPolygons
    from celldyn.data.elements_molecules import (
        molecules_of_frame,
        read_molecules,
        read_molecules_job,
    )
    from celldyn.data.elements_placing import Placing
    from celldyn.data.elements_sources import (
        ElementSource,
        element_sources,
        outline_sources,
        radial_outlines,
        read_domains,
        read_outlines,
        read_outlines_job,
        table_of,
    )
    from celldyn.data.embed import embedding, embedding_keys, umap_input, umap_job
    from celldyn.data.genes import expression, find_gene, gene_column
    from celldyn.data.grn import read_grn
    from celldyn.data.ligand_receptor import read_ligand_receptors
    from celldyn.data.palette import MISSING_COLOUR, category_colours
    from celldyn.data.provenance import record, records
    from celldyn.data.reading import read
    from celldyn.data.search import NameIndex
    from celldyn.data.sections import (
        propose_section,
        section_columns,
        section_key,
        set_section_key,
        side_by_side,
    )
    from celldyn.data.spatial import (
        coordinate_candidates,
        coordinates,
        set_unit,
        um_per_unit,
        use_coordinates,
    )
    from celldyn.data.writing import write

__all__ = [
    "MISSING_COLOUR",
    "Column",
    "ElementSource",
    "MoleculeTable",
    "NameIndex",
    "Placing",
    "Polygons",
    "RadialPolygons",
    "Source",
    "category_colours",
    "check_tissue",
    "column",
    "coordinate_candidates",
    "coordinates",
    "element_sources",
    "embedding",
    "embedding_keys",
    "expression",
    "find_gene",
    "gene_column",
    "labels",
    "molecules_of_frame",
    "outline_sources",
    "propose_section",
    "radial_outlines",
    "read",
    "read_domains",
    "read_grn",
    "read_ligand_receptors",
    "read_molecules",
    "read_molecules_job",
    "read_outlines",
    "read_outlines_job",
    "record",
    "records",
    "require_counts",
    "samples",
    "section_columns",
    "section_key",
    "set_section_key",
    "set_unit",
    "side_by_side",
    "sources",
    "table_of",
    "type_columns",
    "um_per_unit",
    "umap_input",
    "umap_job",
    "use_coordinates",
    "write",
]

_HOME = {
    "ElementSource": "elements_sources",
    "MoleculeTable": "elements",
    "Placing": "elements_placing",
    "Polygons": "elements",
    "RadialPolygons": "elements",
    "element_sources": "elements_sources",
    "molecules_of_frame": "elements_molecules",
    "outline_sources": "elements_sources",
    "radial_outlines": "elements_sources",
    "read_domains": "elements_sources",
    "read_molecules": "elements_molecules",
    "read_molecules_job": "elements_molecules",
    "read_outlines": "elements_sources",
    "read_outlines_job": "elements_sources",
    "table_of": "elements_sources",
    "MISSING_COLOUR": "palette",
    "Column": "columns",
    "NameIndex": "search",
    "Source": "columns",
    "category_colours": "palette",
    "check_tissue": "check",
    "column": "columns",
    "coordinate_candidates": "spatial",
    "coordinates": "spatial",
    "use_coordinates": "spatial",
    "expression": "genes",
    "find_gene": "genes",
    "gene_column": "genes",
    "labels": "categories",
    "read": "reading",
    "read_grn": "grn",
    "read_ligand_receptors": "ligand_receptor",
    "record": "provenance",
    "records": "provenance",
    "require_counts": "check",
    "propose_section": "sections",
    "section_columns": "sections",
    "section_key": "sections",
    "set_section_key": "sections",
    "set_unit": "spatial",
    "side_by_side": "sections",
    "sources": "columns",
    "type_columns": "categories",
    "um_per_unit": "spatial",
    "embedding": "embed",
    "embedding_keys": "embed",
    "umap_input": "embed",
    "umap_job": "embed",
    "write": "writing",
}
"""Public name to its file. No file is called as a function is, or importing it would hide that."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "samples":
        return import_module("celldyn.data.samples")
    if name in _HOME:
        return getattr(import_module(f"celldyn.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
