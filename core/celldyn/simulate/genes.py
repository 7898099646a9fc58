"""The gene table: one mean and one inverse dispersion per gene and cell type."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import ConfigError

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.parameters import GeneParameters

Floats = NDArray[np.float64]

_LEAST_THETA = 1e-9
"""A draw from a prior of a very small shape underflows; cells count 0 long before."""
_LEAST_CV = 1e-6
"""Below, a prior is a single value: its shape would overflow."""


def get_marker_gamma_prior(mu: float = 0.75, cv: float = 0.6) -> Any:  # noqa: ANN401
    """Return the prior on the mean expression of a marker gene in its own cell type.

    Parameters
    ----------
    mu
        Mean of the prior, counts per cell.
    cv
        Its standard deviation over its mean: the spread between genes.

    Returns
    -------
    A frozen `scipy.stats.gamma` of shape 1 / cv² and scale mu cv²; draw from it with `.rvs`.
    """
    return _gamma(*_shape_scale(mu, cv))


def get_silence_gamma_prior(mu: float = 0.05, cv: float = 1.0) -> Any:  # noqa: ANN401
    """Return the prior on the mean expression of a gene where it is silent.

    Parameters and result are those of `get_marker_gamma_prior`.
    """
    return _gamma(*_shape_scale(mu, cv))


def get_hk_gamma_prior(mu: float = 0.2, cv: float = 0.3) -> Any:  # noqa: ANN401
    """Return the prior on the mean expression of a housekeeping gene.

    Parameters and result are those of `get_marker_gamma_prior`.
    """
    return _gamma(*_shape_scale(mu, cv))


def get_theta_gamma_prior(
    alpha: float | None = None,
    rate: float | None = None,
    *,
    mu: float | None = None,
    cv: float | None = None,
) -> Any:  # noqa: ANN401
    """Return the prior on the inverse dispersion theta: the lower, the noisier the gene.

    Parameters
    ----------
    alpha, rate
        Shape and rate of the gamma; the mean is alpha / rate. Both default to (2, 1).
    mu, cv
        The same prior by mean and coefficient of variation: alpha = 1 / cv², rate = alpha / mu.

    Returns
    -------
    A frozen `scipy.stats.gamma`.

    Raises
    ------
    ConfigError
        If both ways are mixed, one of a pair is missing, or a number is not positive.
    """
    by_rate, by_mean = (alpha, rate) != (None, None), (mu, cv) != (None, None)
    if by_rate and by_mean:
        raise ConfigError(
            "the prior of theta was given both as (alpha, rate) and as (mu, cv)", "give one pair"
        )
    first, second = (mu, cv) if by_mean else (alpha, rate) if by_rate else (2.0, 1.0)
    if first is None or second is None:
        raise ConfigError(
            "the prior of theta needs both numbers of a pair", "give (alpha, rate) or (mu, cv)"
        )
    if by_mean:
        return _gamma(*_shape_scale(first, second))
    _require_positive(alpha=first, rate=second)
    return _gamma(first, 1.0 / second)


def generate_gene_parameters(config: SimulationConfig) -> pd.DataFrame:
    """Draw mean and inverse dispersion of every gene in every cell type.

    The draws follow one order per cell type: theta of all genes, silent means of all genes,
    housekeeping means, means of the type's own markers. Whatever a configuration adds (silent
    genes, own priors per type) keeps that order, and shared markers are drawn last of all. With
    `expression_model="programs"` the table is that of `build_program_gpar_df`.

    Returns
    -------
    One row per gene, grouped by `gene_type`: `feature_name`, `gene_type`, then per cell type
    `<type>_theta` and `<type>_mu`, then `gene_leakage` in [0, 1].
    """
    if config.expression_model == "programs":
        from celldyn.simulate.programs import build_program_gpar_df

        return build_program_gpar_df(config)
    rng = np.random.default_rng(config.seed)
    names, kinds = gene_names(config)
    n_markers, n_typed = config.markers_per_type, config.markers_per_type * config.n_celltype
    housekeeping = slice(n_typed, n_typed + config.n_housekeeping_genes)
    table: dict[str, Any] = {"feature_name": names, "gene_type": kinds}
    for k, celltype in enumerate(config.celltype_names):
        prior = config.priors_of(celltype)
        theta = rng.standard_gamma(prior.theta_shape, len(names)) * prior.theta_scale
        np.maximum(theta, _LEAST_THETA, out=theta)
        mu = _draw(rng, prior.silence, len(names))
        mu[housekeeping] = _draw(rng, prior.hk, config.n_housekeeping_genes)
        mu[k * n_markers : (k + 1) * n_markers] = _draw(rng, prior.marker, n_markers)
        table[f"{celltype}_theta"], table[f"{celltype}_mu"] = theta, mu
    for celltype, shared in config.shared_marker_rows().items():
        drawn = _draw(rng, config.priors_of(celltype).marker, len(shared))
        table[f"{celltype}_mu"][shared] = drawn
    table["gene_leakage"] = gene_leakage(config.leakage_by_gene, names)
    return pd.DataFrame(table)


def gene_names(config: SimulationConfig) -> tuple[list[str], list[str]]:
    """Return names and gene types: markers by cell type, housekeeping, then silent genes.

    Names are those of `gene_labels` where given; with `expression_model="programs"` they are
    those of `resolve_genes`.
    """
    if config.expression_model == "programs":
        from celldyn.simulate.programs import resolve_genes

        return resolve_genes(config)
    return _classes(config)


def _classes(config: GeneParameters) -> tuple[list[str], list[str]]:
    names, kinds = [], []
    groups = [(f"{celltype}_mkr", config.markers_per_type) for celltype in config.celltype_names]
    groups += [("hk", config.n_housekeeping_genes), ("silence", config.n_silence)]
    for kind, size in groups:
        names += [f"{kind}_{i}" for i in range(size)]
        kinds += [kind] * size
    return config.gene_labels or names, kinds


def check_gene_labels(config: GeneParameters) -> None:
    """Refuse names of the table's genes that are too few, too many or not unique.

    Raises
    ------
    ValueError
        One sentence that names the parameter and its bound.
    """
    labels = config.gene_labels
    if labels is None:
        return
    if len(labels) != config.n_genes:
        raise ValueError(
            f"gene_labels has {len(labels)} names; it must have n_genes = {config.n_genes}"
        )
    name, times = Counter(labels).most_common(1)[0]
    if times > 1:
        raise ValueError(f"gene_labels: {name!r} is named {times} times")


def marker_rows(config: GeneParameters) -> dict[str, int]:
    """Return the row of every marker gene in the gene table."""
    n_markers = config.n_celltype * config.markers_per_type
    return {name: row for row, name in enumerate(_classes(config)[0][:n_markers])}


def var_over_mean(mu: ArrayLike, theta_alpha: ArrayLike, theta_rate: ArrayLike) -> Floats:
    """Return the expected Var / Mean of the counts of a gene, over the prior on theta.

    It is 1 + mu E[1 / theta] with E[1 / theta] = rate / (alpha - 1), and infinite for alpha <= 1:
    single genes can then be a hundred times noisier than the rest.

    Parameters
    ----------
    mu
        Mean counts of the gene.
    theta_alpha, theta_rate
        Shape and rate of the gamma prior on theta; all three broadcast.

    Raises
    ------
    ConfigError
        If mu is below 0, or shape or rate is not above 0.
    """
    mean, alpha, rate = (np.asarray(a, dtype=float) for a in (mu, theta_alpha, theta_rate))
    if not (np.all(mean >= 0) and np.all(alpha > 0) and np.all(rate > 0)):
        raise ConfigError(
            "Var/Mean was asked for a mean below 0 or a prior that is none",
            "give mu of at least 0, theta_alpha and theta_rate above 0",
        )
    expected = np.where(alpha > 1, rate / np.where(alpha > 1, alpha - 1, 1.0), np.inf)
    noise: Floats = 1.0 + np.where(mean > 0, mean, 0.0) * np.where(mean > 0, expected, 0.0)
    return noise


def gene_leakage(
    given: float | list[float] | dict[str | int, float] | None, names: list[str]
) -> Floats:
    """Return the leak probability of every gene; see `leakage_by_gene` of the config."""
    if given is None or isinstance(given, float | int):
        return np.full(len(names), float(given or 0.0))
    if isinstance(given, list):
        return np.array(given, dtype=np.float64)
    leakage = np.zeros(len(names))
    rows = {name: row for row, name in enumerate(names)}
    for gene, probability in given.items():
        leakage[gene if isinstance(gene, int) else rows[gene]] = probability
    return leakage


def _draw(rng: np.random.Generator, prior: tuple[float, float], size: int) -> Floats:
    shape, scale = _shape_scale(*prior)
    return rng.standard_gamma(shape, size) * scale


def _shape_scale(mu: float, cv: float) -> tuple[float, float]:
    _require_positive(mu=mu, cv=cv)
    cv = max(cv, _LEAST_CV)
    return 1.0 / cv**2, mu * cv**2


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(
                f"{name} of a gamma prior is {value!r}", "it must be finite and above 0"
            )


def _gamma(shape: float, scale: float) -> Any:  # noqa: ANN401
    from scipy.stats import gamma

    return gamma(shape, scale=scale)
