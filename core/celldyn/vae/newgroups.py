"""Where groups that a query brings start: their background and their library sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import Job
from celldyn.vae.ambient import AmbientEstimate, estimate_ambient_job
from celldyn.vae.inputs import Batch, Groups, Ints, VAEInputs
from celldyn.vae.module import Posterior, VAEModule
from celldyn.vae.predicting import Cells, look_job
from celldyn.vae.tables import Rows

_SMALLEST, _LEAST_SHARE, _MOST_SHARE = 1e-8, 1e-4, 0.95


class NewGroups:
    """Sets what one modality knows of new groups from their own cells.

    Parameters
    ----------
    module
        With rows for the new groups.
    m
        Which modality.
    inputs
        The query.
    rows
        By purpose, which rows are new.
    """

    def __init__(
        self, module: VAEModule, m: int, inputs: VAEInputs, rows: Mapping[str, Rows]
    ) -> None:
        self.module, self.m, self.inputs, self.rows = module, m, inputs, rows
        self.part, self.modality = module.part(m), inputs.modalities[m]
        self.cells = Cells.all(module, inputs)

    def background_job(
        self, known: NDArray[np.float64] | None, seed: int
    ) -> Job[NDArray[np.float64] | None]:
        """Start the background of new groups at what their own cells say of it.

        A group whose share of background is a has s = a / (1 − a) R of the background's profile,
        where R is the sum of its cells' native expression.

        Parameters
        ----------
        known
            (n_old, 3) estimates of the old groups; None where nothing was estimated: then new
            groups start at the mean of the old.
        seed
            Of the estimate.

        Returns
        -------
        (n_ambient, 3) estimates of all groups; None where nothing is estimated.
        """
        at = self.rows["ambient"]
        if not len(at.new) or known is None:
            return known
        table = np.full((len(at.old) + len(at.new), 3), np.nan)
        table[at.old] = known
        if not self.modality.present.any():
            return table
        native = (yield from look_job(self.cells, self._sums, "new groups"))["native"]
        start, n_keys = 0, len(self.inputs.ambient)
        for groups in self.inputs.ambient:
            own, held = _compact(groups)
            fresh = np.isin(held + start, at.new)
            if fresh.any():
                job = estimate_ambient_job(
                    self.modality.counts, own, self.modality.totals, seed=seed
                )
                found: AmbientEstimate = yield from job
                for k in np.flatnonzero(fresh):
                    row = int(held[k]) + start
                    table[row] = found.share[k], found.low[k], found.high[k]
                    level = float(native[own.codes == k].mean())
                    self._put(row, float(found.share[k]), n_keys, level * found.profile[k])
            start += len(groups)
        return table

    def _put(self, row: int, share: float, n_keys: int, profile: NDArray[np.float64]) -> None:
        features = self.part.features
        whole = min(share, _MOST_SHARE)
        s = np.maximum(whole / n_keys / (1 - whole) * profile, _SMALLEST)
        log_s = torch.from_numpy(np.log(s).astype(np.float32))
        features.start_background(slice(row, row + 1), log_s[None])
        features.held_log_share[row] = float(np.log(max(whole / n_keys, _LEAST_SHARE)))

    def library_job(self) -> Job[None]:
        """Start the prior of new library groups at what explains their cells' totals.

        ℓ of a cell is the log of its total over what the decoder and the background sum to.
        """
        new = self.rows["library"].new
        if not len(new) or not self.part.learns_library:
            return
        found = yield from look_job(self.cells, self._sums, "new groups")
        totals = np.log(np.maximum(self.modality.totals, 1.0))
        size = totals - np.log(np.maximum(found["expected"], _SMALLEST))
        weight = self.part.config.library_log_vars_weight
        for row in new:
            here = (self.inputs.library.codes == row) & self.modality.present
            if not here.any():
                continue
            self.part.library_mean[int(row)] = float(size[here].mean())
            variance = max(float(totals[here].var()), _SMALLEST)
            self.part.library_variance[int(row)] = weight * variance

    def _sums(self, batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        """Return what native expression, and the mean at ℓ = 0, sum to in each cell."""
        z = self.module.latent(posterior, batch)
        none = torch.zeros(len(z), dtype=z.dtype)
        return {
            "native": self.module.native(self.m, z, batch).sum(dim=1),
            "expected": self.module.mean(self.m, z, none, batch).sum(dim=1),
        }


def _compact(groups: Groups) -> tuple[Groups, Ints]:
    """Return the groups that have cells, and where they are among all."""
    held, codes = np.unique(groups.codes, return_inverse=True)
    names = tuple(groups.names[k] for k in held)
    return Groups(groups.key, names, codes.astype(np.int64)), held.astype(np.int64)
