"""One Parquet file per screened gene: expression after the change, and what it came to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.inputs import PerturbTissue
from celldyn.persist import atomic_path
from celldyn.perturbation import Perturbation

_NOTE = b"celldyn"


@dataclass(frozen=True, slots=True, eq=False)
class ScreenFolder:
    """Where a screen keeps its genes.

    Parameters
    ----------
    folder
        The folder; made when the first gene is written.
    tissue, config
        What is screened, and how.
    label
        What is done to each gene, in a word.
    fingerprint
        Of the tissue and the parameters; a file with another one is not of this screen.
    """

    folder: Path
    tissue: PerturbTissue
    config: PerturbConfig
    label: str
    fingerprint: str

    @classmethod
    def of(
        cls, folder: Path | str, tissue: PerturbTissue, config: PerturbConfig, label: str
    ) -> ScreenFolder:
        """Take the fingerprint of a screen."""
        return cls(Path(folder), tissue, config, label, _fingerprint(tissue, config))

    def path(self, gene: str) -> Path:
        """Return the file of a gene: "<gene>_<steps>n_<what>.parquet"."""
        steps = self.config.n_propagation
        return self.folder / f"{gene.replace('/', '%2F')}_{steps}n_{self.label}.parquet"

    def write(
        self, gene: str, perturbation: Perturbation, delta: NDArray[np.float32], row: Floats
    ) -> None:
        """Write expression after the change, cells in rows and genes in columns, atomically."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        after = (self.tissue.levels + delta).astype(np.float32)
        names = list(self.tissue.genes)
        frame = pd.DataFrame(after, index=self.tissue.obs_names, columns=names)
        table = pa.Table.from_pandas(frame)
        note = {
            "same": self.fingerprint,
            "perturbation": perturbation.to_dict(),
            "row": row.tolist(),
        }
        held = {**(table.schema.metadata or {}), _NOTE: json.dumps(note).encode()}
        with atomic_path(self.path(gene)) as draft:
            pq.write_table(table.replace_schema_metadata(held), draft)

    def read(self, gene: str, perturbation: Perturbation) -> Floats | None:
        """Return what a gene came to, if its file is there and of the same screen."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.path(gene).is_file():
            return None
        try:
            note: Any = json.loads((pq.read_schema(self.path(gene)).metadata or {})[_NOTE])
            same = note["same"] == self.fingerprint
            same &= Perturbation.from_dict(note["perturbation"]) == perturbation
            row = np.array(note["row"], np.float64)
        except (KeyError, TypeError, ValueError, OSError, pa.ArrowException):
            return None  # another program's file, or a damaged one: it is computed again
        return row if same and row.shape[-1:] == (len(self.tissue.clusters),) else None


def _fingerprint(tissue: PerturbTissue, config: PerturbConfig) -> str:
    digest = hashlib.blake2b(digest_size=16)
    models = tissue.model.model_dump(mode="json", exclude={"target_gene"})
    said = [config.model_dump(mode="json"), models, tissue.genes, tissue.names, tissue.clusters]
    digest.update(json.dumps(said, default=str).encode())
    for array in (tissue.expression, tissue.xy, tissue.section_codes, tissue.cluster_codes):
        digest.update(np.ascontiguousarray(array).tobytes())
    if tissue.active is not None:
        digest.update(tissue.active.tobytes())
    for gene, field in tissue.fields.items():
        digest.update(gene.encode())
        digest.update(np.ascontiguousarray(field.coefficients).tobytes())
        digest.update(np.ascontiguousarray(field.fit_of_cell).tobytes())
    return digest.hexdigest()
