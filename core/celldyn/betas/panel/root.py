"""What all genes of a store share: cells, clusters, parameters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celldyn.betas.inputs import Ints
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.fingerprint import fingerprint
from celldyn.betas.panel.inputs import PanelInputs
from celldyn.betas.panel.stored import damage
from celldyn.errors import ConfigError, FileFormatError
from celldyn.persist import atomic_path

KIND = "celldyn.betas.panel"
SCHEMA = 1
GENES = "genes"
"""The group that holds a group for each gene."""

_CELLS = "obs_names"


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """What all genes of a store share.

    Parameters
    ----------
    config
        The parameters that it was begun with.
    fingerprint
        What all its genes were fitted on (`fingerprint`).
    clusters, sections, species
        As in `PanelInputs`.
    skipped
        (gene, why) of those that could not be modelled when the store was begun.
    obs_names, fit_of_cell
        (n_obs,) names of the cells, and the row of the coefficients that each has.
    n_fits
        Number of rows.
    """

    config: PanelConfig
    fingerprint: str
    clusters: tuple[str, ...]
    sections: tuple[str, ...]
    species: str
    skipped: tuple[tuple[str, str], ...]
    obs_names: tuple[str, ...]
    fit_of_cell: Ints
    n_fits: int


def is_store(path: Path) -> bool:
    """Whether a folder is a store, damaged or not."""
    try:
        with (path / "zarr.json").open(encoding="utf-8") as file:
            return bool(json.load(file)["attributes"]["kind"] == KIND)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_root(path: Path, inputs: PanelInputs, config: PanelConfig) -> None:
    """Write a store without a gene in place of what is there."""
    import zarr

    names = json.dumps(inputs.obs_names).encode()
    with atomic_path(path) as draft:
        root = zarr.open_group(draft, mode="w-", zarr_format=3)
        root.create_group(GENES)
        root.create_array("fit_of_cell", data=inputs.fit_of_cell.astype(np.int32))
        # Text arrays have no settled form in zarr 3 yet.
        root.create_array(_CELLS, data=np.frombuffer(names, np.uint8))
        root.update_attributes(
            {
                "kind": KIND,
                "schema": SCHEMA,
                "config": config.model_dump_json(),
                "fingerprint": fingerprint(inputs, config),
                "clusters": list(inputs.clusters),
                "sections": list(inputs.sections),
                "species": inputs.species,
                "skipped": [list(row) for row in inputs.skipped],
                "n_fits": len(inputs.fits),
            }
        )


def read_root(path: Path) -> Root:
    """Read what all genes of a store share.

    Raises
    ------
    FileFormatError
        If the folder is no store, is damaged, or was written by a later version.
    """
    import zarr

    if not path.is_dir():
        raise FileFormatError(f"{path} is not there, or is no folder", "check the path")
    if not is_store(path):
        raise FileFormatError(
            f"{path.name} is no store of betas", "give a folder that `celldyn panel` wrote"
        )
    with damage(path, "its description"):
        root: Any = zarr.open_group(path, mode="r", zarr_format=3)
        about = dict(root.attrs)
        if int(about["schema"]) > SCHEMA:
            raise FileFormatError(
                f"{path.name} was written by a later version", "install that version"
            )
        n_fits = int(about["n_fits"])
        fit_of_cell = np.asarray(root["fit_of_cell"][:]).astype(np.intp)
        names = json.loads(np.asarray(root[_CELLS][:], np.uint8).tobytes())
        known = (fit_of_cell >= -1) & (fit_of_cell < n_fits)
        if fit_of_cell.shape != (len(names),) or not known.all():
            raise ValueError("cells")
        return Root(
            config=_config(path, json.loads(about["config"])),
            fingerprint=str(about["fingerprint"]),
            clusters=tuple(map(str, about["clusters"])),
            sections=tuple(map(str, about["sections"])),
            species=str(about["species"]),
            skipped=tuple((str(gene), str(why)) for gene, why in about["skipped"]),
            obs_names=tuple(map(str, names)),
            fit_of_cell=fit_of_cell,
            n_fits=n_fits,
        )


def _config(path: Path, held: dict[str, Any]) -> PanelConfig:
    try:
        return PanelConfig(**held)
    except ConfigError as error:
        raise FileFormatError(
            f"{path.name} has parameters that this version does not know: {error}",
            "install the version that wrote it",
        ) from error
