"""A landscape on its data set: written under its keys, with the model itself, and read back.

Shapes: n cells, d dimensions of the cell state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data import record
from celldyn.data.words import counted
from celldyn.errors import DataError, FileFormatError, NotFittedError
from celldyn.landscape.course import history_table
from celldyn.landscape.graph import Csr
from celldyn.landscape.result_effects import (
    delete_effect,
    delete_screen,
    effect_names,
    read_effect,
    read_screen,
    screen_names,
    write_effect,
    write_screen,
)
from celldyn.landscape.result_writing import write_fates, write_states
from celldyn.landscape.saved import SavedLandscape, pack, unpack
from celldyn.landscape.states import CellStates, Floats32

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = [
    "LandscapeResult",
    "delete_effect",
    "delete_screen",
    "effect_names",
    "has_model",
    "read_effect",
    "read_model",
    "read_screen",
    "screen_names",
    "summary",
    "write_effect",
    "write_fates",
    "write_result",
    "write_screen",
]

SCHEMA = 1

_OF_FATES = (
    keys.FATE, keys.FATES, keys.FATES_LOW, keys.FATES_HIGH, keys.FATE_CERTAIN, keys.FATE_AGREEMENT,
    keys.FATE_ENTROPY, keys.FATE_PATHS, keys.PLASTICITY, keys.PLASTICITY_LOW,
    keys.PLASTICITY_HIGH,
)  # fmt: skip
_OF_NAMES = (keys.ARROWS, keys.LANDSCAPE_EFFECT, keys.LANDSCAPE_PERTURBED, keys.LANDSCAPE_SCREEN)


@dataclass(frozen=True, slots=True, eq=False)
class LandscapeResult:
    """What a trained model says of its cells.

    Parameters
    ----------
    saved
        The model, and what its training goes on with.
    states
        Where every cell stands.
    velocity
        (n, d) −∇V of the cell states, per time of a walk.
    rest
        (n,) time until each cell rests.
    transitions
        (n, n) chances to go to neighbours by Boltzmann's law; None without a neighbour graph.
    device
        Where it was trained.
    packed
        The model as `describe` gives it; None: it is made when the result is written.
    """

    saved: SavedLandscape
    states: CellStates
    velocity: Floats32
    rest: NDArray[np.float64]
    transitions: Csr | None = None
    device: str = "cpu"
    packed: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def flow_time(self) -> Floats32:
        """1 − time to rest over the longest, (n,): 0 where most lies ahead, 1 at rest."""
        longest = self.rest.max(initial=0.0)
        ahead = self.rest / longest if longest > 0 else np.zeros_like(self.rest)
        return np.asarray(1.0 - ahead, dtype=np.float32)


def write_result(adata: AnnData, result: LandscapeResult) -> set[str]:
    """Write a landscape on its data set, replacing an earlier one and what was made of it.

    Returns
    -------
    What was written, or was of an earlier landscape and taken off, as "slot/name".

    Raises
    ------
    DataError
        If the data set has not the cells of the model.
    """
    if len(result.states.V) != adata.n_obs:
        raise DataError(
            f"the landscape is of {counted(len(result.states.V), 'cell')}, and there are "
            f"{adata.n_obs:,} now",
            "train again",
        )
    gone = _drop_earlier(adata)
    write_states(adata, result.states, result.transitions)
    adata.obs[keys.FLOW_TIME.name] = result.flow_time
    adata.obsm[keys.VELOCITY.name] = result.velocity
    fitted = result.saved.fitted
    home = dict(adata.uns.get(keys.CELLDYN.name, {}))
    home[keys.LANDSCAPE_INFO.name] = dict(result.packed or describe(result.saved))
    adata.uns[keys.CELLDYN.name] = home
    record(
        adata, "landscape.train", config=fitted.cfg, seed=fitted.cfg.walks.random_state,
        device=result.device, inputs={"epochs": fitted.epoch, "genes": len(fitted.genes)},
    )  # fmt: skip
    written = {
        keys.CELL_STATE, keys.DIFF_STATE, keys.POTENTIAL, keys.ENTROPY, keys.PSEUDOTIME,
        keys.FLOW_TIME, keys.VELOCITY, keys.LANDSCAPE_INFO, keys.RECORDS,
    }  # fmt: skip
    if result.transitions is not None:
        written.add(keys.TRANSITIONS)
    return gone | {key.path() for key in written}


def _drop_earlier(adata: AnnData) -> set[str]:
    """Take off what was made of an earlier landscape; return which keys they were."""
    gone = set()
    for key in (*_OF_FATES, keys.TRANSITIONS, keys.PSEUDOTIME_SPREAD):
        slot = getattr(adata, key.slot)
        if key.name in slot:
            del slot[key.name]
            gone.add(key.path())
    home = dict(adata.uns.get(keys.CELLDYN.name, {}))
    homes = {"uns": home, "obsm": adata.obsm}
    for key in _OF_NAMES:
        prefix, held = key.name.partition("{")[0], homes[key.slot]
        for name in [str(name) for name in held if str(name).startswith(prefix)]:
            del held[name]
            gone.add(f"{key.slot}/{name}")
    if home.pop(keys.FATE_INFO.name, None) is not None:
        gone.add(keys.FATE_INFO.path())
    if keys.CELLDYN.name in adata.uns:
        adata.uns[keys.CELLDYN.name] = home
    return gone


def describe(saved: SavedLandscape) -> dict[str, Any]:
    """Return a model as arrays and text that any file can hold."""
    from safetensors.numpy import save

    tensors, header = pack(saved)
    return {
        "schema": SCHEMA,
        "header": json.dumps(header),
        "tensors": np.frombuffer(save(tensors), np.uint8).copy(),
    }


def has_model(adata: AnnData) -> bool:
    """Whether a data set holds a landscape."""
    return _held(adata) is not None


def _held(adata: AnnData) -> Any:  # noqa: ANN401
    home = adata.uns.get(keys.CELLDYN.name)
    return home.get(keys.LANDSCAPE_INFO.name) if isinstance(home, Mapping) else None


def read_model(adata: AnnData) -> SavedLandscape:
    """Return the model that a data set holds; `LSD.from_adata` brings it to life.

    Raises
    ------
    NotFittedError
        If it holds none.
    DataError
        If it is damaged, or a later version wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    held = _held(adata)
    if held is None:
        raise NotFittedError("the data set holds no landscape", "train one")
    try:
        if int(held["schema"]) > SCHEMA:
            raise DataError("this landscape was written by a later version",
                            "install that version")  # fmt: skip
        tensors = load(np.asarray(held["tensors"], np.uint8).tobytes())
        return unpack(tensors, json.loads(str(held["header"])))
    except DataError:
        raise
    except (FileFormatError, SafetensorError, KeyError, ValueError, TypeError, IndexError,
            RecursionError) as error:  # fmt: skip
        raise DataError(
            "the landscape that the data set holds is damaged, or a later version wrote it",
            "train again",
        ) from error


def history_of(adata: AnnData) -> pd.DataFrame:
    """Return the losses of the landscape that a data set holds, one row per epoch."""
    return history_table(list(read_model(adata).fitted.history))


def summary(adata: AnnData) -> str:
    """Tell of the landscape that a data set holds in a few lines.

    Raises
    ------
    NotFittedError, DataError
        As `read_model` does.
    """
    fitted = read_model(adata).fitted
    model = fitted.cfg.model
    lines = [
        f"Landscape of {counted(adata.n_obs, 'cell')} and {counted(len(fitted.genes), 'gene')} in "
        f"{model.z_dim} dimensions, {counted(fitted.epoch, 'epoch')}"
    ]
    if fitted.history:
        last = fitted.history[-1]
        held = f", of held-out counts {last['held_out_loss']:.4f}" * ("held_out_loss" in last)
        lines.append(f"Loss {last['loss']:.4f} nats per count{held}")
    V = adata.obs.get(keys.POTENTIAL.name)
    if V is not None:
        lines.append(f"Potential from {V.min():.3g} to {V.max():.3g}")
    lines += _fate_lines(adata)
    lines += [f"Perturbed: {name}" for name in effect_names(adata)]
    lines += [f"Screened: {name}" for name in screen_names(adata)]
    lines += [f"Note: {note}" for note in fitted.notes]
    return "\n".join(lines)


def _fate_lines(adata: AnnData) -> list[str]:
    if keys.FATE.name not in adata.obs:
        return []
    counts = adata.obs[keys.FATE.name].value_counts()
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    certain = adata.obs.get(keys.FATE_CERTAIN.name)
    share = "" if certain is None else f"; {1 - certain.mean():.0%} uncertain"
    return [f"Fates: {told}{share}"]
