"""An LSD model: its data, where walks may go, the walks, its training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from celldyn.devices import choose_device
from celldyn.errors import MissingKeyError, NotFittedError
from celldyn.jobs import Job, run
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.course import Course, history_table
from celldyn.landscape.fitted import FittedLandscape
from celldyn.landscape.graph import Csr, Floats
from celldyn.landscape.inputs import LSDInputs, read_inputs_job
from celldyn.landscape.networks import Networks
from celldyn.landscape.potential import Potential
from celldyn.landscape.states import CellStates, encode_cells_job
from celldyn.landscape.walks import Walks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from anndata import AnnData


class LSDBase:
    """What every part of `LSD` stands on; see there."""

    def __init__(
        self,
        adata: AnnData,
        cfg: LSDConfig | None = None,
        device: torch.device | str = "auto",
        *,
        layer: str = "raw",
        librarysize_key: str = "librarysize",
        connectivities_key: str = "connectivities",
    ) -> None:
        job = read_inputs_job(
            adata, layer=layer, librarysize_key=librarysize_key,
            connectivities_key=connectivities_key,
        )  # fmt: skip
        self._begin(adata, run(job, bar=False), cfg or LSDConfig(), device)

    @classmethod
    def of_job(
        cls,
        adata: AnnData,
        cfg: LSDConfig | None = None,
        device: torch.device | str = "auto",
        *,
        layer: str = "raw",
        librarysize_key: str = "librarysize",
        connectivities_key: str = "connectivities",
    ) -> Job[Any]:
        """Make a model as a job: a large data set takes a while to be looked at."""
        model = cls.__new__(cls)
        inputs = yield from read_inputs_job(
            adata, layer=layer, librarysize_key=librarysize_key,
            connectivities_key=connectivities_key,
        )  # fmt: skip
        model._begin(adata, inputs, cfg or LSDConfig(), device)
        return model

    def _begin(
        self, adata: AnnData, inputs: LSDInputs, cfg: LSDConfig, device: torch.device | str
    ) -> None:
        self.adata, self._inputs = adata, inputs
        self.cfg = cfg.model_copy(deep=True)
        self.device = choose_device(str(device))
        self.networks = new_networks(inputs, self.cfg)
        self.genes = inputs.genes
        self.P: Csr | None = None
        self.walks: Walks | None = None
        self._time: Floats | None = None
        """Pseudotime that walks follow, where they follow one."""
        self._walks_seed: int | None = None
        self._course = Course()
        self._states: CellStates | None = None
        self._said: tuple[str, ...] = ()
        self._phylogeny: tuple[Mapping[Any, Iterable[Any]], str, bool] | None = None

    def copy(self) -> Self:
        """Return a model that may be trained on without changing this one; data are shared."""
        made, course = copy(self), self._course
        made.networks = deepcopy(self.networks)
        made._course = replace(course, rows=list(course.rows), optimiser=dict(course.optimiser))
        return made

    def of_seed(self, seed: int) -> Self:
        """Return an untrained model of the same data, walks and parameters, of another seed.

        Walks go the same way, and are to be drawn by `prepare_walks`.
        """
        cfg = self.cfg.model_copy(deep=True)
        cfg.walks.random_state = seed
        made = type(self).__new__(type(self))
        made._begin(self.adata, self._inputs, cfg, self.device)
        made.P, made._said, made._phylogeny = self.P, self._said, self._phylogeny
        made._time = self._time
        return made

    # --- what it is ----------------------------------------------------------------------------

    @property
    def potential(self) -> Potential:
        """V(z)."""
        return self.networks.potential

    @property
    def epoch(self) -> int:
        """Epochs that it was trained."""
        return self._course.epoch

    @property
    def is_trained(self) -> bool:
        """Whether `train` has run."""
        return self._course.epoch > 0

    @property
    def history(self) -> pd.DataFrame:
        """Losses by epoch, in nats per count; a row per epoch."""
        return history_table(self._course.rows)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of data and training, in sentences."""
        return tuple(dict.fromkeys((*self._inputs.notes, *self._said, *self._course.notes)))

    @property
    def fitted(self) -> FittedLandscape:
        """The model without its data."""
        course = self._course
        return FittedLandscape(
            self.networks, self.cfg, self.genes, course.epoch, tuple(course.rows),
            course.best_epoch, self._walks_seed, self.notes,
        )  # fmt: skip

    def __repr__(self) -> str:
        trained = f"{self.epoch} epochs" if self.is_trained else "not trained"
        n, G = self._inputs.n_obs, len(self.genes)
        d = self.potential.z_dim
        return f"<{type(self).__name__} of {n:,} cells, {G:,} genes, {d} dimensions, {trained}>"

    def _column(self, key: str) -> Any:  # noqa: ANN401
        if key not in self.adata.obs:
            raise MissingKeyError(
                f"there is no column {key!r} in obs",
                f"use one of {', '.join(map(str, self.adata.obs.columns[:8]))}",
            )
        return self.adata.obs[key].to_numpy()

    # --- states --------------------------------------------------------------------------------

    def states_job(self) -> Job[CellStates]:
        """Encode all cells, once for each training."""
        self._require_trained()
        if self._states is None:
            data = self._inputs.to(self.device)
            self._states = yield from encode_cells_job(
                self.networks, data, self._inputs.n_obs, device=self.device
            )
        return self._states

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise NotFittedError("the model is not trained", "call train first")

    def _seed(self, random_state: int | None) -> int:
        return self.cfg.walks.random_state if random_state is None else random_state


def new_networks(inputs: LSDInputs, cfg: LSDConfig) -> Networks:
    """Return networks that begin where the data is, drawn from the config's seed."""
    reference = cfg.model.library == "reference"
    with seeded(cfg.walks.random_state):
        networks = Networks(len(inputs.genes), cfg)
        if not reference:
            networks.potential.spread_units()
    sizes = inputs.library_given if reference else np.log(inputs.library)
    theta = torch.from_numpy(inputs.dispersion_start())
    spread = None if reference else inputs.spread_start()
    networks.start_from(
        torch.from_numpy(inputs.gene_means()),
        torch.full_like(theta, 100.0) if reference else theta,
        (float(sizes.mean()), float(sizes.std(ddof=1)) or 1.0),
        None if spread is None else torch.from_numpy(spread),
    )
    return networks.eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a seed, and leave torch's own stream where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
