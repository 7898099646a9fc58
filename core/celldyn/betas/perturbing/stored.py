"""Perturbed tissues on the AnnData: written under their keys, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from celldyn import keys
from celldyn.betas.inputs import codes_of
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.results import PerturbResult
from celldyn.data import record
from celldyn.errors import DataError, MissingKeyError
from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    from anndata import AnnData

SCHEMA = 1
_SPARSE = 0.3
"""Share of numbers other than 0 up to which the layer is kept sparse."""
_MEASURES = ("mean", "mean_abs", "sd")


def write_perturbed(adata: AnnData, result: PerturbResult, name: str) -> set[str]:
    """Write a perturbed tissue on the AnnData, replacing one of the same name.

    `layers["betas_delta_<name>"]` has the change of every gene, float32, sparse where most of it
    is 0; `obs["betas_shift_<name>"]` the size of each cell's change; `uns["celldyn"]` what was
    done, and the effect on each cell type.

    Returns
    -------
    What was written, as "slot/name".

    Raises
    ------
    DataError
        If the AnnData has not the cells that were perturbed, or the name is empty.
    MissingKeyError
        If it has not all genes that changed.
    """
    if not name.strip():
        raise DataError("the perturbation has no name", "name it")
    if result.n_obs != adata.n_obs:
        raise DataError(
            f"{result.n_obs} cells were perturbed, and there are {adata.n_obs} now",
            "perturb again",
        )
    at = adata.var_names.get_indexer(list(result.genes))
    if (at < 0).any():
        gone = result.genes[int(np.argmin(at))]
        raise MissingKeyError(f"{gone} is not in the data set any more", "perturb again")
    adata.layers[keys.BETAS_DELTA(name=name)] = _layer(result, at, adata.n_vars)
    adata.obs[keys.BETAS_SHIFT(name=name)] = result.shift
    home = dict(adata.uns.get(keys.CELLDYN.name, {}))
    home[keys.PERTURBED(name=name)] = _describe(result, name)
    adata.uns[keys.CELLDYN.name] = home
    record(
        adata,
        "betas.perturb",
        config=result.config,
        seconds=result.seconds,
        inputs={"name": name, "perturbation": result.perturbation.to_dict()},
    )
    rows = (keys.BETAS_DELTA, keys.BETAS_SHIFT, keys.PERTURBED)
    return {*(row.path(name=name) for row in rows), keys.RECORDS.path()}


def perturbed_names(adata: AnnData) -> list[str]:
    """Return the names of the perturbed tissues on the AnnData, the oldest first."""
    home = adata.uns.get(keys.CELLDYN.name, {})
    if not isinstance(home, Mapping):
        return []
    info = [part for part in home.values() if isinstance(part, Mapping) and "perturbed" in part]
    names = [str(part["perturbed"]) for part in info]
    return [name for name in names if keys.BETAS_DELTA(name=name) in adata.layers]


def read_perturbed(adata: AnnData, name: str) -> PerturbResult:
    """Return a perturbed tissue that is on the AnnData.

    Raises
    ------
    MissingKeyError
        If there is none of that name, or a gene or the column of cell types is gone.
    DataError
        If it is damaged, or written by a later version.
    """
    if name not in perturbed_names(adata):
        known = ", ".join(perturbed_names(adata)) or "none"
        raise MissingKeyError(
            f"the data set has no perturbation {name!r} (it has {known})", "perturb first"
        )
    info = adata.uns[keys.CELLDYN.name][keys.PERTURBED(name=name)]
    try:
        if int(info["schema"]) > SCHEMA:
            raise DataError(f"{name!r} was written by a later version", "install that version")
        return _restore(adata, info, name)
    except (DataError, MissingKeyError):  # sentences of our own, though ValueErrors too
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the perturbation {name!r} is damaged", "perturb again") from error


def _layer(result: PerturbResult, at: Any, n_vars: int) -> Any:  # noqa: ANN401
    """Return the change as an (n_obs, n_vars) layer."""
    filled = np.count_nonzero(result.delta)
    if filled > _SPARSE * result.n_obs * n_vars:
        whole = np.zeros((result.n_obs, n_vars), np.float32)
        whole[:, at] = result.delta
        return whole
    by_gene = np.argsort(at)
    compact: Any = csr_matrix(result.delta[:, by_gene])
    indices = at[by_gene][compact.indices]
    return csr_matrix((compact.data, indices, compact.indptr), shape=(result.n_obs, n_vars))


def _describe(result: PerturbResult, name: str) -> dict[str, Any]:
    """Return all of a result but its layer, as numbers and text that any file can hold."""
    measures = result.moments(result.cluster_codes, len(result.clusters))
    return {
        "schema": SCHEMA,
        "perturbed": name,
        "perturbation": json.dumps(result.perturbation.to_dict()),
        "config": result.config.model_dump_json(),
        "genes": np.array(result.genes, object),
        "steps": result.steps,
        "mean_expression": result.mean_expression,
        "responds": result.responds,
        "heldout_r2": result.heldout_r2,
        "cluster_annot": json.dumps(result.cluster_annot),
        "clusters": json.dumps(list(result.clusters)),
        "effects": dict(zip(_MEASURES, measures, strict=True)),
        "layer": json.dumps(result.layer),
        "seconds": result.seconds,
        "notes": json.dumps(list(result.notes)),
    }


def _restore(adata: AnnData, info: Mapping[str, Any], name: str) -> PerturbResult:
    genes = tuple(str(gene) for gene in np.atleast_1d(info["genes"]))
    at = adata.var_names.get_indexer(list(genes))
    if (at < 0).any():
        raise MissingKeyError(
            f"{genes[int(np.argmin(at))]} is not in the data set any more", "perturb again"
        )
    layer: Any = adata.layers[keys.BETAS_DELTA(name=name)][:, at]
    delta = layer.toarray() if hasattr(layer, "toarray") else np.asarray(layer)
    cluster_annot = json.loads(info["cluster_annot"])
    codes, clusters = codes_of(adata, cluster_annot)
    return PerturbResult(
        perturbation=Perturbation.from_dict(json.loads(info["perturbation"])),
        config=PerturbConfig(**json.loads(info["config"])),
        genes=genes,
        delta=np.asarray(delta, np.float32),
        steps=np.atleast_1d(np.asarray(info["steps"], np.float64)),
        mean_expression=np.atleast_1d(np.asarray(info["mean_expression"], np.float64)),
        responds=np.atleast_1d(np.asarray(info["responds"], bool)),
        heldout_r2=np.atleast_1d(np.asarray(info["heldout_r2"], np.float64)),
        cluster_codes=codes,
        clusters=clusters,
        cluster_annot=cluster_annot,
        layer=json.loads(info["layer"]),
        seconds=float(info["seconds"]),
        notes=tuple(json.loads(info["notes"])),
    )
