"""An LSD model: its data, where walks may go, the walks, its training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from celldyn.devices import choose_device
from celldyn.errors import ConfigError, DataError, MissingKeyError, NotFittedError
from celldyn.jobs import Job, run
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.course import Course, history_table
from celldyn.landscape.fitted import FittedLandscape
from celldyn.landscape.graph import Csr, Matrix
from celldyn.landscape.inputs import LSDInputs, read_inputs_job
from celldyn.landscape.networks import Networks
from celldyn.landscape.phylogeny import phylogeny_mask
from celldyn.landscape.potential import Potential
from celldyn.landscape.prior import check_transition, prior_transition
from celldyn.landscape.states import CellStates, encode_cells_job
from celldyn.landscape.walks import Walks, sample_walks_job

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
        self._walks_seed: int | None = None
        self._course = Course()
        self._states: CellStates | None = None
        self._said: tuple[str, ...] = ()
        self._phylogeny: tuple[Mapping[Any, Iterable[Any]], str, bool] | None = None

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

    # --- where walks may go --------------------------------------------------------------------

    def set_phylogeny(
        self,
        phylogeny: Mapping[Any, Iterable[Any]] | None,
        cluster_key: str = "clusters",
        *,
        descendants: bool = False,
    ) -> None:
        """Say which cluster comes of which; walks then stay in a cluster or go to its children.

        Parameters
        ----------
        phylogeny
            Children of every cluster that has any; None takes back what was said.
        cluster_key
            Column of obs with the clusters.
        descendants
            Whether a walk may go to children of children, too.

        Notes
        -----
        It acts with the next `set_prior_transition`.
        """
        if phylogeny is None:
            self._phylogeny = None
            return
        self._column(cluster_key)
        self._phylogeny = (phylogeny, cluster_key, descendants)

    def set_prior_transition(
        self,
        prior_transition: Matrix | None = None,
        prior_time_key: str | None = None,
        *,
        pseudotime: ArrayLike | None = None,
        beta: float | None = None,
        self_loop: bool | None = None,
    ) -> None:
        """Say where walks may go: forward in pseudotime, or by chances of one's own.

        Parameters
        ----------
        prior_transition
            (n, n) chances, sparse or dense; rows are divided by their sum. It stands alone.
        prior_time_key
            Column of obs with pseudotime in any unit.
        pseudotime
            (n,) the same, where it is not in obs.
        beta
            How strictly walks go forward; None is `cfg.walks.beta`, 50.
        self_loop
            Whether walks may rest; None is `cfg.walks.self_loop`.

        Raises
        ------
        ConfigError
            If there is nothing to go by, or more than one thing.
        MissingKeyError
            If there is no such column, or no neighbour graph.
        DataError
            If pseudotime is not one finite number per cell, or the same in all; if a cell has no
            neighbour and may not rest; if chances are none (see `check_transition`).
        """
        given = (prior_transition, prior_time_key, pseudotime)
        if sum(each is not None for each in given) != 1:
            raise ConfigError(
                "walks need one thing to go by",
                "give prior_time_key, pseudotime, or prior_transition",
            )
        if prior_transition is not None:
            self.P, self._said = check_transition(prior_transition, self._inputs.n_obs)
        else:
            walks = self.cfg.walks
            beta = walks.beta if beta is None else beta
            loop = walks.self_loop if self_loop is None else self_loop
            time = self._column(prior_time_key) if prior_time_key is not None else pseudotime
            assert time is not None
            self.P = _forward(self._allowed(), time, beta, self_loop=loop)
            self._said = ()
        self.walks = None

    def _allowed(self) -> Csr:
        """Return the graph that walks go on."""
        graph = self._inputs.graph()
        if self._phylogeny is None:
            return graph
        children, cluster_key, descendants = self._phylogeny
        labels = self._column(cluster_key)
        return phylogeny_mask(graph, labels, children, descendants=descendants)

    def _column(self, key: str) -> Any:  # noqa: ANN401
        if key not in self.adata.obs:
            raise MissingKeyError(
                f"there is no column {key!r} in obs",
                f"use one of {', '.join(map(str, self.adata.obs.columns[:8]))}",
            )
        return self.adata.obs[key].to_numpy()

    # --- walks ---------------------------------------------------------------------------------

    def prepare_walks(
        self,
        num_walks: int | None = None,
        path_len: int | None = None,
        *,
        random_state: int | None = None,
        start: ArrayLike | None = None,
    ) -> None:
        """Draw the walks that it is trained on; see `prepare_walks_job`."""
        job = self.prepare_walks_job(num_walks, path_len, random_state=random_state, start=start)
        run(job, bar=False)

    def prepare_walks_job(
        self,
        num_walks: int | None = None,
        path_len: int | None = None,
        *,
        random_state: int | None = None,
        start: ArrayLike | None = None,
    ) -> Job[Walks]:
        """Draw the walks that it is trained on, as a job.

        Parameters
        ----------
        num_walks, path_len, random_state
            None is what `cfg.walks` says.
        start
            (num_walks,) first cells; None is any, alike.

        Raises
        ------
        NotFittedError
            If it is not said yet where walks may go.
        ConfigError
            If walks are shorter than 2 cells, or take more memory than there is.
        """
        if self.P is None:
            raise NotFittedError(
                "it is not said where walks may go", "call set_prior_transition first"
            )
        cfg = self.cfg.walks
        length = cfg.path_len if path_len is None else path_len
        if length < 2:
            raise ConfigError(f"walks have {length} cell", "give a path_len of 2 or more")
        seed = cfg.random_state if random_state is None else random_state
        n_walks = cfg.num_walks if num_walks is None else num_walks
        self.walks = yield from sample_walks_job(self.P, n_walks, length, seed, start)
        self._walks_seed = seed
        return self.walks

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


def _forward(graph: Csr, time: ArrayLike, beta: float, *, self_loop: bool) -> Csr:
    try:
        values = np.asarray(time, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("pseudotime is not numbers", "name a column of numbers") from None
    return prior_transition(graph, values, beta=beta, self_loop=self_loop)
