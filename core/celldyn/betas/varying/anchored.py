"""What the networks share: betas are the linear model's coefficients, scaled cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from celldyn.errors import DataError


class AnchoredNetwork(nn.Module):
    """A network, or a stack of them, that scales anchors by what is around a cell.

    A stack holds one model for each gene: every parameter has a leading axis of models, the
    images and features are shared, and each model learns what it would learn alone.

    Parameters
    ----------
    n_modulators
        p, of the gene that has most.
    anchors
        (1 + p,) coefficients of the linear model, the intercept first; (n_models, 1 + p) for a
        stack, 0 past a gene's own. They are a buffer, not a parameter.
    n_models
        Number of models.
    n_each
        Modulators of each model; all p by default.
    """

    anchors: Tensor

    def __init__(
        self,
        n_modulators: int,
        anchors: ArrayLike | Tensor,
        n_models: int,
        n_each: Sequence[int] | None,
    ) -> None:
        super().__init__()
        given = torch.as_tensor(np.asarray(anchors), dtype=torch.float32)
        if given.ndim == 1:
            given = given[None]
        if given.shape != (n_models, 1 + n_modulators):
            raise DataError(
                f"anchors have shape {tuple(given.shape)}, not {(n_models, 1 + n_modulators)}",
                "give the intercept and one coefficient for each modulator, for each model",
            )
        self.n_models = n_models
        self.n_each = [n_modulators] * n_models if n_each is None else list(n_each)
        self.register_buffer("anchors", given.clone())

    def see(self, maps: Tensor) -> Tensor:
        """Return the (n_models, batch, n_hidden) reading of (batch, n_channels, D, D) images."""
        raise NotImplementedError

    def scale(self, seen: Tensor, features: Tensor) -> Tensor:
        """Return the (n_models, batch, 1 + p) factors of the anchors."""
        raise NotImplementedError

    def betas_of(self, seen: Tensor, features: Tensor) -> Tensor:
        """Return (n_models, batch, 1 + p) betas from a reading of the images."""
        return self.scale(seen, features) * self.anchors[:, None]

    def get_betas(self, maps: Tensor, features: Tensor) -> Tensor:
        """Return the betas of a batch of cells.

        Parameters
        ----------
        maps
            (batch, in_channels, D, D) images of their surroundings.
        features
            (batch, n_clusters) scaled numbers of neighbours.

        Returns
        -------
        (batch, 1 + p), the intercept first; (n_models, batch, 1 + p) of a stack.
        """
        betas = self.betas_of(self.see(maps), features)
        return betas[0] if self.n_models == 1 else betas

    def forward(self, maps: Tensor, features: Tensor, X: Tensor) -> Tensor:
        """Return the (batch,) expression b0 + Σ_k b_k X_k; X is (batch, p).

        A stack takes (n_models, batch, p) and returns (n_models, batch).
        """
        return predicted(self.get_betas(maps, features), X)


def predicted(betas: Tensor, X: Tensor) -> Tensor:
    """Return b0 + Σ_k b_k X_k over the last axis."""
    return betas[..., 0] + (betas[..., 1:] * X).sum(dim=-1)
