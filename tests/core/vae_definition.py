"""The model of specs/vae.md A.2, A.5 and A.10 stated with torch.distributions and Pyro.

Written from the equations, one-hot columns and all, with nothing of the module but its numbers:
the fused code must give the same terms.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from pyro.distributions import GammaPoisson
from torch.distributions import (
    Exponential,
    Gamma,
    LogNormal,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.transforms import ExpTransform, PowerTransform
from torch.nn import functional as F


def gamma(shape, rate):
    """Gamma in float64, its rate form."""
    return Gamma(torch.as_tensor(shape).double(), torch.as_tensor(rate).double())


def one_hot(codes, n):
    """Return (B, n) with ones in every column that a row of codes (B, n_keys) names."""
    if not codes.shape[1]:
        return torch.zeros(len(codes), n, dtype=torch.float64)
    return torch.stack([F.one_hot(column, n) for column in codes.T]).sum(0).double()


def told(p, name, x, codes, continuous):
    """One linear layer on x, continuous covariates and one-hot covariates side by side."""
    weight, columns = [p[f"{name}.weight"]], [x]
    if f"{name}.categories" in p:
        table = p[f"{name}.categories"]
        weight.append(table.T)
        columns.append(one_hot(codes, len(table)))
    if f"{name}.continuous" in p:
        weight.append(p[f"{name}.continuous"])
        columns.append(continuous)
    return torch.cat(columns, 1) @ torch.cat(weight, 1).T + p[f"{name}.bias"]


def after(p, name, h, *, batch_norm, layer_norm):
    if batch_norm:
        mean, variance = p[f"{name}.norm.running_mean"], p[f"{name}.norm.running_var"]
        h = (h - mean) / torch.sqrt(variance + 1e-3)
        h = h * p[f"{name}.norm.weight"] + p[f"{name}.norm.bias"]
    if layer_norm:
        mean, variance = h.mean(1, keepdim=True), h.var(1, correction=0, keepdim=True)
        h = (h - mean) / torch.sqrt(variance + 1e-5)
    return torch.relu(h)


class Definition:
    """Terms of the loss of one minibatch, without dropout, all in float64."""

    def __init__(self, module, batch, counts, noise, *, n_obs, training):
        self.module, self.spec, self.batch = module, module.spec, batch
        self.counts = [torch.as_tensor(x, dtype=torch.float64) for x in counts]
        self.noise, self.n_obs, self.training = noise, n_obs, training
        self.p = {k: v.double() for k, v in module.state_dict().items()}
        self.continuous = None if batch.continuous is None else batch.continuous.double()

    def style(self, config, side):
        return {
            "batch_norm": config.use_batch_norm in (side, "both"),
            "layer_norm": config.use_layer_norm in (side, "both"),
        }

    def encode(self, name, x, config, *, n_layers, width, of_z, of_library):
        p, codes, style = self.p, self.batch.encoder, self.style(config, "encoder")
        h = told(p, f"{name}.first", x, codes, self.continuous)
        z = library = None
        if of_z:
            g = after(p, f"{name}.after", h[:, :width], **style)
            for k in range(n_layers - 1):
                g = told(p, f"{name}.rest.linear.{k}", g, codes, None)
                g = after(p, f"{name}.rest.after.{k}", g, **style)
            out = g @ p[f"{name}.head.weight"].T + p[f"{name}.head.bias"]
            half = out.shape[1] // 2
            z = Normal(out[:, :half], torch.sqrt(torch.exp(out[:, half:]) + 1e-4))
        if of_library:
            g = after(p, f"{name}.library_after", h[:, width if of_z else 0 :], **style)
            out = g @ p[f"{name}.library_head.weight"].T + p[f"{name}.library_head.bias"]
            library = Normal(out[:, 0], torch.sqrt(torch.exp(out[:, 1]) + 1e-4))
        return z, library

    def posteriors(self):
        spec, z, libraries = self.spec, {}, []
        inputs = [torch.log1p(x) for x in self.counts]
        for m, own in enumerate(spec.modalities):
            config, joint = own.config, spec.latent_mode == "single_encoder"
            q, library = self.encode(
                f"parts.{m}.encoder",
                inputs[m],
                config,
                n_layers=config.n_layers,
                width=config.n_hidden,
                of_z=not joint,
                of_library=spec.learns_library,
            )
            if q is not None:
                z[own.name] = q
            libraries.append(self.library(m, library))
        if spec.latent_mode == "single_encoder":
            configs = [own.config for own in spec.modalities]
            z["joint"], _ = self.encode(
                "mixing.encoder",
                torch.cat(inputs, 1),
                configs[0],
                n_layers=max(c.n_layers for c in configs),
                width=max(c.n_hidden for c in configs),
                of_z=True,
                of_library=False,
            )
        return z, libraries

    def library(self, m, q):
        """q(ℓ): residual about the observed total with weight w, or as the encoder has it."""
        if q is None:
            return None
        config, name = self.spec.modalities[m].config, f"parts.{m}"
        if not config.residual_library_encoder:
            return q
        sensitivity = math.log(config.library_log_means_centering_sensitivity or 1.0)
        glm = self.p[f"{name}.library_offset"] + sensitivity
        o = torch.log(self.counts[m].sum(1).clamp(min=1)) - glm + sensitivity
        if config.hold_background and self.batch.ambient.shape[1]:
            held = torch.exp(self.p[f"{name}.features.held_log_share"])
            native = 1 - held[self.batch.ambient].sum(1).clamp(max=0.95)
            o = o + torch.log(native) - self.p[f"{name}.native_part"]
        weight = self.library_weight(m)
        return Normal(sensitivity + weight * (o - sensitivity) + q.loc, q.scale)

    def library_weight(self, m):
        """w ~ LogNormal: drawn in training, its mean in evaluation."""
        mean = self.p[f"parts.{m}.library_weight_mean"]
        sd = torch.exp(self.p[f"parts.{m}.library_weight_log_sd"])
        if not self.training:
            return LogNormal(mean, sd).mean
        noise = self.noise[f"library_weight/{self.spec.modalities[m].name}"].double()
        return torch.exp(mean + sd * noise)

    def present(self, m):
        here = self.batch.present[m]
        return torch.ones(len(self.batch)).double() if here is None else here.double()

    def latent(self, posteriors):
        z = {k: q.loc + q.scale * self.noise[f"z/{k}"].double() for k, q in posteriors.items()}
        spec, names = self.spec, [own.name for own in self.spec.modalities]
        if spec.latent_mode == "single_encoder":
            return z["joint"]
        masked = [z[name] * self.present(m)[:, None] for m, name in enumerate(names)]
        if spec.latent_mode == "concatenation":
            joined = torch.cat(masked, 1)
        else:
            joined = sum(self.weights(masked)[:, m, None] * z[n] for m, n in enumerate(names))
        if spec.modalities[0].config.latent_distribution == "ln":
            joined = torch.softmax(joined, 1)
        return joined

    def weights(self, masked):
        here = torch.stack([self.present(m) for m in range(len(masked))], 1)
        if self.spec.modality_weights == "equal":
            weights = here
        elif self.spec.modality_weights == "universal":
            weights = here * torch.exp(self.p["mixing.weights"])
        else:
            linear = torch.cat(masked, 1) @ self.p["mixing.weigh.weight"].T
            weights = here * torch.exp(linear + self.p["mixing.weigh.bias"])
        return weights / weights.sum(1, keepdim=True)

    def decode(self, m, z):
        p, config, name = self.p, self.spec.modalities[m].config, f"parts.{m}.decoder"
        codes, style = self.batch.conditioning, self.style(config, "decoder")
        if config.use_batch_in_decoder:
            offset = self.spec.sizes.conditioning
            codes = torch.cat([codes, self.batch.batch[:, None] + offset], 1)
        h = after(p, f"{name}.after", told(p, f"{name}.first", z, codes, self.continuous), **style)
        for k in range(config.n_layers - 1):
            h = told(p, f"{name}.rest.linear.{k}", h, codes, None)
            h = after(p, f"{name}.rest.after.{k}", h, **style)
        logits = h @ p[f"{name}.out.weight"].T + p[f"{name}.out.bias"]
        if config.scale_activation == "softmax":
            return torch.softmax(logits, 1)
        return torch.log1p(torch.exp(-logits.abs())) + logits.clamp(min=0)

    def scaling(self, m):
        """y of each cell: one factor per key, multiplied or added."""
        name = f"parts.{m}.features.scaling_raw"
        if name not in self.p:
            return 1.0
        table = torch.log1p(torch.exp(self.p[name])) / 0.7
        codes = self.batch.scaling
        if not codes.shape[1]:
            return table[0]
        factors = table[codes]
        if self.spec.modalities[m].config.feature_scaling_combination == "product":
            return factors.prod(1)
        return factors.sum(1)

    def theta(self, m):
        config, name = self.spec.modalities[m].config, f"parts.{m}.features"
        mean, log_sd = self.p[f"{name}.log_theta_mean"], self.p[f"{name}.log_theta_log_sd"]
        rows = self.batch.dispersion if config.dispersion == "gene-batch" else 0
        if not (self.training and config.regularise_dispersion):
            return torch.exp(mean)[rows]
        noise = self.noise[f"theta/{self.spec.modalities[m].name}"].double()
        if config.theta_noise == "cell":
            return torch.exp(mean[rows] + torch.exp(log_sd)[rows] * noise)
        return torch.exp(mean + torch.exp(log_sd) * noise)[rows]

    def local_terms(self):
        q_z, q_l = self.posteriors()
        z, n = self.latent(q_z), len(self.batch)
        names = [own.name for own in self.spec.modalities]
        terms = {"reconstruction": 0.0, "kl_z": 0.0, "kl_library": 0.0}
        for name, q in q_z.items():
            kl = kl_divergence(q, Normal(torch.zeros_like(q.loc), 1.0)).sum(1)
            here = 1.0 if name == "joint" else self.present(names.index(name))
            terms["kl_z"] += (kl * here).sum() / n
        for m, name in enumerate(names):
            own, p, here = f"parts.{m}", self.p, self.present(m)
            if q_l[m] is None:
                ell = self.batch.log_size_factor.double()
            else:
                ell = q_l[m].loc + q_l[m].scale * self.noise[f"library/{name}"].double()
                rows = self.batch.library
                variance = p[f"{own}.library_variance"][rows]
                prior = Normal(p[f"{own}.library_mean"][rows], torch.sqrt(variance))
                terms["kl_library"] += (kl_divergence(q_l[m], prior) * here).sum() / n
            rho = self.decode(m, z)
            if f"{own}.features.log_background" in p:
                table = torch.exp(self.log_s(m))
                rho = rho + one_hot(self.batch.ambient, len(table)) @ table
            mu = torch.exp(ell)[:, None] * rho * self.scaling(m)
            theta = self.theta(m) * torch.ones_like(mu)
            x = GammaPoisson(concentration=theta, rate=theta / mu, validate_args=False)
            terms["reconstruction"] -= (x.log_prob(self.counts[m]).sum(1) * here).sum() / n
        return terms

    def log_s(self, m):
        """β: of each feature, and the group's scale."""
        name = f"parts.{m}.features"
        return self.p[f"{name}.log_background"] + self.p[f"{name}.background_scale"][:, None]

    def hold_terms(self):
        """½ ((log share − log estimate) / 0.05)² for each cell and key: log share is a mean."""
        z, total = self.latent(self.posteriors()[0]), 0.0
        for m, own in enumerate(self.spec.modalities):
            name = f"parts.{m}.features"
            if not own.config.hold_background or f"{name}.log_background" not in self.p:
                continue
            n = max(len(self.batch) // 4, 32)  # of the first cells
            here = self.present(m)[:n] > 0
            sums, codes = torch.exp(self.log_s(m)).sum(1), self.batch.ambient[:n]
            whole = self.decode(m, z)[:n].sum(1) + sums[codes].sum(1)
            for group in codes[here].unique().tolist():
                own_cells = (codes == group).any(1) & here
                log_share = (torch.log(sums[group]) - torch.log(whole[own_cells])).mean()
                off = (log_share - self.p[f"{name}.held_log_share"][group]) / 0.05
                total = total + 0.5 * own_cells.sum() * off**2 / len(codes)
        return {} if isinstance(total, float) else {"background_hold": total}

    def global_terms(self):
        terms = {}
        for m, own in enumerate(self.spec.modalities):
            config, name = own.config, f"parts.{m}"
            scale = len(self.batch) if config.global_scale == "minibatch" else self.n_obs
            for key, value in self.priors(name, config).items():
                terms[key] = terms.get(key, 0.0) + value / scale
        return terms

    def priors(self, name, config):
        p, found = self.p, {}
        if config.regularise_dispersion:
            found |= dispersion_terms(p, name, config)
        background = f"{name}.features.log_background"
        if background in p and config.regularise_background:
            prior = gamma(config.additive_bg_prior_alpha, config.additive_bg_prior_beta)
            s = torch.exp(p[background] + p[f"{name}.features.background_scale"][:, None])
            found["background_prior"] = -prior.log_prob(s).sum()
        if background in p and config.hold_background:
            held = Normal(p[f"{name}.features.held_log_background"], 0.3)
            found["background_profile"] = -held.log_prob(p[background]).sum()
            found["background_profile"] += held.log_prob(held.loc).sum()
        scaling = f"{name}.features.scaling_raw"
        if scaling in p:
            shape = self.p[f"{name}.features.scaling_shape"]
            alpha = torch.as_tensor(config.feature_scaling_prior_alpha or shape)
            beta = torch.as_tensor(config.feature_scaling_prior_beta or alpha)
            y = torch.log1p(torch.exp(p[scaling])) / 0.7
            found["scaling_prior"] = -gamma(alpha, beta).log_prob(y).sum()
        if config.decoder_weight_l2:
            weights = [
                v
                for k, v in p.items()
                if k.startswith(f"{name}.decoder.") and "bias" not in k and "norm" not in k
            ]
            found["decoder_l2"] = config.decoder_weight_l2 * sum((w**2).sum() for w in weights)
        if f"{name}.library_weight_mean" in p:
            q = LogNormal(
                p[f"{name}.library_weight_mean"], torch.exp(p[f"{name}.library_weight_log_sd"])
            )
            rate = config.library_obs_w_prior_rate
            found["library_weight_kl"] = -q.entropy() - math.log(rate) + rate * q.mean
        return found


def dispersion_terms(p, name, config):
    """KL[q(log θ) ‖ p] by quadrature, 1/√θ (or √θ) ~ Exp(λ), and −log Gamma(λ; α, α·mean)."""
    mean, sd = p[f"{name}.features.log_theta_mean"], p[f"{name}.features.log_theta_log_sd"].exp()
    rate = torch.log1p(torch.exp(p[f"{name}.features.rate_raw"]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    log_theta = mean[..., None] + sd[..., None] * torch.as_tensor(nodes)
    power = -2.0 if config.dispersion_prior_direction == "inverse_sqrt" else 2.0
    prior = Exponential(rate[:, None, None])
    if config.dispersion_jacobian:  # log θ = log u^∓2
        to_log = [PowerTransform(torch.tensor(power).double()), ExpTransform().inv]
        log_prior = TransformedDistribution(prior, to_log).log_prob(log_theta)
    else:
        log_prior = prior.log_prob(torch.exp(log_theta / power))
    expected = (log_prior * torch.as_tensor(weights / weights.sum())).sum(-1)
    alpha = config.dispersion_hyper_prior_alpha
    hyper = gamma(alpha, alpha * config.dispersion_hyper_prior_mean).log_prob(rate)
    return {
        "dispersion_kl": -Normal(mean, sd).entropy().sum() - expected.sum(),
        "dispersion_hyperprior": -hyper.sum(),
    }
