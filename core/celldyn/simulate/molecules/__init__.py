"""Molecules: where they lie, which leak, and tables of them."""

from __future__ import annotations

from celldyn.simulate.molecules.inputs import compartment_codes, molecule_inputs
from celldyn.simulate.molecules.leakage import (
    classify_leakage,
    counts_to_transcript_df,
    is_leaked,
    leak_distance,
    leak_probability,
)
from celldyn.simulate.molecules.parquet import write_transcripts, write_transcripts_job
from celldyn.simulate.molecules.rays import COMPARTMENTS
from celldyn.simulate.molecules.sampling import (
    iterate_molecules,
    molecule_stream_job,
    molecules,
    molecules_job,
)
from celldyn.simulate.molecules.table import Molecules

__all__ = [
    "COMPARTMENTS",
    "Molecules",
    "classify_leakage",
    "compartment_codes",
    "counts_to_transcript_df",
    "is_leaked",
    "iterate_molecules",
    "leak_distance",
    "leak_probability",
    "molecule_inputs",
    "molecule_stream_job",
    "molecules",
    "molecules_job",
    "write_transcripts",
    "write_transcripts_job",
]
