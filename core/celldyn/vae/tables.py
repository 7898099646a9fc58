"""Which tensors of a module have a row per category, and where rows go when categories come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celldyn.vae.inputs import Ints, VAEInputs
from celldyn.vae.module import VAEModule
from celldyn.vae.setup_record import Setup


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of a table when each key's categories have come to be more.

    Parameters
    ----------
    old
        (n_old,) where the old rows are in the new table.
    new
        (n_new,) rows of new categories.
    kin
        Per new row, the rows of the old categories of its key.
    """

    old: Ints
    new: Ints
    kin: tuple[Ints, ...]


def rows_of_tables(setup: Setup, inputs: VAEInputs) -> dict[str, Rows]:
    """Return the rows of each purpose's table: what a model knows, and what a query adds.

    Parameters
    ----------
    setup
        The model's.
    inputs
        The query, read as that setup has it: its groups are those known, then the new ones.
    """
    found = {}
    for purpose in ("ambient", "scaling", "conditioning", "encoder"):
        found[purpose] = _rows([_known(setup, g.key, len(g)) for g in getattr(inputs, purpose)])
    for purpose in ("dispersion", "library"):
        groups = getattr(inputs, purpose)
        found[purpose] = _rows([_known(setup, groups.key, len(groups))])
    told = [_known(setup, g.key, len(g)) for g in inputs.conditioning]
    batch = inputs.batch
    told.append((1, 1) if batch is None else _known(setup, batch.key, len(batch)))
    found["conditioning and batch"] = _rows(told)
    return found


def _known(setup: Setup, key: str, n_now: int) -> tuple[int, int]:
    return len(setup.categories[key]) if key in setup.categories else n_now, n_now


def _rows(counts: list[tuple[int, int]]) -> Rows:
    old: list[Ints] = [np.zeros(0, np.int64)]
    new: list[Ints] = [np.zeros(0, np.int64)]
    kin: list[Ints] = []
    start = 0
    for n_old, n_now in counts:
        here = np.arange(start, start + n_now)
        old.append(here[:n_old])
        new.append(here[n_old:])
        kin += [here[:n_old]] * (n_now - n_old)
        start += n_now
    return Rows(np.concatenate(old), np.concatenate(new), tuple(kin))


_FEATURES = {
    "log_theta_mean": "dispersion",
    "log_theta_log_sd": "dispersion",
    "rate_raw": "dispersion",
    "log_background": "ambient",
    "background_scale": "ambient",
    "held_log_share": "ambient",
    "held_log_background": "ambient",
    "scaling_raw": "scaling",
}
_PRIORS = {"library_mean": "library", "library_variance": "library"}


def purpose_of(module: VAEModule, name: str) -> str | None:
    """Return what the rows of a tensor stand for, by its name in `state_dict`; None: no groups."""
    last = name.rpartition(".")[2]
    if ".features." in name:
        part = module.part(int(name.split(".")[1]))
        alone = last.startswith(("log_theta", "rate")) and part.config.dispersion == "gene"
        unkeyed = last == "scaling_raw" and not module.spec.sizes.scaling
        return None if alone or unkeyed else _FEATURES.get(last)
    if last in _PRIORS:
        return _PRIORS[last]
    if last != "categories":
        return None
    if ".decoder." not in name:
        return "encoder"
    part = module.part(int(name.split(".")[1]))
    return "conditioning and batch" if part.config.use_batch_in_decoder else "conditioning"
