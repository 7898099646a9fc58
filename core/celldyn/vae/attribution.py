"""Which latent dimensions each modality's decoder uses: mean |∂μ/∂z|.

Shapes: n cells, B of a block, D latent dimensions, F features, H hidden units, K of them kept.
Source: seed 003, "Latent-to-modality mapping via decoder attribution"; specs/vae.md A.10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.data.words import listed
from celldyn.devices import few_threads
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Pace, Progress
from celldyn.vae.decoding import GATHER_FROM, Telling, hidden, moved, native, telling_of
from celldyn.vae.inputs import Batch, VAEInputs
from celldyn.vae.modality import ModalityPart
from celldyn.vae.module import VAEModule
from celldyn.vae.predicting import Cells, evaluating, log_library
from celldyn.vae.references import Reference, reference_scaling, reference_shares

Method: TypeAlias = Literal["exact", "h2b", "jacfwd", "finite_difference"]
Removed: TypeAlias = Literal[False, "cat_covs", "feature_scaling", "all"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]

MEMORY = 1 << 23
"""Bytes of the largest arrays of a block: Jacobians and the output weights gathered for them."""

FEATURES_AT_ONCE = 2048
ONE_DIMENSION = 8
"""Arrays (B, F) that are held at a time where dimensions are taken one by one."""


class Attribution(TypedDict):
    """What one modality's decoder makes of the latent space.

    attribution: (n, D) mean over features of |∂μ_nf/∂z_j|; mean: (D,) its mean over the cells;
    weighted_z: (n, D) latent mean times each cell's attribution; weighted_z_mean: (n, D) latent
    mean times `mean`, the seed's.
    """

    attribution: NDArray[np.float32]
    mean: NDArray[np.float64]
    weighted_z: NDArray[np.float32]
    weighted_z_mean: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class How:
    """How attribution is computed; see `attribution_job`."""

    method: Method = "exact"
    remove_covariates: Removed = False
    covariate_reference: Reference = "zero"
    eps: float = 1e-2
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        _one_of("attribution_method", self.method, ("exact", "h2b", "jacfwd", "finite_difference"))
        _one_of("remove_covariates", self.remove_covariates,
                (False, "cat_covs", "feature_scaling", "all"))  # fmt: skip
        _one_of("covariate_reference", self.covariate_reference, ("zero", "mean", "reference"))
        _one_of("precision", self.precision, ("auto", "float32", "bfloat16"))
        if not self.eps > 0:
            raise ConfigError("eps must be above 0", "1e-2 is usual")


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known or (value == 0 and value is not False):
        raise ConfigError(f"{name} is {value!r}", f"use one of {listed(map(repr, known))}")


def attribution_job(cells: Cells, how: How | None = None) -> Job[dict[str, Attribution]]:
    """Return how much the decoder of each modality uses each latent dimension.

    Parameters
    ----------
    cells
        Which.
    how
        method
            "exact" (or "h2b") is the closed form; "jacfwd" the same by automatic differentiation;
            "finite_difference" is (μ(z + eps e_j) − μ(z)) / eps, as the seed has it.
        remove_covariates
            "cat_covs" tells the decoder the reference instead of each cell's categories;
            "feature_scaling" takes the reference's scaling; "all" does both.
        covariate_reference
            "zero" is no category, and no scaling; "mean" an average over the cells; "reference"
            the first category of each key.
        precision
            Of the product with the decoder's output weights in the closed form; "auto" is
            bfloat16 where the processor has it and it is faster: a cell's value is then off by
            less than 1 %, the mean over cells by less than 0.1 %.

    Returns
    -------
    By modality. z and ℓ are at their posterior means, so that nothing is random.
    """
    how = how or How()
    module, inputs = cells.module, cells.inputs
    made = [Use(module, inputs, m, how) for m in range(len(module.modalities))]
    n, n_latent = len(cells), module.spec.n_latent
    states = np.empty((n, n_latent), np.float32)
    found = {name: np.empty((n, n_latent), np.float32) for name in module.modalities}
    pace, done = Pace(), 0
    with few_threads():
        for batch in cells.batches():
            with evaluating(module):
                posterior = module.encode(batch)
                z = module.latent(posterior, batch)
                sizes = [log_library(module, m, posterior, batch)[0] for m in range(len(made))]
            states[done : done + len(batch)] = z.cpu().numpy()
            for use, size, values in zip(made, sizes, found.values(), strict=True):
                for part, block in use.blocks(z, size, batch):
                    values[done + part.start : done + part.stop] = block.float().cpu().numpy()
                    if pace.due():
                        yield Progress("attribution", done + part.start, n, use.name)
            done += len(batch)
    return {name: _told(states, values) for name, values in found.items()}


def _told(z: NDArray[np.float32], attribution: NDArray[np.float32]) -> Attribution:
    mean = attribution.mean(axis=0, dtype=np.float64)
    return Attribution(
        attribution=attribution,
        mean=mean,
        weighted_z=z * attribution,
        weighted_z_mean=(z * mean).astype(np.float32),
    )


class Use:
    """Computes the attribution of one modality.

    Parameters
    ----------
    module
        The model.
    inputs
        The data set: the mean over its cells is an average category.
    m
        Which modality.
    how
        See `attribution_job`.
    """

    def __init__(self, module: VAEModule, inputs: VAEInputs, m: int, how: How) -> None:
        self.module, self.m, self.how = module, m, how
        self.name, self.part = module.modalities[m], module.part(m)
        self.dtype = _product_dtype(how.precision, self.part, module.spec.n_latent)
        out = self.part.decoder.out.weight.detach()
        blocks = range(0, len(out), FEATURES_AT_ONCE)
        self._weights = [
            (slice(k, min(k + FEATURES_AT_ONCE, len(out))),
             out[k : k + FEATURES_AT_ONCE].T.to(self.dtype).contiguous())
            for k in blocks
        ]  # fmt: skip
        self._shares: Tensor | None = None
        self._scaling: Tensor | None = None
        if how.remove_covariates in ("cat_covs", "all"):
            self._shares = reference_shares(module, inputs, m, how.covariate_reference)
        if how.remove_covariates in ("feature_scaling", "all"):
            self._scaling = reference_scaling(module, inputs, m, how.covariate_reference)

    def blocks(self, z: Tensor, size: Tensor, batch: Batch) -> Iterator[tuple[slice, Tensor]]:
        """Yield (B', D) mean |∂μ/∂z| of some of the cells at a time, z (B, D), size (B,) ℓ."""
        telling = self._telling(batch)
        with torch.no_grad():
            factor = self._factor(size, batch)
        kept = ONE_DIMENSION
        if self.how.method in ("exact", "h2b"):
            kept = z.shape[1] + (self.part.config.n_hidden if z.shape[1] >= GATHER_FROM else 0)
        features = min(FEATURES_AT_ONCE, self.module.spec.modalities[self.m].n_features)
        step = max(MEMORY // (kept * features * 4), 1)
        for start in range(0, len(z), step):
            part = slice(start, min(start + step, len(z)))
            with torch.no_grad():
                yield part, self._values(z[part], _part(telling, part), factor[part])

    def _values(self, z: Tensor, telling: Telling, factor: Tensor) -> Tensor:
        if self.how.method in ("exact", "h2b"):
            return self._exact(z, telling, factor)
        mean = self._mean_of(telling, factor)
        if self.how.method == "jacfwd":
            return _by_differentiation(mean, z)
        return _by_differences(mean, z, self.how.eps)

    def _telling(self, batch: Batch) -> Telling:
        telling = telling_of(self.module, self.m, batch)
        if self._shares is None or telling.codes is None:
            return telling
        return Telling(None, self._shares, telling.continuous)

    def _factor(self, size: Tensor, batch: Batch) -> Tensor:
        """Return e^ℓ y, (B, F)."""
        scaling, rows = self.part.features.scaling(batch.scaling)
        if self._scaling is not None:
            return torch.exp(size)[:, None] * self._scaling
        if scaling is None:
            n = self.module.spec.modalities[self.m].n_features
            return torch.exp(size)[:, None].expand(-1, n)
        return torch.exp(size)[:, None] * scaling[rows]

    def _mean_of(self, telling: Telling, factor: Tensor) -> Callable[[Tensor], Tensor]:
        """Return z ↦ μ − s y e^ℓ: what of the mean depends on z."""

        def mean(z: Tensor) -> Tensor:
            h = hidden(self.part.decoder, z, telling)
            return factor * native(self.part, self.part.decoder.out(h))

        return mean

    def _exact(self, z: Tensor, telling: Telling, factor: Tensor) -> Tensor:
        """Return mean_f |e^ℓ y_f σ'(o_f) Σ_h W_fh A_hj|.

        All F·D derivatives of a cell are needed for their absolute values, F·K·D products; hidden
        units that ReLU holds at 0 are left out of them where D is large.
        """
        at = moved(self.part.decoder, z, telling)
        logits = self.part.decoder.out(at.hidden)
        along = at.jacobian.to(self.dtype).transpose(1, 2)
        if self.part.config.scale_activation == "softmax":
            share = torch.softmax(logits, dim=-1)
            slope, shift = share * factor, self._softmax_shift(at.jacobian, at.rows, share)
        else:
            slope, shift = torch.sigmoid(logits) * factor, None
        total = torch.zeros_like(z)
        for features, weights in self._weights:
            if at.rows is None:
                jacobian = torch.matmul(along, weights)
            else:
                jacobian = torch.bmm(along, weights[at.rows])
            if shift is not None:
                jacobian = jacobian - shift[:, :, None].to(self.dtype)
            by = slope[:, features, None].to(self.dtype)
            total += torch.bmm(jacobian.abs_(), by)[..., 0]
        return total / slope.shape[1]

    def _softmax_shift(self, jacobian: Tensor, rows: Tensor | None, share: Tensor) -> Tensor:
        """Return Σ_g ρ_g ∂o_g/∂z, (B, D)."""
        hidden_share = share @ self.part.decoder.out.weight
        if rows is not None:
            hidden_share = hidden_share.gather(1, rows)
        return torch.bmm(hidden_share[:, None], jacobian)[:, 0]


def _part(telling: Telling, part: slice) -> Telling:
    codes, continuous = telling.codes, telling.continuous
    return Telling(
        None if codes is None else codes[part],
        telling.shares,
        None if continuous is None else continuous[part],
    )


def _by_differentiation(mean: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return mean_f |∂μ_f/∂z_j| by forward-mode differentiation, a dimension at a time."""
    columns = []
    for j in range(z.shape[1]):
        along = torch.zeros_like(z)
        along[:, j] = 1.0
        slope = torch.func.jvp(mean, (z,), (along,))[1]
        columns.append(slope.abs().mean(dim=1))
    return torch.stack(columns, dim=1)


def _by_differences(mean: Callable[[Tensor], Tensor], z: Tensor, eps: float) -> Tensor:
    here, columns = mean(z), []
    for j in range(z.shape[1]):
        there = z.clone()
        there[:, j] += eps
        columns.append((mean(there) - here).abs().mean(dim=1) / eps)
    return torch.stack(columns, dim=1)


def _product_dtype(precision: Precision, part: ModalityPart, n_latent: int) -> torch.dtype:
    if part.dtype == torch.float64 or precision == "float32":
        return part.dtype
    if precision == "bfloat16":
        return torch.bfloat16
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)() or part.library_offset.is_cuda
    return torch.bfloat16 if has and n_latent >= GATHER_FROM else part.dtype
