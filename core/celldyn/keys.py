"""Every key that celldyn reads or writes on an AnnData, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Slot = Literal["obs", "var", "obsm", "varm", "obsp", "layers", "uns"]


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table.

    Parameters
    ----------
    slot
        The part of the AnnData.
    name
        The key; `{gene}` and the like are filled in by calling the row.
    system
        Who writes it: "user", "data", or a system.
    what
        Shape, unit and meaning.
    """

    slot: Slot
    name: str
    system: str
    what: str

    def __call__(self, **parts: str) -> str:
        """Fill in the name; "/" would make a folder inside the file, so it is escaped."""
        return self.name.format(**{k: v.replace("/", "%2F") for k, v in parts.items()})

    def path(self, **parts: str) -> str:
        """Slot and name, as in "obsm/betas_Myc": what jobs claim and workspaces announce."""
        return f"{self.slot}/{self(**parts)}"


SPATIAL = Key("obsm", "spatial", "user", "(n_obs, 2 or 3) coordinates; unit in uns['celldyn']")
CELLDYN = Key("uns", "celldyn", "data", "the root of all that follows in uns")
UNIT = Key("uns", "spatial_unit", "data", "in uns['celldyn']: 'um' or 'unknown'")
UM_PER_UNIT = Key("uns", "um_per_unit", "data", "in uns['celldyn']: µm of one coordinate unit")
SECTION = Key("uns", "section_key", "data", "in uns['celldyn']: obs column naming the section")
RECORDS = Key("uns", "records", "data", "in uns['celldyn']: (n_records,) JSON lines, provenance")
TRUTH = Key("uns", "truth", "simulate", "ground truth of a simulated tissue, with schema version")
COLOURS = Key("uns", "{column}_colors", "data", "(n_categories,) hex colours, scanpy's convention")

BETAS = Key(
    "obsm",
    "betas_{gene}",
    "betas",
    "(n_obs, 1 + n_modulators) float64 coefficients of one target gene; 0 where skipped",
)
BETAS_INFO = Key(
    "uns",
    "betas_{gene}",
    "betas",
    "in uns['celldyn']: columns, scores, held-out scores and config of one target gene",
)

TABLE: tuple[Key, ...] = (
    SPATIAL,
    CELLDYN,
    UNIT,
    UM_PER_UNIT,
    SECTION,
    RECORDS,
    TRUTH,
    COLOURS,
    BETAS,
    BETAS_INFO,
)
"""The table. A system adds its rows here, and nowhere else spells a key."""
