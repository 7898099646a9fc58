"""An environment as tensors and JSON in one safetensors file; never pickle.

A file may come from anywhere: shapes are held against the header before anything is built, and a
checksum over header and tensors tells a flipped byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.preprocessing import Preprocessing
from celldyn.errors import FileFormatError
from celldyn.persist import checksum, load_tensors, save_tensors, unpacking

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

FORMAT = "celldyn.environment"
VERSION = 1
SUFFIX = ".safetensors"

_POLICY, _PINNING, _PREPARED, _RESUME = "policy.", "pinning.", "preprocessing.", "resume."
_MASK = "train_mask"


def pack(
    fitted: FittedEnvironment, *, resume: bool = True
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return an environment as named arrays, and a header of plain values with their checksum.

    Parameters
    ----------
    fitted
        The environment.
    resume
        Whether what training needs to go on bit for bit is kept, which is most of a file.
    """
    tensors = {f"{_POLICY}{n}": _array(v) for n, v in fitted.policy.state_dict().items()}
    for k, network in enumerate(fitted.pinning):
        tensors |= {f"{_PINNING}{k}.{n}": _array(v) for n, v in network.state_dict().items()}
    arrays, prepared = fitted.preprocessing.to_state()
    tensors |= {f"{_PREPARED}{name}": np.ascontiguousarray(a) for name, a in arrays.items()}
    if resume:
        tensors |= {f"{_RESUME}{name}": _array(value) for name, value in fitted.resume.items()}
    if fitted.train_mask is not None:
        tensors[_MASK] = np.ascontiguousarray(fitted.train_mask, np.bool_)
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "config": fitted.config.model_dump(mode="json"),
        "preprocessing": prepared,
        "inputs": list(fitted.inputs),
        "targets": list(fitted.targets),
        "spatial": list(fitted.spatial),
        "obs_names": list(map(str, fitted.obs_names)),
        "history": [dict(row) for row in fitted.history],
        "updates": fitted.updates,
        "timesteps": fitted.timesteps,
        "notes": list(fitted.notes),
    }
    header["checksum"] = checksum(tensors, header)
    return tensors, header


def unpack(tensors: Tensors, header: Mapping[str, Any]) -> FittedEnvironment:
    """Return the environment that `pack` packed, on the CPU.

    Raises
    ------
    FileFormatError
        If it is something else, damaged, or written by a later version.
    """
    with unpacking(
        tensors, header, FORMAT, VERSION, what="the environment",
        kind="a virtual cell environment",
        remedy="give a .safetensors file that celldyn environment train or save wrote",
    ):  # fmt: skip
        return _restore(tensors, header)


def _restore(tensors: Tensors, header: Mapping[str, Any]) -> FittedEnvironment:
    config = EnvironmentConfig(**header["config"])
    preprocessing = Preprocessing.from_state(_under(_PREPARED, tensors), header["preprocessing"])
    inputs, targets, spatial = (
        _modalities(header[name], len(preprocessing.maps))
        for name in ("inputs", "targets", "spatial")
    )
    sizes = preprocessing.n_features
    policy = _policy(_under(_POLICY, tensors), config, sum(sizes[k] for k in inputs))
    pinning = tuple(
        _pinning(_under(f"{_PINNING}{at}.", tensors), config, sizes[k])
        for at, k in enumerate(targets)
    )
    names = tuple(map(str, header["obs_names"]))
    resume = {name: _tensor(array) for name, array in _under(_RESUME, tensors).items()}
    if any(not bool(torch.isfinite(value).all()) for value in resume.values()):
        raise ValueError(_RESUME)
    return FittedEnvironment(
        config, policy, pinning, preprocessing, inputs, targets, spatial,
        _mask(tensors, len(names)), names,
        [{str(key): float(value) for key, value in row.items()} for row in header["history"]],
        _number(header["updates"]), _number(header["timesteps"]),
        tuple(map(str, header["notes"])), resume,
    )  # fmt: skip


def _modalities(values: Any, n_modalities: int) -> tuple[int, ...]:  # noqa: ANN401
    found = tuple(map(_number, values))
    if list(found) != sorted(set(found)) or any(k >= n_modalities for k in found):
        raise ValueError("modalities")
    return found


def _number(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


def _mask(tensors: Tensors, n_names: int) -> NDArray[np.bool_] | None:
    mask = tensors.get(_MASK)
    if mask is None:
        return None
    if mask.dtype != np.bool_ or mask.ndim != 1 or (n_names and len(mask) != n_names):
        raise ValueError(_MASK)
    return np.array(mask)


def _policy(given: Tensors, config: EnvironmentConfig, n_features: int) -> Policy:
    """Return a policy; it is built without memory first, so that no header asks for too much."""
    with torch.device("meta"):
        policy = Policy(config.dim, n_features, config.policy, discrete=config.discrete)
    _fill(policy, given)
    return policy


def _pinning(given: Tensors, config: EnvironmentConfig, n_features: int) -> Pinning:
    with torch.device("meta"):
        network = Pinning(config.dim, n_features, config.policy)
    _fill(network, given)
    return network


def _fill(network: nn.Module, given: Tensors) -> None:
    """Give a network that has shapes and no memory the tensors of a file."""
    wanted = network.state_dict()
    if set(wanted) != set(given):
        raise ValueError("other tensors")
    for name, value in wanted.items():
        array = given[name]
        if tuple(value.shape) != array.shape or array.dtype != np.float32:
            raise ValueError(name)
        if not np.isfinite(array).all() or (name.endswith("square") and (array < 0).any()):
            raise ValueError(name)
    network.load_state_dict({n: _tensor(array) for n, array in given.items()}, assign=True)
    for parameter in network.parameters():
        parameter.requires_grad_(True)  # noqa: FBT003
    network.eval()


def _under(prefix: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _array(value: Tensor) -> NDArray[Any]:
    return np.array(value.detach().cpu().numpy(), order="C")


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array))


# --- files -----------------------------------------------------------------------------------


def save(fitted: FittedEnvironment, path: Path | str, *, resume: bool = True) -> Path:
    """Write an environment to one safetensors file, whole or not at all.

    Parameters
    ----------
    fitted
        The environment.
    path
        A name that ends in .safetensors.
    resume
        Whether training can go on from it bit for bit; without, the file is much smaller, and a
        training goes on from its networks alone.

    Raises
    ------
    FileFormatError
        If the name ends in something else, or the file cannot be written.
    """
    from celldyn.data.words import reason

    path = Path(path)
    if path.suffix != SUFFIX:
        raise FileFormatError(f"{path.name} is no name of a model", f"end it in {SUFFIX}")
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder", "give another name")
    tensors, header = pack(fitted, resume=resume)
    try:
        return save_tensors(path, tensors, header)
    except OSError as error:
        raise FileFormatError(
            f"{path} could not be written ({reason(error)})",
            "check that its folder can be written to and that the disk is not full",
        ) from error


def load(path: Path | str) -> FittedEnvironment:
    """Return the environment that `save` wrote, on the CPU.

    Raises
    ------
    FileFormatError
        If it is something else, damaged, or written by a later version.
    """
    return unpack(*load_tensors(path))
