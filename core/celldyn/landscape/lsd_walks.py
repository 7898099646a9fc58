"""The part of an LSD model that says where walks may go, and draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import ConfigError, DataError, NotFittedError
from celldyn.jobs import Job, run
from celldyn.landscape.graph import Csr, Floats, Matrix
from celldyn.landscape.lsd_base import LSDBase
from celldyn.landscape.phylogeny import phylogeny_mask
from celldyn.landscape.prior import check_transition
from celldyn.landscape.prior import prior_transition as _prior
from celldyn.landscape.walk_span import path_len_for, span_note, steps_to_the_end
from celldyn.landscape.walks import Walks, sample_walks_job


class WalkMixin(LSDBase):
    """Walks; see `LSD`."""

    @property
    def suggested_path_len(self) -> int | None:
        """Cells of a walk that is short enough to tell branches apart.

        A fourth of the steps that walks take from the earliest cells to an end, 4 at least; None
        where walks follow no pseudotime.
        """
        if self.P is None or self._time is None:
            return None
        return path_len_for(steps_to_the_end(self.P, self._time))

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
            self._time = None
        else:
            walks = self.cfg.walks
            beta = walks.beta if beta is None else beta
            loop = walks.self_loop if self_loop is None else self_loop
            time = self._column(prior_time_key) if prior_time_key is not None else pseudotime
            assert time is not None
            self._time = _numbers(time)
            self.P = _prior(self._allowed(), self._time, beta=beta, self_loop=loop)
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
        if self._time is not None:
            self._said = span_note(length, steps_to_the_end(self.P, self._time))
        self._walks_seed = seed
        return self.walks


def _numbers(time: ArrayLike) -> Floats:
    try:
        return np.asarray(time, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("pseudotime is not numbers", "name a column of numbers") from None
