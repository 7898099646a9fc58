"""A landscape as tensors and JSON: in one safetensors file, or inside an AnnData; never pickle.

A file may come from anywhere: shapes are held against the header before anything is built, and
a checksum over header and tensors tells a flipped byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.errors import ConfigError
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.fitted import FittedLandscape
from celldyn.landscape.graph import Csr
from celldyn.landscape.networks import Networks
from celldyn.landscape.walks import Walks
from celldyn.persist import checksum, load_tensors, save_tensors, unpacking

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

FORMAT = "celldyn.landscape"
VERSION = 1

_MODEL, _ADAM, _WALKS, _PRIOR = "model.", "adam.", "walks", "prior."
_ADAM_PARTS = ("step", "exp_avg", "exp_avg_sq")
_PRIOR_PARTS = ("data", "indices", "indptr")


@dataclass(frozen=True, slots=True, eq=False)
class SavedLandscape:
    """All that is kept of a model, so that its training can go on.

    Parameters
    ----------
    fitted
        The model.
    optimiser
        What Adam remembers: "step.<name>", "exp_avg.<name>", "exp_avg_sq.<name>" by parameter;
        empty where training is to start it afresh.
    walks
        (n_walks, path_len) cells that it is trained on; None where they are not kept.
    transition
        (n, n) chances that walks follow; None where they are not kept.
    cells
        Digest of the cells that walks and chances are of; see `digest`.
    """

    fitted: FittedLandscape
    optimiser: Mapping[str, Tensor] = field(default_factory=dict)
    walks: Walks | None = None
    transition: Csr | None = None
    cells: str = ""


def digest(names: Iterable[object]) -> str:
    """Return a short text that other names, or another order, do not have."""
    return hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()[:16]


def pack(saved: SavedLandscape) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return a model as named arrays, and a header of plain values with their checksum.

    Raises
    ------
    ConfigError
        If `cfg.model` was changed after the networks were made of it.
    """
    fitted = saved.fitted
    tensors = {f"{_MODEL}{n}": _array(v) for n, v in fitted.networks.state_dict().items()}
    tensors |= {f"{_ADAM}{name}": _array(value) for name, value in saved.optimiser.items()}
    if saved.walks is not None:
        tensors[_WALKS] = np.ascontiguousarray(saved.walks)
    if saved.transition is not None:
        for part in _PRIOR_PARTS:
            tensors[f"{_PRIOR}{part}"] = np.ascontiguousarray(getattr(saved.transition, part))
    try:
        _check_shapes(_bare(len(fitted.genes), fitted.cfg), _under(_MODEL, tensors))
    except ValueError as error:
        raise ConfigError(
            "cfg.model was changed after the model was made", "make another LSD for another cfg"
        ) from error
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "config": fitted.cfg.to_dict(),
        "genes": list(fitted.genes),
        "epoch": fitted.epoch,
        "history": [dict(row) for row in fitted.history],
        "best_epoch": fitted.best_epoch,
        "walks_seed": fitted.walks_seed,
        "notes": list(fitted.notes),
        "cells": saved.cells,
    }
    header["checksum"] = checksum(tensors, header)
    return tensors, header


def unpack(tensors: Tensors, header: Mapping[str, Any]) -> SavedLandscape:
    """Return the model that `pack` packed.

    Raises
    ------
    FileFormatError
        If it is something else, damaged, or written by a later version.
    """
    with unpacking(
        tensors, header, FORMAT, VERSION, what="the landscape", kind="a landscape",
        remedy="give what LSD.save wrote",
    ):  # fmt: skip
        return _restore(tensors, header)


def _restore(tensors: Tensors, header: Mapping[str, Any]) -> SavedLandscape:
    genes = tuple(map(str, header["genes"]))
    if len(set(genes)) != len(genes):
        raise ValueError("genes of one name")
    cfg = LSDConfig.from_dict(header["config"])
    networks = _networks(_under(_MODEL, tensors), len(genes), cfg)
    best, seed = header["best_epoch"], header["walks_seed"]
    fitted = FittedLandscape(
        networks=networks,
        cfg=cfg,
        genes=genes,
        epoch=_count(header["epoch"]),
        history=tuple({str(k): float(v) for k, v in row.items()} for row in header["history"]),
        best_epoch=None if best is None else _count(best),
        walks_seed=None if seed is None else _count(seed),
        notes=tuple(map(str, header["notes"])),
    )
    optimiser = _optimiser(_under(_ADAM, tensors), networks)
    walks, transition = _walks(tensors), _transition(tensors)
    return SavedLandscape(fitted, optimiser, walks, transition, str(header["cells"]))


def _count(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


def _bare(n_genes: int, cfg: LSDConfig) -> Networks:
    """Return networks that have shapes and no memory."""
    with torch.device("meta"):
        return Networks(n_genes, cfg)


def _networks(given: Tensors, n_genes: int, cfg: LSDConfig) -> Networks:
    """Return networks of given tensors.

    They are built without memory first, so that a header cannot ask for more than the file holds.
    """
    networks = _bare(n_genes, cfg)
    _check_shapes(networks, given)
    state = {name: _tensor(array) for name, array in given.items()}
    for name, value in state.items():
        if not torch.isfinite(value).all() or (name.endswith("running_var") and value.min() < 0):
            raise ValueError(name)
    networks.load_state_dict(state, assign=True)
    return networks.eval()


def _check_shapes(networks: Networks, given: Tensors) -> None:
    wanted = networks.state_dict()
    if set(wanted) != set(given):
        raise ValueError("other tensors")
    for name, value in wanted.items():
        kind = torch.from_numpy(np.empty(0, given[name].dtype)).dtype
        if tuple(value.shape) != given[name].shape or value.dtype != kind:
            raise ValueError(name)


def _optimiser(given: Tensors, networks: Networks) -> dict[str, Tensor]:
    shapes = {name: tuple(value.shape) for name, value in networks.named_parameters()}
    for name, array in given.items():
        part, _, parameter = name.partition(".")
        wanted = () if part == "step" else shapes[parameter]
        finite = array.dtype.kind == "f" and bool(np.isfinite(array).all())
        if part not in _ADAM_PARTS or array.shape != wanted or not finite:
            raise ValueError(name)
        if part != "exp_avg" and (array < 0).any():
            raise ValueError(name)
    return {name: _tensor(array) for name, array in given.items()}


def _walks(tensors: Tensors) -> Walks | None:
    walks = tensors.get(_WALKS)
    if walks is None:
        return None
    if walks.ndim != 2 or walks.dtype != np.int32 or walks.shape[1] < 2 or (walks < 0).any():
        raise ValueError(_WALKS)
    return np.array(walks)


def _transition(tensors: Tensors) -> Csr | None:
    from scipy import sparse

    from celldyn.landscape.prior import check_transition

    given = _under(_PRIOR, tensors)
    if not given:
        return None
    n = len(given["indptr"]) - 1
    whole = sparse.csr_array(tuple(given[part] for part in _PRIOR_PARTS), shape=(n, n))
    whole.check_format(full_check=True)
    return check_transition(whole)[0]


def _under(prefix: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _array(value: Tensor) -> NDArray[Any]:
    return np.array(value.detach().cpu().numpy(), order="C")


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array))


def save_model(path: Path | str, saved: SavedLandscape) -> Path:
    """Write a model to one safetensors file, whole or not at all."""
    tensors, header = pack(saved)
    return save_tensors(path, tensors, header)


def load_model(path: Path | str) -> SavedLandscape:
    """Return the model that `save_model` wrote.

    Raises
    ------
    FileFormatError
        If it is something else, damaged, or written by a later version.
    """
    return unpack(*load_tensors(path))
