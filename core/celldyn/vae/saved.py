"""A model as tensors and JSON: in one safetensors file, or inside an AnnData; never pickle.

A file may come from anywhere: shapes are held against the header before anything is built, and
a checksum over header and tensors tells a flipped byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.errors import ConfigError
from celldyn.persist import atomic_path, checksum, load_tensors, save_tensors, unpacking
from celldyn.vae.config import ModelConfig, TrainConfig
from celldyn.vae.fitted import FittedVAE
from celldyn.vae.module import VAEModule
from celldyn.vae.setup_record import Setup
from celldyn.vae.spec import ModuleSpec, Sizes

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

FORMAT = "celldyn.vae"
VERSION = 1
MODEL_FILE = "model.safetensors"

_ESTIMATE = "estimate."
_MODEL = "model."


def pack(fitted: FittedVAE) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return a model as named arrays, and a header of plain values with their checksum."""
    tensors = {
        f"{_MODEL}{name}": np.array(value.detach().cpu().numpy(), order="C")
        for name, value in fitted.module.state_dict().items()
    }
    names = fitted.module.modalities
    for name, values in fitted.estimates.items():
        tensors[f"{_ESTIMATE}{names.index(name)}"] = np.ascontiguousarray(values)
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "spec": fitted.module.spec.to_json(),
        "n_obs": fitted.module.n_obs,
        "setup": json.loads(fitted.setup.to_json()),
        "config": fitted.config.model_dump(mode="json"),
        "train": None if fitted.train is None else fitted.train.model_dump(mode="json"),
        "history": [dict(row) for row in fitted.history],
        "best_epoch": fitted.best_epoch,
        "notes": list(fitted.notes),
        "trainable": _plain_rows(fitted.trainable),
    }
    header["checksum"] = checksum(tensors, header)
    return tensors, header


def unpack(tensors: Tensors, header: Mapping[str, Any]) -> FittedVAE:
    """Return the model that `pack` packed.

    Raises
    ------
    FileFormatError
        If it is something else, damaged, or written by a later version.
    """
    with unpacking(
        tensors, header, FORMAT, VERSION, what="the model", kind="a model of the VAE",
        remedy="give what AmbientRegularizedSCVI.save or RegularizedMultimodalVI.save wrote",
    ):  # fmt: skip
        setup = Setup.from_json(json.dumps(header["setup"]))
        module = _module(tensors, header, setup)
        return FittedVAE(
            module=module,
            setup=setup,
            config=ModelConfig(**header["config"]),
            train=None if header["train"] is None else TrainConfig(**header["train"]),
            history=tuple(
                {str(key): float(value) for key, value in row.items()} for row in header["history"]
            ),
            best_epoch=None if header["best_epoch"] is None else int(header["best_epoch"]),
            estimates=_estimates(tensors, module),
            notes=tuple(map(str, header["notes"])),
            trainable=_rows(header["trainable"], module),
        )


def _module(tensors: Tensors, header: Mapping[str, Any], setup: Setup) -> VAEModule:
    """Build the module of a header, whose shapes must be those of the tensors.

    It is built without memory first, so that a header cannot ask for more than the file holds.
    """
    spec = ModuleSpec.from_json(header["spec"])
    _check_spec(spec, setup)
    given = {
        name.removeprefix(_MODEL): value
        for name, value in tensors.items()
        if name.startswith(_MODEL)
    }
    n_values = sum(value.size for value in given.values())
    for part in spec.modalities:
        depth = part.config.n_layers * part.config.n_hidden**2
        if max(part.n_features, part.config.n_hidden, depth // 4) > n_values:
            raise ValueError("shapes beyond the file")
    with torch.device("meta"):
        module = VAEModule(spec)
    wanted = module.state_dict()
    if set(wanted) != set(given):
        raise ValueError("other tensors")
    for name, value in wanted.items():
        array = given[name]
        kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
        if tuple(value.shape) != array.shape or value.dtype != kind:
            raise ValueError(name)
    state = {name: torch.from_numpy(np.array(array)) for name, array in given.items()}
    module.load_state_dict(state, assign=True)
    for parameter in module.parameters():
        parameter.requires_grad_(True)  # noqa: FBT003
    module.n_obs = int(header["n_obs"])
    return module.eval()


def _check_spec(spec: ModuleSpec, setup: Setup) -> None:
    """Hold the spec against the setup: they must speak of the same features and categories."""
    for part, held in zip(spec.modalities, setup.modalities, strict=True):
        if part.name != held.name or part.n_features != len(held.features):
            raise ValueError(part.name)
    if spec.sizes != sizes_of(setup) or spec.learns_library != (setup.roles.size_factor is None):
        raise ValueError("sizes")


def sizes_of(setup: Setup) -> Sizes:
    """Return how many categories a setup has for each purpose."""
    roles, held = setup.roles, setup.categories

    def total(keys: tuple[str, ...]) -> int:
        return sum(len(held[key]) for key in keys)

    return Sizes(
        ambient=total(roles.ambient),
        scaling=total(roles.scaling),
        conditioning=total(roles.conditioning),
        encoder=total(roles.encoder),
        dispersion=len(held[roles.dispersion]),
        library=len(held[roles.library]),
        batch=1 if roles.batch is None else len(held[roles.batch]),
        continuous=len(roles.continuous),
    )


def _plain_rows(
    trainable: Mapping[str, tuple[int, ...] | None] | None,
) -> dict[str, list[int] | None] | None:
    if trainable is None:
        return None
    return {name: None if rows is None else list(rows) for name, rows in trainable.items()}


def _rows(held: Any, module: VAEModule) -> dict[str, tuple[int, ...] | None] | None:  # noqa: ANN401
    if held is None:
        return None
    sizes = {name: len(value) for name, value in module.named_parameters() if value.ndim}
    found: dict[str, tuple[int, ...] | None] = {}
    for name, rows in held.items():
        chosen = None if rows is None else tuple(int(row) for row in rows)
        if any(not 0 <= row < sizes[name] for row in chosen or ()):
            raise ValueError(name)
        found[str(name)] = chosen
    return found


def _estimates(tensors: Tensors, module: VAEModule) -> dict[str, NDArray[np.float64]]:
    found = {}
    for m, name in enumerate(module.modalities):
        values = tensors.get(f"{_ESTIMATE}{m}")
        if values is None:
            continue
        if values.shape != (module.spec.sizes.ambient, 3):
            raise ValueError("estimates")
        found[name] = np.asarray(values, np.float64)
    return found


# --- files -----------------------------------------------------------------------------------


def save_model(
    fitted: FittedVAE,
    path: Path | str,
    *,
    data: Any = None,  # noqa: ANN401
    overwrite: bool = False,
) -> Path:
    """Write a model to a folder, or to one file if the path ends with .safetensors.

    Parameters
    ----------
    fitted
        The model.
    path
        The folder or file.
    data
        AnnData or MuData that is written into the folder, too; None for none.
    overwrite
        Whether what is there is replaced.

    Raises
    ------
    ConfigError
        If something is there already, or data are to go into a single file.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} is there already", "give overwrite=True, or another path")
    tensors, header = pack(fitted)
    if path.suffix == ".safetensors":
        if data is not None:
            raise ConfigError(
                f"{path.name} is one file, and save_anndata wants another", "give a folder"
            )
        return save_tensors(path, tensors, header)
    with atomic_path(path) as draft:
        draft.mkdir()
        save_tensors(draft / MODEL_FILE, tensors, header)
        if data is not None and hasattr(data, "mod"):
            import mudata  # type: ignore[import-untyped]

            with mudata.set_options(pull_on_update=False):
                data.write_h5mu(draft / "mdata.h5mu")
        elif data is not None:
            data.write_h5ad(draft / "adata.h5ad")
    return path


def load_model(path: Path | str) -> FittedVAE:
    """Return the model that `save_model` wrote.

    Raises
    ------
    FileFormatError
        If it is something else, damaged, or written by a later version.
    """
    path = Path(path)
    file = path / MODEL_FILE if path.is_dir() else path
    return unpack(*load_tensors(file))
