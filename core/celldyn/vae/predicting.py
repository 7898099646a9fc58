"""What a module says of cells, block by block: the base of everything that is asked of it.

Shapes: n cells asked for, B cells of a block, D latent dimensions, G features of a modality.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.data.words import listed
from celldyn.devices import few_threads
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress
from celldyn.vae.changing import Change, changed
from celldyn.vae.draws import Draws
from celldyn.vae.inputs import Batch, CountRows, Ints, VAEInputs
from celldyn.vae.module import Posterior, VAEModule
from celldyn.vae.reconstruction import reconstruction

Arrays: TypeAlias = dict[str, NDArray[Any]]
BLOCK = 512
"""Cells evaluated at once, unless said otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of a data set, and the module that is asked about them.

    Parameters
    ----------
    module
        In evaluation mode.
    inputs
        The data set.
    at
        (n,) which of its cells, in which order.
    batch_size
        How many at once.
    change
        Categories that decoders take cells to have instead of their own.
    """

    module: VAEModule
    inputs: VAEInputs
    at: Ints
    batch_size: int = BLOCK
    change: Change | None = None

    @classmethod
    def all(cls, module: VAEModule, inputs: VAEInputs, batch_size: int = BLOCK) -> Cells:
        """Return all cells of a data set."""
        return cls(module, inputs, np.arange(inputs.n_obs, dtype=np.int64), batch_size)

    def __len__(self) -> int:
        return len(self.at)

    def batches(self) -> Iterator[Batch]:
        """Yield the cells in their order."""
        from celldyn.vae.loader import Minibatches

        first = next(self.module.parameters())
        device, done = first.device, 0
        for batch in Minibatches(self.inputs, self.at, self.batch_size, device=device):
            if batch.log_totals is None:
                rows = self.at[done : done + len(batch)]
                batch.log_totals = _log_totals(self.inputs, rows, device)
            for name in ("continuous", "log_size_factor"):
                if (held := getattr(batch, name)) is not None:
                    setattr(batch, name, held.to(first.dtype))
            yield batch
            done += len(batch)


def _log_totals(inputs: VAEInputs, rows: Ints, device: torch.device) -> tuple[Tensor, ...]:
    totals = (np.maximum(each.totals[rows], 1.0) for each in inputs.modalities)
    return tuple(torch.from_numpy(np.log(each).astype(np.float32)).to(device) for each in totals)


Look: TypeAlias = Callable[[Batch, Posterior], Mapping[str, Tensor]]
"""What is to be known of a block: tensors with a row per cell."""


def look_job(cells: Cells, look: Look, stage: str) -> Job[Arrays]:
    """Encode cells and collect what is asked of each block.

    Parameters
    ----------
    cells
        Which.
    look
        Called with each block, changed as `cells` say, and its posterior, without gradients.
    stage
        The words of its progress.

    Returns
    -------
    Arrays of n rows by the names that `look` gives.
    """
    found: Arrays = {}
    pace, done = Pace(), 0
    with few_threads():
        for batch in cells.batches():
            with evaluating(cells.module):
                posterior = cells.module.encode(batch)
                if cells.change is not None:
                    batch = changed(batch, cells.inputs, cells.change)
                told = look(batch, posterior)
            _put(found, told, done, len(cells))
            done += len(batch)
            if pace.due():
                yield Progress(stage, done, len(cells))
    return found


def _put(found: Arrays, told: Mapping[str, Tensor], start: int, n: int) -> None:
    for name, value in told.items():
        block = value.detach().cpu().numpy()
        if name not in found:
            found[name] = np.empty((n, *block.shape[1:]), block.dtype)
        found[name][start : start + len(block)] = block


@contextmanager
def evaluating(module: VAEModule) -> Iterator[None]:
    """Evaluate a module without gradients or dropout."""
    was = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was)


# --- what the encoders say ----------------------------------------------------------------------


def latent_job(cells: Cells) -> Job[Arrays]:
    """Return what the encoders say of cells.

    Returns
    -------
    "z" (n, D), the mean state as the decoders see it; "z/<name>" and "variance/<name>", (n, D_m),
    moments of each encoder's; "library/<modality>" and "library_variance/<modality>", (n,), of
    the log library size on the scale of counts.
    """
    module = cells.module

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        told = {"z": module.latent(posterior, batch)}
        for name, (mean, variance) in posterior.z.items():
            told |= {f"z/{name}": mean, f"variance/{name}": variance}
        for m, name in enumerate(module.modalities):
            mean, variance = log_library(module, m, posterior, batch)
            told[f"library/{name}"] = mean + offset(module, m)
            told[f"library_variance/{name}"] = variance
        return told

    return look_job(cells, look, "latent states")


def offset(module: VAEModule, m: int) -> Tensor:
    """Return what takes a log library size of the model to the log of counts."""
    part = module.part(m)
    return part.library_offset if part.learns_library else torch.zeros_like(part.library_offset)


def log_library(
    module: VAEModule, m: int, posterior: Posterior, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Return mean and variance of ℓ, (B,), on the model's scale.

    Cells that were not measured in the modality have those of the prior.
    """
    mean, variance = posterior.library[m]
    present, part = batch.present[m], module.part(m)
    if present is None or not part.learns_library:
        return mean, variance
    prior = part.library_mean[batch.library], part.library_variance[batch.library]
    return torch.where(present, mean, prior[0]), torch.where(present, variance, prior[1])


def drawn_library(
    module: VAEModule, m: int, posterior: Posterior, batch: Batch, draws: Draws | None
) -> Tensor:
    """Return ℓ (B,): drawn, or without `draws` at its mean."""
    mean, variance = log_library(module, m, posterior, batch)
    if draws is None or not module.part(m).learns_library:
        return mean
    return mean + variance.sqrt() * draws.normal(f"library/{module.modalities[m]}", mean)


def generator_of(seed: int | None, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a source of random numbers; None seeds it from torch's own."""
    generator = torch.Generator(device)
    generator.manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
    return generator


def drawing(generator: torch.Generator) -> Draws:
    """Return draws of z and ℓ out of training."""
    return Draws(None, generator, training=False)


MEAN = Draws(None, None, training=False)
"""Nothing is drawn where the model is evaluated at its means; the tables ask for one."""


# --- what the decoders say ----------------------------------------------------------------------


def fractions(native: Tensor) -> Tensor:
    """Return native expression as shares of each cell's, which sum to 1."""
    return native / native.sum(dim=1, keepdim=True)


def misfit(module: VAEModule, m: int, z: Tensor, library: Tensor, batch: Batch) -> Tensor:
    """Return −log p(x | z, ℓ) of a modality, (B,); 0 where a cell lacks it."""
    features = module.part(m).features
    background, background_rows = features.background(batch.ambient)
    scaling, scaling_rows = features.scaling(batch.scaling)
    theta, theta_rows = features.theta(batch.dispersion, MEAN, "")
    present = batch.present[m]
    weights = torch.ones_like(library) if present is None else present.to(library.dtype)
    _, per_cell = reconstruction(
        module.logits(m, z, batch),
        library,
        background,
        background_rows,
        scaling,
        scaling_rows,
        theta,
        theta_rows,
        batch.counts[m],
        weights,
        activation=module.part(m).config.scale_activation,
    )
    return per_cell


def repeated(batch: Batch, times: int) -> Batch:
    """Return a block `times` over, one copy after the other."""
    if times == 1:
        return batch

    def tiled(value: Tensor) -> Tensor:
        return value.repeat(times, *(1,) * (value.ndim - 1))

    changes: dict[str, Any] = {}
    for name in Batch.__dataclass_fields__:
        held = getattr(batch, name)
        if isinstance(held, Tensor):
            changes[name] = tiled(held)
    changes["counts"] = tuple(
        tiled(c) if isinstance(c, Tensor) else CountRows(c.csr, np.tile(c.at, times))
        for c in batch.counts
    )
    changes["present"] = tuple(None if p is None else tiled(p) for p in batch.present)
    if batch.log_totals is not None:
        changes["log_totals"] = tuple(tiled(t) for t in batch.log_totals)
    return replace(batch, **changes)


def columns_of(names: Sequence[str], wanted: Sequence[str] | None) -> Ints | None:
    """Return which features are asked for; None for all.

    Raises
    ------
    DataError
        If one is not known.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        wanted = [wanted]
    place = {name: k for k, name in enumerate(names)}
    if lacking := [name for name in wanted if name not in place]:
        raise DataError(
            f"the model has no feature {listed(map(repr, lacking), 5)}",
            "name features of the data set it was trained on",
        )
    return np.array([place[name] for name in wanted], np.int64)
