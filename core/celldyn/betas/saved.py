"""A fitted model as one safetensors file without any cells: it loads on other tissue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats
from celldyn.betas.modulators import Modulators
from celldyn.betas.results import BetasResult
from celldyn.betas.stored import describe, restore
from celldyn.errors import DataError, FileFormatError
from celldyn.persist import load_tensors, save_tensors

FORMAT = "celldyn.betas"


def save_model(result: BetasResult, modulators: Modulators, folder: Path | str) -> Path:
    """Write `<folder>/<gene>_estimator.safetensors`, making the folder if need be."""
    header: dict[str, Any] = {
        "format": FORMAT,
        **describe(result),
        "regulators": list(modulators.regulators),
        "lr": [list(pair) for pair in modulators.lr],
        "tfl": [list(pair) for pair in modulators.tfl],
    }
    name = f"{result.gene.replace('/', '%2F')}_estimator.safetensors"
    tensors: dict[str, NDArray[Any]] = {"coefficients": result.coefficients}
    for k, state in enumerate(result.states):
        tensors |= {f"fit{k}/{part}": array for part, array in state.items()}
    return save_tensors(Path(folder) / name, tensors, header)


def load_model(path: Path | str) -> tuple[BetasResult, Modulators]:
    """Return the model of a file: a result of no cells, and its modulators.

    Raises
    ------
    FileFormatError
        If it is not a file that `save_model` wrote.
    DataError
        If a later version wrote it.
    """
    tensors, header = load_tensors(path)
    try:
        if header["format"] != FORMAT:
            raise ValueError(header["format"])
        coefficients: Floats = np.asarray(tensors["coefficients"], np.float64)
        modulators = Modulators(
            tuple(map(str, header["regulators"])),
            tuple((str(ligand), str(gene)) for ligand, gene in header["lr"]),
            tuple((str(ligand), str(gene)) for ligand, gene in header["tfl"]),
        )
        if isinstance(header["radii"], dict):  # as the first format had them
            header["radii"] = json.dumps(header["radii"])
        result = restore(header, coefficients, np.empty((0, coefficients.shape[1])))
        radii = {str(ligand): float(radius) for ligand, radius in result.radii.items()}
        modulators = replace(modulators, radii=radii)
        if list(result.modulators) != modulators.names:
            raise ValueError("modulators")
        states = tuple(_state(tensors, f"fit{k}/") for k in range(len(result.fits)))
        if any(states):
            result = replace(result, states=states)
    except DataError:  # written by a later version: a sentence of its own
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FileFormatError(
            f"{Path(path).name} is not an exported spatial-betas model",
            "give a file written by SpatialCellularProgramsEstimator.export",
        ) from error
    return result, modulators


def _state(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
