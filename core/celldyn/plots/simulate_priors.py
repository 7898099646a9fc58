"""Figures of the priors, and of what moving them does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import ConfigError
from celldyn.plots.simulate_style import (
    CLASS_COLOURS,
    HOUSEKEEPING,
    SILENT,
    bare,
    class_colours,
    gene_classes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from celldyn.simulate import SimulationConfig

N_DRAWS = 50_000
"""Draws of each prior."""
N_BINS = 60
_MAX_COUNT = 14
_THETA_COLOUR, _COUNT_COLOUR = "#d55e00", "#0072b2"


def priors(config: SimulationConfig, *, celltype: str | None = None) -> Figure:
    """Draw the priors of mean expression μ, for all three classes of genes, and of θ.

    Parameters
    ----------
    config
        Whose priors.
    celltype
        Of which cell type, where types have priors of their own; None is the first.

    Returns
    -------
    Two panels: histograms of μ for markers, housekeeping and silent genes; a histogram of θ. Each
    shows `N_DRAWS` draws that repeat with the config's seed, as a density.

    Raises
    ------
    ConfigError
        If there is no such cell type.
    """
    from matplotlib.figure import Figure

    name = config.celltype_names[0] if celltype is None else celltype
    if name not in config.celltype_names:
        raise ConfigError(
            f"{name!r} is no cell type", f"there are {', '.join(config.celltype_names)}"
        )
    figure = Figure(figsize=(9, 3.6), layout="tight")
    left, right = figure.subplots(1, 2)
    drawn = prior_draws(config, name)
    own = config.priors_of(name)
    for kind, (mu, cv) in zip(CLASS_COLOURS, (own.marker, own.hk, own.silence), strict=True):
        label = f"{kind} μ (mean {mu:g}, CV {cv:g})"
        left.hist(drawn[kind], N_BINS, density=True, alpha=0.7, color=CLASS_COLOURS[kind],
                  label=label)  # fmt: skip
    left.set(title="Prior on mean expression μ", xlabel="μ (counts per cell)", ylabel="density")
    left.legend(fontsize=8, frameon=False)
    right.hist(drawn["theta"], N_BINS, density=True, alpha=0.8, color=_THETA_COLOUR)
    mean, cv = own.theta_shape * own.theta_scale, own.theta_shape**-0.5
    right.set(title=f"Prior on inverse dispersion θ\n(mean {mean:g}, CV {cv:.3g})", xlabel="θ")
    for axes in (left, right):
        bare(axes)
    figure.suptitle(f"Gamma priors of {name}" if config.celltype_priors else "Gamma priors")
    return figure


def prior_draws(config: SimulationConfig, celltype: str) -> dict[str, NDArray[np.float64]]:
    """Return (`N_DRAWS`,) draws of μ per class of genes and of "theta", fixed by the seed."""
    own = config.priors_of(celltype)
    rng = np.random.default_rng(config.seed)
    drawn = {
        kind: rng.standard_gamma(cv**-2, N_DRAWS) * mu * cv**2
        for kind, (mu, cv) in zip(
            ("marker", HOUSEKEEPING, SILENT), (own.marker, own.hk, own.silence), strict=True
        )
    }
    drawn["theta"] = rng.standard_gamma(own.theta_shape, N_DRAWS) * own.theta_scale
    return drawn


def marker_mu_sweep(
    values: Sequence[float] = (0.3, 0.5, 0.75, 1.5), *, config: SimulationConfig | None = None
) -> Figure:
    """Draw how far markers stand out as their prior mean grows: the strength of the signal.

    Parameters
    ----------
    values
        One panel for each `marker_mu`.
    config
        What else holds; by default 500 genes, 125 markers of each of three types.

    Returns
    -------
    Per panel the histograms of μ in the first cell type, by class of genes.
    """
    from matplotlib.figure import Figure

    from celldyn.simulate import SimulationConfig, generate_gene_parameters

    base = config or SimulationConfig(n_cells=50, n_celltype=3, n_genes=500, n_markers=125)
    figure = Figure(figsize=(3.5 * len(values), 3.5), layout="tight")
    panels = _row(figure, len(values))
    celltype = base.celltype_names[0]
    for axes, mu in zip(panels, values, strict=True):
        table = generate_gene_parameters(base.replace(marker_mu=mu))
        classes = gene_classes(table["gene_type"])
        for kind, colour in class_colours(classes, base.celltype_names).items():
            axes.hist(table.loc[classes == kind, f"{celltype}_mu"], 10, density=True,
                      alpha=0.65, color=colour, label=kind)  # fmt: skip
        axes.set(title=f"marker_mu = {mu:g}", xlabel=f"μ in {celltype}")
        bare(axes)
    panels[0].set_ylabel("density")
    panels[-1].legend(fontsize=8, title="class of genes", frameon=False)
    figure.suptitle("marker_mu: how far markers stand out from silent genes")
    return figure


def theta_sweep(
    alphas: Sequence[float] | None = None,
    *,
    mu_cv: Sequence[tuple[float, float]] | None = None,
    mu: float = 1.0,
    n_genes: int = 500,
    seed: int = 0,
) -> Figure:
    """Draw how the prior on θ spreads counts of one mean.

    Parameters
    ----------
    alphas
        One panel per shape of the prior, at rate 1; by default 0.5, 1, 2, 5.
    mu_cv
        Instead: one panel per (mean, CV) of the prior.
    mu
        Mean of every gene, counts.
    n_genes
        Genes of a panel, each with a θ of its own and one count.
    seed
        Fixes the draws; panels share their noise.

    Returns
    -------
    Per panel a histogram of the counts, with their variance over mean in the title. The lower
    θ, the wider.

    Raises
    ------
    ConfigError
        If both `alphas` and `mu_cv` are given, or a number is not above 0.
    """
    from matplotlib.figure import Figure

    cases = _theta_cases(alphas, mu_cv)
    figure = Figure(figsize=(3.5 * len(cases), 3.5), layout="tight")
    panels = _row(figure, len(cases), sharey=True)
    for axes, (label, prior) in zip(panels, cases, strict=True):
        counts = theta_counts(prior, mu=mu, n_genes=n_genes, seed=seed)
        axes.hist(counts, range(_MAX_COUNT + 2), color=_COUNT_COLOUR, alpha=0.8,
                  edgecolor="white", align="left")  # fmt: skip
        ratio = counts.var() / max(counts.mean(), 1e-9)
        axes.set(title=f"{label}\nVar/Mean = {ratio:.2f}", xlabel="count")
        axes.set_xlim(-0.7, _MAX_COUNT + 0.7)
        bare(axes)
    panels[0].set_ylabel("genes")
    figure.suptitle("θ: the lower, the more counts of one mean vary")
    return figure


def theta_counts(
    prior: Any,  # noqa: ANN401
    *,
    mu: float,
    n_genes: int,
    seed: int,
) -> NDArray[np.int64]:
    """Return (n_genes,) counts of mean `mu`, each with a θ drawn from a frozen distribution."""
    from celldyn.simulate import negative_binomial
    from celldyn.simulate.streams import uniforms

    theta = prior.ppf(uniforms(seed, "plots/theta", n_genes)[:, 0])
    return negative_binomial(mu, theta, 1.0, seed)


def _theta_cases(
    alphas: Sequence[float] | None, mu_cv: Sequence[tuple[float, float]] | None
) -> list[tuple[str, Any]]:
    from celldyn.simulate import get_theta_gamma_prior

    if alphas is not None and mu_cv is not None:
        raise ConfigError("the priors of θ were given both as alphas and as (mu, cv)", "give one")
    if mu_cv is not None:
        return [
            (f"mean θ = {mean:g}, CV = {cv:g}", get_theta_gamma_prior(mu=mean, cv=cv))
            for mean, cv in mu_cv
        ]
    shapes = (0.5, 1.0, 2.0, 5.0) if alphas is None else alphas
    return [(f"theta_alpha = {a:g}", get_theta_gamma_prior(alpha=a, rate=1.0)) for a in shapes]


def _row(figure: Figure, n: int, *, sharey: bool = False) -> list[Axes]:
    return list(figure.subplots(1, n, squeeze=False, sharex=True, sharey=sharey)[0])
