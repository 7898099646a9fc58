"""What is learned per feature: inverse dispersion, background, scaling; and their priors.

Equations: specs/vae.md A.2 and A.5 with Decisions 3, 4, 6 and 7; seed 003, "Generative model".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from celldyn.vae.batch_factors import SEED_SHAPE
from celldyn.vae.draws import Draws
from celldyn.vae.spec import ModalitySpec, Sizes

SCALING_UNIT = 0.7
"""softplus(γ) / 0.7 is near 1 at γ = 0."""

HOLD_SD = 0.05
"""A group whose share of background is off by this part of itself pays half a nat a cell."""
PROFILE_SD = 0.3
"""How far, on the log scale, the background of a feature goes from its start without a reason."""

_HALF_LOG_2PI_E = 0.5 * math.log(2 * math.pi * math.e)


class Features(nn.Module):
    """Tables of one modality, a row for each group and a column for each of G features.

    Parameters
    ----------
    spec
        The modality.
    sizes
        Groups of each purpose.

    Attributes
    ----------
    log_theta_mean, log_theta_log_sd
        (n_dispersion, G) of q(log θ); the latter is not learned without regularisation.
    rate_raw
        (n_dispersion,) λ = softplus of it.
    log_background, background_scale
        (n_ambient, G) and (n_ambient,), whose sum is β, or None. What holds the share of a group
        moves its scale alone: Adam would move every feature by a whole step, and those that the
        counts say little of would take all of the share.
    held_log_background
        (n_ambient, G) what β is held near, feature by feature.
    scaling_raw
        (n_scaling or 1, G) γ, or None.
    scaling_shape
        () shape and rate of the prior of y where the config gives none.
    held_log_share
        (n_ambient,) log of the share of background in its counts that each group is held near.
    """

    held_log_share: Tensor
    scaling_shape: Tensor
    held_log_background: Tensor

    def __init__(self, spec: ModalitySpec, sizes: Sizes) -> None:
        super().__init__()
        self.config, n = spec.config, spec.n_features
        groups = sizes.dispersion if self.config.dispersion == "gene-batch" else 1
        self.log_theta_mean = nn.Parameter(torch.zeros(groups, n))
        self.log_theta_log_sd = nn.Parameter(torch.full((groups, n), math.log(0.1)))
        self.rate_raw = nn.Parameter(torch.full((groups,), inverse_softplus(3.0)))
        self.log_background: nn.Parameter | None = None
        self.background_scale: nn.Parameter | None = None
        self.scaling_raw: nn.Parameter | None = None
        if self.config.use_additive_background and sizes.ambient:
            self.log_background = nn.Parameter(torch.zeros(sizes.ambient, n))
            self.background_scale = nn.Parameter(torch.zeros(sizes.ambient))
        if self.config.use_feature_scaling:
            self.scaling_raw = nn.Parameter(torch.zeros(max(sizes.scaling, 1), n))
        self.register_buffer("scaling_shape", torch.tensor(SEED_SHAPE))
        held = self.config.hold_background and self.log_background is not None
        self.register_buffer("held_log_share", torch.zeros(sizes.ambient))
        self.register_buffer("held_log_background", torch.zeros(sizes.ambient if held else 0, n))

    @property
    def log_s(self) -> Tensor | None:
        """(n_ambient, G) β of s = exp(β); None without a background."""
        if self.log_background is None or self.background_scale is None:
            return None
        return self.log_background + self.background_scale[:, None]

    @torch.no_grad()
    def start_background(self, rows: Tensor | slice, log_s: Tensor) -> None:
        """Set β of some groups, (n, G), and hold it there."""
        assert self.log_background is not None
        assert self.background_scale is not None
        self.log_background[rows] = log_s
        self.background_scale[rows] = 0.0
        if len(self.held_log_background):
            self.held_log_background[rows] = log_s

    @property
    def rate(self) -> Tensor:
        """(n_dispersion,) λ."""
        return F.softplus(self.rate_raw)

    # --- tables for a minibatch ---------------------------------------------------------------

    def theta(self, groups: Tensor, draws: Draws, name: str) -> tuple[Tensor, Tensor]:
        """Return a table of θ and the row of each cell in it; the median outside of training."""
        if len(self.log_theta_mean) == 1:
            groups = torch.zeros_like(groups)
        sampled = self.config.regularise_dispersion and draws.samples_theta
        if not sampled:
            return torch.exp(self.log_theta_mean), groups
        if self.config.theta_noise == "cell":
            mean, sd = self.log_theta_mean[groups], torch.exp(self.log_theta_log_sd)[groups]
            table = torch.exp(mean + sd * draws.normal(name, mean))
            return table, torch.arange(len(groups), device=groups.device)
        noise = draws.normal(name, self.log_theta_mean)
        return torch.exp(self.log_theta_mean + torch.exp(self.log_theta_log_sd) * noise), groups

    def background(self, codes: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return a table of s, summed over keys, and the row of each cell in it."""
        log_s = self.log_s
        if log_s is None:
            return None, codes.new_zeros(len(codes))
        chosen, rows = _used(codes, len(log_s))
        if chosen is None:
            return torch.exp(log_s), rows
        return torch.exp(log_s[chosen]).sum(dim=1), rows

    def scaling(self, codes: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return a table of y, combined over keys, and the row of each cell in it."""
        if self.scaling_raw is None:
            return None, codes.new_zeros(len(codes))
        if not codes.shape[1]:
            return self._factor(self.scaling_raw), codes.new_zeros(len(codes))
        chosen, rows = _used(codes, len(self.scaling_raw))
        if chosen is None:
            return self._factor(self.scaling_raw), rows
        factors = self._factor(self.scaling_raw[chosen])
        if self.config.feature_scaling_combination == "product":
            return factors.prod(dim=1), rows
        return factors.sum(dim=1), rows

    @staticmethod
    def _factor(raw: Tensor) -> Tensor:
        return F.softplus(raw) / SCALING_UNIT

    # --- priors -------------------------------------------------------------------------------

    def global_terms(self) -> dict[str, Tensor]:
        """Return the terms that stand once for the whole data set, in nats."""
        terms: dict[str, Tensor] = {}
        config = self.config
        if config.regularise_dispersion:
            terms["dispersion_kl"] = self._dispersion_kl()
            alpha = config.dispersion_hyper_prior_alpha
            beta = alpha * config.dispersion_hyper_prior_mean
            terms["dispersion_hyperprior"] = -_log_gamma(self.rate, alpha, beta).sum()
        log_s = self.log_s
        if log_s is not None and config.regularise_background:
            alpha, beta = config.additive_bg_prior_alpha, config.additive_bg_prior_beta
            terms["background_prior"] = -_log_gamma(torch.exp(log_s), alpha, beta).sum()
        if self.log_background is not None and len(self.held_log_background):
            away = (self.log_background - self.held_log_background) / PROFILE_SD
            terms["background_profile"] = 0.5 * away.square().sum()
        if self.scaling_raw is not None:
            terms["scaling_prior"] = self._scaling_prior(self._factor(self.scaling_raw))
        return terms

    def _scaling_prior(self, y: Tensor) -> Tensor:
        """Return -log Gamma(y; α, β), summed; what is not given is as the data have it."""
        shape, config = self.scaling_shape, self.config
        if config.feature_scaling_prior_alpha is not None:
            shape = torch.full_like(shape, config.feature_scaling_prior_alpha)
        rate = shape
        if config.feature_scaling_prior_beta is not None:
            rate = torch.full_like(shape, config.feature_scaling_prior_beta)
        constant = shape * torch.log(rate) - torch.lgamma(shape)
        log_prior = constant + (shape - 1) * torch.log(y) - rate * y
        return -log_prior.sum()

    def _dispersion_kl(self) -> Tensor:
        """Return KL[q(log θ) ‖ prior], summed.

        The prior is Exp(λ) on u = θ^∓½; with q(log θ) = N(m, σ²), E[u] = exp(∓m/2 + σ²/8). The
        change of variables adds log|du/d log θ| = log(u/2).
        """
        m, log_sd = self.log_theta_mean, self.log_theta_log_sd
        sign = -0.5 if self.config.dispersion_prior_direction == "inverse_sqrt" else 0.5
        u = torch.exp(sign * m + torch.exp(2 * log_sd) / 8)
        rate = self.rate[:, None]
        log_prior = torch.log(rate) - rate * u
        if self.config.dispersion_jacobian:
            log_prior = log_prior + sign * m - math.log(2)
        return -(log_sd + _HALF_LOG_2PI_E).sum() - log_prior.sum()

    def hold_term(self, codes: Tensor, native: Tensor) -> Tensor | None:
        """Return what it costs, in nats a cell, that shares of background left their estimates.

        The log share of a group e is the mean over its cells of log(S_e / (R + Σ_keys S)), where S
        sums the background over features and R the cell's native expression;
        ½ ((log share − log estimate) / HOLD_SD)² is paid for each of its cells.

        Parameters
        ----------
        codes
            (B, n_keys) rows of each cell in the background.
        native
            (B,) R; 0 for a cell that was not measured, which is left out.
        """
        if self.log_background is None or self.background_scale is None:
            return None
        if not self.config.hold_background:
            return None
        sums = torch.logsumexp(self.log_background.detach(), dim=1) + self.background_scale
        parts, here = sums[codes], (native > 0).to(native.dtype)[:, None].expand_as(codes)
        whole = native + torch.exp(parts).sum(dim=1)
        logs = (parts - torch.log(whole)[:, None]) * here
        none, groups = torch.zeros_like(self.held_log_share), codes.reshape(-1)
        cells = none.index_add(0, groups, here.reshape(-1))
        means = none.index_add(0, groups, logs.reshape(-1)) / cells.clamp(min=1)
        away = (means - self.held_log_share) / HOLD_SD
        return 0.5 * (cells * away.square()).sum() / len(codes)


def _used(codes: Tensor, n_rows: int) -> tuple[Tensor | None, Tensor]:
    """Return the combinations of rows that occur, (n, n_keys), and which of them each cell has.

    None stands for the whole table: one key of no more categories than there are cells.
    """
    if codes.shape[1] == 1 and n_rows <= len(codes):
        return None, codes[:, 0]
    chosen, rows = torch.unique(codes, dim=0, return_inverse=True)
    return chosen, rows


def _log_gamma(x: Tensor, shape: float, rate: float) -> Tensor:
    """Return log Gamma(x; shape, rate)."""
    constant = shape * math.log(rate) - math.lgamma(shape)
    return constant + (shape - 1) * torch.log(x) - rate * x


def inverse_softplus(y: float) -> float:
    """Return what softplus makes y of."""
    return y + math.log(-math.expm1(-y))
