"""The part of an LSD model that tells how much noise there is."""

from __future__ import annotations

from celldyn.errors import NotFittedError
from celldyn.jobs import Job, scaled
from celldyn.landscape.diffusion import Sigma, sigma_of_model_job
from celldyn.landscape.lsd_base import LSDBase
from celldyn.landscape.walks import sample_walks_job

_WALKS, _WALK_LEN, _SHORT = 1024, 20, 8
"""Walks that are drawn to read sigma off, where the model has none or has short ones."""


class SigmaMixin(LSDBase):
    """Noise; see `LSD`."""

    def sigma_job(self) -> Job[Sigma]:
        """Find σ that the model and its walks imply, as a job; see `diffusion`.

        Walks that it is trained on may be too short to tell noise from the scatter of cells; then
        longer ones are drawn by the same chances, each step taking the time that it has in
        training.

        Raises
        ------
        NotFittedError
            If the model is not trained, or there are neither walks nor chances to draw them by.
        """
        states = yield from scaled(self.states_job(), 0, 3)
        walks, span = self.walks, 1.0
        if walks is None or walks.shape[1] < _SHORT:
            if self.P is None:
                raise NotFittedError(
                    "sigma is read off walks, and it is not said where walks may go",
                    "call set_prior_transition, or give sigma",
                )
            trained = self.cfg.walks.path_len if walks is None else walks.shape[1]
            seed = self.cfg.walks.random_state
            drawn = sample_walks_job(self.P, _WALKS, _WALK_LEN, seed)
            walks = yield from scaled(drawn, 1, 3)
            span = (_WALK_LEN - 1) / max(trained - 1, 1)
        job = sigma_of_model_job(self.potential, states.z, walks, span=span)
        return (yield from scaled(job, 2, 3))
