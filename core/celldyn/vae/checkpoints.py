"""Where a training stands, in one file that it can go on from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from celldyn.errors import FileFormatError
from celldyn.persist import load_tensors, save_tensors
from celldyn.vae.config import TrainConfig
from celldyn.vae.course import History
from celldyn.vae.module import VAEModule

FORMAT = "vae checkpoint 1"
_MAY_CHANGE = frozenset(
    {
        "checkpoint", "checkpoint_every", "device", "max_epochs", "memory_budget_gb",
        "check_val_every_n_epoch", "validation_batch_size",
    }
)  # fmt: skip
"""What may differ between the training that wrote a checkpoint and the one that goes on."""

_ADAM = ("step", "exp_avg", "exp_avg_sq")


@dataclass(slots=True)
class Checkpoint:
    """Where a training stands.

    Parameters
    ----------
    done
        Epochs.
    history
        Of them.
    best
        Best validation loss, and its epoch; -1 before any.
    best_state
        The module's then; None where it is not kept.
    """

    done: int
    history: History
    best: tuple[float, int]
    best_state: dict[str, Tensor] | None


def save_checkpoint(
    path: str,
    module: VAEModule,
    optimiser: torch.optim.Adam,
    config: TrainConfig,
    point: Checkpoint,
) -> None:
    """Write module, optimiser and history, atomically."""
    tensors = {f"model/{name}": _array(value) for name, value in module.state_dict().items()}
    for k, parameter in enumerate(_parameters(optimiser)):
        state = optimiser.state[parameter]
        tensors |= {f"adam/{k}/{name}": _array(state[name]) for name in _ADAM if name in state}
    for name, value in (point.best_state or {}).items():
        tensors[f"best/{name}"] = _array(value)
    best, best_epoch = point.best
    header = {
        "format": FORMAT,
        "spec": module.spec.to_json(),
        "config": _fixed(config),
        "done": point.done,
        "history": point.history.to_json(),
        "best": [None if math.isinf(best) else best, best_epoch],
    }
    save_tensors(path, tensors, header)


def load_checkpoint(
    path: str, module: VAEModule, optimiser: torch.optim.Adam, config: TrainConfig
) -> Checkpoint | None:
    """Put module and optimiser where a checkpoint left them; None if there is no such file.

    Raises
    ------
    FileFormatError
        If the file is no checkpoint, or one of another model or training.
    """
    if not Path(path).exists():
        return None
    tensors, header = load_tensors(path)
    name = Path(path).name
    remedy = "give another file, or delete it to start afresh"
    if header.get("format") != FORMAT:
        raise FileFormatError(f"{name} is not a checkpoint of a VAE", remedy)
    if header.get("spec") != _plain(module.spec.to_json()):
        raise FileFormatError(f"{name} is a checkpoint of another model", remedy)
    if header.get("config") != _plain(_fixed(config)):
        raise FileFormatError(f"{name} was trained with other parameters", remedy)
    try:
        return _apply(tensors, header, module, optimiser)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FileFormatError(f"{name} is damaged", remedy) from error


def _apply(
    tensors: dict[str, Any],
    header: dict[str, Any],
    module: VAEModule,
    optimiser: torch.optim.Adam,
) -> Checkpoint:
    values = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    module.load_state_dict(_under("model/", values))
    for k, parameter in enumerate(_parameters(optimiser)):
        state = _under(f"adam/{k}/", values)
        if state:
            step = state.pop("step")
            placed = {name: value.to(parameter.device) for name, value in state.items()}
            if any(value.shape != parameter.shape for value in placed.values()):
                raise ValueError("the optimiser's state has another shape")
            optimiser.state[parameter] = {"step": step.to(parameter.device), **placed}
    best, best_epoch = header["best"]
    at = math.inf if best is None else float(best)
    history = History(**header["history"])
    return Checkpoint(
        int(header["done"]), history, (at, int(best_epoch)), _under("best/", values) or None
    )


def _under(prefix: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _parameters(optimiser: torch.optim.Adam) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(value.detach().cpu().numpy())


def _fixed(config: TrainConfig) -> dict[str, Any]:
    fields = TrainConfig.model_fields
    return {name: getattr(config, name) for name in fields if name not in _MAY_CHANGE}


def _plain(values: Any) -> Any:  # noqa: ANN401
    """Return what JSON makes of the values."""
    import json

    return json.loads(json.dumps(values))
