"""What results depend on, as short texts: whether a store belongs to a run is seen by them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.panel.inputs import PanelInputs, Target
from celldyn.jobs import Job, Pace, Progress

_FREE = {"device"}
"""Parameters that may change between two runs of one panel."""


def fingerprint(inputs: PanelInputs, config: ModelConfig) -> str:
    """Return the digest of the cells, their places, clusters and sections, and of the model."""
    parameters = {
        name: getattr(config, name) for name in ModelConfig.model_fields if name not in _FREE
    }
    texts = [parameters, inputs.obs_names, inputs.clusters, inputs.sections, inputs.species]
    arrays = [inputs.xy, inputs.cluster_codes, inputs.section_codes]
    return _digest(json.dumps(texts), *arrays)


def column_digests_job(inputs: PanelInputs) -> Job[dict[str, str]]:
    """Return the digest of what every cell has of each feature."""
    found: dict[str, str] = {}
    pace = Pace()
    for at, name in enumerate(inputs.features):
        arrays: list[NDArray[Any]] = [inputs.levels[:, at]]
        if inputs.active is not None:
            arrays.append(inputs.active[:, at])
        found[name] = _digest("", *arrays)
        if pace.due():
            yield Progress("reading", at, len(inputs.features))
    return found


def gene_digest(inputs: PanelInputs, target: Target, columns: Mapping[str, str]) -> str:
    """Return the digest of the target's expression, its modulators and what they read.

    Parameters
    ----------
    inputs
        The panel's inputs.
    target
        One of its targets.
    columns
        What `column_digests_job` returned.
    """
    m = target.modulators
    reach = {ligand: m.radii[ligand] for ligand, _ in (*m.lr, *m.tfl)}
    read = [columns[name] for name in (target.gene, *m.features)]
    texts = [target.gene, m.regulators, m.lr, m.tfl, reach, read]
    return _digest(json.dumps(texts), *(() if target.allowed is None else (target.allowed,)))


def _digest(text: str, *arrays: NDArray[Any]) -> str:
    digest = blake2b(text.encode(), digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()
