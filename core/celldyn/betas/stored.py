"""Betas on the AnnData: written under their keys, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn import keys
from celldyn.betas.config import BetasConfig
from celldyn.betas.inputs import Floats
from celldyn.betas.results import BetasResult, ClusterFit
from celldyn.data import record
from celldyn.errors import DataError, MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData

SCHEMA = 1
_SCORES = ("r2", "heldout_r2", "seed_r2", "seed_heldout_r2")


def write_result(adata: AnnData, result: BetasResult) -> set[str]:
    """Write the betas of a gene on the AnnData, replacing those it had.

    Returns
    -------
    What was written, as "slot/name".

    Raises
    ------
    DataError
        If the AnnData has not the cells that were fitted.
    """
    if len(result.values) != adata.n_obs:
        raise DataError(
            f"the betas of {result.gene} are of {len(result.values)} cells, and there are "
            f"{adata.n_obs} now",
            "fit again",
        )
    adata.obsm[keys.BETAS(gene=result.gene)] = result.values
    home = dict(adata.uns.get(keys.CELLDYN.name, {}))
    home[keys.BETAS_INFO(gene=result.gene)] = {
        **describe(result),
        "columns": np.array(result.columns, dtype=object),
        "coefficients": result.coefficients,
    }
    adata.uns[keys.CELLDYN.name] = home
    record(
        adata,
        "betas.fit",
        config=result.config,
        seed=result.config.seed,
        seconds=result.seconds,
        inputs={"gene": result.gene},
    )
    parts = {"gene": result.gene}
    return {keys.BETAS.path(**parts), keys.BETAS_INFO.path(**parts), keys.RECORDS.path()}


def read_result(adata: AnnData, gene: str) -> BetasResult:
    """Return the betas of a gene that are on the AnnData.

    Raises
    ------
    MissingKeyError
        If it has none.
    DataError
        If they are damaged, or written by a later version.
    """
    name = keys.BETAS_INFO(gene=gene)
    home = adata.uns.get(keys.CELLDYN.name, {})
    if keys.BETAS(gene=gene) not in adata.obsm or name not in home:
        held = [key for key in home if key.startswith("betas_") and key != keys.BETAS_STORE.name]
        fitted = sorted(key.removeprefix("betas_") for key in held)
        known = f"it has those of {', '.join(fitted)}" if fitted else "it has none"
        raise MissingKeyError(f"the data set has no betas of {gene} ({known})", "fit them first")
    values = np.asarray(adata.obsm[keys.BETAS(gene=gene)], np.float64)
    try:
        info = home[name]
        return restore(info, np.asarray(info["coefficients"], np.float64), values)
    except DataError:  # a sentence of our own, though a ValueError too
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the betas of {gene} are damaged", "fit again") from error


def describe(result: BetasResult) -> dict[str, Any]:
    """Return all of a result but its arrays, as numbers and text that any file can hold.

    Names of sections and clusters are inside JSON, where "/" means nothing.
    """
    return {
        "schema": SCHEMA,
        "gene": result.gene,
        "modulators": json.dumps(list(result.modulators)),
        "kinds": json.dumps(list(result.kinds)),
        "scores": json.dumps([_row(fit) for fit in result.fits], allow_nan=False),
        "dropped": json.dumps({name: list(value) for name, value in result.dropped.items()}),
        "config": result.config.model_dump_json(),
        "species": result.species,
        "seconds": result.seconds,
        "notes": json.dumps(list(result.notes)),
        "radii": json.dumps(dict(result.radii)),
        "losses": json.dumps([list(losses) for losses in result.losses]),
    }


def restore(info: Mapping[str, Any], coefficients: Floats, values: Floats) -> BetasResult:
    """Return the result that `describe` described.

    Raises
    ------
    DataError
        If a later version wrote it.
    KeyError, TypeError, ValueError
        If the description is damaged or does not fit the arrays.
    """
    if int(info["schema"]) > SCHEMA:
        raise DataError("these betas were written by a later version", "install that version")
    result = BetasResult(
        gene=str(info["gene"]),
        modulators=tuple(json.loads(info["modulators"])),
        kinds=tuple(json.loads(info["kinds"])),
        values=values,
        fits=fits_of(info),
        coefficients=coefficients,
        dropped={name: tuple(gone) for name, gone in json.loads(info["dropped"]).items()},
        config=BetasConfig(**json.loads(info["config"])),
        species=str(info["species"]),
        seconds=float(info["seconds"]),
        notes=tuple(json.loads(info["notes"])),
        radii=json.loads(info.get("radii", "{}")),
        losses=tuple(tuple(losses) for losses in json.loads(info.get("losses", "[]"))),
    )
    width = 1 + len(result.modulators)
    if values.shape[1] != width or coefficients.shape != (len(result.fits), width):
        raise ValueError("shapes differ")
    return result


def fits_of(info: Mapping[str, Any]) -> tuple[ClusterFit, ...]:
    """Return how each cluster fared, from what `describe` described; raises as `restore` does."""
    return tuple(_fit(row) for row in json.loads(info["scores"]))


def _row(fit: ClusterFit) -> dict[str, Any]:
    row = {name: getattr(fit, name) for name in ClusterFit.__slots__}
    return row | {name: None if np.isnan(row[name]) else row[name] for name in _SCORES}


def _fit(row: dict[str, Any]) -> ClusterFit:
    given = {name: row.get(name) for name in _SCORES}
    scores = {name: float("nan") if x is None else float(x) for name, x in given.items()}
    return ClusterFit(**(row | scores))
