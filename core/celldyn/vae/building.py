"""The job that builds a module and sets its initial values from the data (specs/vae.md A.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import Job, Progress, scaled
from celldyn.vae.ambient import AmbientEstimate, estimate_ambient_job
from celldyn.vae.batch_factors import apart, factor_shape_job
from celldyn.vae.config import ModelConfig
from celldyn.vae.dispersion import dispersion_job
from celldyn.vae.features import inverse_softplus
from celldyn.vae.inputs import Groups, Modality, VAEInputs
from celldyn.vae.modality import MOST_BACKGROUND, ModalityPart
from celldyn.vae.module import VAEModule
from celldyn.vae.moments import library_prior, mean_expression
from celldyn.vae.shelf import Shelf
from celldyn.vae.spec import ModuleSpec

Floats = NDArray[np.float64]

THETA_SPREAD = 0.1
"""sd of the noise on the initial log θ."""

BACKGROUND_SPREAD = 0.01
"""sd of the noise on the initial log background."""

_SMALLEST = 1e-8
_LEAST_SHARE = 1e-4
"""Shares of background are held above this."""
_LEAST_RATE = 1e-3
"""Of the decoder's initial output, in counts of an average cell."""


@dataclass(slots=True, eq=False)
class Built:
    """A module at its initial values, and what these were read off.

    Parameters
    ----------
    module
        On the CPU.
    ambient
        {modality: one estimate per ambient key}; empty where nothing was estimated.
    notes
        Sentences for the user.
    """

    module: VAEModule
    ambient: dict[str, tuple[AmbientEstimate, ...]]
    notes: tuple[str, ...]


def build_job(inputs: VAEInputs, config: ModelConfig, *, seed: int = 0) -> Job[Built]:
    """Build the module of a data set.

    Parameters
    ----------
    inputs
        The data.
    config
        The model.
    seed
        Of weights and of noise on initial values.

    Raises
    ------
    ConfigError
        If the config does not go together with the data.
    """
    spec = ModuleSpec.of(inputs, config)
    yield Progress("initial values", 0, len(inputs.modalities))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = VAEModule(spec)
    module.n_obs = inputs.n_obs
    noise = np.random.default_rng([seed, 1])
    found: dict[str, tuple[AmbientEstimate, ...]] = {}
    notes: list[str] = []
    for m, modality in enumerate(inputs.modalities):
        job = _start_job(module.part(m), modality, inputs, noise, seed)
        estimates, told = yield from scaled(job, m, len(inputs.modalities))
        if estimates:
            found[modality.name] = estimates
        notes += [*(note for one in estimates for note in one.notes), *told]
    module.eval()
    return Built(module, found, tuple(dict.fromkeys(notes)))


def _start_job(
    part: ModalityPart,
    modality: Modality,
    inputs: VAEInputs,
    noise: np.random.Generator,
    seed: int,
) -> Job[tuple[tuple[AmbientEstimate, ...], list[str]]]:
    """Set the initial values of one modality."""
    config, shelf = part.config, Shelf(modality, seed)
    _start_library(part, modality, inputs)
    yield Progress("mean expression", 0, 3)
    means = mean_expression(
        modality.counts, modality.totals, top=config.init_decoder_bias == "topN"
    )
    unit = math.exp(float(part.library_offset))
    yield Progress("ambient RNA", 1, 3)
    estimates: tuple[AmbientEstimate, ...] = ()
    if part.features.log_background is not None:
        if config.background_init == "estimated":
            job = _ambient_job(modality, inputs.ambient, shelf)
            estimates = yield from scaled(job, 1, 3)
        _start_background(part, inputs, means, unit, estimates, noise)
    _start_decoder(part, inputs, means * unit, unit)
    yield from scaled(_dispersion_job(part, modality, inputs, noise, shelf), 2, 3)
    notes: list[str] = []
    if part.features.scaling_raw is not None and config.feature_scaling_prior_alpha is None:
        notes = yield from scaled(_scaling_job(part, inputs, shelf), 3, 3)
    return estimates, notes


def _scaling_job(part: ModalityPart, inputs: VAEInputs, shelf: Shelf) -> Job[list[str]]:
    """Set how far the prior lets genes differ between groups: as the loosest key has it.

    Returns
    -------
    A note where they differ between batches that nothing in the model follows.
    """
    followed = {groups.key for groups in (*inputs.scaling, *inputs.conditioning)}
    batch = [] if inputs.batch is None or part.config.use_batch_in_decoder else [inputs.batch]
    watched = [groups for groups in batch if groups.key not in followed]
    shapes: dict[str, float] = {}
    for groups in (*inputs.scaling, *watched):
        clusters = yield from shelf.clusters_job(groups)
        theta = yield from shelf.theta_job(groups)
        shapes[groups.key] = yield from factor_shape_job(clusters, groups, theta)
    if inputs.scaling:
        loosest = min(shapes[groups.key] for groups in inputs.scaling)
        part.features.scaling_shape.fill_(loosest)
    return [note for groups in watched for note in apart(groups.key, shapes[groups.key])]


def _start_library(part: ModalityPart, modality: Modality, inputs: VAEInputs) -> None:
    """Set the prior of ℓ, centred or not, and the library encoder's bias to its mean.

    Of given sizes only the scale is set: how many counts a cell of size 1 has.
    """
    mean, variance = library_prior(modality.totals, inputs.library)
    offset = 0.0
    if inputs.size_factor is not None:
        counted = modality.totals > 0
        logs = np.log(modality.totals[counted]) - np.log(inputs.size_factor[counted])
        offset = float(np.mean(logs)) if counted.any() else 0.0
    elif part.config.library_centring:
        offset = float(np.mean(mean)) - part.log_sensitivity
    part.library_offset.fill_(offset)
    part.library_mean.copy_(_tensor(mean - offset))
    weighted = np.maximum(variance, _SMALLEST) * part.config.library_log_vars_weight
    part.library_variance.copy_(_tensor(weighted))
    if part.encoder is not None and part.learns_library:
        start = 0.0 if part.residual else float(np.mean(mean)) - offset
        with torch.no_grad():
            part.encoder.library_head.bias[0] = start


def _ambient_job(
    modality: Modality, keys: tuple[Groups, ...], shelf: Shelf
) -> Job[tuple[AmbientEstimate, ...]]:
    estimates, n = [], 3 * len(keys)
    for k, groups in enumerate(keys):
        clusters = yield from scaled(shelf.clusters_job(groups), 3 * k, n)
        theta = yield from scaled(shelf.theta_job(groups), 3 * k + 1, n)
        job = estimate_ambient_job(
            modality.counts,
            groups,
            modality.totals,
            seed=shelf.seed,
            clusters=clusters,
            theta=theta,
        )
        estimates.append((yield from scaled(job, 3 * k + 2, n)))
    return tuple(estimates)


def _start_background(
    part: ModalityPart,
    inputs: VAEInputs,
    means: Floats,
    unit: float,
    estimates: tuple[AmbientEstimate, ...],
    noise: np.random.Generator,
) -> None:
    """Set β, and what each group's sum is held near.

    Backgrounds of several keys add, so each key starts with its part of what was estimated.
    """
    features, config = part.features, part.config
    assert features.log_background is not None
    shape = features.log_background.shape
    if estimates:
        start = _estimated(part, inputs, estimates, unit)
    elif config.background_init == "fraction":
        start = np.broadcast_to(config.bg_init_gene_fraction * means * unit, shape)
    else:
        mean = config.additive_bg_prior_alpha / config.additive_bg_prior_beta
        start = np.full(shape, mean)
    logs = np.log(np.maximum(start, _SMALLEST))
    spread = BACKGROUND_SPREAD * noise.standard_normal(shape)
    features.start_background(slice(None), _tensor(logs + spread))


def _estimated(
    part: ModalityPart, inputs: VAEInputs, estimates: tuple[AmbientEstimate, ...], unit: float
) -> Floats:
    """Return the estimated background, (n_ambient, G), and let the library prior leave it room.

    A decoder that is not told the group gives the same native expression, R over all features, to
    all groups; so a group whose share of background is a has s = a / (1 − a) R, and a cell of it
    that has the observed total is of library size total (1 − a) / R.
    """
    parts = [np.minimum(one.share / len(estimates), MOST_BACKGROUND) for one in estimates]
    shares = np.concatenate(parts)
    part.features.held_log_share.copy_(_tensor(np.log(np.maximum(shares, _LEAST_SHARE))))
    native = np.zeros(inputs.n_obs)
    for share, groups in zip(parts, inputs.ambient, strict=True):
        native -= share[groups.codes]
    native = np.log1p(np.maximum(native, -MOST_BACKGROUND))
    codes, n = inputs.library.codes, len(inputs.library)
    shift = np.bincount(codes, native, n) / np.maximum(np.bincount(codes, minlength=n), 1)
    part.library_mean += _tensor(shift - shift.mean())
    part.native_part.fill_(float(shift.mean()))
    at_hand = np.exp(shift.mean())
    start: Floats = (shares / (1 - _of_group(inputs, shares)))[:, None] * unit * at_hand
    background: Floats = start * np.concatenate([one.profile for one in estimates])
    return background


def _of_group(inputs: VAEInputs, shares: Floats) -> Floats:
    """Return (n_ambient,) the whole background of each group's cells: its own and other keys'."""
    offsets = np.cumsum([0, *(len(groups) for groups in inputs.ambient)])
    whole = np.zeros(inputs.n_obs)
    for groups, at in zip(inputs.ambient, offsets, strict=False):
        whole += shares[at + groups.codes]
    means = [
        np.bincount(g.codes, whole, len(g)) / np.maximum(np.bincount(g.codes, minlength=len(g)), 1)
        for g in inputs.ambient
    ]
    return np.minimum(np.concatenate(means), MOST_BACKGROUND)


def _start_decoder(part: ModalityPart, inputs: VAEInputs, means: Floats, unit: float) -> None:
    """Set the output's bias so that ρ + s is the mean expression of each feature."""
    if part.config.init_decoder_bias == "none" or part.config.scale_activation == "softmax":
        return
    rate = means.copy()
    if part.features.log_background is not None:
        weights = np.concatenate([np.bincount(k.codes, minlength=len(k)) for k in inputs.ambient])
        background = np.exp(part.features.log_background.detach().double().numpy())
        rate -= weights @ background / inputs.n_obs
    least = _LEAST_RATE / math.exp(float(part.library_mean.mean()))
    rate = np.maximum(rate, least)
    bias = np.where(rate > 20, rate, np.log(np.expm1(np.minimum(rate, 20))))
    with torch.no_grad():
        part.decoder.out.bias.copy_(_tensor(bias))


def _dispersion_job(
    part: ModalityPart,
    modality: Modality,
    inputs: VAEInputs,
    noise: np.random.Generator,
    shelf: Shelf,
) -> Job[None]:
    """Set λ to its prior mean, and log θ to the prior's equilibrium or to moments of the data."""
    features, config = part.features, part.config
    shape = tuple(features.log_theta_mean.shape)
    rate = 1 / config.dispersion_hyper_prior_mean
    with torch.no_grad():
        features.rate_raw.fill_(inverse_softplus(rate))
    sign = 2.0 if config.dispersion_prior_direction == "inverse_sqrt" else -2.0
    centre: Floats = np.full(shape, sign * math.log(rate))
    if config.dispersion_init == "data":
        groups = inputs.dispersion if shape[0] > 1 else Groups.one(inputs.n_obs)
        clusters = yield from scaled(shelf.clusters_job(groups), 0, 2)
        job = dispersion_job(modality.counts, modality.totals, groups, clusters=clusters)
        centre = np.log((yield from scaled(job, 1, 2)))
    with torch.no_grad():
        spread = THETA_SPREAD * noise.standard_normal(shape)
        features.log_theta_mean.copy_(_tensor(centre + spread))


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
